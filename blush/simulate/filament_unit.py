"""The unit of a simulated filament as Gaussians, and the map of a helix of such units.

Everything is a sum of Gaussians, so projections and maps of a helix are exact at any pose, and add up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from blush.errors import BlushError, Problem
from blush.geometry.helix import Helix
from blush.geometry.rotation import matrix_from_euler
from blush.simulate.atoms import Atoms, read_atoms
from blush.simulate.density import (
    BLUR_PER_PIXEL2,
    bfactor_decay,
    form_factors,
    gaussian_reach,
    image_spectrum,
    splat_gaussians,
    wide_spectrum,
)
from blush.simulate.filament_settings import Chain, Filaments
from blush.simulate.settings import SimulateConfig

ATOM_VOLUME_ANGST3 = 17.2
"""Water that a heavy atom of a protein takes the place of, its hydrogens included: 1.21 Å³ per dalton."""
_TRIALS = 2000
_UNIT_STREAM = 11


@dataclass(frozen=True)
class Unit:
    """Gaussians f(k) = Σ a exp(-b k²/4) at places in the frame of the helix.

    Attributes
    ----------
    position_angst
        (n, 3) x, y, z; the axis is z, and z = 0 where the unit is.
    amplitude, width_angst2
        (n, g) a in Å and b in Å².
    """

    position_angst: Tensor
    amplitude: Tensor
    width_angst2: Tensor

    @property
    def radius_angst(self) -> float:
        """Distance of the farthest Gaussian from the axis, with most of its width."""
        reach = 2 * math.sqrt(float(self.width_angst2.amin(1).max()) / (8 * math.pi**2))
        return float(self.position_angst[:, :2].norm(dim=1).max()) + reach


def build_unit(settings: SimulateConfig) -> Unit:
    """The unit of a configuration, with its copies by rotational symmetry about the axis.

    Raises
    ------
    BlushError
        Where the model cannot be used, or the chain finds no room.
    """
    filaments = _filaments(settings)
    if filaments.unit == "chain":
        unit = _beads(filaments.chain, settings.seed)
    else:
        unit = unit_of_atoms(read_atoms(settings.specimen), settings.specimen.solvent_density)
    turn = matrix_from_euler(torch.tensor(filaments.unit_rotation_deg, dtype=torch.float64))
    middle = torch.tensor([filaments.radius_angst, 0.0, 0.0], dtype=torch.float64)
    placed = unit.position_angst @ turn.T + middle
    copies = torch.cat([turned(placed, 360 * k / filaments.fold) for k in range(filaments.fold)])
    repeated = (tensor.repeat(filaments.fold, 1) for tensor in (unit.amplitude, unit.width_angst2))
    return Unit(copies, *repeated)


def turned(position: Tensor, angle_deg: float) -> Tensor:
    """(n, 3) points turned about z, from x towards y."""
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    x, y, z = position.unbind(1)
    return torch.stack([x * cosine - y * sine, x * sine + y * cosine, z], 1)


def _filaments(settings: SimulateConfig) -> Filaments:
    if settings.filaments is None:
        raise ValueError("the settings have no filaments")
    return settings.filaments


def _beads(chain: Chain, seed: int) -> Unit:
    """A chain of equal Gaussians that keeps its distance from itself."""
    generator = np.random.default_rng([seed, _UNIT_STREAM])
    places = [np.zeros(3)]
    for _ in range(_TRIALS):
        if len(places) == chain.beads:
            break
        step = generator.standard_normal(3)
        step[2] *= chain.height_angst > 0
        candidate = places[-1] + step / np.linalg.norm(step) * chain.spacing_angst
        inside = np.hypot(*candidate[:2]) <= chain.extent_angst and abs(candidate[2]) <= chain.height_angst
        free = np.linalg.norm(np.array(places[:-1]).reshape(-1, 3) - candidate, axis=1) >= 0.999 * chain.spacing_angst
        if inside and free.all():
            places.append(candidate)
        elif generator.random() < 0.02 and len(places) > 1:
            del places[-(len(places) // 2) :]  # out of a dead end
    if len(places) < chain.beads:
        message = f"no room for {chain.beads} beads; {len(places)} were placed"
        problem = Problem(message, "raise extent_angst or lower spacing_angst", where="filaments.chain")
        raise BlushError("cannot simulate filaments", [problem])
    position = torch.from_numpy(np.array(places) - np.mean(places, axis=0))
    shape = (chain.beads, 1)
    width = torch.full(shape, 8 * math.pi**2 * chain.sigma_angst**2, dtype=torch.float64)
    return Unit(position, torch.ones(shape, dtype=torch.float64), width)


def unit_of_atoms(atoms: Atoms, solvent_density: float) -> Unit:
    """Form factors of atoms, less a Gaussian of the solvent that each displaces.

    References
    ----------
    Fraser, MacRae & Suzuki 1978, doi:10.1107/S0021889878014296 (solvent displaced by atoms as Gaussians).
    """
    amplitude, width = form_factors(atoms.element)
    displaced = torch.full((len(atoms), 1), -solvent_density * ATOM_VOLUME_ANGST3, dtype=torch.float64)
    hole = torch.full((len(atoms), 1), 4 * math.pi * ATOM_VOLUME_ANGST3 ** (2 / 3), dtype=torch.float64)
    amplitude = torch.cat([amplitude, displaced], 1) * atoms.occupancy[:, None]
    return Unit(atoms.position_angst, amplitude, torch.cat([width, hole], 1) + atoms.bfactor_angst2[:, None])


def helix_map(unit: Unit, helix: Helix, settings: SimulateConfig) -> Tensor:
    """Map (N, N, N) of an endless helix on the scale of its projections: sums of voxels along a ray.

    Envelope included, z of the helix along the first axis, the axis through the voxel N/2.
    """
    box, pixel = settings.imaging.box_px, settings.imaging.pixel_size_angst
    blur = max(0.0, BLUR_PER_PIXEL2 * pixel**2 - float(unit.width_angst2.min()))
    tail = gaussian_reach(unit.width_angst2 + blur, pixel) * pixel
    reach = float(unit.position_angst[:, 2].abs().max()) + tail
    count = math.ceil((box * pixel / 2 + reach) / helix.rise_angst)
    wide = box + 4 * math.ceil(tail / pixel)
    lift = torch.tensor([0.0, 0.0, helix.rise_angst], dtype=torch.float64)
    units = torch.arange(-count, count + 1)
    position = torch.cat([turned(unit.position_angst, float(h) * helix.twist_deg) + h * lift for h in units])
    near = position[:, 2].abs() < box * pixel / 2 + tail
    amplitude, width = (tensor.repeat(len(units), 1)[near] for tensor in (unit.amplitude, unit.width_angst2))
    grid = splat_gaussians(position[near], amplitude, width + blur, wide, pixel, torch.float32)
    decay = bfactor_decay(wide, pixel, settings.imaging.envelope_bfactor_angst2 - blur).float()
    spectrum = image_spectrum(wide_spectrum(grid, wide) * decay, wide)
    volume = torch.fft.fftshift(torch.fft.irfftn(spectrum, s=(wide,) * 3))
    first = wide // 2 - box // 2
    inside = slice(first, first + box)
    return volume[inside, inside, inside].contiguous()
