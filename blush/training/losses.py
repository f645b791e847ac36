"""What the networks are trained to make small."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from blush.denoise.apply import local_deviation
from blush.denoise.unet import denoise_patches
from blush.training.batches import Batch

LARGEST_WEIGHT = 20.0
SMALLEST = 1e-6
LEAST_FILLED = 0.02


def recursed(network: nn.Module, batch: Batch, times: int) -> Tensor:
    """The input after it went through the network some times, without gradient: R_r of eq. 3, (b, 2, s, s, s).

    Each time the local deviation is that of the denoised map.
    """
    inputs = batch.inputs
    with torch.no_grad():
        for _ in range(times):
            values = denoise_patches(network, inputs)[0][:, 0] * batch.seen
            deviation = local_deviation(values + SMALLEST * batch.inputs[:, 0])
            inputs = torch.stack([values, deviation * batch.seen], 1)
    return inputs


def blush_loss(network: nn.Module, batch: Batch, times: int, mask_weight: float) -> tuple[Tensor, Tensor, Tensor]:
    """Squared error against the target, at the scale of the noisy input, plus the mask's cross-entropy.

    Kimanius et al. 2024, eq. 3. A patch counts by the ratio of the deviations of input and target, at least 1 and at
    most 20: of noisy patches the target is faint, and refinement needs the denoiser where maps are noisy. Patches of
    solvent count once.

    Returns
    -------
    Loss, squared error without those weights, cross-entropy of the mask.
    """
    inputs = recursed(network, batch, times) if times else batch.inputs
    denoised, logit = denoise_patches(network, inputs)
    noisy = batch.inputs[:, 0].std((1, 2, 3)) + SMALLEST
    weight = (noisy / (batch.target.std((1, 2, 3)) + SMALLEST)).clamp(1, LARGEST_WEIGHT)
    weight = torch.where(batch.mask.mean((1, 2, 3)) > LEAST_FILLED, weight, 1.0)
    error = (denoised[:, 0] - batch.target).square().mean((1, 2, 3)) / noisy.square()
    mask_loss = binary_cross_entropy_with_logits(logit[:, 0], batch.mask)
    return (weight * error).mean() + mask_weight * mask_loss, error.mean().detach(), mask_loss.detach()


def cref_loss(network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Deviation of FSC(output, input) from C_ref, the correlation of the mean of two halves with the truth.

    Agarwal et al. 2024 (crefDenoiser): C_ref = sqrt(2F / (1 + F)), F = |FSC(half 1, half 2)|, shells j < r <= j + 1 of
    the patch, trapezoidal rule over the normalised frequency [0, 1], mean over patches.

    Returns
    -------
    Loss, the same, and 0.
    """
    if batch.other is None:
        raise ValueError("crefDenoiser's loss needs both halves")
    first, second = batch.inputs[:, 0], batch.other
    mean = (first + second) / 2
    std, average = torch.std_mean(mean, dim=(1, 2, 3), keepdim=True, correction=0)
    noisy = (mean - average) / (std + SMALLEST)
    made = network(noisy[:, None])[:, 0].float()
    half_fsc = shell_correlation(first, second).abs()
    wanted = (2 * half_fsc / (1 + half_fsc)).sqrt()
    deviation = (shell_correlation(made, noisy).abs() - wanted).abs()
    loss = torch.trapezoid(deviation, dx=1 / (deviation.shape[-1] - 1)).mean()
    return loss, loss.detach(), torch.zeros_like(loss.detach())


def shell_correlation(first: Tensor, second: Tensor) -> Tensor:
    """FSC of (b, s, s, s) patches in the shells j < r <= j + 1: (b, s / 2); 0 where a shell is empty."""
    side = first.shape[-1]
    shells = side // 2
    f, g = (torch.fft.rfftn(values, dim=(1, 2, 3)) for values in (first, second))
    index = (_radius(side, first.device).ceil().long() - 1).clamp(-1, shells)
    index = torch.where(index < 0, shells, index)
    doubled = torch.full((side // 2 + 1,), 2.0, device=first.device)
    doubled[0] = doubled[-1] = 1.0
    flat = index.flatten()

    def summed(values: Tensor) -> Tensor:
        out = values.new_zeros(len(values), shells + 1)
        return out.index_add(1, flat, (values * doubled).flatten(1))[:, :shells]

    cross = summed((f * g.conj()).real)
    power = summed(f.abs().square()) * summed(g.abs().square())
    return cross / power.clamp_min(1e-20).sqrt()


def _radius(side: int, device: torch.device) -> Tensor:
    full, half = torch.fft.fftfreq(side, 1 / side, device=device), torch.fft.rfftfreq(side, 1 / side, device=device)
    return (full[:, None, None] ** 2 + full[None, :, None] ** 2 + half**2).sqrt()
