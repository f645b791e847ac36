"""What an iteration learns beside the map: noise, group scales, norms, offsets, directions, likelihood."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.expectation.block import Block
from blush.expectation.fine import Posterior
from blush.expectation.model import Model
from blush.expectation.offsets import FineShifts
from blush.expectation.sums import Sums
from blush.fourier.packed import Packed, shell_sums
from blush.io.upload import uploaded
from blush.kernels.score import CHILD_SHIFTS


@dataclass(frozen=True)
class Fit:
    """What the model says about some images; all of b images.

    Attributes
    ----------
    weight
        (b,) sum of the posterior weights that were kept, float64.
    shares
        (b, references) what each reference gets of the images, float64.
    log_sum
        (b,) ln of the sum of the unnormalised weights, float64.
    mean, square
        (b, 2, n) sum_w w P and (b, n) sum_w w |P|^2, without CTF and scale.
    """

    weight: Tensor
    shares: Tensor
    log_sum: Tensor
    mean: Tensor
    square: Tensor


def add_statistics(sums: Sums, model: Model, pixels: Packed, block: Block, fit: Fit) -> None:
    """Add one block to `sums` (in place), poses apart: docs/algorithm.md, sections 3 and 5.

    `log_gain` is the log likelihood over that of an empty map; of cross-correlation, which has none, 0.
    """
    weight = fit.weight
    shells = block.images.power.shape[1]
    cross = (block.images.masked * fit.mean).sum(1) * block.transfer
    power = fit.square * block.transfer.square()
    cross, power = (shell_sums(x, pixels.shell, shells) for x in (cross, power))
    scale = block.scale.double()[:, None]
    residual = weight[:, None] * block.images.power - 2 * scale * cross + scale.square() * power
    sums.noise.index_add_(0, block.optics, residual)
    sums.weight.index_add_(0, block.optics, weight)
    if model.scale_shells is not None:
        used = model.scale_shells.to(residual.dtype)
        sums.scale_cross.index_add_(0, block.group, cross @ used)
        sums.scale_power.index_add_(0, block.group, power @ used)
    sums.shares += fit.shares.sum(0).to(sums.shares)
    old = uploaded(block.particles.norm_correction, residual.device, residual.dtype)
    sums.append(
        {
            "norm_correction": old / model.norm_average * (2 * residual.clamp_min(0).sum(1) / weight).sqrt(),
            "log_likelihood": _log_likelihood(model, pixels, block, fit.log_sum),
            "log_gain": torch.zeros_like(fit.log_sum) if model.cross_correlation else fit.log_sum,
        }
    )


def weight_of_images(posterior: Posterior, n_images: int) -> Tensor:
    """(b,) sum of the weights of each image's samples, float64."""
    per_pair = posterior.weight.double()
    return per_pair.new_zeros(n_images).index_add_(0, posterior.pairs.image, per_pair.sum((1, 2)))


def add_pose_sums(sums: Sums, model: Model, shifts: FineShifts, block: Block, posterior: Posterior) -> None:
    """Sum of w |offset|^2 and of w per direction, through one histogram over shifts and one over rows."""
    pairs, device = posterior.pairs, posterior.weight.device
    child = torch.arange(CHILD_SHIFTS, device=device)
    place, offsets_px = shifts.places(pairs, block.shift_px)
    index = (place[:, None] * CHILD_SHIFTS + child).flatten()
    per_shift = torch.zeros(offsets_px.shape[:-1], dtype=torch.float64, device=device)
    per_shift.view(-1).index_add_(0, index, posterior.weight.double().sum(2).flatten())
    square = offsets_px.square().sum(-1) * model.pixel_size_angst**2
    sums.offset_square = sums.offset_square + (per_shift * square).sum()
    per_row = torch.zeros(len(posterior.row), dtype=torch.float64, device=device)
    per_row.index_add_(0, pairs.orientation, posterior.weight.double().sum((1, 2)))
    sums.directions.index_add_(0, model.component.direction(posterior.row), per_row)


def _log_likelihood(model: Model, pixels: Packed, block: Block, log_sum: Tensor) -> Tensor:
    """Ln sum_w w - D^2 constant - sum_k ln 2 pi sigma^2 of each image (docs/algorithm.md, section 3).

    Zero under cross-correlation, which has no likelihood.
    """
    if model.cross_correlation:
        return torch.zeros_like(log_sum)
    noise = model.noise[block.optics]
    compared = torch.zeros(noise.shape[1], dtype=torch.bool, device=noise.device)
    compared[1 : model.radius + 1] = True
    count = shell_sums(torch.ones(len(pixels.shell), device=noise.device), pixels.shell, noise.shape[1])
    safe = torch.where(compared, noise, torch.ones_like(noise))
    constant = torch.where(compared, block.images.power / (2 * safe), block.images.power / 2)
    constant[:, 0] = 0
    norm = (count * (2 * math.pi * safe).log() * compared).sum(1)
    return log_sum - constant.sum(1) / model.pose_temperature - norm
