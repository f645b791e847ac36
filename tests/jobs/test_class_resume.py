"""A classification that was stopped or damaged anywhere goes on to the same bytes, whatever the order of its shards."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from blush.config import RunConfig
from blush.io.files import load_npz
from blush.io.mrc import read_volume, write_volume
from blush.io.star import read_star
from blush.jobs import steps
from blush.jobs.autorefine import autorefine, iterate
from blush.jobs.classified_source import open_classified
from blush.jobs.layout import RunFolder
from blush.jobs.settings import take_up
from blush.refine.state import load_state
from blush.refine.subset import Subset

LAST = 3
ALL = int(Subset.ALL)


@pytest.fixture(scope="module")
def make_classes(make_config, simulated, tmp_path_factory):
    """Configuration of a short classification from two maps, the reference and a variant of it."""
    out = tmp_path_factory.mktemp("maps")
    volume, pixel = read_volume(simulated / "reference.mrc")
    write_volume(out / "one.mrc", volume, pixel)
    write_volume(out / "two.mrc", volume + 0.5 * np.roll(volume, 3, 0), pixel)

    def make(output: Path, max_iterations: int = LAST, **changes) -> RunConfig:
        section = {
            "references": [out / "one.mrc", out / "two.mrc"], "folds": 2, "max_iterations": max_iterations,
            "settled_fraction": 0,
        }  # fmt: skip
        given = {"job": "classify", "particles": simulated / "truth.star", "classification": section}
        refinement = {"keep_iterations": 9, "max_iterations": 9}
        compute = {"device": "cpu", "memory_gb": 1, "shards_per_half": 4}
        return make_config(output, **(given | {"refinement": refinement, "compute": compute} | changes))

    return make


@pytest.fixture(scope="module")
def whole(make_classes, tmp_path_factory):
    """Folder of a finished classification."""
    return autorefine(make_classes(tmp_path_factory.mktemp("whole")))


@pytest.fixture
def copy(whole, make_classes, tmp_path):
    """Configuration of a copy of the finished classification, and the copy's folder."""
    config = make_classes(tmp_path)
    return config, Path(shutil.copytree(whole, config.run_dir))


def test_classes_to_verify_are_those_of_the_last_iteration(whole):
    """Images are read where they were imported from, and their order is the table's."""
    found = open_classified(whole)
    table = read_star(whole / f"run_it{LAST:03d}_data.star")["particles"]
    np.testing.assert_array_equal(found.labels, table["rlnClassNumber"])
    np.testing.assert_allclose(found.particles.rot_deg, table["rlnAngleRot"], atol=1e-5)
    assert (found.folder, found.symmetry) == (whole, load_state(RunFolder(whole).state(LAST)).facts.symmetry)
    assert found.particles.take(np.arange(2)).images().shape[0] == 2


def results(run: Path, *others: Path) -> dict[str, bytes]:
    """What a run leaves, by name; tables and the summary name its folder, the summary times as well."""
    left_out = ("progress.jsonl", ".seals.json", "settings.json", "summary.json")
    found = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        if path.name in left_out or ".damaged-" in path.name or "_sums" in path.name:  # not needed to the end
            continue
        content = path.read_bytes()
        for place in (run, *others):
            content = content.replace(bytes(place), b"RUN")
        found[str(path.relative_to(run))] = content
    return found


def different(run: Path, whole: Path) -> set[str]:
    """Names of results that are not the same; the frozen configuration names folders."""
    one, two = results(run, whole), results(whole, run)
    names = one.keys() | two.keys()
    return {name for name in names if one.get(name) != two.get(name)} - {"import/config.json"}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def delete(path: Path) -> None:
    path.unlink()


DAMAGES = {damage.__name__: damage for damage in (flip, truncate, zero, delete)}
STOPPED = {
    "before an iteration": ["it003", "run_it003_*", "class*", "summary.json"],
    "among its shards": ["it003", "run_it003_*", "class*", "summary.json"],
    "after its sums": ["it003/maps.*", "it003/without*", "it003/[dps]*.*", "run_it003_*", "class*", "summary.json"],
    "among its maps": ["it003/maps.npz", "it003/without1*", "it003/[dps]*.*", "run_it003_class002.mrc", "class*"],
    "before its state": ["it003/state.json", "run_it003_*.star", "class*", "summary.json"],
    "after the last iteration": ["class*", "run_it003_half1_*", "summary.json"],
}
"""What is not there yet, by the moment at which a run was killed."""


def without(run: Path, patterns: list[str]) -> None:
    """Remove files; each pattern must match."""
    for pattern in patterns:
        matches = list(run.glob(pattern))
        assert matches, pattern
        for path in matches:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("moment", STOPPED)
def test_a_classification_that_was_stopped_goes_on_to_the_same_bytes(moment, copy, whole):
    config, run = copy
    without(run, STOPPED[moment])
    if moment == "among its shards":
        for shard in (2, 0):
            steps.expectation_shard(run, LAST, ALL, shard)
    assert different(run, whole)
    autorefine(config)
    assert different(run, whole) == set()


