"""Every kind of file that a run reads back, damaged in every way: made again to the same bytes, or refused by name."""

import hashlib
import json
import shutil
from pathlib import Path

import mrcfile
import pytest

from blush.errors import BlushError
from blush.io.mrc import map_stack
from blush.io.seal import DamagedFile, LostParts
from blush.jobs import steps
from blush.jobs.autorefine import autorefine, iterate
from blush.jobs.layout import RunFolder
from blush.jobs.settings import take_up

LAST = 3
RESULTS = ("*.mrc", "run_*.star", "it*/state.json", f"it{LAST:03d}/*.npz", f"it{LAST:03d}/*.json", "postprocess/*.mrc")
KINDS = {
    "expected": (
        ".identity.json", "settings.json", "import/particles.npz", "import/particles.star", "import/plan.npz",
        "import/reference.mrc", "import/config.json", "it000/state.json", "it000/poses.npz",
        "run_it000_half1_class001.mrc", "it001/state.json", "it001/poses.npz", "it001/directions.npz", "it001/maps.npz",
        "it001/maps.json", "it001/half1_statistics.npz", "it001/half2_sums.npz", "run_it001_half2_class001.mrc",
        "it002/half2_shard0001_*.npz",
    ),
    "summed": ("it002/half1_sums.npz", "it002/half2_statistics.npz"),
    "maximised": ("it002/maps.npz", "it002/maps.json", "run_it002_half1_class001.mrc"),
    "refined": (
        "it001/state.json", "it001/maps.json", "it003/state.json", "it003/poses.npz", "it003/directions.npz",
        "it003/maps.npz", "it003/maps.json", "it003/half1_statistics.npz", "run_half1_class001_unfil.mrc",
        "run_half2_class001_unfil.mrc", "run_class001.mrc", "run_data.star", "run_optimiser.star", ".seals.json",
    ),
}  # fmt: skip
"""Files by the moment at which the run was stopped."""
FAST = {
    ("expected", "import/particles.npz", "flip"),
    ("expected", "it001/state.json", "flip"),
    ("expected", "it001/directions.npz", "delete"),
    ("expected", "run_it001_half2_class001.mrc", "flip"),
    ("expected", "it002/half2_shard0001_*.npz", "truncate"),
    ("refined", "run_half1_class001_unfil.mrc", "flip"),
    ("refined", "run_data.star", "flip"),
}


