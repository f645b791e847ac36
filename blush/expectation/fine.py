"""Second pass: the children of the significant poses, their posterior, and the sums it weighs.

Orientations are visited in blocks whose slices stay in the processor's cache; a block's slices serve every image
that needs them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.expectation.coarse import Poses, Weighted, combine
from blush.expectation.model import Model
from blush.expectation.significance import Kept, significant
from blush.expectation.sparse import Entries, Sums, accumulate, pair_cross, pair_power
from blush.fourier.backproject import Accumulator, insert
from blush.fourier.packed import Packed
from blush.fourier.project import project

CHILD_SHIFTS = 4
BLOCK_BYTES = {"cpu": 3 * 2**19, "cuda": 2**29}  # slices of a block: the second-level cache of one core; ample on a GPU


@dataclass(frozen=True)
class Posterior:
    """Weights of the kept fine samples of a block of images.

    Attributes
    ----------
    kept
        Positions in the (pair, child shift, child orientation) list, and normalisation.
    image, shift, row
        (s,) image, fine shift (4 t + child) and fine orientation (children u + child) of each kept sample.
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


def block_rows(n_pixels: int, children: int, device: torch.device) -> int:
    """Coarse orientations per block."""
    return max(2, BLOCK_BYTES.get(device.type, 2**29) // (8 * n_pixels * children))


def _bounds(block: Tensor, n_blocks: int) -> list[int]:
    return torch.searchsorted(block, torch.arange(n_blocks + 1, device=block.device)).tolist()


def fine_posterior(poses: Poses, block: Weighted, phases: Tensor, model: Model, pixels: Packed) -> Posterior:
    """Score all children of the kept coarse poses and normalise.

    Parameters
    ----------
    phases
        (t, 4, 2, n) of the fine shifts.
    """
    n = block.cross.shape[-1]
    orientation, u = torch.unique(poses.orientation, return_inverse=True)
    matrices = model.grid.fine_matrices(orientation)
    children = matrices.shape[1]
    size = block_rows(n, children, u.device)
    n_blocks = -(-len(orientation) // size)
    key = ((u // size) * len(poses.count) + poses.image) * phases.shape[0] + poses.shift
    order = torch.argsort(key * len(orientation) + u)
    image, shift, u, prior = poses.image[order], poses.shift[order], u[order], poses.log_prior[order]
    scores = torch.empty(len(u), CHILD_SHIFTS, children, dtype=block.cross.dtype, device=u.device)
    edges = _bounds(u // size, n_blocks)
    for index in range(n_blocks):
        first, pairs = index * size, slice(edges[index], edges[index + 1])
        slices = project(model.sphere, matrices[first : first + size].flatten(0, 1), pixels, n)
        slices = slices.view(-1, children, 2, n)
        cross = pair_cross(block.cross, phases, slices, image[pairs], shift[pairs], u[pairs] - first)
        power = pair_power(block.power, slices, image[pairs], u[pairs] - first)
        scores[pairs] = combine(cross, power, model.cross_correlation)
    if not model.cross_correlation:
        scores += prior[:, None, None]
    return _normalise(scores, image, shift, u, orientation, matrices, model, len(poses.count))


def _normalise(
    scores: Tensor,
    image: Tensor,
    shift: Tensor,
    u: Tensor,
    orientation: Tensor,
    matrices: Tensor,
    model: Model,
    n_images: int,
) -> Posterior:
    children = matrices.shape[1]
    # Blocks interleave the images; the rule wants them together.
    order = torch.argsort(image, stable=True)
    per_pair = CHILD_SHIFTS * children
    kept = significant(
        scores[order].flatten(), image[order].repeat_interleave(per_pair), n_images, model.adaptive_fraction
    )
    if model.cross_correlation:
        ones = torch.ones_like(kept.log_sum)
        kept = Kept(kept.best, ones, kept.best, kept.log_sum, kept.count)

    def decode(index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pair, child = order[index // per_pair], index % per_pair
        fine_shift = shift[pair] * CHILD_SHIFTS + child // children
        return image[pair], fine_shift, u[pair] * children + child % children

    owner, fine_shift, row = decode(kept.index)
    _, best_shift, best_row = decode(kept.best)
    return Posterior(kept, owner, fine_shift, row, best_shift, best_row, orientation, matrices)


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
    n, n_images = image.shape[-1], len(image)
    children = posterior.matrices.shape[1]
    size = block_rows(n, children, image.device) * children
    row, inverse = torch.unique(posterior.row, return_inverse=True)
    block = inverse // size
    order = torch.argsort((block * n_images + posterior.image) * len(row) + inverse, stable=True)
    key = (posterior.image * len(row) + inverse)[order]
    _, counts = torch.unique_consecutive(key, return_counts=True)
    begin = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
    head = order[begin[:-1]]
    group_image, group_row = posterior.image[head], inverse[head]
    shift, weight = posterior.shift[order], posterior.kept.weight[order].to(image.dtype)
    matrices = posterior.matrices.flatten(0, 1)[row]
    mean, square = torch.zeros_like(image), torch.zeros_like(power)
    edges = _bounds(group_row // size, -(-len(row) // size))
    for first, (g, h) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        rows = matrices[first * size : (first + 1) * size]
        entries = Entries(group_image[g:h], group_row[g:h] - first * size, begin[g : h + 1], shift, weight)
        slices = project(model.sphere, rows, pixels, n)
        sums = Sums(torch.zeros_like(slices), slices.new_zeros(len(rows), n), mean, square)
        accumulate(entries, image, power, phases, slices, sums)
        insert(volume, rows, sums.data, sums.weight, pixels)
    return mean, square
