"""Operator `accumulate`: posterior-weighted images and CTF^2 of every slice, and what slices predict of every image."""

from __future__ import annotations

import torch
from torch import Tensor

from blush.kernels import device, native
from blush.kernels.operator import register
from blush.kernels.score import FLOATS_PER_CHUNK, as_complex
from blush.kernels.shifts import ramps_made_once


def accumulate_reference(
    weight: Tensor, image: Tensor, power: Tensor, slices: Tensor, shift_px: Tensor, kx: Tensor, ky: Tensor,
    box_px: int, pair_image: Tensor, pair_shift: Tensor, pair_row: Tensor, data_sum: Tensor, weight_sum: Tensor,
    mean: Tensor, square: Tensor,
) -> None:  # fmt: skip
    """The operator in plain torch, on any device and in either precision."""
    children, n = slices.shape[1], slices.shape[-1]
    phases, every = ramps_made_once(shift_px, kx, ky, box_px, image.dtype), torch.arange(children, device=image.device)
    step = max(1, FLOATS_PER_CHUNK // max(1, 2 * n * children))
    for begin in range(0, len(pair_image), step):
        part = slice(begin, begin + step)
        ramp = phases[pair_shift[part]].flatten(2)
        filters = as_complex((weight[part].mT @ ramp).view(-1, 2, n))
        total = weight[part].sum(1).flatten()[:, None]
        row = (pair_row[part, None] * children + every).flatten()
        seen = pair_image[part].repeat_interleave(children)
        model = slices.flatten(0, 1)[row]
        data_sum.index_add_(0, row, _planar(filters * as_complex(image[seen])))
        weight_sum.index_add_(0, row, total * power[seen])
        mean.index_add_(0, seen, _planar(filters.conj() * as_complex(model)))
        square.index_add_(0, seen, total * model.square().sum(1))


def _planar(values: Tensor) -> Tensor:
    return torch.stack((values.real, values.imag), dim=-2)


CHANGED = ("data_sum", "weight_sum", "mean", "square")


def accumulate(
    weight: Tensor, image: Tensor, power: Tensor, slices: Tensor, shift_px: Tensor, kx: Tensor, ky: Tensor,
    box_px: int, pair_image: Tensor, pair_shift: Tensor, pair_row: Tensor, data_sum: Tensor, weight_sum: Tensor,
    mean: Tensor, square: Tensor,
) -> None:  # fmt: skip
    """Add weighted samples to four sums in place.

    With F = sum over an image's shifts of w phase, for every child slice (a place of `data_sum`): data_sum += F image;
    weight_sum += (sum w) power; mean[image] += conj(F) slice; square[image] += (sum w) |slice|^2.

    Parameters
    ----------
    weight
        (p, 4, children) posterior weights, 0 for samples that are not kept.
    image, power
        (b, 2, n) and (b, n).
    slices
        (u, children, 2, n).
    shift_px, kx, ky, box_px, pair_image, pair_shift, pair_row
        As `score` takes them.
    data_sum, weight_sum
        (u children, 2, n) and (u children, n).
    mean, square
        (b, 2, n) and (b, n).
    """
    _operator(
        weight, image, power, slices, shift_px, kx, ky, box_px, pair_image, pair_shift, pair_row, data_sum, weight_sum,
        mean, square,
    )  # fmt: skip


def _fake(
    weight: Tensor, image: Tensor, power: Tensor, slices: Tensor, shift_px: Tensor, kx: Tensor, ky: Tensor,
    box_px: int, pair_image: Tensor, pair_shift: Tensor, pair_row: Tensor, data_sum: Tensor, weight_sum: Tensor,
    mean: Tensor, square: Tensor,
) -> None:  # fmt: skip
    pass


def _cpu(
    weight: Tensor, image: Tensor, power: Tensor, slices: Tensor, shift_px: Tensor, kx: Tensor, ky: Tensor,
    box_px: int, pair_image: Tensor, pair_shift: Tensor, pair_row: Tensor, data_sum: Tensor, weight_sum: Tensor,
    mean: Tensor, square: Tensor,
) -> None:  # fmt: skip
    sums = (data_sum, weight_sum, mean, square)
    if not native.usable(image, slices):
        accumulate_reference(
            weight, image, power, slices, shift_px, kx, ky, box_px, pair_image, pair_shift, pair_row, *sums
        )
        return
    phases = ramps_made_once(shift_px, kx, ky, box_px, image.dtype)
    native.call(
        "accumulate_pairs", image.contiguous(), power.contiguous(), phases, slices.contiguous(), len(kx),
        slices.shape[1], *native.int32(pair_image, pair_shift, pair_row), weight.contiguous(), len(pair_image), *sums,
    )  # fmt: skip


def _cuda(
    weight: Tensor, image: Tensor, power: Tensor, slices: Tensor, shift_px: Tensor, kx: Tensor, ky: Tensor,
    box_px: int, pair_image: Tensor, pair_shift: Tensor, pair_row: Tensor, data_sum: Tensor, weight_sum: Tensor,
    mean: Tensor, square: Tensor,
) -> None:  # fmt: skip
    arguments = (weight, image, power, slices, shift_px, kx, ky, box_px, pair_image, pair_shift, pair_row)
    sums = (data_sum, weight_sum, mean, square)
    if not device.triton_serves(image, slices):
        accumulate_reference(*arguments, *sums)
        return
    from blush.kernels.triton_accumulate import launch

    with torch.cuda.device(image.device):  # where triton launches
        launch(*arguments, *sums)


_operator = register("accumulate", accumulate_reference, cpu=_cpu, fake=_fake, cuda=_cuda, changed=CHANGED)
