"""A whole map through a patch-wise network: from its grid to the network's and back.

Steps of the published inference (Kimanius et al. 2024, doi:10.1038/s41592-024-02304-8) with its traps mended: the mask
is the particle's sphere; patches to skip are told from the best-filled one, so that a small box is not skipped as a
whole, and they leave no hole in the mask; no batch is left out at the end. The result is masked once, as a map, not
also before its mean is given back, which only sharpens the edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from blush.denoise.tiling import blend, completed, patch_means, patch_starts, widest_stride
from blush.denoise.unet import denoise_patches
from blush.fourier.filter import raised_cosine, resize_volume
from blush.fourier.grid import radius_3d
from blush.fourier.mask import soft_sphere

MASK_EDGE_PX = 6.0
KERNEL_REACH_PX, KERNEL_STEP = 10, 0.15
SKIPPED_SHARE = 0.3
"""Patches whose mean mask is less than this share of the best-filled one are not computed."""
BORDER_PX = 11
"""Voxels at each face of the tiled box that blending may leave without a value."""
SMALL_BOX_BORDER_PX = 10
"""Zeros on either side of a box no larger than a patch, which are 10 as published."""
NEEDED_MASK = 0.5
"""Value of the mask from which on a voxel has to be seen by a patch."""
CROSS_OVER_EDGE_SHELLS = 2.0
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Plan:
    """How maps of one geometry are denoised.

    Attributes
    ----------
    box_px, pixel_size_angst
        N and a of the maps.
    model_box_px, voxel_size_angst
        N' and the voxel size of the network's grid, N a / N'.
    padded_px
        Side of the zero-padded box that is tiled.
    block_px
        Side of a patch.
    radius_angst
        That of the particle.
    mask
        (N', N', N') soft sphere around the particle.
    first
        (p, 3) first voxels of the patches that are computed, in the padded box.
    """

    box_px: int
    pixel_size_angst: float
    model_box_px: int
    voxel_size_angst: float
    padded_px: int
    block_px: int
    radius_angst: float
    mask: Tensor
    first: Tensor

    @property
    def n_patches(self) -> int:
        """Patches that are computed for one map."""
        return len(self.first)


def plan_patches(
    box_px: int,
    pixel_size_angst: float,
    particle_diameter_angst: float,
    voxel_size_angst: float,
    *,
    block_px: int = 64,
    stride_px: int = 20,
    device: torch.device | str = "cpu",
) -> Plan:
    """Grid, mask and patches for maps of a box, pixel size and particle.

    Parameters
    ----------
    voxel_size_angst
        What the network was trained on; it sees the even box whose voxels come closest.
    block_px, stride_px
        Side of a patch, and the step between patches.

    Raises
    ------
    ValueError
        If the patches would leave gaps.
    """
    widest = widest_stride(block_px)
    if not 1 <= stride_px <= widest:
        raise ValueError(
            f"patches of {block_px} px every {stride_px} px leave gaps; a step of 1 to {widest} px does not"
        )
    n = model_box(box_px, pixel_size_angst, voxel_size_angst)
    voxel = box_px * pixel_size_angst / n
    radius_px = particle_diameter_angst / (2 * voxel)
    mask = particle_mask(n, radius_px, device)
    padded = padded_box(n, radius_px, block_px)
    first = patch_starts(padded, block_px, stride_px)
    inside = _padded(mask, padded)
    filled = patch_means(inside, first, block_px).cpu()
    kept = completed(first, filled >= SKIPPED_SHARE * filled.max(), filled, inside > NEEDED_MASK, block_px)
    radius_angst = particle_diameter_angst / 2
    return Plan(box_px, pixel_size_angst, n, voxel, padded, block_px, radius_angst, mask, first[kept])


def model_box(box_px: int, pixel_size_angst: float, voxel_size_angst: float) -> int:
    """N': the box of the network's voxel size, rounded, and where that is odd the even neighbour of closer voxels."""
    width_angst = box_px * pixel_size_angst
    n = round(width_angst / voxel_size_angst)
    if n % 2 == 0:
        return max(n, 2)
    return min((n + 1, max(n - 1, 2)), key=lambda even: abs(width_angst / even - voxel_size_angst))


def particle_mask(box_px: int, radius_px: float, device: torch.device | str = "cpu") -> Tensor:
    """1 in the particle's sphere, falling as a cosine to 0 over 6 voxels beyond it: (box, box, box) float32.

    In the published terms the radius is that of the middle of the edge, D / (2 · 1.5) + 3, at most (N' - 6) / 2 + 1.
    """
    middle = min(radius_px + MASK_EDGE_PX / 2, _largest_middle(box_px))
    return soft_sphere(box_px, middle - MASK_EDGE_PX / 2, MASK_EDGE_PX, device)


def padded_box(box_px: int, radius_px: float, block_px: int = 64) -> int:
    """Side of the box to tile: N', or what a box no larger than a patch, or a particle close to its faces, needs."""
    middle = min(radius_px + MASK_EDGE_PX / 2, _largest_middle(box_px))
    least = 2 * math.ceil(middle + BORDER_PX)
    return max(box_px, least, block_px + 2 * SMALL_BOX_BORDER_PX if box_px <= block_px else 0)


def _largest_middle(box_px: int) -> float:
    return (box_px - MASK_EDGE_PX) / 2 + 1


def local_deviation(volume: Tensor) -> Tensor:
    """Standard deviation of a map around each voxel, over its mean in the map.

    The window is a Gaussian of 21 voxels, exp(-(0.15 i)²), i from -10 to 10; beyond the box the map counts as 0.

    Parameters
    ----------
    volume
        (..., N, N, N), unmasked; each map has a mean of its own. A map of zeros deviates nowhere.
    """
    variance = (_windowed(volume.square()) - _windowed(volume).square()).clamp_min(0)
    deviation = variance.sqrt()
    return deviation / deviation.mean((-3, -2, -1), keepdim=True).clamp_min(torch.finfo(volume.dtype).tiny)


def _windowed(volume: Tensor) -> Tensor:
    """Mean under the window, axis after axis, as products with a banded matrix."""
    place = torch.arange(volume.shape[-1], device=volume.device, dtype=torch.float64)
    distance = place[:, None] - place
    taps = torch.exp(-((KERNEL_STEP * distance) ** 2)).where(distance.abs() <= KERNEL_REACH_PX, 0)
    reach = torch.arange(-KERNEL_REACH_PX, KERNEL_REACH_PX + 1, device=volume.device, dtype=torch.float64)
    band = (taps / torch.exp(-((KERNEL_STEP * reach) ** 2)).sum()).to(volume.dtype)
    for _ in range(3):  # each product works on the last axis and brings it to the front
        volume = (volume @ band.T).movedim(-1, -3)
    return volume.contiguous()


def denoise_map(
    network: nn.Module,
    volume: Tensor,
    plan: Plan,
    *,
    batch: int = 4,
    precision: Precision = "auto",
    classification: bool = False,
) -> Tensor:
    """One map, denoised.

    Parameters
    ----------
    network
        `UNet3d` in eval mode, on the device of the map.
    volume
        (N, N, N): an unregularised half-map; for `classification` a regularised map.
    batch
        Patches computed at once. It changes the result by the rounding of the network alone.
    precision
        Inside the network, whose norms stay in float32; auto is bfloat16 on a GPU and float32 elsewhere.
    classification
        Give the input's own frequencies, within the particle's sphere, from a shell below the network's Nyquist
        frequency on. In refinement these are left out: what follows fills and trails them.

    Returns
    -------
    (N, N, N), dtype of the map; 0 outside the particle's mask. Frequencies beyond the network's Nyquist are 0.

    Raises
    ------
    ValueError
        If the map has another box than the plan, is constant, or holds values that are not finite.
    """
    if volume.shape != (plan.box_px,) * 3:
        raise ValueError(f"the map has shape {tuple(volume.shape)}, the plan is for a box of {plan.box_px} px")
    coarse = resize_volume(volume, plan.pixel_size_angst, plan.model_box_px, plan.voxel_size_angst)
    denoised, _ = on_model_grid(network, coarse, plan, batch, precision)
    fine = resize_volume(denoised, plan.voxel_size_angst, plan.box_px, plan.pixel_size_angst)
    return _filled(fine, volume, plan) if classification else fine


def on_model_grid(
    network: nn.Module, volume: Tensor, plan: Plan, batch: int, precision: Precision, *, change: bool = False
) -> tuple[Tensor, Tensor]:
    """A map on the network's grid: standardise, mask, denoise in patches, and bring back to scale.

    With `change` only what is added to the map is returned.

    Returns
    -------
    (N', N', N') each: the map, and where the network sees the particle, in [0, 1]; patches of both are blended alike.

    Raises
    ------
    ValueError
        If the map is constant or holds values that are not finite.
    """
    std, mean = torch.std_mean(volume)
    if not (math.isfinite(float(std)) and float(std) > 0):
        raise ValueError(f"the map has a standard deviation of {float(std)}; there is nothing to denoise")
    mask = plan.mask.to(volume)
    standard = (volume - mean) / std * mask
    channels = torch.stack([standard, local_deviation(volume) * mask]).float()
    first = plan.first.to(volume.device)
    tiled = _padded(channels, plan.padded_px)
    lowered = precision == "bfloat16" or (precision == "auto" and volume.device.type == "cuda")

    def make(patches: Tensor) -> Tensor:
        with torch.autocast(volume.device.type, dtype=torch.bfloat16, enabled=lowered):
            denoised, logit = denoise_patches(network, patches)
            return torch.cat([denoised - patches[:, :1] if change else denoised, torch.sigmoid(logit)], 1)

    # Without TF32, float32 is what it says; the same algorithm every time gives the same bytes.
    with torch.inference_mode(), torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
        made, _ = blend(make, tiled, first, plan.block_px, batch)
    border = (plan.padded_px - plan.model_box_px) // 2
    inside = slice(border, border + plan.model_box_px)
    values, particle = made[:, inside, inside, inside].to(volume.dtype)
    return (values * std + (0 if change else mean)) * mask, particle * mask


def _filled(denoised: Tensor, given: Tensor, plan: Plan) -> Tensor:
    """The given map takes over one shell below the network's Nyquist frequency, where that is coarser than the map's.

    As it lies in the particle's sphere, with an edge as wide as that of the mask.
    """
    cut = plan.model_box_px // 2 - 1
    if plan.model_box_px >= plan.box_px:
        return denoised
    edge_px = MASK_EDGE_PX * plan.voxel_size_angst / plan.pixel_size_angst
    radius_px = min(plan.radius_angst / plan.pixel_size_angst, plan.box_px / 2 - 1)
    inside = given * soft_sphere(plan.box_px, radius_px, edge_px, given.device, given.dtype)
    gain = raised_cosine(radius_3d(plan.box_px, given.device), float(cut), CROSS_OVER_EDGE_SHELLS).to(given.dtype)
    spectrum = torch.fft.rfftn(denoised) * gain + torch.fft.rfftn(inside) * (1 - gain)
    return torch.fft.irfftn(spectrum, s=given.shape)


def _padded(volume: Tensor, side_px: int) -> Tensor:
    """Zeros around the last three axes, the same on either side."""
    border = (side_px - volume.shape[-1]) // 2
    return torch.nn.functional.pad(volume, (border,) * 6)
