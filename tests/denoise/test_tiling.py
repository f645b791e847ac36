"""Patches: where they lie, and that joining them is exact."""

import pytest
import torch

from blush.denoise.tiling import (
    blend,
    completed,
    overlap_weight,
    patch_means,
    patch_starts,
    starts,
    widest_stride,
)

MARGIN_PX, SMALLEST_WEIGHT, LEAST_COVERAGE = 9, 1e-6, 0.1
"""Voxels of a patch's border that count for nothing where another patch sees them, what they count else, and the least
sum of weights that is an answer."""


def random_map(box: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(1, box, box, box, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("side", "stride", "expected"),
    [(84, 20, [0, 20]), (96, 20, [0, 20, 32]), (64, 20, [0]), (104, 20, [0, 20, 40]), (105, 20, [0, 20, 40, 41])],
)
def test_the_last_patch_ends_with_the_box(side, stride, expected):
    assert starts(side, 64, stride) == expected


def test_a_box_smaller_than_a_patch_is_refused():
    with pytest.raises(ValueError, match="pad it first"):
        starts(63, 64, 20)


def test_the_weight_falls_as_a_cosine_to_nothing_at_the_margin():
    weight = overlap_weight(64, dtype=torch.float64)
    line = weight[32, 32]
    assert (line[:MARGIN_PX] == SMALLEST_WEIGHT).all()
    place = torch.linspace(-23, 23, 46, dtype=torch.float64)
    expected = torch.cos(torch.pi / 2 * place.abs().clamp_min(0.5111111111111111) / 23).clamp_min(SMALLEST_WEIGHT)
    torch.testing.assert_close(line[MARGIN_PX:-MARGIN_PX], expected, rtol=0, atol=1e-12)
    assert torch.equal(weight, weight.flip(0))
    assert torch.equal(weight, weight.permute(2, 0, 1))
    assert float(weight[40, 12, 33]) == float(line[12])  # Chebyshev: the outermost coordinate alone counts


@pytest.mark.parametrize("size", [48, 64])
def test_at_the_widest_stride_no_voxel_away_from_the_border_is_missed(size):
    stride = widest_stride(size)
    box = size + 2 * stride
    _, covered = blend(lambda p: p, torch.zeros(1, box, box, box), patch_starts(box, size, stride), size, 8)
    inside = slice(MARGIN_PX + 2, -MARGIN_PX - 2)
    assert covered[inside, inside, inside].all()
    box = size + 2 * (stride + 8)
    _, covered = blend(lambda p: p, torch.zeros(1, box, box, box), patch_starts(box, size, stride + 8), size, 8)
    assert not covered[inside, inside, inside].all()


@pytest.mark.parametrize(("box", "size", "stride"), [(48, 32, 6), (61, 32, 8), (70, 40, 16)])
def test_the_identity_is_exact_wherever_a_patch_counts(box, size, stride):
    volume = random_map(box)
    first = patch_starts(box, size, stride)
    made, covered = blend(lambda p: p, volume, first, size, 5)
    bound = len(first) * torch.finfo(torch.float64).eps * float(volume.abs().max())
    assert float((made[0] - volume[0])[covered].abs().max()) < bound
    assert (made[0][~covered] == 0).all()
    inside = slice(MARGIN_PX + 2, -MARGIN_PX - 2)
    assert covered[inside, inside, inside].all()
    assert not covered[:MARGIN_PX].any()


def test_the_weights_are_a_partition_of_one():
    """A constant stays the constant: weights over their sum add up to 1."""
    made, covered = blend(torch.ones_like, random_map(50), patch_starts(50, 32, 7), 32, 4)
    torch.testing.assert_close(made[0][covered], torch.ones_like(made[0][covered]), rtol=0, atol=1e-14)


def test_blending_against_a_loop_over_voxels():
    box, size = 36, 28
    volume, first = random_map(box), patch_starts(box, size, 4)

    def make(patches: torch.Tensor) -> torch.Tensor:
        return torch.cat([patches.square(), patches * patches.mean((1, 2, 3, 4), keepdim=True)], 1)

    made, _ = blend(make, volume, first, size, 3)
    weight = overlap_weight(size, dtype=torch.float64)
    for voxel in ([18, 18, 18], [12, 20, 23], [11, 17, 25]):
        top, bottom = torch.zeros(2, dtype=torch.float64), 0.0
        for z, y, x in first.tolist():
            at = [v - corner for v, corner in zip(voxel, (z, y, x), strict=True)]
            if min(at) < 0 or max(at) >= size:
                continue
            patch = volume[None, :, z : z + size, y : y + size, x : x + size]
            share = float(weight[tuple(at)])
            top += share * make(patch)[0, :, at[0], at[1], at[2]]
            bottom += share
        torch.testing.assert_close(made[:, voxel[0], voxel[1], voxel[2]], top / bottom, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 8, 100])
