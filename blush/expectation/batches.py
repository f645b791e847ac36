"""Parts of a block whose coarse poses are few enough for one pass."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from blush.expectation.block import Block
from blush.expectation.coarse import Poses, Weighted
from blush.expectation.prepare import Images


def batches(poses: Poses, limit: int) -> Iterator[slice]:
    """Consecutive images whose coarse pairs number at most `limit` (or a single image)."""
    ends = np.cumsum(poses.count.cpu().numpy())
    begin = 0
    while begin < len(ends):
        base = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, base + limit, side="right")))
        yield slice(begin, end)
        begin = end


def subset_of(poses: Poses, chosen: slice) -> Poses:
    """Poses of some images, counted from the first of them."""
    kept = torch.nonzero((poses.image >= chosen.start) & (poses.image < chosen.stop)).squeeze(1)
    return Poses(
        poses.image[kept] - chosen.start,
        poses.shift[kept],
        poses.row[kept],
        poses.log_prior[kept],
        poses.count[chosen],
    )


def taken(block: Block, weighted: Weighted, chosen: slice) -> tuple[Block, Weighted]:
    """Some images of a block."""
    images = Images(*(getattr(block.images, name)[chosen] for name in ("masked", "unmasked", "power")))
    part = Block(
        block.particles.take(np.arange(chosen.start, chosen.stop)),
        images,
        *(
            getattr(block, name)[chosen]
            for name in ("transfer", "data_factor", "inverse_noise", "scale", "shift_px", "old_px", "group", "optics")
        ),
    )
    confined = None if weighted.confined_to is None else weighted.confined_to[chosen]
    return part, Weighted(weighted.cross[chosen], weighted.power[chosen], weighted.log_prior_shift[chosen], confined)
