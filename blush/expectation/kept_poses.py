"""Which coarse poses are kept for the second pass, and in what order that visits them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from blush.expectation.component import Component
from blush.expectation.model import Model
from blush.expectation.significance import PRUNE, cut_of, posterior_cut
from blush.fourier.compaction import counted, places
from blush.kernels import native
from blush.kernels.score import CHILD_SHIFTS

CHILD_ORIENTATIONS = 8
CHILDREN = CHILD_ORIENTATIONS * CHILD_SHIFTS
"""Samples of the second pass for a coarse pose."""
BLOCK_BYTES = {"cpu": 3 * 2**19, "cuda": 2**29}
"""Slices of a block of orientations: the second-level cache of one core; ample on a GPU."""
IMAGES_TOGETHER = {"cuda": 64}
"""Consecutive images whose second pass is one, so that its sums are the same however many make a block; elsewhere a
block's."""
CAPACITY = 2**22
"""Poses near the best of their image that a list made on a device holds at first; it grows where they are more."""


@dataclass(frozen=True)
class Layout:
    """What the host has to know of the poses kept.

    Attributes
    ----------
    count
        (b,) poses of each image.
    rows
        How many different rows they have.
    edges
        First pair of every block of `block_size` rows, and the end.
    reference_edges
        First of the rows in use of every reference, and the end.
    """

    count: np.ndarray
    rows: int
    edges: list[int]
    reference_edges: list[int]
    block_size: int


@dataclass(frozen=True)
class Poses:
    """Coarse poses kept for the second pass: image, shift, row, log prior; count per image (b,).

    Attributes
    ----------
    layouts
        What the host has to know of them, where it is known already: of every `together` images.
    together
        How many consecutive images share a second pass; 0: all.
    """

    image: Tensor
    shift: Tensor
    row: Tensor
    log_prior: Tensor
    count: Tensor
    layouts: tuple[Layout, ...] = ()
    together: int = 0

    @property
    def counts(self) -> np.ndarray:
        """(b,) poses of each image, on the host."""
        if self.layouts:
            return np.concatenate([one.count for one in self.layouts])
        return self.count.cpu().numpy()

    @property
    def layout(self) -> Layout | None:
        """Of all of them."""
        return self.layouts[0] if len(self.layouts) == 1 else None


