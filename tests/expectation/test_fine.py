"""Second pass: the posterior of all children, and back-projection as the adjoint of prediction."""

import math

import pytest
import torch
from small_problem import N_FINE, PIXELS, model

from blush.expectation import kept_poses
from blush.expectation.coarse import Weighted
from blush.expectation.fine import Posterior, back_project, fine_posterior
from blush.expectation.kept_poses import Poses
from blush.expectation.model import Model
from blush.fourier.backproject import Accumulator, empty_accumulator, insert
from blush.fourier.project import project
from blush.fourier.shift import multiply, phases
from blush.geometry.sampling import fine_offsets
from blush.kernels.shifts import Shifts

B, SIGMA2 = 3, 5e-4


def offsets_px(given: Model) -> torch.Tensor:
    return fine_offsets(given.offsets_angst / given.pixel_size_angst, given.offset_step_angst / given.pixel_size_angst)


def vectors(given: Model) -> Shifts:
    return Shifts(offsets_px(given), PIXELS.kx[:N_FINE], PIXELS.ky[:N_FINE], PIXELS.box_px)


def ramps(given: Model, dtype: torch.dtype) -> torch.Tensor:
    return phases(offsets_px(given), PIXELS, N_FINE, dtype)


def poses() -> Poses:
    """A few coarse poses of three images, by (image, shift); image 1 has one alone."""
    table = [(0, 0, 5), (0, 0, 60), (0, 2, 5), (0, 3, 17), (1, 4, 17), (2, 1, 0), (2, 1, 71), (2, 2, 33), (2, 2, 5)]
    image, shift, orientation = (torch.tensor(column) for column in zip(*table, strict=True))
    prior = torch.linspace(-0.5, 0.5, len(table), dtype=torch.float64)
    return Poses(image, shift, orientation, prior, torch.bincount(image))


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weighted(dtype: torch.dtype) -> Weighted:
    transfer = draw(B, N_FINE, seed=2).clamp(-1, 1)
    cross = 2e-2 * draw(B, 2, N_FINE, seed=3) * (transfer / SIGMA2)[:, None]
    return Weighted(cross.to(dtype), (transfer.square() / (2 * SIGMA2)).to(dtype), torch.zeros(B, 5, dtype=dtype))


def posterior_of(given: Model, dtype: torch.dtype) -> Posterior:
    listed = poses()
    listed = Poses(listed.image, listed.shift, listed.row, listed.log_prior.to(dtype), listed.count)
    return fine_posterior(listed, weighted(dtype), vectors(given), given, PIXELS)


def as_table(posterior: Posterior) -> dict[tuple[int, int, int], torch.Tensor]:
    """(4, children) weights of each (image, shift, coarse orientation)."""
    pairs = posterior.pairs
    orientation = posterior.row[pairs.orientation]
    keys = zip(pairs.image.tolist(), pairs.shift.tolist(), orientation.tolist(), strict=True)
    return dict(zip(keys, posterior.weight.double(), strict=True))


def test_weights_are_the_normalised_likelihood_of_every_child(real):
    given, block, listed = model(real), weighted(torch.float64), poses()
    log_weight = {}
    for image, shift, orientation, prior in zip(*(getattr(listed, n).tolist() for n in (
        "image", "shift", "row", "log_prior")), strict=True):  # fmt: skip
        matrices = given.component.fine_matrices(torch.tensor([orientation]))[0]
        children = project(given.component.sphere, matrices, PIXELS, N_FINE)
        moved = multiply(block.cross[image], ramps(given, torch.float64)[shift])
        cross = torch.einsum("jpk,cpk->jc", moved, children.double())
        log_weight[image, shift, orientation] = cross - children.double().square().sum(1) @ block.power[image] + prior
    found = as_table(posterior_of(given, real))
    assert found.keys() == log_weight.keys()
    for image in range(B):
        mine = {key: value for key, value in log_weight.items() if key[0] == image}
        total = torch.logsumexp(torch.stack(list(mine.values())).flatten(), 0)
        for key, value in mine.items():
            share = (value - total).exp()
            kept = found[key] > 0
            # Log weights near 100 round at 100 eps; samples 30 below the top are left out of the sum, 1e-13 each.
            rounding = 1e3 * torch.finfo(real).eps + 1e-11
            torch.testing.assert_close(found[key][kept], share[kept], rtol=rounding, atol=0)
            assert (share[~kept] < 1e-3).all()


