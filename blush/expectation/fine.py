"""Second pass: the children of the significant poses, their posterior, and the sums it weighs.

Orientations are visited in blocks whose slices stay in the processor's cache; a block's slices serve every image
that needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from blush.expectation.coarse import Weighted
from blush.expectation.competition import Contest, tempered_shares
from blush.expectation.component import Component, runs
from blush.expectation.kept_poses import CHILD_ORIENTATIONS, Layout, Poses, block_rows, is_tempered
from blush.expectation.model import Model
from blush.expectation.order import compact, stable_order
from blush.expectation.significance import Cut, posterior_cut
from blush.expectation.sparse import Pairs, WeightedSums, accumulate_pairs, score_pairs
from blush.fourier.backproject import Accumulator
from blush.fourier.compaction import counted, places
from blush.fourier.fixed_sums import FixedSums, add_slices
from blush.fourier.packed import Packed
from blush.fourier.project import project
from blush.kernels.score import CHILD_SHIFTS
from blush.kernels.shifts import Shifts

LogPrior = Callable[[Pairs, Tensor], Tensor]


@dataclass(frozen=True)
class Posterior:
    """Weights of the fine samples of a block of images.

    Attributes
    ----------
    pairs
        Coarse poses, sorted by (block of rows, image, row, shift); their orientations count `row`.
    weight
        (p, 4, children) posterior weights; 0 for samples that are not significant.
    log_sum
        (b,) ln of the sum of the unnormalised weights, float64.
    shares
        (b, references) posterior of the references, summed over poses, float64.
    best_shift, best_row
        (b, references) fine shift (4 t + child) and fine orientation (children u + child) of the most probable sample
        of each reference; where an image was compared with no pose of one, of its most probable sample.
    pmax
        (b,) weight of the most probable sample of all.
    row
        (u,) rows in use, ascending.
    matrices
        (u, children, 3, 3).
    edges
        First pair of every block of `block_size` rows, and the end.
    reference_edges
        First of the rows in use of every reference, and the end.
    score
        (p, 4, children) unnormalised log posterior of every sample, significant or not.
    """

    pairs: Pairs
    weight: Tensor
    log_sum: Tensor
    shares: Tensor
    best_shift: Tensor
    best_row: Tensor
    pmax: Tensor
    row: Tensor
    matrices: Tensor
    edges: list[int]
    reference_edges: list[int]
    block_size: int
    score: Tensor

    @property
    def children(self) -> int:
        """Fine orientations per coarse one."""
        return self.matrices.shape[1]

    def blocks(self) -> list[tuple[int, int, int]]:
        """First orientation, first pair and end of the pairs of every block."""
        return [(index * self.block_size, begin, end) for index, (begin, end) in enumerate(pairwise(self.edges))]


def _in_use(poses: Poses, component: Component, n_pixels: int) -> tuple[Tensor, Tensor, Layout]:
    """Rows in use, ascending, the position of each pose's among them, and the layout of the pairs."""
    if poses.layout is not None:
        present = torch.zeros(component.n_rows, dtype=torch.bool, device=poses.row.device)
        present.index_fill_(0, poses.row, True)
        return places(present, poses.layout.rows), (present.cumsum(0) - 1)[poses.row], poses.layout
    row, u = compact(poses.row, component.n_rows)
    size = block_rows(n_pixels, CHILD_ORIENTATIONS, u.device)
    n_blocks = -(-len(row) // size)
    edges = [0, *counted(u // size, torch.ones_like(u), n_blocks).cumsum(0).tolist()]
    return row, u, Layout(poses.count.cpu().numpy(), len(row), edges, component.edges(row), size)


def _sorted_pairs(poses: Poses, u: Tensor, layout: Layout) -> tuple[Pairs, Tensor]:
    """Pairs by (block, image, orientation, shift) from poses by (image, shift, ...), and their priors."""
    order = stable_order(u, layout.rows)
    order = order[stable_order(poses.image[order], len(layout.count))]
    block = torch.div(u, layout.block_size, rounding_mode="floor")
    order = order[stable_order(block[order], len(layout.edges) - 1)]
    return Pairs(poses.image[order], poses.shift[order], u[order]), poses.log_prior[order]


def fine_posterior(
    poses: Poses, block: Weighted, shifts: Shifts, model: Model, pixels: Packed, prior: LogPrior | None = None
) -> Posterior:
    """Score all children of the kept coarse poses and normalise.

    Parameters
    ----------
    poses
        In ascending order of (image, shift).
    shifts
        The fine shifts.
    prior
        (p, 4, children) log prior of the children of pairs, by the matrices (u, children, 3, 3) that their orientations
        count; None: children have the prior of their coarse pose.
    """
    n, n_images = block.cross.shape[-1], len(poses.count)
    component = model.component
    row, u, layout = _in_use(poses, component, n)
    matrices, edges, reference_edges, size = (
        component.fine_matrices(row), layout.edges, layout.reference_edges, layout.block_size
    )  # fmt: skip
    children = matrices.shape[1]
    pairs, log_prior = _sorted_pairs(poses, u, layout)
    if prior is not None:
        log_prior = torch.zeros_like(log_prior)
    scores = torch.empty(len(u), CHILD_SHIFTS, children, dtype=block.cross.dtype, device=u.device)
    for index, (begin, end) in enumerate(pairwise(edges)):
        first = index * size
        slices = _slices(model, matrices, reference_edges, first, size, pixels, n)
        part = pairs.part(begin, end, first)
        scores[begin:end] = score_pairs(
            part, block.cross, block.power, shifts, slices.view(-1, children, 2, n),
            log_prior[begin:end], model.cross_correlation, block.log_prior_shift.shape[1],
        )  # fmt: skip
        if prior is not None:
            scores[begin:end] += prior(part, matrices[first : first + size]).to(scores.dtype)
    flat = scores.flatten(1)
    contest = Contest.of(pairs, row, component, n_images)
    weight, log_sum, pmax = _weights(flat, contest, model)
    best = contest.best(flat)
    pair, child = torch.div(best, flat.shape[1], rounding_mode="floor"), best % flat.shape[1]
    return Posterior(
        pairs, weight.view_as(scores), log_sum, contest.shares(weight),
        best_shift=pairs.shift[pair] * CHILD_SHIFTS + torch.div(child, children, rounding_mode="floor"),
        best_row=pairs.orientation[pair] * children + child % children,
        pmax=pmax, row=row, matrices=matrices, edges=edges, reference_edges=reference_edges, block_size=size,
        score=scores,
    )  # fmt: skip


def _weights(scores: Tensor, contest: Contest, model: Model) -> tuple[Tensor, Tensor, Tensor]:
    """Posterior weights of samples (p, m), ln of the sum of each image's unnormalised ones, and the largest weight."""
    n, fraction = contest.n_images, model.adaptive_fraction
    if is_tempered(model):
        cut = posterior_cut(scores, contest.owner, n * contest.n_references, fraction)
        evidence = cut.log_sum.view(n, -1)
        log_prior = evidence.new_tensor([one.log_prior for one in model.component.references])
        shares = tempered_shares(evidence, log_prior, model.temperature)
        weight = cut.weights(scores, contest.owner) * shares.flatten().to(scores.dtype)[contest.owner, None]
        largest = (cut.top.double().view(n, -1) - evidence).exp() * shares
        return weight, torch.logsumexp(evidence, 1), largest.where(shares > 0, 0).amax(1)
    cut = posterior_cut(scores, contest.image, n, fraction)
    if model.cross_correlation:  # the winner takes all
        weight = torch.zeros_like(scores)
        weight.view(-1)[_best_sample(scores, contest.image, cut, n)] = 1
        return weight, cut.log_sum, torch.ones_like(cut.log_sum)
    return cut.weights(scores, contest.image), cut.log_sum, (cut.top.double() - cut.log_sum).exp()


def _slices(model: Model, matrices: Tensor, edges: list[int], first: int, size: int, pixels: Packed, n: int) -> Tensor:
    """(rows x children, 2, n) slices of the references of rows first .. first + size of those in use."""
    end = min(first + size, len(matrices))
    parts = [
        project(model.component.references[k].sphere, matrices[part].flatten(0, 1), pixels, n)
        for k, part in runs(edges, first, end)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _best_sample(scores: Tensor, image: Tensor, cut: Cut, n_images: int) -> Tensor:
    """(b,) flat position of the most probable sample of each image, the first of equals."""
    row_top, child = scores.max(1)
    place = torch.arange(len(scores), device=scores.device)
    none = torch.full((n_images,), scores.numel(), dtype=torch.int64, device=scores.device)
    row = none.scatter_reduce(0, image, place.masked_fill(row_top != cut.top[image], scores.numel()), "amin")
    return row * scores.shape[1] + child[row]


def back_project(
    posterior: Posterior, image: Tensor, power: Tensor, shifts: Shifts, model: Model, pixels: Packed,
    volumes: Sequence[Accumulator | FixedSums],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Insert the weighted images into the references' `volumes` (in place) and predict each image from the model.

    Parameters
    ----------
    image, power
        (b, 2, n) s CTF X / sigma^2 of the unmasked images; (b, n) (s CTF)^2 / sigma^2.
    shifts
        The fine shifts.

    Returns
    -------
    mean, square: (b, 2, n) sum_w w P shifted back onto the image, and (b, n) sum_w w |P|^2.
    """
    n, children = image.shape[-1], posterior.children
    mean, square = torch.zeros_like(image), torch.zeros_like(power)
    for first, begin, end in posterior.blocks():
        edges, size = posterior.reference_edges, posterior.block_size
        slices = _slices(model, posterior.matrices, edges, first, size, pixels, n)
        sums = WeightedSums(torch.zeros_like(slices), torch.zeros_like(slices[:, 0]), mean, square)
        accumulate_pairs(
            posterior.pairs.part(begin, end, first), posterior.weight[begin:end], image, power, shifts,
            slices.view(-1, children, 2, n), sums,
        )  # fmt: skip
        for k, part in runs(edges, first, first + len(slices) // children):
            fine = slice((part.start - first) * children, (part.stop - first) * children)
            add_slices(volumes[k], posterior.matrices[part].flatten(0, 1), sums.data[fine], sums.weight[fine], pixels)
    return mean, square