def block_rows(n_pixels: int, children: int, device: torch.device) -> int:
    """Coarse orientations per block."""
    return max(2, BLOCK_BYTES.get(device.type, 2**29) // (8 * n_pixels * children))


def is_tempered(model: Model) -> bool:
    """Whether references share images otherwise than by their likelihood, so that each needs its own best poses."""
    return len(model.component.references) > 1 and model.temperature != 1 and not model.cross_correlation


def keep(scores: Tensor, log_prior: Tensor, row: Tensor | None, model: Model, n_pixels: int) -> Poses:
    """The significant poses, or the single best of each image under cross-correlation.

    Parameters
    ----------
    scores
        (b, t, r).
    log_prior
        (b or 1, t, r) or broadcastable.
    row
        (b, l, r) row of each column, for each of l equal runs of shifts, of which each then keeps its best pose in any
        case; or None where columns are the rows.
    n_pixels
        How many the slices of the second pass have.
    """
    b, t, _ = scores.shape
    groups = len(model.component.references) if is_tempered(model) else 1
    grouped = scores.view(b, t, groups, -1)
    best = None if row is None or row.shape[1] == 1 else _best_of_lists(scores, row.shape[1])
    if native.usable(scores):
        return _kept_by_masks(grouped, best, log_prior, row, model)
    capacity = CAPACITY
    while True:
        found = _kept_on_device(
            grouped, best, row, model, block_rows(n_pixels, CHILD_ORIENTATIONS, scores.device), capacity
        )
        if found.needed <= capacity:
            break
        capacity = found.needed
    chosen = places(found.kept, sum(int(one.count.sum()) for one in found.layouts))
    image, shift, column = (one[chosen] for one in (found.image, found.shift, found.column))
    prior = log_prior.expand_as(scores)[image, shift, column]
    return Poses(image, shift, found.row[chosen], prior, found.count, found.layouts, _together(scores))


def _best_of_lists(scores: Tensor, lists: int) -> Tensor:
    """(b, t, r) bool: the best pose of each list."""
    by_list = scores.view(len(scores), lists, -1)
    best, place = by_list.max(2, keepdim=True)
    mask = torch.zeros(by_list.shape, dtype=torch.bool, device=scores.device)
    return mask.scatter_(2, place, best.isfinite()).view_as(scores)


def _kept_by_masks(
    grouped: Tensor, best: Tensor | None, log_prior: Tensor, row: Tensor | None, model: Model
) -> Poses:  # fmt: skip
    """By a mask over all poses, as a processor does it."""
    b, t, groups, _ = grouped.shape
    owner = torch.arange(b * groups, device=grouped.device)
    # Where references have lists of their own, these are a copy, which must not outlive this line.
    cut = posterior_cut(grouped.transpose(1, 2).flatten(2).flatten(0, 1), owner, b * groups, model.adaptive_fraction)
    top, gap = (x.view(b, 1, groups, 1) for x in (cut.top, cut.gap))
    kept = (top - grouped <= (torch.zeros_like(gap) if model.cross_correlation else gap)).view(b, t, -1)
    if best is not None:
        kept |= best
    image, shift, column = torch.nonzero(kept, as_tuple=True)
    prior = log_prior.expand_as(kept)[image, shift, column]
    chosen = column if row is None else row[image, torch.div(shift * row.shape[1], t, rounding_mode="floor"), column]
    return Poses(image, shift, chosen, prior, torch.bincount(image, minlength=b))


@dataclass(frozen=True)
class _Near:
    """A list of poses near the best of their image, as long as its capacity; which of them are kept."""

    kept: Tensor
    image: Tensor
    shift: Tensor
    column: Tensor
    row: Tensor
    count: Tensor
    layouts: tuple[Layout, ...]
    needed: int


def _kept_on_device(
    grouped: Tensor, best: Tensor | None, row: Tensor | None, model: Model, block_size: int, capacity: int
) -> _Near:  # fmt: skip
    """By a list of the poses near the best one; the host waits once, for all that it has to know of them."""
    b, t, groups, _ = grouped.shape
    r, top = groups * grouped.shape[3], grouped.amax((1, 3))
    gap = top[:, None, :, None] - grouped
    near = gap < PRUNE
    if best is not None:
        near = near | best.view_as(near)
    size = min(near.numel(), capacity)
    place = places(near.flatten(), size)
    is_one = place < near.numel()
    place = place.clamp_max(near.numel() - 1)
    image, shift, column = place // (t * r), place // r % t, place % r
    owner = image * groups + column // (r // groups)
    below = gap.flatten()[place].masked_fill(~is_one, torch.inf)
    if model.cross_correlation:
        kept = below <= 0
    else:
        kept = below <= cut_of(top.flatten(), below, owner, model.adaptive_fraction).gap[owner]
    if best is not None:
        kept = (kept | best.flatten()[place]) & is_one
    chosen = column if row is None else row[image, torch.div(shift * row.shape[1], t, rounding_mode="floor"), column]
    chosen = chosen.clamp_min(0)  # what pads a list is never kept
    told = _told(near, image, chosen, kept, b, model.component, block_size)
    return _Near(kept, image, shift, column, chosen, counted(image, kept, b), *told)


def _together(scores: Tensor) -> int:
    return IMAGES_TOGETHER.get(scores.device.type, len(scores))


def _told(
    near: Tensor, image: Tensor, row: Tensor, kept: Tensor, n_images: int, component: Component, block_size: int
) -> tuple[tuple[Layout, ...], int]:  # fmt: skip
    """The layouts of poses that are kept, and how many were near: one copy to the host."""
    blocks, together = -(-min(component.n_rows, len(row)) // block_size), _together(near)
    parts = [near.sum()[None], counted(image, kept, n_images)]
    firsts = range(0, n_images, together)
    for first in firsts:
        ours = kept if len(firsts) == 1 else kept & (image >= first) & (image < first + together)
        present = counted(row, ours, component.n_rows) > 0
        parts.append(present.view(len(component.references), -1).sum(1))
        rank = present.cumsum(0) - 1
        parts.append(counted((rank[row] // block_size).clamp(0, blocks - 1), ours, blocks))
    needed, count, *units = torch.split(torch.cat(parts).cpu(), [len(one) for one in parts])
    layouts = []
    for first, references, pairs in zip(firsts, units[::2], units[1::2], strict=True):
        rows = int(references.sum())
        edges = [0, *pairs.cumsum(0).tolist()][: -(-rows // block_size) + 1]
        ends = [0, *references.cumsum(0).tolist()]
        layouts.append(Layout(count[first : first + together].numpy(), rows, edges, ends, block_size))
    return tuple(layouts), int(needed)
