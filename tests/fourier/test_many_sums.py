"""Insertion into several volumes against insertion into each, and against a loop over pixels and cells."""

import itertools
import math

import pytest
import torch

from blush.fourier import many_sums as module
from blush.fourier.backproject import Accumulator, empty_accumulator, hermitian, insert
from blush.fourier.many_maps import interleave, project_many
from blush.fourier.many_sums import InterleavedSums, empty_sums, insert_many
from blush.fourier.packed import packed
from blush.fourier.transform import Sphere
from blush.geometry.rotation import matrix_from_euler

COUNTS = [1, 2, 3, 8, 11]


def draw(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def random_rotations(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return matrix_from_euler(360 * torch.rand(count, 3, generator=generator, dtype=torch.float64))


def eps(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps


def problem(images: int, count: int, n: int, dtype: torch.dtype):
    """Images, their power, and shares of which some are zero; the second image has none."""
    image, power = draw(images, 2, n, seed=1, dtype=dtype), draw(images, n, seed=2, dtype=dtype).square()
    share = draw(images, count, seed=3, dtype=dtype).abs()
    share[share < 0.4] = 0
    share[1] = 0
    return image, power, share


@pytest.mark.parametrize("count", [1, 3, 8])
def test_sums_are_those_of_a_loop_over_the_whole_sphere(count, real):
    """Every sample and its Friedel mate are added where they fall, on either side of x = 0."""
    box, r_max = 8, 3
    rotations, pixels = random_rotations(4), packed(box)
    n = pixels.inside(r_max)
    image, power, share = problem(4, count, n, torch.float64)
    sums = empty_sums(count, box, r_max, dtype=real)
    insert_many(sums, rotations, image.to(real), power.to(real), share.to(real), pixels)
    r = sums.radius
    expected = torch.zeros(count, 2 * r + 1, 2 * r + 1, 2 * r + 1, 3, dtype=torch.float64)
    for i, p, sign in itertools.product(range(4), range(n), (1, -1)):
        point = (sign * 2 * (pixels.kx[p] * rotations[i, 0] + pixels.ky[p] * rotations[i, 1])).tolist()
        value = torch.stack((image[i, 0, p], sign * image[i, 1, p], power[i, p]))
        corner = [math.floor(x) for x in point]
        for step in itertools.product((0, 1), repeat=3):
            tap = math.prod(x - c if s else 1 - (x - c) for x, c, s in zip(point, corner, step, strict=True))
            x, y, z = (c + s + r for c, s in zip(corner, step, strict=True))
            expected[:, z, y, x] += tap * share[i, :, None] * value
    expected[:, r, r, r] /= 2  # the origin is its own mate; its imaginary part, which cancels here, is not compared
    for volume, wanted in zip(sums.unpack(), expected, strict=True):
        found = hermitian(volume).grid.double()
        found[r, r, 0, 1] = 0
        # A point reaches 6 cells and rounds at 6 eps, which moves shares between cells; some additions per cell.
        assert (found[..., :3] - wanted[:, :, r:]).abs().max() < 60 * eps(real) * wanted.abs().max()
        assert not found[..., 3].any()


@pytest.mark.parametrize(("count", "box", "r_max"), [*((count, 16, 6) for count in COUNTS), (3, 50, 25), (8, 50, 25)])
def test_sums_are_those_of_every_volume_alone(box, r_max, count, real):
    rotations, pixels = random_rotations(9), packed(box)
    image, power, share = problem(9, count, pixels.inside(r_max), real)
    sums = empty_sums(count, box, r_max, dtype=real)
    insert_many(sums, rotations, image, power, share, pixels)
    volumes = sums.unpack()
    assert len(volumes) == count
    for k, volume in enumerate(volumes):
        alone = empty_accumulator(box, r_max, dtype=real)
        insert(alone, rotations, share[:, k, None, None] * image, share[:, k, None] * power, pixels)
        assert (volume.box_px, volume.r_max, volume.pad) == (box, r_max, 2)
        assert (volume.grid - alone.grid).abs().max() < 20 * eps(real) * alone.grid.abs().max()


def test_thousands_of_images_are_all_inserted(real):
    """More than the compiled kernels sort at once; the sum of all weights tells."""
    rotations, pixels = random_rotations(4200), packed(8)
    image, power, share = problem(4200, 3, pixels.inside(3), real)
    sums = empty_sums(3, 8, 3, dtype=real)
    insert_many(sums, rotations, image, power, share, pixels)
    total = (share.double()[..., None] * power.double()[:, None]).sum((0, 2))
    found = torch.stack([volume.weight.double().sum() for volume in sums.unpack()])
    torch.testing.assert_close(found, total, rtol=20 * eps(real), atol=0)


def test_what_has_no_share_is_not_touched(real):
    rotations, pixels = random_rotations(3), packed(16)
    image, power, _ = problem(3, 1, pixels.inside(6), real)
    share = torch.tensor([[0, 0.5, 0], [0, 0, 0], [0, 1, 0]], dtype=real)
    sums = empty_sums(3, 16, 6, dtype=real)
    insert_many(sums, rotations, image, power, share, pixels)
    first, second, third = sums.unpack()
    assert not first.grid.any()
    assert not third.grid.any()
    assert second.grid.any()


def test_insertion_is_the_adjoint_of_projection(real):
    """<P v, s y> = <v, P* (s y)> summed over maps, for any v, y and shares s."""
    rotations, pixels = random_rotations(7), packed(18)
    n = pixels.inside(9)
    image, power, share = problem(7, 3, n, real)
    sums = empty_sums(3, 18, 9, dtype=real)
    shape = (*sums.grid.shape[:3], 2)
    values = [draw(*shape, seed=k, dtype=real) for k in range(3)]
    maps = interleave([Sphere(torch.view_as_complex(v), 18, 9) for v in values])
    slices = project_many(maps, rotations, pixels, n)
    image = image + slices[:, 0] + slices[:, 1] + slices[:, 2]  # not by chance orthogonal to the slices
    insert_many(sums, rotations, image, power, share, pixels)
    left = (share[..., None, None].double() * slices.double() * image[:, None].double()).sum()
    right = sum((v.double() * u.grid[..., :2].double()).sum() for v, u in zip(values, sums.unpack(), strict=True))
    scale = torch.stack(values).double().norm() * image.double().norm()
    assert (left - right).abs() < 20 * eps(real) * scale
    assert left > 0.05 * slices.double().norm() * image.double().norm()


def test_the_same_block_gives_the_same_bytes_whatever_ran_before(real):
    rotations, pixels = random_rotations(30), packed(50)
    image, power, share = problem(30, 3, pixels.inside(25), real)

    def compute():
        sums = empty_sums(3, 50, 25, dtype=real)
        insert_many(sums, rotations, image, power, share, pixels)
        return sums.grid

    first = compute()
    other = empty_sums(8, 50, 25, dtype=real)
    insert_many(other, rotations.flip(0), image, power, share.repeat(1, 3)[:, :8], pixels)
    assert torch.equal(compute(), first)


def test_two_blocks_add_up_to_one(real):
    rotations, pixels = random_rotations(12), packed(22)
    image, power, share = problem(12, 3, pixels.inside(9), real)
    whole, parts = (empty_sums(3, 22, 9, dtype=real) for _ in range(2))
    insert_many(whole, rotations, image, power, share, pixels)
    for rows in (slice(0, 5), slice(5, 5), slice(5, 6), slice(6, 12)):
        insert_many(parts, rotations[rows], image[rows], power[rows], share[rows], pixels)
    assert (parts.grid - whole.grid).abs().max() < 20 * eps(real) * whole.grid.abs().max()


@pytest.mark.parametrize("count", [3, 8])
def test_compiled_and_torch_insertion_agree(count, both_kernels):
    rotations, pixels = random_rotations(40), packed(50)
    image, power, share = problem(40, count, pixels.inside(25), torch.float32)

    def compute():
        sums = empty_sums(count, 50, 25)
        insert_many(sums, rotations, image, power, share, pixels)
        return sums.grid

    compiled, plain = both_kernels(compute)
    # Coordinates reach 50 cells and round at 50 eps, which moves shares between cells; about 100 additions per cell.
    assert (compiled - plain).abs().max() < 200 * eps(torch.float32) * plain.abs().max()
    assert compiled.abs().max() > 0


def test_chunks_of_the_torch_twin_change_nothing(monkeypatch):
    rotations, pixels = random_rotations(11), packed(16)
    image, power, share = problem(11, 3, pixels.inside(7), torch.float64)
    whole, chunked = (empty_sums(3, 16, 7, dtype=torch.float64) for _ in range(2))
    insert_many(whole, rotations, image, power, share, pixels)
    monkeypatch.setattr(module, "SAMPLES_PER_CHUNK", 2 * 4 * image.shape[-1] + 1)  # two images at a time
    insert_many(chunked, rotations, image, power, share, pixels)
    assert (chunked.grid - whole.grid).abs().max() < 20 * eps(torch.float64) * whole.grid.abs().max()


@pytest.mark.parametrize("count", COUNTS)
def test_sums_are_packed_and_unpacked_as_they_were(count, real):
    shape = empty_accumulator(16, 5).grid.shape
    volumes = [Accumulator(draw(*shape, seed=k, dtype=real), 16, 5) for k in range(count)]
    for volume in volumes:
        volume.grid[..., 3] = 0
    sums = InterleavedSums.pack(volumes)
    again = sums.unpack()
    assert len(again) == count
    for one, two in zip(volumes, again, strict=True):
        assert torch.equal(one.grid, two.grid)
        assert (two.box_px, two.r_max, two.pad, two.radius) == (16, 5, 2, one.radius)
    again[0].grid.zero_()
    assert torch.equal(sums.volume(0).grid, volumes[0].grid)  # copies


def test_sums_of_different_size_and_shares_of_other_volumes_are_refused():
    with pytest.raises(ValueError, match=r"\[\(16, 4, 2\), \(16, 5, 2\)\] cannot lie side by side"):
        InterleavedSums.pack([empty_accumulator(16, 4), empty_accumulator(16, 5)])
    with pytest.raises(ValueError, match="cannot lie side by side"):
        InterleavedSums.pack([])
    image, power, share = problem(2, 4, 9, torch.float32)
    with pytest.raises(ValueError, match="for 3 maps"):
        insert_many(empty_sums(3, 16, 5), random_rotations(2), image, power, share, packed(16))
