"""Half-maps of a molecule that is ordered on one side only, with the truth: what local filters are for."""

from functools import cache

import torch

from blush.fourier.fsc import fsc
from blush.fourier.grid import radius_3d
from blush.fourier.mask import soft_sphere
from blush.regularise.base import HalfMaps
from blush.regularise.from_maps import half_maps
from blush.simulate.particle import build_particle
from blush.simulate.settings import load_settings
from blush.validate.phase_randomise import solvent_corrected_fsc

BOX, PIXEL_ANGST = 48, 3.5


@cache
def molecule() -> tuple[torch.Tensor, torch.Tensor, float]:
    """Rubisco whose density below the middle of z is blurred by B = 800 Å^2, its mask and diameter."""
    imaging = {"box_px": BOX, "pixel_size_angst": PIXEL_ANGST, "envelope_bfactor_angst2": 100, "n_particles": 1}
    particle = build_particle(load_settings(None, {"imaging": imaging, "output": "unused"}))
    whole, radius = particle.volume().double(), radius_3d(BOX) / (BOX * PIXEL_ANGST)
    blurred = torch.fft.irfftn(torch.fft.rfftn(whole) * torch.exp(-800 / 4 * radius**2), s=whole.shape)
    return ordered() * whole + (1 - ordered()) * blurred, particle.mask.double(), particle.diameter_angst


def ordered() -> torch.Tensor:
    """Share of order: 1 above the middle of z, 0 below: (N, 1, 1)."""
    return torch.sigmoid((torch.arange(BOX, dtype=torch.float64) - BOX // 2) / 2)[:, None, None]


@cache
def local_half_maps(seed: int, noise: float = 2.0) -> HalfMaps:
    """Halves with white noise of their own, `noise` standard deviations of the molecule, in double precision."""
    truth, mask, diameter = molecule()
    generator = torch.Generator().manual_seed(seed)
    level = noise * (truth * mask).std()
    first, second = (truth + level * torch.randn(truth.shape, generator=generator).double() for _ in range(2))
    curve = solvent_corrected_fsc(first, second, mask, seed).numpy()
    return half_maps(first, second, PIXEL_ANGST, particle_diameter_angst=diameter, fsc=curve, mask=mask)


def truth_fsc(references: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Mean of both references' FSC with the true map, all masked: (N / 2 + 1,)."""
    truth, mask, _ = molecule()
    return torch.stack([fsc(reference * mask, truth * mask) for reference in references]).mean(0)


def truth_error(references: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Mean of both references' distance from the true map inside the mask, relative to it."""
    truth, mask, _ = molecule()
    return sum(float(((r - truth) * mask).norm() / (truth * mask).norm()) for r in references) / 2


def solvent() -> torch.Tensor:
    """Voxels outside the mask but inside the box's sphere."""
    return (molecule()[1] < 0.01) & (soft_sphere(BOX, BOX / 2 - 3, 0.0) > 0.5)
