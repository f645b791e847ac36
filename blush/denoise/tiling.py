"""Patches of a map: where they lie, and how what was made of them is joined without seams."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from blush.io.upload import uploaded

MARGIN_PX = 9
"""Outermost voxels of a patch that count only where nothing else does: there a network sees its padding."""
SMALLEST_WEIGHT = 1e-6
LEAST_COVERAGE = 0.1
"""Sum of weights below which a voxel counts as seen by no patch."""


def starts(side_px: int, size_px: int, stride_px: int) -> list[int]:
    """First voxels of patches along one axis: every `stride_px`, and one that ends with the box."""
    if side_px < size_px:
        raise ValueError(f"a side of {side_px} px holds no patch of {size_px}; pad it first")
    last = side_px - size_px
    return sorted({*range(0, last + 1, stride_px), last})


def patch_starts(box_px: int, size_px: int, stride_px: int) -> Tensor:
    """First voxels, z y x, of all patches of a cubic box: (p, 3) int64, the last axis running fastest."""
    axis = torch.tensor(starts(box_px, size_px, stride_px))
    return torch.cartesian_prod(axis, axis, axis)


def widest_stride(size_px: int) -> int:
    """Step between patches up to which every voxel away from the border is well inside one of them."""
    # The weight is below LEAST_COVERAGE in the two outermost voxels inside the margin; one voxel on either side spare.
    return size_px - 2 * (MARGIN_PX + 3)


def patch_means(volume: Tensor, first: Tensor, size_px: int) -> Tensor:
    """Mean of a (d, h, w) map over each patch, from its running sums, made on the host: (p,) float64.

    GPUs refuse running sums where results must be reproducible.
    """
    sums = torch.nn.functional.pad(volume.double().cpu(), (1, 0, 1, 0, 1, 0))
    for axis in range(3):
        sums = sums.cumsum(axis)
    corners = torch.stack([first, first + size_px]).cpu()
    total = torch.zeros(len(first), dtype=torch.float64)
    for z, y, x in torch.cartesian_prod(*[torch.arange(2)] * 3).tolist():
        sign = (-1) ** (3 - z - y - x)
        total += sign * sums[corners[z, :, 0], corners[y, :, 1], corners[x, :, 2]]
    return uploaded(total / size_px**3, volume.device)


def completed(first: Tensor, chosen: Tensor, filled: Tensor, needed: Tensor, size_px: int) -> Tensor:
    """Add to a choice of patches those that it takes to cover every needed voxel, the best-filled first.

    Parameters
    ----------
    first, chosen, filled
        (p, 3) first voxels; (p,) which are taken already; (p,) by what the others are ordered.
    needed
        (d, h, w) boolean; voxels that no patch covers do not count.

    Returns
    -------
    (p,) boolean.
    """
    weight = overlap_weight(size_px, needed.device)
    total = torch.zeros(needed.shape, device=needed.device)
    places = [tuple(slice(begin, begin + size_px) for begin in corner) for corner in first.tolist()]
    kept = chosen.clone()
    for number in kept.nonzero().flatten().tolist():
        total[places[number]] += weight
    missing = needed & (total < LEAST_COVERAGE)
    for number in filled.argsort(descending=True, stable=True).tolist():
        if kept[number] or not bool((missing[places[number]] & (weight >= LEAST_COVERAGE)).any()):
            continue
        kept[number] = True
        total[places[number]] += weight
        missing &= total < LEAST_COVERAGE
    return kept


def overlap_weight(size_px: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
    """Weight of each voxel of a patch, (size, size, size): half a cosine of the distance to the nearest face.

    cos(π/2 · r / r_max) inside the margin, where r is the Chebyshev radius, which is r_max in the outermost voxels.
    """
    inner = size_px - 2 * MARGIN_PX
    if inner < 2:
        raise ValueError(f"a patch of {size_px} px is all margin; it takes more than {2 * MARGIN_PX + 1} px")
    half = torch.linspace(-1, 1, inner, dtype=torch.float64).abs()
    radius = torch.maximum(torch.maximum(half[:, None, None], half[None, :, None]), half)
    weight = torch.cos(torch.pi / 2 * radius).clamp_min(SMALLEST_WEIGHT)
    padded = torch.nn.functional.pad(weight, (MARGIN_PX,) * 6, value=SMALLEST_WEIGHT)
    return padded.to(device, dtype)


def blend(
    make: Callable[[Tensor], Tensor], channels: Tensor, first: Tensor, size_px: int, batch: int
) -> tuple[Tensor, Tensor]:
    """Apply a function to patches of a map and join the results by their weighted mean.

    Sums are taken in the order of the patches, so the batch changes the result only by what it changes in `make`.

    Parameters
    ----------
    make
        (b, c, size, size, size) to (b, k, size, size, size); the last batch may be smaller.
    channels
        (c, d, h, w).
    first
        (p, 3) first voxels of the patches, z y x.
    batch
        Patches given to `make` at once.

    Returns
    -------
    (k, d, h, w), 0 where no patch counts, and (d, h, w) boolean, where one does.
    """
    if batch < 1 or len(first) == 0:
        raise ValueError(f"{len(first)} patches in batches of {batch}: there is nothing to do")
    weight = overlap_weight(size_px, channels.device, channels.dtype)
    windows = channels.unfold(1, size_px, 1).unfold(2, size_px, 1).unfold(3, size_px, 1)
    total = torch.zeros_like(channels[0])
    joined = torch.empty(0)
    for begin in range(0, len(first), batch):
        corners = first[begin : begin + batch]
        z, y, x = corners.to(channels.device).unbind(1)
        made = make(windows[:, z, y, x].transpose(0, 1).contiguous())
        if joined.numel() == 0:
            joined = made.new_zeros((made.shape[1], *channels.shape[1:]))
        for patch, (z0, y0, x0) in zip(made, corners.tolist(), strict=True):  # patches overlap: one after the other
            place = (slice(z0, z0 + size_px), slice(y0, y0 + size_px), slice(x0, x0 + size_px))
            joined[(slice(None), *place)].addcmul_(patch, weight)
            total[place] += weight
    covered = total >= LEAST_COVERAGE
    return torch.where(covered, joined / total.clamp_min(LEAST_COVERAGE), 0), covered
