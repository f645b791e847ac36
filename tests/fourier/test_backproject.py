"""Insertion is the adjoint of projection; what follows it (Friedel pairs, symmetry) keeps its identities."""

import pytest
import torch

from blush.fourier.backproject import Accumulator, empty_accumulator, hermitian, insert, symmetrise, trim
from blush.fourier.packed import packed
from blush.fourier.project import project
from blush.fourier.transform import Sphere, sphere_k2
from blush.geometry.rotation import matrix_from_euler
from blush.geometry.symmetry import operators
from blush.kernels import insert as module

SHAPES = [(16, 6), (18, 9), (50, 25), (96, 20)]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_rotations(count: int, seed: int = 0) -> torch.Tensor:
    return matrix_from_euler(360 * torch.rand(count, 3, generator=generator(seed), dtype=torch.float64))


def random_slices(count: int, n: int, dtype: torch.dtype, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    data = torch.randn(count, 2, n, generator=generator(seed), dtype=torch.float64)
    return data.to(dtype), torch.rand(count, n, generator=generator(seed + 1), dtype=torch.float64).to(dtype)


def random_sums(box: int, r_max: int, dtype: torch.dtype, seed: int = 3) -> Accumulator:
    """As after insertion: anything inside the rim, nothing outside."""
    empty = empty_accumulator(box, r_max, dtype=dtype)
    grid = torch.randn(empty.grid.shape, generator=generator(seed), dtype=torch.float64).to(dtype)
    grid[..., 3] = 0
    return trim(Accumulator(grid, box, r_max))


def eps(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps


@pytest.mark.parametrize(("box", "r_max"), SHAPES)
def test_insertion_is_the_adjoint_of_projection(box, r_max, real):
    """<P v, y> = <v, P* y>, to rounding, for any v and y."""
    rotations, pixels = random_rotations(7), packed(box)
    n = pixels.inside(r_max)
    sums = empty_accumulator(box, r_max, dtype=real)
    shape = (*sums.grid.shape[:3], 2)
    values = torch.randn(shape, generator=generator(5), dtype=torch.float64).to(real)
    images, weight = random_slices(7, n, real)
    slices = project(Sphere(torch.view_as_complex(values), box, r_max), rotations, pixels, n)
    images = images + slices  # not by chance orthogonal to the slices
    insert(sums, rotations, images, weight, pixels)
    left = (slices.double() * images.double()).sum()
    right = (values.double() * sums.grid[..., :2].double()).sum()
    assert (left - right).abs() < 10 * eps(real) * values.double().norm() * images.double().norm()
    assert left > 0.1 * slices.double().norm() * images.double().norm()


@pytest.mark.parametrize(("box", "r_max"), SHAPES)
def test_insertion_keeps_the_sum_of_weights(box, r_max, real):
    """Trilinear shares add up to one."""
    rotations, pixels = random_rotations(7), packed(box)
    sums = empty_accumulator(box, r_max, dtype=real)
    data, weight = random_slices(7, pixels.inside(r_max), real)
    insert(sums, rotations, data, weight, pixels)
    total = weight.double().sum()
    assert (sums.weight.double().sum() - total).abs() < eps(real) * total
    assert float(sums.weight.min()) >= 0


def test_data_that_is_a_constant_times_its_weight_stays_so(real):
    rotations, pixels = random_rotations(30), packed(16)
    sums = empty_accumulator(16, 7, dtype=real)
    _, weight = random_slices(30, pixels.inside(7), real)
    insert(sums, rotations, torch.stack((3 * weight, torch.zeros_like(weight)), 1), weight, pixels)
    assert (sums.grid[..., 0] - 3 * sums.weight).abs().max() < 20 * eps(real) * sums.weight.max()
    assert not sums.grid[..., 1].any()


def test_two_insertions_add_up_to_one(real):
    rotations, pixels = random_rotations(12), packed(22)
    data, weight = random_slices(12, pixels.inside(9), real)
    whole, parts = (empty_accumulator(22, 9, dtype=real) for _ in range(2))
    insert(whole, rotations, data, weight, pixels)
    for rows in (slice(0, 5), slice(5, 5), slice(5, 6), slice(6, 12)):
        insert(parts, rotations[rows], data[rows], weight[rows], pixels)
    assert (parts.grid - whole.grid).abs().max() < 20 * eps(real) * whole.grid.abs().max()
    assert whole.grid[..., 3].abs().max() == 0


def test_chunks_change_nothing(monkeypatch):
    rotations, pixels = random_rotations(11), packed(16)
    data, weight = random_slices(11, pixels.inside(7), torch.float64)
    whole, chunked = (empty_accumulator(16, 7, dtype=torch.float64) for _ in range(2))
    insert(whole, rotations, data, weight, pixels)
    monkeypatch.setattr(module, "SAMPLES_PER_CHUNK", 2 * data.shape[-1] + 1)
    insert(chunked, rotations, data, weight, pixels)
    assert (chunked.grid - whole.grid).abs().max() < 20 * eps(torch.float64) * whole.grid.abs().max()


def mirror(grid: torch.Tensor) -> torch.Tensor:
    """The cells (-z, -y, 0) of the plane x = 0."""
    return grid[:, :, 0].flip(0, 1)


def test_after_hermitian_the_plane_obeys_friedel_and_keeps_its_weight(real):
    sums = random_sums(16, 6, real)
    before = sums.grid.clone()
    after = hermitian(sums)
    assert torch.equal(sums.grid, before)
    r = sums.radius
    plane, opposite = after.grid[:, :, 0], mirror(after.grid)
    off_origin = torch.ones(2 * r + 1, 2 * r + 1, dtype=torch.bool)
    off_origin[r, r] = False
    sign = torch.tensor([1, -1, 1, 1], dtype=real)
    assert torch.equal(plane[off_origin], (opposite * sign)[off_origin])
    assert torch.equal(plane[r, r], before[r, r, 0])  # the origin is not doubled
    expected = (before[:, :, 0] + mirror(before) * sign)[off_origin]
    assert torch.equal(plane[off_origin], expected)  # summed, not averaged
    assert torch.equal(after.grid[:, :, 1:], before[:, :, 1:])


def test_trim_clears_what_is_beyond_the_rim_alone(real):
    empty = empty_accumulator(16, 5, dtype=real)
    sums = Accumulator(torch.ones_like(empty.grid), 16, 5)
    inside = sphere_k2(sums.radius) <= 10**2
    assert torch.equal(trim(sums).grid, inside[..., None].to(real).expand(sums.grid.shape))


def rotated(grid: torch.Tensor, operator: torch.Tensor) -> torch.Tensor:
    """The grid at S k, for an operator that maps cells onto cells; Friedel's law where S k has x < 0."""
    r = grid.shape[2] - 1
    z, y, x = torch.meshgrid(torch.arange(-r, r + 1), torch.arange(-r, r + 1), torch.arange(r + 1), indexing="ij")
    point = torch.stack((x, y, z), -1) @ operator.round().long().T
    mirrored = point[..., 0] < 0
    point = torch.where(mirrored[..., None], -point, point)
    out = grid[point[..., 2] + r, point[..., 1] + r, point[..., 0]].clone()
    out[..., 1] *= 1 - 2 * mirrored.to(grid.dtype)
    return out


@pytest.mark.parametrize("group", ["C1", "C2", "C4", "D2", "D4", "O"])
def test_symmetrised_sums_are_invariant_under_their_group(group, real):
    """These groups map the grid onto itself, so nothing is interpolated and the identity is exact."""
    sums = hermitian(random_sums(18, 7, real))
    whole = symmetrise(sums, operators(group))
    scale = whole.grid.abs().max()
    for operator in operators(group):
        assert (rotated(whole.grid, operator) - whole.grid).abs().max() < 50 * eps(real) * scale


@pytest.mark.parametrize("group", ["C1", "C4", "D2", "O"])
def test_symmetrising_sums_over_operators(group, real):
    """Sums, not means (docs/algorithm.md, section 5); and each operator once."""
    sums = hermitian(random_sums(18, 7, real))
    whole = symmetrise(sums, operators(group))
    expected = torch.stack([rotated(sums.grid, operator) for operator in operators(group)]).sum(0)
    assert (whole.grid - expected)[..., :3].abs().max() < 50 * eps(real) * expected.abs().max()


@pytest.mark.parametrize("group", ["C3", "C7", "D5", "T", "I1", "I3"])
def test_a_radial_weight_is_multiplied_by_the_order_of_the_group(group, real):
    """Off the grid too: W = exp(-k^2 / 2 s^2) is the same in every orientation, up to interpolation."""
    empty = empty_accumulator(32, 12, dtype=real)
    k2, width = sphere_k2(empty.radius).to(real), 8.0
    grid = torch.zeros_like(empty.grid)
    grid[..., 0] = grid[..., 2] = torch.exp(-k2 / (2 * width**2))
    order = len(operators(group))
    whole = symmetrise(Accumulator(grid, 32, 12), operators(group))
    inside = k2 <= 24**2
    # Linear interpolation errs by at most h^2 / 8 |f''| per axis, and |f''| <= 1 / s^2; times (order - 1) copies.
    bound = 3 / 8 / width**2 * (order - 1) + 100 * eps(real) * order
    assert (whole.weight - order * grid[..., 2])[inside].abs().max() < bound
    assert (whole.grid[..., 0] - whole.weight).abs().max() == 0


def test_the_identity_must_come_first():
    with pytest.raises(ValueError, match="first symmetry operator must be the identity"):
        symmetrise(empty_accumulator(16, 4), operators("C2").flip(0))


def test_compiled_and_torch_insertion_agree(both_kernels):
    rotations, pixels = random_rotations(40), packed(50)
    data, weight = random_slices(40, pixels.inside(25), torch.float32)

    def compute():
        sums = empty_accumulator(50, 25)
        insert(sums, rotations, data, weight, pixels)
        return sums.grid

    compiled, plain = both_kernels(compute)
    # Coordinates reach 50 cells and round at 50 eps, which moves shares between cells; about 100 additions per cell.
    assert (compiled - plain).abs().max() < 200 * eps(torch.float32) * plain.abs().max()
    assert compiled.abs().max() > 0


@pytest.mark.parametrize("group", ["C3", "D2", "T"])
def test_compiled_and_torch_symmetry_agree(group, both_kernels):
    sums = hermitian(random_sums(24, 10, torch.float32))
    compiled, plain = both_kernels(lambda: symmetrise(sums, operators(group)).grid)
    # Coordinates reach 20 cells and round at 20 eps; a random grid jumps by twice its largest value within a cell.
    assert (compiled - plain)[..., :3].abs().max() < 200 * eps(torch.float32) * plain.abs().max()
    assert (compiled - sums.grid)[..., :3].abs().max() > 0


def test_the_parts_of_an_accumulator_are_views_of_its_channels(real):
    sums = random_sums(16, 5, real)
    assert sums.radius == 13
    assert torch.equal(sums.data.real, sums.grid[..., 0])
    assert torch.equal(sums.data.imag, sums.grid[..., 1])
    assert torch.equal(sums.weight, sums.grid[..., 2])