def test_every_patch_is_made_once_whatever_the_batch(batch):
    """27 patches: the last batch is a partial one for most sizes, and is not lost."""
    volume, first, seen = random_map(48), patch_starts(48, 32, 8), []

    def make(patches: torch.Tensor) -> torch.Tensor:
        seen.append(len(patches))
        return patches**3

    made, _ = blend(make, volume, first, 32, batch)
    assert sum(seen) == len(first) == 27
    assert max(seen) <= batch
    assert torch.equal(made, blend(lambda p: p**3, volume, first, 32, 27)[0])


@pytest.mark.parametrize("shift", [(8, 0, 0), (0, 16, 8)])
def test_a_map_moved_by_whole_strides_gives_the_moved_result(shift):
    """Away from the box's border."""
    volume = torch.nn.functional.pad(random_map(24), (44,) * 6)
    first = patch_starts(112, 32, 8)
    axes = (1, 2, 3)

    def make(patches: torch.Tensor) -> torch.Tensor:
        return patches * patches.std((1, 2, 3, 4), keepdim=True)

    plain, _ = blend(make, volume, first, 32, 16)
    moved, _ = blend(make, volume.roll(shift, axes), first, 32, 16)
    assert float(plain.norm()) > 1
    torch.testing.assert_close(moved, plain.roll(shift, axes), rtol=0, atol=1e-13)


def test_patch_means_against_a_loop():
    volume, first = random_map(40)[0], patch_starts(40, 24, 5)
    expected = torch.stack([volume[z : z + 24, y : y + 24, x : x + 24].mean() for z, y, x in first.tolist()])
    torch.testing.assert_close(patch_means(volume, first, 24), expected, rtol=0, atol=1e-12)


def test_a_choice_is_completed_by_no_more_than_it_takes():
    first = patch_starts(80, 32, 8)
    none = torch.zeros(len(first), dtype=torch.bool)
    filled = torch.arange(len(first), dtype=torch.float64)
    needed = torch.zeros(80, 80, 80, dtype=torch.bool)
    assert not completed(first, none, filled, needed, 32).any()
    needed[40, 40, 40] = True
    kept = completed(first, none, filled, needed, 32)
    assert int(kept.sum()) == 1
    weight = overlap_weight(32)
    corner = first[kept][0]
    assert float(weight[tuple((40 - corner).tolist())]) >= LEAST_COVERAGE
    assert int(kept.nonzero()) == int(
        max(
            n
            for n, c in enumerate(first)
            if ((40 - c >= 0) & (40 - c < 32)).all() and weight[tuple((40 - c).tolist())] >= LEAST_COVERAGE
        )
    )
    assert torch.equal(completed(first, kept, filled, needed, 32), kept)


@pytest.mark.parametrize(("batch", "count"), [(0, 1), (4, 0)])
def test_nothing_to_do_is_refused(batch, count):
    with pytest.raises(ValueError, match="nothing to do"):
        blend(lambda p: p, random_map(32), patch_starts(32, 32, 8)[:count], 32, batch)


def test_a_patch_that_is_all_margin_is_refused():
    with pytest.raises(ValueError, match="all margin"):
        overlap_weight(19)
