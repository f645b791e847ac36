"""Scores and weighted sums for lists of (image, shift, orientation) that survived: the hot, irregular part.

Each function has a compiled kernel (`blush/fourier/native.cpp`) and a torch twin with the same arguments; the
twin also serves CUDA. Planar complex arrays are (..., 2, n).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.fourier import native
from blush.fourier.shift import multiply

FLOATS_PER_CHUNK = 2**25  # bounds the gathered temporaries of the torch twins to 128 MB each


def _int32(*indices: Tensor) -> list[Tensor]:
    return [i.to(torch.int32).contiguous() for i in indices]


def pair_cross(image: Tensor, phases: Tensor, slices: Tensor, i: Tensor, t: Tensor, u: Tensor) -> Tensor:
    """Re< image_i shifted by each child of shift t, every child slice of orientation u >.

    Parameters
    ----------
    image
        (b, 2, n) weighted transforms.
    phases
        (t, 4, 2, n) of the four children of every coarse shift.
    slices
        (u, children, 2, n).
    i, t, u
        (pairs,) indices; sorted by (i, t) the shifted image is used again.

    Returns
    -------
    (pairs, 4, children).
    """
    children, n = slices.shape[1], slices.shape[-1]
    out = torch.empty(len(i), 4, children, dtype=image.dtype, device=image.device)
    if native.usable(image, slices) and children % 4 == 0:
        native.call(
            "pair_scores",
            image.contiguous(),
            phases.contiguous(),
            slices.contiguous(),
            n,
            children,
            *_int32(i, t, u),
            len(i),
            out,
        )
        return out
    step = max(1, FLOATS_PER_CHUNK // (2 * n * children))
    for begin in range(0, len(i), step):
        rows = slice(begin, begin + step)
        shifted = multiply(image[i[rows], None], phases[t[rows]]).flatten(2)
        out[rows] = shifted @ slices[u[rows]].flatten(2).transpose(1, 2)
    return out


def pair_power(weight: Tensor, slices: Tensor, i: Tensor, u: Tensor) -> Tensor:
    """sum_k weight_i |slice|^2 for every child slice of orientation u: (pairs, children)."""
    power = slices.square().sum(2)
    children, n = power.shape[1:]
    out = torch.empty(len(i), children, dtype=weight.dtype, device=weight.device)
    if native.usable(weight, slices):
        native.call("pair_power", weight.contiguous(), power.contiguous(), n, children, *_int32(i, u), len(i), out)
        return out
    step = max(1, FLOATS_PER_CHUNK // (n * children))
    for begin in range(0, len(i), step):
        rows = slice(begin, begin + step)
        out[rows] = (power[u[rows]] @ weight[i[rows], :, None]).squeeze(-1)
    return out


@dataclass(frozen=True)
class Entries:
    """Kept samples, sorted by group; a group is one image in one orientation row, with all its shifts.

    Attributes
    ----------
    image, row
        (g,) of each group.
    begin
        (g + 1,) first entry of each group.
    shift, weight
        (e,) fine shift index and posterior weight.
    """

    image: Tensor
    row: Tensor
    begin: Tensor
    shift: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Sums:
    """Weighted sums that `accumulate` adds to: back-projection rows, and what the model predicts per image."""

    data: Tensor
    weight: Tensor
    mean: Tensor
    square: Tensor


def accumulate(entries: Entries, image: Tensor, power: Tensor, phases: Tensor, slices: Tensor, sums: Sums) -> None:
    """Add the kept samples to `sums` in place.

    With F = sum_t w_t phase_t of a group: data[row] += F image_i; weight[row] += (sum w) power_i;
    mean[i] += conj(F) slice_row; square[i] += (sum w) |slice_row|^2.

    Parameters
    ----------
    image, power
        (b, 2, n) and (b, n): s CTF X / sigma^2 of the unmasked images, and (s CTF)^2 / sigma^2.
    phases
        (fine shifts, 2, n).
    slices
        (rows, 2, n).
    sums
        data (rows, 2, n), weight (rows, n), mean (b, 2, n), square (b, n).
    """
    n = slices.shape[-1]
    if native.usable(image, slices):
        native.call(
            "accumulate",
            image.contiguous(),
            power.contiguous(),
            phases.contiguous(),
            slices.contiguous(),
            n,
            *_int32(entries.image, entries.row),
            entries.begin.contiguous(),
            len(entries.image),
            *_int32(entries.shift),
            entries.weight.contiguous(),
            sums.data,
            sums.weight,
            sums.mean,
            sums.square,
        )
        return
    step = max(1, FLOATS_PER_CHUNK // (4 * n))
    counts = entries.begin.diff()
    group = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    for begin in range(0, len(counts), step):
        _accumulate_torch(entries, group, begin, min(begin + step, len(counts)), image, power, phases, slices, sums)


def _accumulate_torch(
    entries: Entries,
    group: Tensor,
    begin: int,
    end: int,
    image: Tensor,
    power: Tensor,
    phases: Tensor,
    slices: Tensor,
    sums: Sums,
) -> None:
    n = slices.shape[-1]
    filters = torch.zeros(end - begin, 2, n, dtype=image.dtype, device=image.device)
    total = torch.zeros(end - begin, dtype=image.dtype, device=image.device)
    # `begin` counts in the list of the whole batch, `group` from the first entry of this block.
    offset = int(entries.begin[0])
    first, last = entries.begin[begin], entries.begin[end]
    step = max(1, FLOATS_PER_CHUNK // (2 * n))
    for e in range(int(first), int(last), step):
        rows = slice(e, min(e + step, int(last)))
        weight = entries.weight[rows].to(image.dtype)
        owner = group[rows.start - offset : rows.stop - offset] - begin
        filters.index_add_(0, owner, phases[entries.shift[rows]] * weight[:, None, None])
        total.index_add_(0, owner, weight)
    i, row = entries.image[begin:end].long(), entries.row[begin:end].long()
    model = slices[row]
    sums.data.index_add_(0, row, multiply(filters, image[i]))
    sums.weight.index_add_(0, row, total[:, None] * power[i])
    conjugate = torch.stack((filters[:, 0], -filters[:, 1]), dim=1)
    sums.mean.index_add_(0, i, multiply(conjugate, model))
    sums.square.index_add_(0, i, total[:, None] * model.square().sum(1))
