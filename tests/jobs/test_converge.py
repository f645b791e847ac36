"""The checkpoint of the loop: every particle's row in its place, and updates that are switched off stay off."""

from dataclasses import replace

import numpy as np
import pytest

from blush.geometry.symmetry import operators
from blush.io.files import load_npz
from blush.jobs import steps
from blush.jobs.autorefine import iterate
from blush.jobs.converge import _result, gather_poses
from blush.jobs.inputs import TABLE_COLUMNS, Plan, read_config, read_frozen_particles, read_plan
from blush.jobs.layout import RunFolder
from blush.refine.changes import pose_change
from blush.refine.convergence import IterationResult
from blush.refine.state import State, load_state
from blush.refine.subset import HALVES, Subset


def plan() -> Plan:
    rows = (np.array([4, 0, 2]), np.array([5, 1, 3]))
    return Plan(HALVES, rows, (np.array([0, 3]),) * 2, (np.zeros(1, np.int64),) * 2, np.eye(3)[None])


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
        statistics = load_npz(folder.statistics(2, Subset(half)))
        for name in ("rot_deg", "pmax", "norm_correction", "log_likelihood"):
            assert np.array_equal(poses[name][rows[half - 1]], statistics[f"table_{name}"])


def test_the_cross_correlation_iteration_leaves_the_image_model_as_it_is(finished):
    """Noise, scale, norm and offset width need a likelihood (docs/algorithm.md, section 2)."""
    before, after = (load_state(RunFolder(finished).state(n)) for n in (0, 1))
    assert before.search.first_cc
    for name in ("noise", "scale", "norm_average", "sigma_offset_angst"):
        assert np.array_equal(getattr(before.images, name), getattr(after.images, name)), name
    assert (load_npz(RunFolder(finished).poses(1))["norm_correction"] == 1).all()


def test_then_every_part_of_it_is_measured(finished):
    before, after = (load_state(RunFolder(finished).state(n)) for n in (1, 2))
    for name in ("noise", "scale", "norm_average", "sigma_offset_angst"):
        assert not np.array_equal(getattr(before.images, name), getattr(after.images, name)), name
    for half in (0, 1):
        rows = read_plan(finished).rows[half]
        norm = load_npz(RunFolder(finished).poses(2))["norm_correction"][rows]
        assert after.images.norm_average[half] == pytest.approx(norm.mean(), rel=1e-12)


def test_corrections_that_are_off_stay_at_one(make_config, tmp_path):
    off = {"norm_correction": False, "scale_correction": False, "reference_is_greyscale": True, "max_iterations": 9}
    config = make_config(tmp_path, refinement=off)
    steps.import_run(config)
    steps.start(config.run_dir)
    state = iterate(config.run_dir, 1)
    assert not load_state(RunFolder(config.run_dir).state(0)).search.first_cc
    assert (state.images.scale == 1).all()
    assert (state.images.norm_average == 1).all()
    assert (load_npz(RunFolder(config.run_dir).poses(1))["norm_correction"] == 1).all()
    assert not np.array_equal(state.images.noise[0], state.images.noise[1])  # measured, each half by itself


def result_of(finished, before: State, *changes: dict, **measured_spectra) -> IterationResult:
    """What iteration 2 measured, with statistics of half 1 and 2 changed."""
    folder = RunFolder(finished)
    measured = [load_npz(folder.statistics(2, Subset(half))) | changes[half - 1] for half in (1, 2)]
    old, new = load_npz(folder.poses(1)), load_npz(folder.poses(2))
    spectra = load_npz(folder.spectra(2)) | measured_spectra
    particles = read_frozen_particles(finished)
    return _result(read_config(finished), before, read_plan(finished), particles, measured, spectra, old, new)


def test_a_half_that_measured_nothing_keeps_its_own_noise(finished):
    before = load_state(RunFolder(finished).state(1))
    noise = np.stack([np.full((1, 17), 2.0), np.full((1, 17), 5.0)])
    before = replace(before, images=replace(before.images, noise=noise))
    nothing = {"noise": np.zeros((1, 17))}
    assert (result_of(finished, before, {}, nothing).images.noise[1] == 5).all()
    assert (result_of(finished, before, nothing, {}).images.noise[0] == 2).all()


@pytest.mark.parametrize("half", [1, 2])
def test_scales_are_the_half_s_own(half, finished):
    """The slope of each group over the mean of that half's particles."""
    before = load_state(RunFolder(finished).state(1))
    rng = np.random.default_rng(half)
    changes = [{"scale_cross": rng.uniform(0.8, 1.2, 4), "scale_power": np.ones(4)} for _ in range(2)]
    particles, rows = read_frozen_particles(finished), read_plan(finished).rows
    found = result_of(finished, before, *changes).images.scale[half - 1]
    counts = [np.bincount(particles.group_index[r], minlength=4) for r in rows]
    slopes = changes[half - 1]["scale_cross"]
    np.testing.assert_allclose(found, slopes / np.average(slopes, weights=counts[half - 1]), rtol=1e-12)
    assert counts[0].tolist() != counts[1].tolist()  # or the weights could be the other half's


@pytest.mark.parametrize("half", [1, 2])
def test_widths_of_offsets_are_the_half_s_own(half, finished):
    """sigma^2 = sum w |offset|^2 / 2 sum w."""
    before = load_state(RunFolder(finished).state(1))
    changes = [{"offset_square": np.array(2 * s**2 * 24.0), "weight": np.array([24.0])} for s in (3.0, 7.0)]
    assert result_of(finished, before, *changes).images.sigma_offset_angst[half - 1] == pytest.approx(
        (3.0, 7.0)[half - 1]
    )


@pytest.mark.parametrize(("final", "shell"), [(False, 14), (True, 8)])
def test_the_resolution_of_the_last_iteration_ends_at_the_first_gap(final, shell, finished):
    """On the way the signal is followed over gaps."""
    before = replace(load_state(RunFolder(finished).state(1)), final=final)
    stray = np.where(np.isin(np.arange(17), [*range(9), 14]), 9.0, 0.1)
    found = result_of(finished, before, {}, {}, ssnr=stray).references
    assert found.resolution_angst == pytest.approx([32 * 6.5 / shell], rel=1e-12)
    assert found.ssnr.tolist() == [stray.tolist()]


@pytest.mark.parametrize("half", [1, 2])
def test_directions_are_those_that_the_half_measured(half, finished):
    folder = RunFolder(finished)
    written, measured = load_npz(folder.directions(2)), load_npz(folder.statistics(2, Subset(half)))
    assert np.array_equal(written[f"half{half}"], measured["directions"])
    assert not np.array_equal(written["half1"], written["half2"])
    assert written["healpix_order"] == 1


@pytest.mark.parametrize("iteration", [2, 3])
def test_poses_changed_since_the_iteration_before_up_to_symmetry(iteration, finished):
    folder = RunFolder(finished)
    old, new = (load_npz(folder.poses(n)) for n in (iteration - 1, iteration))
    change, state = pose_change(old, new, operators("D4").numpy()), load_state(folder.state(iteration))
    assert (state.change_rotation_deg, state.change_offset_angst) == (change.rotation_deg, change.offset_angst)