def flip(path: Path, other: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero(path: Path, other: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def delete(path: Path, other: Path) -> None:
    path.unlink()


def replace(path: Path, other: Path) -> None:
    shutil.copyfile(other, path)


DAMAGES = {damage.__name__: damage for damage in (flip, truncate, zero, delete, replace)}


def damages_of(place: int) -> tuple[str, str, str]:
    """Gone, without its seal, and with content that is not its own: each file in turn in one of two ways."""
    return "delete", ("truncate", "zero")[place % 2], ("flip", "replace")[place // 2 % 2]


FILES = [(moment, name) for moment, names in KINDS.items() for name in names]
CASES = sorted(FAST | {(*file, damage) for place, file in enumerate(FILES) for damage in damages_of(place)})
EACH_FILE = {(*file, damages_of(place)[place % 3]) for place, file in enumerate(FILES)}
"""Each file in one way; the other ways are `thorough`."""


def marks(case: tuple[str, str, str]) -> list[pytest.MarkDecorator]:
    if case in FAST:
        return []
    return [pytest.mark.slow] if case in EACH_FILE else [pytest.mark.slow, pytest.mark.thorough]


def stopped(config, moment: str) -> Path:
    """A run folder as a run leaves it that is stopped at a moment of its second iteration, or after the last."""
    take_up(config)
    steps.import_run(config)
    run = config.run_dir
    steps.start(run)
    iterate(run, 1)
    if moment == "refined":
        for n in range(2, LAST + 1):
            iterate(run, n)
        return run
    for half in (1, 2):
        for shard in steps.missing_shards(run, 2, half):
            steps.expectation_shard(run, 2, half, shard)
        if moment != "expected":
            steps.reduce_subset(run, 2, half)
    if moment == "maximised":
        steps.denoise_and_trail(run, 2)
    return run


@pytest.fixture(scope="module")
def moments(make_config, few_directions, tmp_path_factory):
    """Folder of a run, and of another one of the same images, stopped at each moment; and a finished run's results."""
    out = tmp_path_factory.mktemp("moments")
    runs = {
        (moment, seed): stopped(make_config(out / f"{moment}-{seed}", seed=seed), moment)
        for moment in KINDS
        for seed in (1, 2)
    }
    whole = make_config(out / "whole", seed=1)
    autorefine(whole)
    return runs, results(whole.run_dir, whole.run_dir)


def results(run: Path, begun: Path) -> dict[str, str]:
    """SHA-256 of what a run leaves, by name; tables name the run's folder, or the one in which it was begun."""
    files = {path for pattern in RESULTS for path in run.glob(pattern)}
    assert len(files) > 20
    contents = {
        str(path.relative_to(run)): path.read_bytes().replace(bytes(run), b"RUN").replace(bytes(begun), b"RUN")
        for path in files
    }
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


@pytest.mark.parametrize(
    ("moment", "name", "damage"),
    [pytest.param(*case, marks=marks(case)) for case in CASES],
)
def test_a_damaged_file_is_named_and_made_again(moment, name, damage, moments, make_config, tmp_path, capsys):
    runs, expected = moments
    config = make_config(tmp_path, seed=1)
    run = Path(shutil.copytree(runs[moment, 1], config.run_dir))
    (path,) = run.glob(name)
    (other,) = runs[moment, 2].glob(name)
    before = path.read_bytes()
    DAMAGES[damage](path, other)
    assert not path.exists() or path.read_bytes() != before
    autorefine(config)
    assert results(run, runs[moment, 1]) == expected
    told = capsys.readouterr().err
    read_again = name not in UNREAD.get(moment, ())
    if read_again and damage != "delete":
        assert path.name in told
        assert list(path.parent.glob(f"{path.name}.damaged-1"))


UNREAD = {
    "expected": {
"settings.json", "it001/maps.npz", "it001/half2_sums.npz", "it000/poses.npz", "run_it000_half1_class001.mrc",
    },
}  # fmt: skip
"""Files that the rest of the run does not read, or writes anew before it reads them."""


def test_shards_damaged_together_are_made_again(moments, make_config, tmp_path):
    runs, expected = moments
    config = make_config(tmp_path, seed=1)
    run = Path(shutil.copytree(runs["expected", 1], config.run_dir))
    for path in run.glob("it002/half1_shard*.npz"):
        flip(path, path)
    autorefine(config)
    assert results(run, runs["expected", 1]) == expected


def test_a_lost_reference_and_its_sums_cost_iterations_but_nothing_else(moments, make_config, tmp_path, capsys):
    """With the sources of a reference gone too, the run goes back to the last iteration that is whole."""
    runs, expected = moments
    config = make_config(tmp_path, seed=1)
    run = Path(shutil.copytree(runs["expected", 1], config.run_dir))
    flip(run / "run_it001_half1_class001.mrc", run)
    flip(run / "it001/half1_sums.npz", run)
    autorefine(config)
    assert "iterations 1 to 1 are made again" in capsys.readouterr().err
    assert results(run, runs["expected", 1]) == expected


def test_the_remedies_that_steps_print_work(moments, make_config, tmp_path):
    """What one step cannot make again by itself is told with a command, which is then given."""
    runs, expected = moments
    config = make_config(tmp_path, seed=1)
    run = Path(shutil.copytree(runs["expected", 1], config.run_dir))
    for path in run.glob("it002/half2_shard000[01]_*.npz"):
        path.unlink()
    with pytest.raises(LostParts, match=r"lacks 2 of 3 shards.*run the same command again, which computes them"):
        steps.reduce_subset(run, 2, 2)
    (run / "run_it001_half1_class001.mrc").unlink()
    flip(run / "it001/half1_sums.npz", run)
    with pytest.raises(DamagedFile, match=r"cannot be made again alone.*command that refines this run, given again"):
        steps.missing_shards(run, 2, 1)
    autorefine(config)
    assert results(run, runs["expected", 1]) == expected


def test_images_in_another_order_are_refused_by_the_name_of_their_stack(make_config, tmp_path, simulated):
    """The same images at the same size: no length or name tells it."""
    inputs = Path(shutil.copytree(simulated, tmp_path / "inputs"))
    config = make_config(tmp_path / "out", particles=inputs / "particles.star", reference=inputs / "reference.mrc")
    run = stopped(config, "summed")
    stack = sorted((inputs / "stacks").glob("*.mrcs"))[1]
    images = map_stack(stack)
    kept, place = stack.read_bytes(), stack.stat().st_size - images.nbytes
    stack.write_bytes(kept[:place] + images[::-1].tobytes())
    with pytest.raises(BlushError, match=rf"(?s)images of this refinement have changed.*{stack.name}.*put the stack"):
        autorefine(config)
    stack.write_bytes(kept)
    autorefine(config)
    assert json.loads(RunFolder(run).state(LAST).read_text())["converged"]


@pytest.mark.parametrize("moment", ["imported", "started", "half of the first shards"])
def test_images_that_change_before_they_were_ever_used_are_refused(moment, make_config, tmp_path, simulated):
    """Nothing later could compare them: the import has read every one of them already."""
    inputs = Path(shutil.copytree(simulated, tmp_path / "inputs"))
    config = make_config(tmp_path / "out", particles=inputs / "particles.star", reference=inputs / "reference.mrc")
    take_up(config)
    steps.import_run(config)
    if moment != "imported":
        steps.start(config.run_dir)
    if moment == "half of the first shards":
        steps.expectation_shard(config.run_dir, 1, 1, 0)
    for stack in sorted((inputs / "stacks").glob("*.mrcs")):
        with mrcfile.mmap(stack, "r+") as opened:
            opened.data[-1, 3, 3] += 1
    with pytest.raises(BlushError, match=r"(?s)images of this refinement have changed.*\.mrcs.*put the stack"):
        autorefine(config)
