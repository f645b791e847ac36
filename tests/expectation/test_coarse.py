"""First pass against squared residuals in complex arithmetic; and what cannot change it: tiles, caches, padding."""

import numpy as np
import pytest
import torch
from small_problem import N_FINE, PIXELS, RADIUS, N, changed, model, speckle

from blush.expectation import coarse as module
from blush.expectation.coarse import GlobalSearch, Weighted, local_search
from blush.expectation.kept_poses import Poses
from blush.expectation.model import Model
from blush.fourier.project import project
from blush.fourier.shift import multiply, phases
from blush.fourier.transform import transform

B = 3


def ramps(given: Model, dtype: torch.dtype) -> torch.Tensor:
    return phases(given.offsets_angst / given.pixel_size_angst, PIXELS, N, dtype)


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Transforms and CTFs, (b, 2, n) and (b, n), of noise: many poses matter."""
    generator = torch.Generator().manual_seed(2)
    spectrum = 2e-2 * torch.randn(B, 2, N_FINE, generator=generator, dtype=torch.float64)
    return spectrum, torch.rand(B, N_FINE, generator=generator, dtype=torch.float64) * 2 - 1


def weighted(spectrum, transfer, sigma2: float, given: Model, dtype: torch.dtype) -> Weighted:
    cross, power = spectrum * (transfer / sigma2)[:, None], transfer.square() / (2 * sigma2)
    cross[..., 0], power[:, 0] = 0, 0
    prior = torch.linspace(-1, 0, len(given.offsets_angst), dtype=torch.float64).expand(len(spectrum), -1)
    return Weighted(cross.to(dtype), power.to(dtype), prior.to(dtype))


def direct(spectrum, transfer, sigma2: float, given: Model, block: Weighted) -> np.ndarray:
    """-sum_k |X e^{i phi} - c P|^2 / 2 sigma^2 + prior, pixel by pixel, (b, t, r) float64."""
    every = torch.arange(given.component.grid.n_orientations)
    slices = project(given.component.sphere, given.component.grid.matrices(every), PIXELS, N).double()
    moved = multiply(spectrum[:, None, :, :N], ramps(given, torch.float64))
    out = np.zeros((len(spectrum), moved.shape[1], len(slices)))
    for b in range(len(spectrum)):
        predicted = slices * transfer[b, :N]
        for t in range(moved.shape[1]):
            residual = (moved[b, t] - predicted).square().sum(1)[:, 1:].sum(1) / (2 * sigma2)
            out[b, t] = (block.log_prior_shift[b, t].double() - residual).numpy()
    return out


def as_table(poses: Poses, shape: tuple[int, int, int]) -> np.ndarray:
    kept = np.zeros(shape, dtype=bool)
    kept[poses.image.numpy(), poses.shift.numpy(), poses.row.numpy()] = True
    return kept


def test_the_poses_kept_hold_the_fraction_of_the_posterior_and_no_fewer_do(images, real):
    given, sigma2 = model(real), 5e-4
    block = weighted(*images, sigma2, given, real)
    poses = GlobalSearch(given, PIXELS, real).search(block, ramps(given, real))
    log_weight = direct(*images, sigma2, given, block)
    kept = as_table(poses, log_weight.shape)
    rounding = 2e-5 if real == torch.float32 else 1e-12  # of a log weight: D^2 is about 40
    for b in range(B):
        gap = log_weight[b].max() - log_weight[b]
        weight = np.exp(-gap) / np.exp(-gap).sum()
        assert weight[kept[b]].sum() > 0.999 - 10 * rounding
        lightest = gap[kept[b]].max()
        assert weight[gap < lightest - 2 * rounding].sum() <= 0.999 + 10 * rounding  # it was needed
        assert kept[b][gap < lightest - 2 * rounding].all()  # and nothing heavier left out
        assert 10 < kept[b].sum() < kept[b].size / 2
    assert poses.count.tolist() == kept.sum((1, 2)).tolist()
    assert torch.equal(poses.log_prior, block.log_prior_shift[poses.image, poses.shift])


def test_poses_come_by_image_then_shift(images, real):
    given = model(real)
    poses = GlobalSearch(given, PIXELS, real).search(weighted(*images, 5e-4, given, real), ramps(given, real))
    key = poses.image * len(given.offsets_angst) + poses.shift
    assert (key.diff() >= 0).all()


@pytest.mark.parametrize("orientation", [0, 17, 71])
@pytest.mark.parametrize("shift", [0, 3])
def test_an_image_without_noise_has_the_pose_it_was_made_at(orientation, shift, real):
    given = model(real)
    matrix = given.component.grid.matrices(torch.tensor([orientation]))
    offset = given.offsets_angst[shift] / given.pixel_size_angst
    seen = project(given.component.sphere, matrix, PIXELS, N_FINE).double()
    spectrum = multiply(seen, phases(-offset, PIXELS, N_FINE, torch.float64))  # the search moves it back
    block = weighted(spectrum, torch.ones(1, N_FINE, dtype=torch.float64), 1e-7, given, real)
    poses = GlobalSearch(given, PIXELS, real).search(block, ramps(given, real))
    assert (poses.shift.tolist(), poses.row.tolist(), poses.count.tolist()) == ([shift], [orientation], [1])


@pytest.mark.parametrize("cached", [0, 2**27])
@pytest.mark.parametrize("tile", [7, 72, 1000])
def test_tiles_and_their_cache_change_nothing(images, tile, cached, real, monkeypatch):
    given = model(real)
    block = weighted(*images, 5e-4, given, real)
    whole = GlobalSearch(given, PIXELS, real).search(block, ramps(given, real))
    monkeypatch.setattr(module, "TILE", tile)
    monkeypatch.setattr(module, "CACHED_FLOATS", cached)
    search = GlobalSearch(given, PIXELS, real)
    for _ in range(2):
        again = search.search(block, ramps(given, real))
        assert torch.equal(again.row, whole.row)
        assert torch.equal(again.shift, whole.shift)
        assert torch.equal(again.count, whole.count)


@pytest.mark.parametrize("cross_correlation", [False, True])
def test_a_local_search_of_every_orientation_is_the_global_one(images, cross_correlation, real):
    """In either mode; the prior is uniform over the grid."""
    given = model(real, cross_correlation=cross_correlation)
    block = weighted(*images, 5e-4, given, real)
    every = torch.arange(given.component.grid.n_orientations).expand(B, -1)
    padded = torch.cat((every, torch.full((B, 5), -1)), 1)
    log_prior = torch.where(padded < 0, -torch.inf, 0.0).double()
    near = local_search(block, ramps(given, real), padded[:, None], log_prior[:, None], given, PIXELS)
    whole = GlobalSearch(given, PIXELS, real).search(block, ramps(given, real))
    for name in ("image", "shift", "row", "log_prior", "count"):
        assert torch.equal(getattr(near, name), getattr(whole, name))


def test_a_local_prior_moves_the_weights(images, real):
    given = model(real)
    block = weighted(*images, 5e-4, given, real)
    orientation = torch.tensor([[3, 8, -1], [70, 0, 5], [9, -1, -1]])
    log_prior = torch.tensor([[0.0, -60.0, -torch.inf], [-60.0, 0.0, -60.0], [0.0, -torch.inf, -torch.inf]])
    poses = local_search(block, ramps(given, real), orientation[:, None], log_prior[:, None].double(), given, PIXELS)
    assert [poses.row[poses.image == b].unique().tolist() for b in range(B)] == [[3], [0], [9]]
    assert torch.equal(poses.log_prior, block.log_prior_shift[poses.image, poses.shift])


def test_under_cross_correlation_priors_do_not_count(images, real):
    """Correlations are small numbers; a prior in nats would decide alone (docs/algorithm.md, section 2)."""
    flat = model(real, cross_correlation=True)
    block = weighted(*images, 5e-4, flat, real)
    expected = GlobalSearch(flat, PIXELS, real).search(block, ramps(flat, real))
    assert expected.count.tolist() == [1] * B
    steep = changed(flat, log_prior_direction=torch.linspace(-50, 0, flat.component.grid.n_directions))
    assert torch.equal(GlobalSearch(steep, PIXELS, real).search(block, ramps(flat, real)).row, expected.row)
    every = torch.arange(flat.component.grid.n_orientations).expand(B, -1)
    log_prior = torch.linspace(-50, 0, flat.component.grid.n_orientations).double().expand(B, -1)
    near = local_search(block, ramps(flat, real), every[:, None], log_prior[:, None], flat, PIXELS)
    assert torch.equal(near.row, expected.row)
    assert torch.equal(near.shift, expected.shift)


@pytest.mark.parametrize("factor", [0.5, 8.0])
def test_correlation_does_not_depend_on_the_grey_scale(images, factor, real):
    first = model(real, cross_correlation=True)
    second = changed(first, sphere=transform(factor * speckle().to(real), RADIUS))
    spectrum, transfer = images
    one, two = (
        GlobalSearch(m, PIXELS, real).search(weighted(x, transfer, 1.0, m, real), ramps(m, real))
        for m, x in ((first, spectrum), (second, 4 * spectrum))
    )
    assert torch.equal(one.row, two.row)
    assert torch.equal(one.shift, two.shift)


@pytest.mark.parametrize("cross_correlation", [False, True])
def test_what_pads_a_neighbourhood_is_not_searched(cross_correlation, real):
    """An image made at orientation 0, which is no neighbour of its pose."""
    given = model(real, cross_correlation=cross_correlation)
    seen = project(given.component.sphere, given.component.grid.matrices(torch.tensor([0])), PIXELS, N_FINE).double()
    block = weighted(seen, torch.ones(1, N_FINE, dtype=torch.float64), 1e-4, given, real)
    near = torch.tensor([[33, 41, -1]])
    log_prior = torch.tensor([[0.0, 0.0, -torch.inf]], dtype=torch.float64)
    poses = local_search(block, ramps(given, real), near[:, None], log_prior[:, None], given, PIXELS)
    assert set(poses.row.tolist()) <= {33, 41}


def test_poses_carry_the_prior_of_their_direction_and_shift(images, real):
    given = model(real)
    prior = torch.linspace(-1, 1, given.component.grid.n_directions, dtype=torch.float64)
    given = changed(given, log_prior_direction=prior)
    block = weighted(*images, 5e-4, given, real)
    poses = GlobalSearch(given, PIXELS, real).search(block, ramps(given, real))
    expected = block.log_prior_shift[poses.image, poses.shift] + prior.to(real)[poses.row // given.component.grid.n_psi]
    torch.testing.assert_close(poses.log_prior, expected)


def test_the_direction_prior_belongs_to_all_angles_in_its_plane(images, real):
    given = model(real)
    chosen = 7
    prior = torch.full((given.component.grid.n_directions,), -200.0, dtype=torch.float64)
    prior[chosen] = 0.0
    given = changed(given, log_prior_direction=prior)
    poses = GlobalSearch(given, PIXELS, real).search(weighted(*images, 5e-4, given, real), ramps(given, real))
    assert set((poses.row // given.component.grid.n_psi).tolist()) == {chosen}