KINDS = {
    "going on": (
        "import/reference_class002.mrc", "import/plan.npz", "it000/poses.npz", "run_it000_class002.mrc",
        "it001/state.json", "it002/state.json", "it002/poses.npz", "it002/directions.npz", "it002/maps.npz",
        "it002/maps.json", "it002/all_statistics.npz",
        "it002/without0_class001.mrc", "it002/without1_class002.mrc", "run_it002_class001.mrc",
        "it003/all_shard0001_*.npz",
    ),
    "finished": (
        "it003/state.json", "it003/poses.npz", "it003/maps.npz", "it003/all_statistics.npz", "it003/all_sums_fold1.npz",
        "it003/without0_class002.mrc", "run_it003_class001.mrc", "run_it003_half2_class002_unfil.mrc",
        "run_it003_data.star", "run_it003_model.star", "classes.json", "class_posteriors.npz", ".seals.json",
    ),
}  # fmt: skip
"""Files that are damaged, by the moment at which the run was stopped."""
FAST = {
    ("going on", "import/reference_class002.mrc", "flip"),
    ("going on", "it002/without1_class002.mrc", "delete"),
    ("finished", "run_it003_half2_class002_unfil.mrc", "flip"),
    ("finished", "class_posteriors.npz", "truncate"),
}
FILES = [(moment, name) for moment, names in KINDS.items() for name in names]
DELETED = {(*file, "delete") for file in FILES}
CHANGED = {(*file, ("flip", "truncate", "zero")[i % 3]) for i, file in enumerate(FILES)}
CASES = sorted(FAST | DELETED | CHANGED)


def marks(case: tuple[str, str, str]) -> list[pytest.MarkDecorator]:
    """Every file is changed; that one which is gone is missed is tried of each by `thorough` tests."""
    if case in FAST:
        return []
    return [pytest.mark.slow] if case in CHANGED else [pytest.mark.slow, pytest.mark.thorough]


@pytest.mark.parametrize(
    ("moment", "name", "damage"),
    [pytest.param(*case, marks=marks(case)) for case in CASES],
)
def test_a_damaged_file_is_made_again(moment, name, damage, copy, whole):
    config, run = copy
    if moment == "going on":
        without(run, STOPPED["before an iteration"])
        for shard in range(4):
            steps.expectation_shard(run, LAST, ALL, shard)
    (path,) = run.glob(name)
    DAMAGES[damage](path)
    autorefine(config)
    assert different(run, whole) == set()


@pytest.mark.slow
def test_a_reference_and_its_sums_lost_together_cost_iterations_alone(copy, whole, capsys):
    config, run = copy
    without(run, STOPPED["before an iteration"])
    flip(run / "it002/without0_class001.mrc")
    flip(run / "it002/all_sums_fold1.npz")
    autorefine(config)
    assert "iterations 2 to 2 are made again" in capsys.readouterr().err
    assert different(run, whole) == set()


def test_half_maps_and_the_sums_that_they_are_made_of_lost_together_cost_the_last_iteration(copy, whole, capsys):
    config, run = copy
    flip(run / "run_it003_half1_class001_unfil.mrc")
    (run / "it003/all_sums_fold1.npz").unlink()
    autorefine(config)
    assert "iterations 3 to 3 are made again" in capsys.readouterr().err
    assert different(run, whole) == set()


@pytest.mark.slow
def test_the_order_of_shards_changes_nothing(make_classes, whole, tmp_path):
    config = make_classes(tmp_path)
    take_up(config)
    steps.import_run(config)
    run = config.run_dir
    steps.start(run)
    for n in range(1, LAST + 1):
        for shard in reversed(steps.missing_shards(run, n, ALL)):
            steps.expectation_shard(run, n, ALL, shard)
        iterate(run, n)
    steps.postprocess(run)
    assert different(run, whole) == set()


def test_more_iterations_go_on_from_where_a_number_ended_the_last(make_classes, whole, tmp_path):
    """Also where sums and maps before the last iteration are gone."""
    refinement = {"refinement": {"keep_iterations": 1, "max_iterations": 9}}
    autorefine(make_classes(tmp_path, max_iterations=LAST - 1, **refinement))
    config = make_classes(tmp_path, **refinement)
    run = autorefine(config)
    assert load_state(RunFolder(run).state(LAST)).stop_reason == "max_iterations"
    assert not list(run.glob("run_it002_*"))
    lasting = {name for name in different(run, whole) if name.startswith(("it003/", "run_it003", "class"))}
    assert lasting == set()


def test_images_of_every_fold_are_classified(whole):
    found = load_npz(whole / "class_posteriors.npz")
    assert found["posterior"].shape == (48, 2)
    np.testing.assert_allclose(found["posterior"].sum(1), 1, atol=2e-3)
    assert set(found["class_number"]) <= {1, 2}
