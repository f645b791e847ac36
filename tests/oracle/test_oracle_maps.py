"""Slices, insertion, spectra, maps and FSC of the engine against the slow float64 reference beside it."""

import numpy as np
import pytest
import torch
from oracle_images import half_plane
from oracle_maps import fsc, shell_average, symmetrised, wiener_map
from oracle_model import Map
from oracle_sums import Grid

from blush.fourier.backproject import Accumulator, empty_accumulator, hermitian, insert, symmetrise, trim
from blush.fourier.packed import packed
from blush.fourier.project import project
from blush.fourier.transform import transform
from blush.geometry.rotation import matrix_from_euler
from blush.geometry.symmetry import operators
from blush.kernels import native
from blush.maximization.halves import half_sum_fsc
from blush.maximization.reconstruct import reconstruct
from blush.maximization.spectra import reference_noise

N, R_MAX = 16, 6


@pytest.fixture(params=["float64", "float32-torch", "float32-native"])
def dtype(request, monkeypatch) -> torch.dtype:
    """Precision and kernels of the engine."""
    precision, _, kernels = request.param.partition("-")
    monkeypatch.setattr(native, "_choice", kernels or "torch")
    if kernels == "native" and native.library() is None:
        pytest.skip("no C++ compiler")
    return getattr(torch, precision)


def close(ours: torch.Tensor, theirs: np.ndarray, scale: float = 50.0) -> None:
    """Within a few dozen roundings of the largest value."""
    eps = torch.finfo(ours.dtype).eps
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=scale * eps * np.abs(theirs).max())


def rotations(n: int, seed: int = 0) -> torch.Tensor:
    return matrix_from_euler(torch.from_numpy(np.random.default_rng(seed).uniform(0, 360, (n, 3))))


def random_volume(seed: int = 1, n: int = N) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, n, n))


def engine_pixels(n: int, r_max: int):
    pixels = packed(n)
    count = pixels.inside(r_max)
    order = list(zip(pixels.kx[:count].tolist(), pixels.ky[:count].tolist(), strict=True))
    return pixels, count, order


def test_the_packed_half_plane_holds_one_of_each_pair():
    pixels = packed(N)
    count = pixels.count(R_MAX)
    ours = set(zip(pixels.kx[:count].tolist(), pixels.ky[:count].tolist(), strict=True))
    assert ours == set(half_plane(N, R_MAX))
    assert len(ours) == count


@pytest.mark.parametrize(("n", "r_max"), [(16, 6), (16, 8), (20, 10), (18, 5)])
def test_slices_agree(dtype, n, r_max):
    volume, matrices = random_volume(n=n), rotations(4)
    pixels, count, order = engine_pixels(n, r_max)
    ours = project(transform(torch.from_numpy(volume).to(dtype), r_max), matrices, pixels, count)
    reference = Map(volume, r_max)
    theirs = np.array([reference.slice(matrix.numpy(), order) for matrix in matrices])
    close(ours[:, 0], theirs.real)
    close(ours[:, 1], theirs.imag)


