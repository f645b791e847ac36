"""A pair of half-maps whose FSC falls through 1/7 inside the sphere, as a regulariser is given them."""

import numpy as np
import torch

from blush.fourier.backproject import Accumulator, empty_accumulator, symmetrise, trim
from blush.fourier.mask import soft_sphere
from blush.fourier.transform import transform
from blush.geometry.symmetry import operators
from blush.maximization.halves import half_sum_fsc
from blush.maximization.reconstruct import reconstruct
from blush.maximization.spectra import reference_noise, signal_to_noise
from blush.regularise.base import HalfMaps

BOX, R_MAX, PIXEL_ANGST = 24, 11, 3.0
DIAMETER_ANGST = 60.0
"""Holds the molecule of `blobs`: a sphere of 50 Å would leave out a fifth of it."""


def blobs(seed: int = 7, box: int = BOX, count: int = 12, width_px: float = 1.2) -> torch.Tensor:
    """A molecule: Gaussians at random places within a third of the box; float64."""
    generator = torch.Generator().manual_seed(seed)
    centres = (torch.rand(count, 3, generator=generator, dtype=torch.float64) - 0.5) * box / 2.4 + box // 2
    axis = torch.arange(box, dtype=torch.float64)
    lines = torch.exp(-((axis - centres[..., None]) ** 2) / (2 * width_px**2))
    return torch.einsum("nz,ny,nx->zyx", lines[:, 0], lines[:, 1], lines[:, 2])


def half_sums(
    seed: int, dtype: torch.dtype, *, noise: float = 0.02, volume: torch.Tensor | None = None, symmetry: str = "C1"
) -> Accumulator:
    """D and W of a common map with noise of its own."""
    volume = blobs() if volume is None else volume
    box = volume.shape[0]
    own = torch.randn(box, box, box, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    values = torch.view_as_real(transform(volume + noise * own, box // 2 - 1, corrected=False).values)
    sums = empty_accumulator(box, box // 2 - 1, dtype=torch.float64)
    sums.grid[..., :2], sums.grid[..., 2] = 40 * values, 40
    sums = symmetrise(trim(sums), operators(symmetry))
    return Accumulator(sums.grid.to(dtype), box, sums.r_max)


def maps_of(sums: list[Accumulator], **fields) -> HalfMaps:
    """What the loop hands to a regulariser, from both halves' sums."""
    fsc = half_sum_fsc(*sums)
    noise = np.stack([reference_noise(half) for half in sums])
    tau2 = signal_to_noise(fsc, joined=False) * noise
    box = sums[0].box_px
    given = {
        "sums": (sums[0], sums[1]),
        "fsc": fsc,
        "fsc_unmasked": fsc,
        "tau2": tau2,
        "sigma2_ref": noise,
        "unregularised": lambda half: reconstruct(sums[half]),
        "wiener": lambda half: reconstruct(sums[half], tau2[half]),
        "pixel_size_angst": PIXEL_ANGST,
        "particle_diameter_angst": DIAMETER_ANGST * box / BOX,
        "symmetry": "C1",
        "mask": soft_sphere(box, box / 3, 4.0).to(sums[0].grid),
        "iteration": 3,
        "local": False,
    }
    return HalfMaps(**(given | fields))


def half_maps(
    dtype: torch.dtype,
    *,
    swapped: bool = False,
    noise: float = 0.1,
    volume: torch.Tensor | None = None,
    symmetry: str = "C1",
    **fields,
) -> HalfMaps:
    """The standard problem; `swapped` exchanges the halves."""
    sums = [half_sums(seed, dtype, noise=noise, volume=volume, symmetry=symmetry) for seed in (1, 2)]
    return maps_of(sums[::-1] if swapped else sums, symmetry=symmetry, **fields)
