"""Second pass: the children of the significant poses, their posterior, and the sums it weighs.

Orientations are visited in blocks whose slices stay in the processor's cache; a block's slices serve every image
that needs them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.expectation.coarse import Poses, Weighted, combine
from blush.expectation.model import Model
from blush.expectation.order import compact, stable_order
from blush.expectation.significance import Kept, significant
from blush.expectation.sparse import Entries, Sums, accumulate, pair_cross, pair_power
from blush.fourier.backproject import Accumulator, insert
from blush.fourier.packed import Packed
from blush.fourier.project import project

CHILD_SHIFTS = 4
BLOCK_BYTES = {"cpu": 3 * 2**19, "cuda": 2**29}
"""Slices of a block: the second-level cache of one core; ample on a GPU."""


@dataclass(frozen=True)
class Posterior:
    """Weights of the kept fine samples of a block of images.

    Attributes
    ----------
    kept
        Positions in the (pair, child shift, child orientation) list, and normalisation.
    image, shift, row
        (s,) image (ascending), fine shift (4 t + child) and fine orientation (children u + child) of each sample.
    best_shift, best_row
        (b,) of the most probable sample.
    orientation
        (u,) coarse orientations that `row` counts.
    matrices
        (u, children, 3, 3).
    """

    kept: Kept
    image: Tensor
    shift: Tensor
    row: Tensor
    best_shift: Tensor
    best_row: Tensor
    orientation: Tensor
    matrices: Tensor

    @property
    def children(self) -> int:
        """Fine orientations per coarse one."""
        return self.matrices.shape[1]


def block_rows(n_pixels: int, children: int, device: torch.device) -> int:
    """Coarse orientations per block."""
    return max(2, BLOCK_BYTES.get(device.type, 2**29) // (8 * n_pixels * children))


def _bounds(block: Tensor, n_blocks: int) -> list[int]:
    return torch.searchsorted(block, torch.arange(n_blocks + 1, device=block.device)).tolist()


def fine_posterior(poses: Poses, block: Weighted, phases: Tensor, model: Model, pixels: Packed) -> Posterior:
    """Score all children of the kept coarse poses and normalise.

    Parameters
    ----------
    poses
        In ascending order of image; shifts together within an image let its shifted transform be used again.
    phases
        (t, 4, 2, n) of the fine shifts.
    """
    n = block.cross.shape[-1]
    orientation, u = compact(poses.orientation, model.grid.n_orientations)
    matrices = model.grid.fine_matrices(orientation)
    children = matrices.shape[1]
    size = block_rows(n, children, u.device)
    n_blocks = -(-len(orientation) // size)
    order = stable_order(u // size, n_blocks)
    image, shift, sorted_u = poses.image[order], poses.shift[order], u[order]
    scores = torch.empty(len(u), CHILD_SHIFTS, children, dtype=block.cross.dtype, device=u.device)
    edges = _bounds(sorted_u // size, n_blocks)
    for index in range(n_blocks):
        first, pairs = index * size, slice(edges[index], edges[index + 1])
        slices = project(model.sphere, matrices[first : first + size].flatten(0, 1), pixels, n)
        slices = slices.view(-1, children, 2, n)
        cross = pair_cross(block.cross, phases, slices, image[pairs], shift[pairs], sorted_u[pairs] - first)
        power = pair_power(block.power, slices, image[pairs], sorted_u[pairs] - first)
        scores[order[pairs]] = combine(cross, power, model.cross_correlation)
    if not model.cross_correlation:
        scores += poses.log_prior[:, None, None]
    return _normalise(scores, poses, u, orientation, matrices, model)


def _normalise(
    scores: Tensor, poses: Poses, u: Tensor, orientation: Tensor, matrices: Tensor, model: Model
) -> Posterior:
    children = matrices.shape[1]
    per_pair = CHILD_SHIFTS * children
    owner = poses.image.repeat_interleave(per_pair)
    kept = significant(scores.flatten(), owner, len(poses.count), model.adaptive_fraction)
    if model.cross_correlation:
        kept = Kept(kept.best, torch.ones_like(kept.log_sum), kept.best, kept.log_sum, kept.count)

    def decode(index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pair = torch.div(index, per_pair, rounding_mode="floor")
        child = index - pair * per_pair
        child_shift = torch.div(child, children, rounding_mode="floor")
        fine_shift = poses.shift[pair] * CHILD_SHIFTS + child_shift
        return poses.image[pair], fine_shift, u[pair] * children + child - child_shift * children

    image, fine_shift, row = decode(kept.index)
    _, best_shift, best_row = decode(kept.best)
    return Posterior(kept, image, fine_shift, row, best_shift, best_row, orientation, matrices)


def back_project(
    posterior: Posterior,
    image: Tensor,
    power: Tensor,
    phases: Tensor,
    model: Model,
    pixels: Packed,
    volume: Accumulator,
) -> tuple[Tensor, Tensor]:
    """Insert the weighted images into `volume` (in place) and predict each image from the model.

    Parameters
    ----------
    image, power
        (b, 2, n) s CTF X / sigma^2 of the unmasked images; (b, n) (s CTF)^2 / sigma^2.
    phases
        (fine shifts, 2, n).

    Returns
    -------
    mean, square: (b, 2, n) sum_w w P shifted back onto the image, and (b, n) sum_w w |P|^2.
    """
    row, inverse = compact(posterior.row, len(posterior.orientation) * posterior.children)
    size = block_rows(image.shape[-1], posterior.children, image.device) * posterior.children
    entries, groups = _grouped(posterior, inverse, len(row), size, len(image), image.dtype)
    matrices = posterior.matrices.flatten(0, 1)[row]
    mean, square = torch.zeros_like(image), torch.zeros_like(power)
    for index, (g, h) in enumerate(itertools.pairwise(groups)):
        first = index * size
        rows = matrices[first : first + size]
        part = Entries(
            entries.image[g:h], entries.row[g:h] - first, entries.begin[g : h + 1], entries.shift, entries.weight
        )
        slices = project(model.sphere, rows, pixels, image.shape[-1])
        sums = Sums(torch.zeros_like(slices), torch.zeros_like(slices[:, 0]), mean, square)
        accumulate(part, image, power, phases, slices, sums)
        insert(volume, rows, sums.data, sums.weight, pixels)
    return mean, square


def _grouped(
    posterior: Posterior, row: Tensor, n_rows: int, size: int, n_images: int, dtype: torch.dtype
) -> tuple[Entries, list[int]]:
    """Samples in the order (block of rows, image, row), and the first group of every block."""
    order = stable_order(row, n_rows)
    order = order[stable_order(posterior.image[order], n_images)]
    n_blocks = -(-n_rows // size)
    order = order[stable_order((row // size)[order], n_blocks)]
    sorted_row, sorted_image = row[order], posterior.image[order]
    _, counts = torch.unique_consecutive(sorted_image * n_rows + sorted_row, return_counts=True)
    begin = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
    head = begin[:-1]
    group_row = sorted_row[head]
    entries = Entries(
        sorted_image[head], group_row, begin, posterior.shift[order], posterior.kept.weight[order].to(dtype)
    )
    return entries, _bounds(group_row // size, n_blocks)
