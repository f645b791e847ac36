"""What a regulariser is given, made from two half-map files instead of the sums of a refinement."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blush.fourier.backproject import Accumulator, empty_accumulator
from blush.fourier.fsc import fsc as shell_correlation
from blush.fourier.fsc import power_spectrum
from blush.fourier.mask import soft_sphere
from blush.fourier.transform import PADDING, gridding_correction, sphere_k2, transform
from blush.maximization.reconstruct import reconstruct
from blush.maximization.spectra import HIGHEST_FSC, LOWEST_FSC, shells_of_cells, signal_to_noise
from blush.regularise.base import Floats, HalfMaps

FINAL_ORDER = 4
"""HEALPix order at which searches become local: maps of a file are taken to come from a refinement's end."""
EDGE_PX = 5.0


def particle_mask(box_px: int, radius_px: float, like: Tensor) -> Tensor:
    """The sphere of the particle, soft and inside the box: (N, N, N)."""
    return soft_sphere(box_px, min(radius_px, box_px / 2 - EDGE_PX), EDGE_PX, like.device, like.dtype)


def half_maps(
    half1: Tensor,
    half2: Tensor,
    pixel_size_angst: float,
    *,
    particle_diameter_angst: float,
    fsc: Floats | None = None,
    mask: Tensor | None = None,
    symmetry: str = "C1",
    seed: int = 1,
    scratch: Path | None = None,
    pad: int = PADDING,
) -> HalfMaps:
    """Half-maps as the loop hands them to a regulariser.

    The sums that made them are not known. Their weights are taken as constant within a shell, 1 / (pad^3 sigma^2), with
    the noise sigma^2 = (1 - FSC) P of each half's power P per component; then tau^2 = FSC P, the Wiener filter and
    RELION's external tables agree with the FSC. What views leave out of a shell is not in them.

    Parameters
    ----------
    half1, half2
        (N, N, N) unfiltered, of even N.
    fsc
        (N / 2 + 1,) solvent-corrected; None: the plain one.
    mask
        (N, N, N); None: the sphere of the particle.
    pad
        That of the sums: 2 for methods that read them or their weights; 1, an eighth of the memory, for all others.
    """
    box = half1.shape[-1]
    unmasked = shell_correlation(half1, half2).cpu().numpy()
    curve = unmasked if fsc is None else np.asarray(fsc, dtype=np.float64)
    if curve.shape != (box // 2 + 1,):
        raise ValueError(f"an FSC of {curve.shape} does not fit maps of {box} voxels")
    noise = np.stack([_noise(half, curve) for half in (half1, half2)])
    ratio = signal_to_noise(curve, joined=False)
    halves = half1, half2
    sums = tuple(_sums(half, noise[index], pad) for index, half in enumerate(halves))
    if mask is None:
        mask = particle_mask(box, particle_diameter_angst / (2 * pixel_size_angst), half1)
    return HalfMaps(
        sums=(sums[0], sums[1]),
        fsc=curve,
        fsc_unmasked=unmasked,
        tau2=ratio * noise,
        sigma2_ref=noise,
        unregularised=lambda half: halves[half],
        wiener=lambda half: reconstruct(sums[half], ratio * noise[half]),
        pixel_size_angst=pixel_size_angst,
        particle_diameter_angst=particle_diameter_angst,
        symmetry=symmetry,
        mask=mask,
        iteration=0,
        local=True,
        healpix_order=FINAL_ORDER,
        current_size_px=box,
        seed=seed,
        scratch=scratch,
    )


def _noise(half: Tensor, fsc: Floats) -> Floats:
    """Variance of the noise per component and shell, at the scale of the sums: (N/2 + 1,)."""
    box = half.shape[-1]
    power = power_spectrum(half).cpu().numpy() / (2 * box**4)  # transforms of the sums carry 1 / N^2
    return (1 - np.clip(fsc, LOWEST_FSC, HIGHEST_FSC)) * power


def _sums(half: Tensor, noise: Floats, pad: int) -> Accumulator:
    """D and W that `reconstruct` turns into this map, W being 1 / (pad^3 sigma^2) in each shell."""
    box = half.shape[-1]
    r_max = box // 2 - 1
    values = transform(half * gridding_correction(box, pad, like=half), r_max, pad, corrected=False).values
    sums = empty_accumulator(box, r_max, dtype=half.dtype, device=half.device, pad=pad)
    table = np.zeros(r_max + 2)
    table[: r_max + 1] = 1 / (pad**3 * np.maximum(noise[: r_max + 1], np.finfo(np.float32).tiny))
    weight = torch.from_numpy(table).to(half)[shells_of_cells(sums)]
    weight = weight.masked_fill_(sphere_k2(sums.radius, half.device) > (pad * r_max) ** 2, 0)
    sums.grid[..., :2], sums.grid[..., 2] = torch.view_as_real(values * weight), weight
    return sums
