"""The checkpoint of the loop: every particle's row in its place, and updates that are switched off stay off."""

import numpy as np
import pytest

from blush.io.files import load_npz
from blush.jobs import steps
from blush.jobs.autorefine import iterate
from blush.jobs.converge import gather_poses
from blush.jobs.inputs import TABLE_COLUMNS, Plan, read_plan
from blush.jobs.layout import RunFolder
from blush.refine.state import load_state


def plan() -> Plan:
    rows = (np.array([4, 0, 2]), np.array([5, 1, 3]))
    return Plan(rows, (np.array([0, 3]), np.array([0, 3])), np.eye(3)[None])


@pytest.mark.parametrize("keep_norm", [False, True])
def test_rows_return_to_import_order(keep_norm):
    old = {name: np.full(6, -1.0) for name in TABLE_COLUMNS}
    measured = [{f"table_{name}": (10.0 * half) + rows for name in TABLE_COLUMNS} for half, rows in
                zip((1, 2), plan().rows, strict=True)]  # fmt: skip
    new = gather_poses(old, measured, plan(), keep_norm=keep_norm)
    for name in TABLE_COLUMNS:
        kept = keep_norm and name == "norm_correction"
        assert new[name].tolist() == ([-1.0] * 6 if kept else [10.0, 21.0, 12.0, 23.0, 14.0, 25.0])
    assert all((column == -1).all() for column in old.values())


def test_poses_are_what_the_halves_measured(finished):
    folder, rows = RunFolder(finished), read_plan(finished).rows
    poses = load_npz(folder.poses(2))
    for half in (1, 2):
        statistics = load_npz(folder.statistics(2, half))
        for name in ("rot_deg", "pmax", "norm_correction", "log_likelihood"):
            assert np.array_equal(poses[name][rows[half - 1]], statistics[f"table_{name}"])


def test_the_cross_correlation_iteration_leaves_the_image_model_as_it_is(finished):
    """Noise, scale, norm and offset width need a likelihood (docs/algorithm.md, section 2)."""
    before, after = (load_state(RunFolder(finished).state(n)) for n in (0, 1))
    assert before.first_cc
    for name in ("noise", "scale", "norm_average", "sigma_offset_angst"):
        assert np.array_equal(getattr(before, name), getattr(after, name)), name
    assert (load_npz(RunFolder(finished).poses(1))["norm_correction"] == 1).all()


def test_then_every_part_of_it_is_measured(finished):
    before, after = (load_state(RunFolder(finished).state(n)) for n in (1, 2))
    for name in ("noise", "scale", "norm_average", "sigma_offset_angst"):
        assert not np.array_equal(getattr(before, name), getattr(after, name)), name
    for half in (0, 1):
        rows = read_plan(finished).rows[half]
        norm = load_npz(RunFolder(finished).poses(2))["norm_correction"][rows]
        assert after.norm_average[half] == pytest.approx(norm.mean(), rel=1e-12)


def test_corrections_that_are_off_stay_at_one(make_config, tmp_path):
    off = {"norm_correction": False, "scale_correction": False, "reference_is_greyscale": True, "max_iterations": 9}
    config = make_config(tmp_path, refinement=off)
    steps.import_run(config)
    steps.start(config.run_dir)
    state = iterate(config.run_dir, 1)
    assert not load_state(RunFolder(config.run_dir).state(0)).first_cc
    assert (state.scale == 1).all()
    assert (state.norm_average == 1).all()
    assert (load_npz(RunFolder(config.run_dir).poses(1))["norm_correction"] == 1).all()
    assert not np.array_equal(state.noise[0], state.noise[1])  # measured, each half by itself