def test_each_image_keeps_more_than_the_fraction_and_less_than_all(real):
    posterior = posterior_of(model(real), real)
    total = torch.zeros(B, dtype=torch.float64)
    total.index_add_(0, posterior.pairs.image, posterior.weight.double().sum((1, 2)))
    assert (total > 0.999 - 1e-6).all()
    assert (total <= 1 + 1e-6).all()
    assert (posterior.weight == 0).any()


def test_the_best_sample_is_the_heaviest(real):
    given = model(real)
    posterior, table = posterior_of(given, real), as_table(posterior_of(given, real))
    for image in range(B):
        heaviest = max(float(w.max()) for key, w in table.items() if key[0] == image)
        assert float(posterior.pmax[image]) == pytest.approx(heaviest, rel=10 * torch.finfo(real).eps)
        shift, child_shift = divmod(int(posterior.best_shift[image, 0]), 4)
        row, child = divmod(int(posterior.best_row[image, 0]), posterior.children)
        assert float(table[image, shift, int(posterior.row[row])][child_shift, child]) == heaviest


@pytest.mark.parametrize("bytes_per_block", [1, 8 * N_FINE * 8 * 3])
def test_blocks_of_orientations_change_nothing(bytes_per_block, real, monkeypatch):
    given = model(real)
    whole = posterior_of(given, real)
    first = back_projected(whole, given, real)
    monkeypatch.setitem(kept_poses.BLOCK_BYTES, "cpu", bytes_per_block)
    parts = posterior_of(given, real)
    assert len(parts.blocks()) > len(whole.blocks()) == 1
    table = as_table(whole)
    for key, weight in as_table(parts).items():
        torch.testing.assert_close(weight, table[key], rtol=1e3 * torch.finfo(real).eps, atol=0)
    assert torch.equal(parts.best_shift, whole.best_shift)
    assert torch.equal(parts.best_row, whole.best_row)
    for one, two in zip(back_projected(parts, given, real), first, strict=True):
        # The weights agree to 1e3 eps, so do sums over them.
        assert (one - two).abs().max() < 1e3 * torch.finfo(real).eps * two.abs().max()


