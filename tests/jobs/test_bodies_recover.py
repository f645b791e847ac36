"""Runs of several bodies that were damaged, or whose settings changed: the same bytes by the same command."""

import hashlib
import shutil

import pytest
from moving_blobs import config_of, make_set

from blush.errors import BlushError
from blush.jobs import multibody, steps
from blush.jobs.autorefine import autorefine, iterate
from blush.jobs.inputs import read_config
from blush.jobs.layout import RunFolder
from blush.jobs.multibody import Reached, begin, next_body, whose_turn
from blush.jobs.recover import recover_run
from blush.jobs.settings import take_up
from blush.refine.subset import Subset


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blobs")
    make_set(folder)
    return folder


@pytest.fixture(scope="module")
def whole(blobs, few_directions, tmp_path_factory):
    """Results of a run that was never stopped."""
    return results(autorefine(config_of(blobs, tmp_path_factory.mktemp("whole"))))


@pytest.fixture(scope="module")
def begun(blobs, few_directions, tmp_path_factory):
    """A run that was stopped in iteration 3 of its first body, of which it has made a shard."""
    config = config_of(blobs, tmp_path_factory.mktemp("begun"))
    take_up(config)
    steps.import_run(config)
    run = config.run_dir.absolute()
    begin(run)
    while (due := next_body(run))[1] < 3:
        iterate(*due)
    steps.expectation_shard(due[0], 3, Subset.FIRST, 0)
    return run


def results(run):
    """SHA-256 of the maps, states and arrays that a run leaves, by name."""
    paths = [path for pattern in ("*.mrc", "*.npz", "state.json") for path in run.rglob(pattern)]
    assert len(paths) > 60
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes().replace(bytes(run), b"RUN")).hexdigest()
        for path in paths
        if not path.parent.name.startswith(".")
    }


def copied(begun, tmp_path):
    run = tmp_path / begun.name
    shutil.copytree(begun, run)
    return run


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def compare(run, whole):
    found = results(run)
    assert found.keys() == whole.keys()
    assert [name for name in whole if whole[name] != found[name]] == []


def test_turns_are_by_iteration_then_order_and_those_that_wait_come_last():
    def turn(*bodies):
        return whose_turn([Reached(n, kind in "fc", kind == "c") for n, kind in bodies])

    assert turn((0, "o"), (0, "o")) == 0
    assert turn((1, "o"), (0, "o")) == 1
    assert turn((4, "f"), (6, "o"), (5, "o")) == 2
    assert turn((4, "f"), (6, "f")) == 0
    assert turn((5, "c"), (6, "f")) == 1
    assert turn((5, "c"), (3, "o")) == 1, "one that went back makes its iterations again"
    assert turn((5, "c"), (7, "c")) is None


SOME = (
    "import/bodies.json", "body002/import/mask.mrc", "body001/it002/maps.npz", "body001/it003/half1_shard0000_*.npz",
    "body002/it001/state.json", "body002/run_it002_half2_class001.mrc",
)  # fmt: skip
OTHERS = (
    "import/half2.mrc", "import/mask_body001.mrc", ".identity.json", "import/plan.npz", "body001/.identity.json",
    "body001/import/particles.npz", "body001/it000/state.json", "body001/it002/state.json", "body002/it002/poses.npz",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SOME, *(pytest.param(name, marks=pytest.mark.thorough) for name in OTHERS)])
def test_a_damaged_file_of_any_folder_is_made_again(name, begun, blobs, whole, tmp_path, capsys):
    run = copied(begun, tmp_path)
    (path,) = run.glob(name)
    flip(path)
    autorefine(config_of(blobs, tmp_path))
    assert list(path.parent.glob(f"{path.name}.damaged-1"))
    assert "warning" in capsys.readouterr().err
    for left in run.rglob("*.damaged-*"):
        left.unlink()
    compare(run, whole)


def test_a_body_that_goes_back_alone_leaves_the_others_as_they_are(begun, blobs, whole, tmp_path):
    """The second makes its iterations 1 and 2 again from what the first was like then."""
    run = copied(begun, tmp_path)
    body = RunFolder(run / "body002")
    for n in (1, 2):
        body.state(n).unlink()
        for path in (*body.iteration(n).glob("half*.npz"), *body.present_references(n)):
            path.unlink()
    recover_run(run)
    assert RunFolder(run / "body001").newest() == 2
    assert body.newest() == 0
    assert next_body(run) == (body.root, 1)
    autorefine(config_of(blobs, tmp_path))
    compare(run, whole)


@pytest.mark.slow
def test_all_go_back_where_the_maps_of_that_time_are_gone(begun, blobs, whole, tmp_path):
    """As the first body has no map of its iteration 1 any more, which iteration 1 of the second was made from."""
    run = copied(begun, tmp_path)
    first, second = RunFolder(run / "body001"), RunFolder(run / "body002")
    for n in (1, 2):
        for path in (second.state(n), *second.iteration(n).glob("half*.npz"), *second.present_references(n)):
            path.unlink()
    for path in (*first.present_references(1), *first.iteration(1).glob("half*_sums.npz")):
        path.unlink()
    assert first.newest() == 2
    recover_run(run)
    assert (first.newest(), second.newest()) == (0, 0)
    autorefine(config_of(blobs, tmp_path))
    compare(run, whole)


def test_what_may_change_on_the_way_reaches_the_bodies_and_nothing_else_does(begun, blobs, tmp_path):
    run = copied(begun, tmp_path)
    before = results(run)
    assert take_up(config_of(blobs, tmp_path, refinement={"max_iterations": 7, "keep_iterations": 1}))
    assert results(run) == before
    settings = read_config(run / "body002").refinement
    assert (settings.max_iterations, settings.keep_iterations) == (7, 2)
    assert not list(run.rglob("*.damaged-*"))
    with pytest.raises(BlushError, match="seed: was 1, now 2"):
        take_up(config_of(blobs, tmp_path, seed=2))


@pytest.mark.slow
def test_with_one_iteration_kept_the_last_ones_still_see_each_other(blobs, whole, tmp_path):
    """The second body's last iteration reads the map that the first had before its own."""
    settings = {"max_iterations": 3, "keep_iterations": 1}
    found = results(autorefine(config_of(blobs, tmp_path, refinement=settings)))
    assert {name: whole[name] for name in found} == found


def test_bodies_of_a_run_that_was_never_started_are_made_anew(blobs, tmp_path):
    config = config_of(blobs, tmp_path)
    steps.import_run(config)
    other = config_of(blobs, tmp_path, seed=2)
    assert not take_up(other)
    steps.import_run(other)
    assert take_up(other)
    assert multibody.bodies_of(other.run_dir) == [other.run_dir / "body001", other.run_dir / "body002"]
