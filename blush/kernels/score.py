"""Operator `score`: log likelihoods of pairs (image, coarse shift, orientation) at all children of both."""

from __future__ import annotations

import torch
from torch import Tensor

from blush.kernels import device, native
from blush.kernels.operator import register
from blush.kernels.shifts import ramps_made_once

CHILD_SHIFTS = 4
FLOATS_PER_CHUNK = 2**25
"""Bounds the gathered temporaries of torch references to 128 MB each."""


def score_reference(
    image: Tensor, power: Tensor, slices: Tensor, shift_px: Tensor, kx: Tensor, ky: Tensor, box_px: int,
    pair_image: Tensor, pair_shift: Tensor, pair_row: Tensor, log_prior: Tensor, correlate: bool, of_one_image: int,
) -> Tensor:  # fmt: skip
    """The operator in plain torch, on any device and in either precision."""
    del of_one_image
    out = image.new_empty(len(pair_image), CHILD_SHIFTS, slices.shape[1])
    phases = ramps_made_once(shift_px, kx, ky, box_px, image.dtype)
    step = max(1, FLOATS_PER_CHUNK // max(1, 2 * slices.shape[1] * len(kx)))
    for begin in range(0, len(out), step):
        rows = slice(begin, begin + step)
        seen, model = pair_image[rows], slices[pair_row[rows]]
        shifted = as_complex(image)[seen, None] * as_complex(phases)[pair_shift[rows]]
        cross = torch.view_as_real(shifted).flatten(2) @ torch.view_as_real(as_complex(model)).flatten(2).mT
        weight = (model.square().sum(2) @ power[seen, :, None]).squeeze(-1)
        out[rows] = combine(cross, weight, correlate)
        if not correlate:
            out[rows] += log_prior[rows, None, None]
    return out


def as_complex(planar: Tensor) -> Tensor:
    """(..., 2, n) real and imaginary parts as (..., n) complex."""
    return torch.complex(planar[..., 0, :], planar[..., 1, :])


def combine(cross: Tensor, power: Tensor, cross_correlation: bool) -> Tensor:
    """Log likelihood up to a constant, cross - power; or the normalised correlation (docs/algorithm.md, section 2).

    Parameters
    ----------
    cross
        (b, t, r).
    power
        (b, r).
    """
    if cross_correlation:
        return cross / (2 * power).clamp_min(torch.finfo(power.dtype).tiny).sqrt()[:, None]
    return cross - power[:, None]


def score(
    image: Tensor, power: Tensor, slices: Tensor, shift_px: Tensor, kx: Tensor, ky: Tensor, box_px: int,
    pair_image: Tensor, pair_shift: Tensor, pair_row: Tensor, log_prior: Tensor, correlate: bool, of_one_image: int,
) -> Tensor:  # fmt: skip
    """Re< image moved by a child of the shift, child slice > - sum_k power |child slice|^2 + prior.

    Parameters
    ----------
    image, power
        (b, 2, n) and (b, n).
    slices
        (u, children, 2, n).
    shift_px
        (t, 4, 2) x and y in pixels, of the children of every coarse shift.
    kx, ky, box_px
        (n,) int64 frequencies in cycles per box, and N of the images.
    pair_image, pair_shift, pair_row
        (p,) int64, sorted by image, row, shift; a row is one of u.
    log_prior
        (p,).
    correlate
        Give the normalised correlation instead, without the prior.
    of_one_image
        Where images have shifts of their own, the most that one has; those of an image are consecutive. 0: all.

    Returns
    -------
    (p, 4, children).
    """
    found: Tensor = _operator(
        image, power, slices, shift_px, kx, ky, box_px, pair_image, pair_shift, pair_row, log_prior, correlate,
        of_one_image,
    )  # fmt: skip
    return found


def scores(
    image: Tensor, power: Tensor, slices: Tensor, shift_px: Tensor, kx: Tensor, ky: Tensor, box_px: int,
    pair_image: Tensor, pair_shift: Tensor, pair_row: Tensor, log_prior: Tensor, correlate: bool, of_one_image: int,
) -> Tensor:  # fmt: skip
    """What `score` returns, not yet filled."""
    del power, shift_px, kx, ky, box_px, pair_shift, pair_row, log_prior, correlate, of_one_image
    return image.new_empty(len(pair_image), CHILD_SHIFTS, slices.shape[1])


def _cpu(
    image: Tensor, power: Tensor, slices: Tensor, shift_px: Tensor, kx: Tensor, ky: Tensor, box_px: int,
    pair_image: Tensor, pair_shift: Tensor, pair_row: Tensor, log_prior: Tensor, correlate: bool, of_one_image: int,
) -> Tensor:  # fmt: skip
    children = slices.shape[1]
    if not native.usable(image, slices) or children % 4:
        return score_reference(
            image, power, slices, shift_px, kx, ky, box_px, pair_image, pair_shift, pair_row, log_prior, correlate,
            of_one_image,
        )  # fmt: skip
    phases = ramps_made_once(shift_px, kx, ky, box_px, image.dtype)
    out = image.new_empty(len(pair_image), CHILD_SHIFTS, children)
    native.call(
        "score_pairs", image.contiguous(), power.contiguous(), phases, slices.contiguous(),
        of_one_image or len(phases), len(kx), children, *native.int32(pair_image, pair_shift, pair_row),
        log_prior.contiguous(), len(pair_image), int(correlate), out,
    )  # fmt: skip
    return out


def _cuda(
    image: Tensor, power: Tensor, slices: Tensor, shift_px: Tensor, kx: Tensor, ky: Tensor, box_px: int,
    pair_image: Tensor, pair_shift: Tensor, pair_row: Tensor, log_prior: Tensor, correlate: bool, of_one_image: int,
) -> Tensor:  # fmt: skip
    arguments = (image, power, slices, shift_px, kx, ky, box_px, pair_image, pair_shift, pair_row, log_prior, correlate)
    if not device.triton_serves(image, slices):
        return score_reference(*arguments, of_one_image)
    from blush.kernels.triton_score import launch

    out = image.new_empty(len(pair_image), CHILD_SHIFTS, slices.shape[1])
    with torch.cuda.device(image.device):  # where triton launches
        launch(*arguments, out)
    return out


_operator = register("score", score_reference, cpu=_cpu, fake=scores, cuda=_cuda)