def images(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted transforms to back-project, and their power."""
    return draw(B, 2, N_FINE, seed=7).to(dtype), draw(B, N_FINE, seed=8).square().to(dtype)


def back_projected(posterior: Posterior, given: Model, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    volume = empty_accumulator(given.box_px, given.radius, dtype=dtype)
    mean, square = back_project(posterior, *images(dtype), vectors(given), given, PIXELS, (volume,))
    return volume.grid, mean, square


def test_back_projection_is_the_adjoint_of_prediction(real):
    """<D, V> = <images, mean>: what the images give the map, and what the map gives the images, weighted alike."""
    given = model(real)
    grid, mean, _ = back_projected(posterior_of(given, real), given, real)
    image, _ = images(real)
    left = (grid[..., :2].double() * torch.view_as_real(given.component.sphere.values).double()).sum()
    right = (image.double() * mean.double()).sum()
    scale = image.double().norm() * mean.double().norm()
    assert (left - right).abs() < 10 * torch.finfo(real).eps * scale
    assert left.abs() > 1e-2 * scale


def test_back_projection_keeps_the_sum_of_weights(real):
    given, (_, power) = model(real), images(real)
    posterior = posterior_of(given, real)
    grid, _, _ = back_projected(posterior, given, real)
    per_image = torch.zeros(B, dtype=torch.float64)
    per_image.index_add_(0, posterior.pairs.image, posterior.weight.double().sum((1, 2)))
    expected = (per_image * power.double().sum(1)).sum()
    assert float(grid[..., 2].double().sum()) == pytest.approx(float(expected), rel=20 * torch.finfo(real).eps)


def test_the_square_belongs_to_the_mean(real):
    """Jensen: |sum w P|^2 <= sum w |P|^2 sum w, pixel by pixel; equal for one sample."""
    given = model(real)
    posterior = posterior_of(given, real)
    _, mean, square = back_projected(posterior, given, real)
    assert (mean.square().sum(1) <= square * (1 + 1e-5) + 1e-12).all()


def test_one_pose_is_inserted_as_it_is(real):
    """Under cross-correlation a single sample of weight 1 is left: D is the image moved there, the mean the slice."""
    given = model(real, cross_correlation=True)
    posterior = posterior_of(given, real)
    assert posterior.weight.sum() == B
    assert (posterior.pmax == 1).all()
    grid, mean, square = back_projected(posterior, given, real)
    matrices = posterior.matrices.flatten(0, 1)[posterior.best_row[:, 0]]
    ramp = ramps(given, real).flatten(0, 1)[posterior.best_shift[:, 0]]
    image, power = images(real)
    expected = empty_accumulator(given.box_px, given.radius, dtype=real)
    insert(expected, matrices, multiply(image, ramp), power, PIXELS)
    eps = torch.finfo(real).eps
    assert (grid - expected.grid).abs().max() < 20 * eps * expected.grid.abs().max()
    slices = project(given.component.sphere, matrices, PIXELS, N_FINE)
    back = multiply(slices, ramp * torch.tensor([1, -1])[:, None])
    assert (mean - back).abs().max() < 20 * eps * slices.abs().max()
    assert (square - slices.square().sum(1)).abs().max() < 20 * eps * slices.square().max()


@pytest.mark.parametrize("child", [0, 5])
@pytest.mark.parametrize("child_shift", [1, 2])
def test_an_image_without_noise_has_the_child_it_was_made_at(child, child_shift, real):
    given, orientation, shift = model(real), 17, 3
    matrix = given.component.grid.fine_matrices(torch.tensor([orientation]))[0, child]
    seen = project(given.component.sphere, matrix[None], PIXELS, N_FINE)
    moved = multiply(seen, phases(-offsets_px(given)[shift, child_shift], PIXELS, N_FINE, real)[None])
    noise = 1e-6
    block = Weighted(moved / noise, torch.full((1, N_FINE), 0.5 / noise, dtype=real), torch.zeros(1, 5, dtype=real))
    every = [(t, o) for t in range(5) for o in (3, orientation, 40)]
    listed = Poses(
        torch.zeros(15, dtype=torch.int64), *(torch.tensor(x) for x in zip(*every, strict=True)),
        torch.zeros(15, dtype=real), torch.tensor([15]),
    )  # fmt: skip
    posterior = fine_posterior(listed, block, vectors(given), given, PIXELS)
    assert int(posterior.best_shift[0, 0]) == 4 * shift + child_shift
    torch.testing.assert_close(posterior.matrices.flatten(0, 1)[posterior.best_row[0, 0]], matrix)
    assert float(posterior.pmax[0]) > 0.99
    assert math.isclose(float(posterior.weight.sum()), 1, rel_tol=1e-5)


def test_compiled_and_torch_kernels_agree(both_kernels):
    given = model(torch.float32)
    results = both_kernels(lambda: back_projected(posterior_of(given, torch.float32), given, torch.float32))
    for compiled, plain in zip(*results, strict=True):
        # Log weights near 100 round at 1e-5, and so do the weights.
        assert (compiled - plain).abs().max() < 1e-4 * plain.abs().max()


def test_the_accumulator_may_hold_something_already(real):
    given = model(real)
    posterior, (image, power) = posterior_of(given, real), images(real)
    once = back_projected(posterior, given, real)[0]
    volume = Accumulator(once.clone(), given.box_px, given.radius)
    back_project(posterior, image, power, vectors(given), given, PIXELS, (volume,))
    assert (volume.grid - 2 * once).abs().max() < 20 * torch.finfo(real).eps * once.abs().max()
