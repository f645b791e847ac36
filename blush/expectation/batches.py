"""Parts of a block whose coarse poses are few enough for one pass."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from blush.expectation.block import Block
from blush.expectation.coarse import Weighted
from blush.expectation.kept_poses import Layout, Poses
from blush.expectation.prepare import Images


def batches(poses: Poses, limit: int, shifts: int | None = None) -> Iterator[slice]:
    """Consecutive images whose coarse pairs number at most `limit` (or a single image), and that belong together.

    Parameters
    ----------
    shifts
        The most coarse shifts that they may have together, where those of each image are its own.
    """
    limits = [(np.cumsum(poses.counts), limit)]
    if shifts is not None:
        limits.append((np.cumsum(_shifts_of_images(poses)), shifts))
    begin, count = 0, len(poses.count)
    together = poses.together or count
    while begin < count:
        reach = (int(np.searchsorted(ends, _before(ends, begin) + most, side="right")) for ends, most in limits)
        end = min(max(begin + 1, min(reach)), begin - begin % together + together)
        yield slice(begin, end)
        begin = end


def _before(ends: np.ndarray, begin: int) -> int:
    return int(ends[begin - 1]) if begin else 0


def _shifts_of_images(poses: Poses) -> np.ndarray:
    """(b,) different coarse shifts among the poses of each image, which are in ascending order of (image, shift)."""
    image, shift = (one.cpu().numpy() for one in (poses.image, poses.shift))
    new = np.ones(len(image), dtype=bool)
    new[1:] = (image[1:] != image[:-1]) | (shift[1:] != shift[:-1])
    return np.bincount(image[new], minlength=len(poses.count))


def subset_of(poses: Poses, chosen: slice) -> Poses:
    """Poses of some images, counted from the first of them."""
    ends = np.cumsum(poses.counts)
    kept = slice(_before(ends, chosen.start), int(ends[chosen.stop - 1]))
    if chosen.stop - chosen.start == len(ends):
        return poses
    return Poses(
        poses.image[kept] - chosen.start,
        poses.shift[kept],
        poses.row[kept],
        poses.log_prior[kept],
        poses.count[chosen],
        tuple(_layouts_of(poses, chosen)),
    )


def _layouts_of(poses: Poses, chosen: slice) -> list[Layout]:
    """The layout of images that are those of one, or nothing."""
    place, offset = divmod(chosen.start, poses.together or len(poses.count))
    known = poses.layouts[place : place + 1]
    return [one for one in known if offset == 0 and len(one.count) == chosen.stop - chosen.start]


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
