"""Slices of several maps against the slices of each, and against loops over pixels and cells of the whole sphere."""

import itertools
import math

import pytest
import torch

from blush.fourier import many_maps as module
from blush.fourier.many_maps import interleave, predict_many, project_many, score_many
from blush.fourier.packed import packed
from blush.fourier.project import project
from blush.fourier.transform import Sphere, transform
from blush.geometry.rotation import matrix_from_euler

COUNTS = [1, 2, 3, 8, 11]


def draw(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def random_rotations(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return matrix_from_euler(360 * torch.rand(count, 3, generator=generator, dtype=torch.float64))


def spheres(count: int, box: int, r_max: int, dtype: torch.dtype) -> list[Sphere]:
    return [transform(draw(box, box, box, seed=k, dtype=dtype), r_max) for k in range(count)]


def eps(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps


def whole_sphere(sphere: Sphere) -> dict[tuple[int, int, int], complex]:
    """Values at x, y, z of both signs, from the stored half by Friedel's law."""
    r, values = sphere.radius, sphere.values.tolist()
    out = {}
    for x, y, z in itertools.product(range(r + 1), range(-r, r + 1), range(-r, r + 1)):
        value = values[z + r][y + r][x]
        out[-x, -y, -z] = value.conjugate()
        out[x, y, z] = value
    return out


def interpolated(cells: dict[tuple[int, int, int], complex], point: list[float]) -> complex:
    """Trilinear, at a point of either sign of x, without any reflection."""
    total = 0j
    corner = [math.floor(x) for x in point]
    for step in itertools.product((0, 1), repeat=3):
        share = math.prod(x - c if s else 1 - (x - c) for x, c, s in zip(point, corner, step, strict=True))
        total += share * cells[corner[0] + step[0], corner[1] + step[1], corner[2] + step[2]]
    return total


@pytest.mark.parametrize("count", [1, 3, 8])
def test_slices_are_those_of_a_loop_over_the_whole_sphere(count, real):
    """Without reflection, so on both sides of the plane x = 0; pixels up to the rim, where maps end."""
    box, r_max = 8, 3
    maps, rotations, pixels = spheres(count, box, r_max, torch.float64), random_rotations(3), packed(box)
    n = pixels.count(r_max)
    kept = [Sphere(s.values.to(torch.complex64 if real == torch.float32 else s.values.dtype), box, r_max) for s in maps]
    found = project_many(interleave(kept), rotations, pixels, n).double()
    assert found.shape == (3, count, 2, n)
    largest = max(float(s.values.abs().max()) for s in maps)
    for k, sphere in enumerate(maps):
        cells = whole_sphere(sphere)
        for i, rotation in enumerate(rotations):
            for p, (kx, ky) in enumerate(zip(pixels.kx[:n].tolist(), pixels.ky[:n].tolist(), strict=True)):
                expected = interpolated(cells, (2 * (kx * rotation[0] + ky * rotation[1])).tolist())
                # A point reaches 7 cells and rounds at 7 eps; a cell's slope is at most twice the largest value.
                assert abs(complex(*found[i, k, :, p].tolist()) - expected) < 40 * eps(real) * largest


@pytest.mark.parametrize(("count", "box", "r_max"), [*((count, 16, 6) for count in COUNTS), (3, 50, 25), (8, 50, 25)])
def test_slices_are_those_of_every_map_alone(box, r_max, count, real):
    maps, rotations, pixels = spheres(count, box, r_max, real), random_rotations(7), packed(box)
    n = pixels.count(r_max)
    found = project_many(interleave(maps), rotations, pixels, n)
    for k, sphere in enumerate(maps):
        expected = project(sphere, rotations, pixels, n)
        # The same formula; a compiler may round a product and a sum at once or one after the other.
        assert (found[:, k] - expected).abs().max() < 5 * eps(real) * expected.abs().max()


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("n", [1, 300, 600])
def test_scores_are_inner_products_less_power(n, count, real):
    maps, rotations, pixels = spheres(count, 40, 20, real), random_rotations(5), packed(40)
    image, power = draw(5, 2, n, seed=20, dtype=real), draw(5, n, seed=21, dtype=real).square()
    found = score_many(interleave(maps), rotations, image, power, pixels)
    assert found.dtype == torch.float64
    assert found.shape == (5, count)
    for k, sphere in enumerate(maps):
        slices = project(sphere, rotations, pixels, n).double()
        cross, square = image.double() * slices, power.double() * slices.square().sum(1)
        size = cross.abs().sum((1, 2)) + square.sum(1)
        assert ((found[:, k] - cross.sum((1, 2)) + square.sum(1)).abs() < 20 * eps(real) * size).all()


@pytest.mark.parametrize("count", [1, 3, 8])
def test_scores_are_summed_in_double_precision(count, real):
    """One term of 2^26 before a thousand of 1: in single precision these are lost one by one."""
    pixels = packed(50)
    n = pixels.inside(20)
    one = transform(draw(50, 50, 50, seed=1, dtype=real), 25)
    maps = interleave([Sphere(torch.ones_like(one.values), 50, 25)] * count)
    terms = torch.ones(1, n, dtype=real)
    terms[:, 0] = 2**26
    nothing, upright = torch.zeros_like(terms), torch.eye(3, dtype=torch.float64)[None]
    cross = score_many(maps, upright, torch.stack((terms, nothing), 1), nothing, pixels)
    power = score_many(maps, upright, torch.stack((nothing, nothing), 1), terms, pixels)
    assert cross.tolist() == [[2**26 + n - 1] * count]
    assert power.tolist() == [[-(2**26) - n + 1] * count]


@pytest.mark.parametrize("count", COUNTS)
def test_predictions_are_weighted_sums_of_slices(count, real):
    maps, rotations, pixels = spheres(count, 40, 20, real), random_rotations(6), packed(40)
    n = pixels.inside(20)
    share = draw(6, count, seed=3, dtype=real).abs()
    share[share < 0.5] = 0  # as after a cut
    share[2] = 0
    mean, square = predict_many(interleave(maps), rotations, share, pixels, n)
    slices = torch.stack([project(sphere, rotations, pixels, n) for sphere in maps], 1).double()
    expected = (share.double()[..., None, None] * slices).sum(1)
    assert (mean - expected).abs().max() < 20 * eps(real) * expected.abs().max()
    expected = (share.double()[..., None] * slices.square().sum(2)).sum(1)
    assert (square - expected).abs().max() < 20 * eps(real) * expected.abs().max()
    assert not mean[2].any()
    assert not square[2].any()
    assert square[0].any()


@pytest.mark.parametrize("count", [3, 11])
def test_a_block_is_its_images_one_by_one(count, real):
    maps, rotations, pixels = interleave(spheres(count, 34, 17, real)), random_rotations(5), packed(34)
    n = pixels.inside(17)
    image, power, share = draw(5, 2, n, seed=2, dtype=real), draw(5, n, seed=3, dtype=real), draw(5, count, seed=4)

    def compute(rows: slice):
        mean, square = predict_many(maps, rotations[rows], share[rows], pixels, n)
        scores = score_many(maps, rotations[rows], image[rows], power[rows], pixels)
        return project_many(maps, rotations[rows], pixels, n), scores, mean, square

    for whole, *parts in zip(compute(slice(0, 5)), *(compute(slice(i, i + 1)) for i in range(5)), strict=True):
        torch.testing.assert_close(torch.cat(parts), whole, rtol=10 * eps(real), atol=10 * eps(real))
    assert [len(part) for part in compute(slice(0, 0))] == [0, 0, 0, 0]


def test_thousands_of_images_are_each_its_own(real):
    """More than the compiled kernels sort at once."""
    maps, pixels = spheres(3, 8, 3, real), packed(8)
    rotations, n = random_rotations(4200), pixels.inside(3)
    image, power = draw(4200, 2, n, seed=2, dtype=real), draw(4200, n, seed=3, dtype=real).square()
    share = draw(4200, 3, seed=4, dtype=real)
    slices = torch.stack([project(sphere, rotations, pixels, n) for sphere in maps], 1).double()
    mean, square = predict_many(interleave(maps), rotations, share, pixels, n)
    scores = score_many(interleave(maps), rotations, image, power, pixels)
    squares = slices.square().sum(2)
    cross = (image[:, None].double() * slices).sum((2, 3)) - (power[:, None].double() * squares).sum(2)
    assert (mean - (share[..., None, None].double() * slices).sum(1)).abs().max() < 20 * eps(real) * slices.abs().max()
    assert (square - (share[..., None].double() * squares).sum(1)).abs().max() < 50 * eps(real) * squares.max()
    assert (scores - cross).abs().max() < 100 * eps(real) * cross.abs().max()


@pytest.mark.parametrize("count", [3, 8])
def test_compiled_and_torch_kernels_agree(count, both_kernels):
    maps, rotations, pixels = interleave(spheres(count, 50, 25, torch.float32)), random_rotations(20), packed(50)
    n = pixels.count(25)
    image, power = draw(20, 2, n, seed=2, dtype=torch.float32), draw(20, n, seed=3, dtype=torch.float32).square()

    def compute():
        mean, square = predict_many(maps, rotations, image[:, 0, :count].abs(), pixels, n)
        scores = score_many(maps, rotations, image, power, pixels)
        return project_many(maps, rotations, pixels, n), mean, square, scores

    for compiled, plain in zip(*both_kernels(compute), strict=True):
        # k reaches 50 cells and rounds at 50 eps; a cell's slope is at most twice the largest value.
        assert (compiled - plain).abs().max() < 100 * eps(torch.float32) * plain.abs().max()
        assert compiled.abs().max() > 0


def test_chunks_of_the_torch_twin_change_nothing(monkeypatch):
    maps, rotations, pixels = interleave(spheres(3, 16, 7, torch.float64)), random_rotations(11), packed(16)
    n = pixels.inside(7)
    whole = project_many(maps, rotations, pixels, n)
    monkeypatch.setattr(module, "SAMPLES_PER_CHUNK", 2 * 4 * n + 1)  # two images at a time
    assert torch.equal(project_many(maps, rotations, pixels, n), whole)


def test_maps_of_different_size_are_refused():
    one, other = transform(draw(16, 16, 16, seed=1), 6), transform(draw(16, 16, 16, seed=1), 7)
    with pytest.raises(ValueError, match=r"\[\(16, 6, 2\), \(16, 7, 2\)\] cannot lie side by side"):
        interleave([one, other])
    with pytest.raises(ValueError, match="give at least one"):
        interleave([])
