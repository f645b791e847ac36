"""Slices: analytic Gaussians at any angle, exact sums on the grid, Friedel pairs, and the twins."""

import math

import pytest
import torch

from blush.fourier.packed import packed
from blush.fourier.project import project, project_weighted
from blush.fourier.transform import Sphere, gridding_correction, transform
from blush.geometry.rotation import matrix_from_euler
from blush.kernels import project as module

MEAN = torch.tensor([2.0, -1.5, 1.0], dtype=torch.float64)
HALF_TURN = torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64))


def random_rotations(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return matrix_from_euler(360 * torch.rand(count, 3, generator=generator, dtype=torch.float64))


def random_volume(box: int, dtype: torch.dtype, seed: int = 1) -> torch.Tensor:
    return torch.randn(box, box, box, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def covariance() -> torch.Tensor:
    """Of a Gaussian with three different axes, turned: every wrong convention shows."""
    turn = matrix_from_euler(torch.tensor([20.0, 50.0, 70.0], dtype=torch.float64))
    return turn @ torch.diag(torch.tensor([1.8, 2.4, 3.0], dtype=torch.float64) ** 2) @ turn.T


def gaussian_map(box: int) -> torch.Tensor:
    axis = torch.arange(box, dtype=torch.float64) - box // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    offset = torch.stack((x, y, z), -1) - MEAN
    return torch.exp(-0.5 * torch.einsum("...i,ij,...j->...", offset, covariance().inverse(), offset))


def gaussian_slices(box: int, rotations: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """Transform of the Gaussian's projection: the rotated object integrated along z. k is (p, 2), x and y."""
    seen = (rotations @ covariance() @ rotations.mT)[:, :2, :2]
    place = (rotations @ MEAN)[:, :2]
    mass = (2 * math.pi) ** 1.5 * covariance().det().sqrt() / box**2
    decay = torch.exp(-2 * math.pi**2 / box**2 * torch.einsum("pi,rij,pj->rp", k, seen, k))
    return mass * decay * torch.exp(-2j * math.pi / box * (place @ k.T))


@pytest.mark.parametrize("box", [48, 66, 96])
def test_a_gaussian_projects_to_its_analytic_transform_at_any_angle(box, real):
    rotations, pixels = random_rotations(12), packed(box)
    n = pixels.inside(box // 2)
    slices = project(transform(gaussian_map(box).to(real), box // 2), rotations, pixels, n).double()
    k = torch.stack((pixels.kx, pixels.ky), -1)[:n].double()
    expected = gaussian_slices(box, rotations, k)
    error = (torch.complex(slices[:, 0], slices[:, 1]) - expected).norm() / expected.norm()
    assert error < 1.5 * alias_error(box)  # 1.5: the formula's next order, (1 - x / M)^-2


def alias_error(box: int) -> float:
    """What is left after the correction: the kernel's nearest aliases, 2 cos(2 pi f) (x / M)^2 along each axis.

    M = pad N and f is the fraction of a cell, any with equal chance; the mean of x^4 is over the density squared.
    """
    variance = covariance().diagonal() / 2
    fourth = 3 * variance**2 + 6 * variance * MEAN**2 + MEAN**4
    return float((2 * fourth.sum()).sqrt()) / (2 * box) ** 2


@pytest.mark.parametrize("box", [16, 18, 34, 46, 50, 62, 96, 98])
def test_the_slice_on_the_grid_is_the_transform_of_the_sum_along_z(box, real):
    """Every even size: no row is lost, whatever the rounding of its frequencies."""
    volume, pixels = random_volume(box, real), packed(box)
    n = pixels.inside(box // 2 - 1)
    slices = project(transform(volume, box // 2), torch.eye(3, dtype=torch.float64)[None], pixels, n)
    image = (volume / gridding_correction(box, like=volume)).double().sum(0)
    centred = torch.fft.ifftshift(image)
    expected = torch.fft.rfft2(centred).flatten()[pixels.index[:n]] / box**2
    bound = 10 * torch.finfo(real).eps * math.log2(box) * expected.abs().max()
    assert (torch.complex(slices[0, 0], slices[0, 1]) - expected).abs().max() < bound


@pytest.mark.parametrize("angles", [(90, 0, 0), (0, 90, 0), (90, 90, 0), (0, 180, 0), (180, 90, 270)])
def test_right_angles_turn_the_map_exactly(angles, real):
    """Rotating the map in real space by right angles, then summing along z, gives the slice."""
    box = 16
    volume, pixels = random_volume(box, real), packed(box)
    volume[0], volume[:, 0], volume[:, :, 0] = 0, 0, 0  # -N/2 has no mirror image
    matrix = matrix_from_euler(torch.tensor(angles, dtype=torch.float64))
    whole = matrix.round().long()
    place = torch.nonzero(volume)
    turned = torch.zeros_like(volume)
    xyz = (place.flip(1) - box // 2) @ whole.T + box // 2
    turned[tuple(xyz.flip(1).T)] = volume[tuple(place.T)]
    n = pixels.inside(box // 2 - 1)
    identity = torch.eye(3, dtype=torch.float64)[None]
    expected = project(transform(turned, box // 2), identity, pixels, n)
    slices = project(transform(volume, box // 2), whole.double()[None], pixels, n)
    assert (slices - expected).abs().max() < 20 * torch.finfo(real).eps * expected.abs().max()


@pytest.mark.parametrize("box", [16, 22, 96])
def test_half_a_turn_in_the_plane_conjugates_a_slice(box, real):
    """Friedel's law, for samples of both signs of x."""
    rotations, pixels = random_rotations(9), packed(box)
    sphere = transform(random_volume(box, real), box // 2)
    n = pixels.inside(box // 2)
    slices = project(sphere, rotations, pixels, n)
    turned = project(sphere, HALF_TURN @ rotations, pixels, n)
    conjugate = slices * torch.tensor([1, -1])[:, None]
    inner = (pixels.k2[:n] > 0) & (pixels.k2[:n] < (box // 2 - 1) ** 2)
    bound = 4 * box * torch.finfo(real).eps * slices.abs().max()  # rounding of k, up to N, times the slope
    assert (turned - conjugate)[..., inner].abs().max() < bound


def test_slices_are_linear_in_the_map(real):
    rotations, pixels = random_rotations(5), packed(18)
    n = pixels.inside(9)
    first, second = (transform(random_volume(18, real, seed), 9) for seed in (1, 2))
    both = Sphere(2 * first.values - second.values, 18, 9)
    apart = 2 * project(first, rotations, pixels, n) - project(second, rotations, pixels, n)
    together = project(both, rotations, pixels, n)
    assert (together - apart).abs().max() < 10 * torch.finfo(real).eps * apart.abs().max()


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_batch_is_its_slices_one_by_one(count, real):
    rotations, pixels = random_rotations(count), packed(16)
    sphere = transform(random_volume(16, real), 6)
    n = pixels.inside(6)
    batch = project(sphere, rotations, pixels, n)
    assert batch.shape == (count, 2, n)
    for row, rotation in zip(batch, rotations, strict=True):
        assert torch.equal(project(sphere, rotation[None], pixels, n)[0], row)


def test_fewer_pixels_are_the_first_ones(real):
    sphere, rotations, pixels = transform(random_volume(20, real), 10), random_rotations(3), packed(20)
    whole = project(sphere, rotations, pixels, pixels.inside(10))
    n = pixels.inside(4)
    assert torch.equal(project(sphere, rotations, pixels, n), whole[..., :n])


def test_chunks_change_nothing(monkeypatch):
    sphere, rotations, pixels = transform(random_volume(16, torch.float64), 8), random_rotations(11), packed(16)
    n = pixels.inside(8)
    whole = project(sphere, rotations, pixels, n)
    monkeypatch.setattr(module, "SAMPLES_PER_CHUNK", 2 * n + 1)
    assert torch.equal(project(sphere, rotations, pixels, n), whole)


@pytest.mark.parametrize(("rows", "run"), [(1, 5), (3, 4), (6, 1)])
def test_weighted_power_serves_runs_of_rotations(rows, run, real):
    sphere, rotations, pixels = transform(random_volume(16, real), 7), random_rotations(rows * run), packed(16)
    n = pixels.inside(7)
    weight = torch.rand(rows, n, generator=torch.Generator().manual_seed(4), dtype=torch.float64).to(real)
    slices, power = project_weighted(sphere, rotations, pixels, n, weight)
    assert torch.equal(slices, project(sphere, rotations, pixels, n))
    expected = (slices.double().square().sum(1) * weight.double().repeat_interleave(run, 0)).sum(1)
    torch.testing.assert_close(power.double(), expected, rtol=20 * torch.finfo(real).eps, atol=0)


def test_compiled_and_torch_slices_agree(both_kernels):
    sphere, rotations, pixels = transform(random_volume(50, torch.float32), 25), random_rotations(20), packed(50)
    n = pixels.count(25)  # with the rim, |k| up to 25.5
    compiled, plain = both_kernels(lambda: project(sphere, rotations, pixels, n))
    # k reaches 50 cells and rounds at 50 eps; a cell's slope is at most twice the largest value.
    assert (compiled - plain).abs().max() < 100 * torch.finfo(torch.float32).eps * plain.abs().max()
    assert compiled.abs().max() > 0