def random_slices(dtype: torch.dtype, n: int, count: int, seed: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn(n, 2, count, generator=generator, dtype=torch.float64)
    weight = torch.rand(n, count, generator=generator, dtype=torch.float64)
    return data.to(dtype), weight.to(dtype)


def both_sums(dtype: torch.dtype, n: int, seed: int) -> tuple[Accumulator, Grid]:
    """The same slices, inserted by both programs, with the x = 0 plane made Hermitian."""
    pixels, count, order = engine_pixels(N, R_MAX)
    matrices, (data, weight) = rotations(n, seed), random_slices(dtype, n, count, seed)
    sums, grid = empty_accumulator(N, R_MAX, dtype=dtype), Grid(R_MAX)
    insert(sums, matrices, data, weight, pixels)
    for matrix, d, w in zip(matrices.numpy(), data.double().numpy(), weight.double().numpy(), strict=True):
        grid.insert(matrix, d[0] + 1j * d[1], w, order)
    grid.hermitian_plane()
    return hermitian(sums), grid


def widened(grid: Grid, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """The reference's cells in an array of the engine's radius."""
    margin = radius - grid.size
    data, weight = grid.half()
    shape = ((margin, margin), (margin, margin), (0, margin))
    return np.pad(data, shape), np.pad(weight, shape)


def test_insertion_and_the_hermitian_plane_agree(dtype):
    sums, grid = both_sums(dtype, 5, 3)
    data, weight = widened(grid, sums.radius)
    close(sums.data.real, data.real)
    close(sums.data.imag, data.imag)
    close(sums.weight, weight)


def test_insertion_is_the_adjoint_of_projection(dtype):
    """<P v, y> = <v, P* y> over the cells with x >= 0, for any v and y."""
    pixels, count, _ = engine_pixels(N, R_MAX)
    matrices, (data, weight) = rotations(7), random_slices(dtype, 7, count)
    sphere = transform(torch.from_numpy(random_volume()).to(dtype), R_MAX)
    sums = empty_accumulator(N, R_MAX, dtype=dtype)
    insert(sums, matrices, data, weight, pixels)
    left = (project(sphere, matrices, pixels, count).double() * data.double()).sum()
    # Cells beyond the rim hold shares that a sphere, being zero there, never returns.
    right = (torch.view_as_real(sphere.values).double() * sums.grid[..., :2].double()).sum()
    bound = 10 * torch.finfo(dtype).eps * sphere.values.norm() * data.norm()
    assert (left - right).abs() < bound


@pytest.mark.parametrize("name", ["C1", "C3", "D2", "T"])
def test_symmetrised_sums_agree(dtype, name):
    sums, _ = both_sums(dtype, 4, 5)
    sums = trim(sums)
    group = operators(name)
    ours = symmetrise(sums, group)
    shape = sums.radius
    theirs = symmetrised(sums.data.to(torch.complex128).numpy(), shape, R_MAX, group.numpy(), True)
    inside = trim(ours)
    close(inside.data.real, theirs.real)
    close(inside.data.imag, theirs.imag)
    close(inside.weight, symmetrised(sums.weight.double().numpy(), shape, R_MAX, group.numpy(), False))


def test_reference_noise_agrees(dtype):
    sums, grid = both_sums(dtype, 30, 6)
    _, weight = widened(grid, sums.radius)
    expected = 1 / (8 * shell_average(weight, sums.radius, R_MAX)[: R_MAX + 1])
    np.testing.assert_allclose(reference_noise(sums)[: R_MAX + 1], expected, rtol=50 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("regularised", [True, False])
def test_maps_agree(dtype, regularised):
    sums, grid = both_sums(dtype, 60, 7)
    data, weight = widened(grid, sums.radius)
    tau2 = np.exp(-np.arange(N // 2 + 1) / 2.0) if regularised else None
    ours = reconstruct(trim(sums), tau2)
    theirs = wiener_map(data, weight, sums.radius, N, R_MAX, tau2)
    # Cells of little weight amplify rounding; the floor bounds that at a thousandfold of the average cell.
    close(ours, theirs, 1000.0)


def test_half_set_fsc_agrees(dtype):
    first, second = both_sums(dtype, 40, 8), both_sums(dtype, 40, 9)
    # Half of the second set is the first set, so that the curve is neither 0 nor 1.
    mixed = Accumulator(first[0].grid + second[0].grid, N, R_MAX)
    one, two = (widened(grid, mixed.radius) for _, grid in (first, second))
    theirs = fsc(one, (one[0] + two[0], one[1] + two[1]), mixed.radius, R_MAX)
    ours = half_sum_fsc(trim(first[0]), trim(mixed))
    assert 0.2 < theirs[3] < 0.95
    np.testing.assert_allclose(ours[: R_MAX + 1], theirs, atol=100 * torch.finfo(dtype).eps)
