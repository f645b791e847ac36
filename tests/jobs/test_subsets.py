"""A run whose images are one subset goes the same way as one of two halves, up to its sums."""

import pytest

from blush.io.files import load_npz
from blush.jobs import planning, steps
from blush.jobs.inputs import read_plan
from blush.jobs.layout import RunFolder
from blush.jobs.subsets import folds_of, subsets_of
from blush.refine.control import RefineControl
from blush.refine.state import load_state
from blush.refine.subset import HALVES, Subset


@pytest.fixture
def undivided(make_config, tmp_path, monkeypatch):
    """Folder of a run of all images in one, before its first expectation step."""
    monkeypatch.setattr(planning, "subsets_of", lambda config: (Subset.ALL,))
    monkeypatch.setattr(RefineControl, "AXES", {"subsets": 1})
    config = make_config(tmp_path)
    steps.import_run(config)
    steps.start(config.run_dir)
    return config.run_dir


def test_a_refinement_keeps_two_halves_apart_and_divides_them_no_further(make_config, tmp_path):
    assert subsets_of(make_config(tmp_path)) == HALVES
    assert folds_of(make_config(tmp_path)) == 1


def test_all_images_in_one_have_one_entry_in_every_array(undivided):
    plan, state = read_plan(undivided), load_state(RunFolder(undivided).state(0))
    assert plan.subsets == steps.subsets(undivided) == (Subset.ALL,)
    assert sorted(plan.rows[0].tolist()) == list(range(48))
    assert len(state.images.noise) == len(state.images.scale) == len(state.images.norm_average) == 1


def test_all_images_in_one_are_summed_under_their_name(undivided, capsys):
    """A reference and a shard that were lost on the way are made again."""
    folder = RunFolder(undivided)
    reference = undivided / "run_it000_class001.mrc"
    assert list(undivided.glob("run_it*.mrc")) == [reference]
    content = reference.read_bytes()
    reference.unlink()
    made = [steps.expectation_shard(undivided, 1, Subset.ALL, s) for s in range(steps.shards(undivided, Subset.ALL))]
    assert reference.read_bytes() == content
    made[1].unlink()
    steps.reduce_subset(undivided, 1, Subset.ALL)
    said = capsys.readouterr().err
    assert "run_it000_class001.mrc is missing: it is made again" in said
    assert "all_shard0001" in said
    assert {path.name for path in folder.iteration(1).glob("*s.npz")} == {"all_sums.npz", "all_statistics.npz"}
    statistics = load_npz(folder.statistics(1, Subset.ALL))
    assert len(statistics["table_rot_deg"]) == 48
    assert statistics["weight"].sum() == pytest.approx(48, rel=1e-3)
    assert "accuracy_rotation_deg" not in statistics  # not while images are compared by cross-correlation
