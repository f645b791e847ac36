"""From the files of an iteration to the model of a half: what is shifted, filtered and taken from where."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from blush.geometry.sampling import OrientationGrid, offset_grid
from blush.io.files import load_npz, save_npz
from blush.jobs.expect import accuracy_rows, build_model, expectation_shard
from blush.jobs.inputs import POSE_COLUMNS, read_frozen_particles, with_poses
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import written
from blush.refine.state import load_state
from blush.refine.subset import Subset

CPU = torch.device("cpu")


def built(finished, half=1, iteration=2, ssnr=None, **search):
    folder = RunFolder(finished)
    state = load_state(folder.state(iteration))
    references = state.references if ssnr is None else replace(state.references, ssnr=ssnr[None])
    state = replace(state, search=replace(state.search, **search), references=references)
    return state, build_model(folder, state, Subset(half), 0, CPU, torch.float64)


@pytest.mark.parametrize("perturbation", [0.0, 0.3, -0.45])
def test_the_whole_grid_is_perturbed_by_a_fraction_of_its_step(perturbation, finished):
    """Orientations by p of theirs about every axis, offsets by p of theirs along x and y."""
    state, model = built(finished, perturbation=perturbation)
    plain = offset_grid(state.search.offset_range_angst, state.search.offset_step_angst)
    torch.testing.assert_close(model.offsets_angst - plain, torch.full_like(plain, perturbation * 13.0))
    assert state.search.offset_step_angst == 13.0  # 2 px of 6.5 Å
    grid = OrientationGrid.build(state.search.healpix_order, "D4", perturbation)
    assert torch.equal(model.component.grid.matrices(torch.arange(5)), grid.matrices(torch.arange(5)))


@pytest.mark.parametrize("half", [1, 2])
def test_every_part_of_the_model_is_the_half_s_own(half, finished):
    state, model = built(finished, half)
    index = half - 1
    assert model.noise.tolist() == state.images.noise[index].tolist()
    assert model.scale.tolist() == state.images.scale[index].tolist()
    assert model.norm_average == state.images.norm_average[index]
    assert model.sigma_offset_angst == state.images.sigma_offset_angst[index]
    for values in (state.images.noise, state.images.norm_average, state.images.sigma_offset_angst):
        assert not np.array_equal(values[0], values[1])  # or the assertions above say nothing


@pytest.mark.parametrize("half", [1, 2])
def test_the_learned_directions_are_the_half_s_own(half, finished):
    """ln of the histogram over its mean."""
    state, model = built(finished, half)
    histogram = load_npz(RunFolder(finished).directions(state.iteration))[f"half{half}"]
    expected = np.log(np.maximum(histogram / histogram.mean(), 1e-30))
    learned = model.component.references[0].log_prior_direction
    assert learned is not None
    np.testing.assert_allclose(learned.numpy(), expected, rtol=1e-12)


def test_images_are_compared_to_half_their_size_first_at_the_coarse_one(finished):
    _, model = built(finished, current_size_px=26, coarse_size_px=10)
    assert (model.radius, model.coarse_radius, model.component.sphere.r_max) == (13, 5, 13)
    _, model = built(finished, current_size_px=8, coarse_size_px=10)
    assert (model.radius, model.coarse_radius) == (4, 4)


def test_a_local_search_has_the_width_of_the_state(finished):
    assert built(finished, local=True, sigma_angle_deg=5.5)[1].local_sigma_deg == 5.5
    assert built(finished, local=False, sigma_angle_deg=5.5)[1].local_sigma_deg is None


def test_particles_have_the_poses_of_the_iteration_before(run):
    """Other offsets after iteration 1 make other images of iteration 2: they are moved by them first."""
    folder = RunFolder(run)
    poses, found = load_npz(folder.poses(1)), []
    for moved_angst in (0.0, 13.0):
        with written(folder, folder.poses(1)) as beside:
            save_npz(beside, poses | {"offset_x_angst": poses["offset_x_angst"] + moved_angst})
        found.append(load_npz(expectation_shard(run, 2, Subset.FIRST, 0))["noise"])
    assert not np.allclose(found[0], found[1], rtol=1e-3)


def test_poses_are_those_of_the_rows(finished):
    frozen, rows = read_frozen_particles(finished), np.array([7, 3, 40])
    poses = {name: np.arange(48.0) + 100 * number for number, name in enumerate(POSE_COLUMNS)}
    posed = with_poses(frozen, poses, rows)
    for number, name in enumerate(POSE_COLUMNS):
        assert getattr(posed, name).tolist() == (rows + 100.0 * number).tolist()
    assert posed.image_index.tolist() == frozen.image_index[rows].tolist()


def test_groups_are_scaled_by_shells_whose_signal_is_three_times_the_noise(finished):
    """SSNR > 3, as in RELION's `--scale`: FSC > 0.75 between the halves."""
    ssnr = np.linspace(6, 0, 17)
    _, model = built(finished, ssnr=ssnr)
    assert model.scale_shells is not None
    assert model.scale_shells.tolist() == (ssnr > 3.0).tolist()


def test_a_histogram_of_another_grid_is_not_used(finished):
    state, model = built(finished)
    (reference,) = model.component.references
    assert reference.log_prior_direction is not None
    torch.testing.assert_close(reference.log_prior_direction.exp().mean(), torch.tensor(1.0, dtype=torch.float64))
    assert (
        built(finished, healpix_order=state.search.healpix_order + 1)[1].component.references[0].log_prior_direction
        is None
    )
    assert built(finished, local=True, sigma_angle_deg=5.0)[1].component.references[0].log_prior_direction is None


def test_accuracies_are_those_of_random_particles_of_the_whole_half():
    """100 of them, another sample in another iteration, spread over the half and not its first stacks."""
    rows = np.arange(1, 4001, 2)
    chosen = accuracy_rows(rows, 7)
    assert len(np.unique(chosen)) == 100
    assert np.isin(chosen, rows).all()
    assert (np.diff(chosen) > 0).all()
    assert np.array_equal(chosen, accuracy_rows(rows, 7))
    assert not np.array_equal(chosen, accuracy_rows(rows, 8))
    assert abs(chosen.mean() - rows.mean()) < 4 * 1155 / 10  # of a uniform draw from 4000 rows
    assert np.array_equal(accuracy_rows(rows[:24], 7), rows[:24])
