"""The simulated particle: atoms, solvent and belt as one spectrum, with the maps and mask that go with it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from blush.errors import BlushError, Problem
from blush.fourier.filter import low_pass
from blush.simulate.atoms import Atoms, read_atoms
from blush.simulate.changes import Structure, whole
from blush.simulate.density import atoms_spectrum, bfactor_decay, image_spectrum, wide_spectrum
from blush.simulate.settings import Belt, SimulateConfig
from blush.simulate.solvent import BOUNDARY_BFACTOR_ANGST2, belt_contrast, belt_texture, occupied_share, soft_mask

_MASK_EXTEND_ANGST = 8.0
_MASK_EDGE_ANGST = 6.0
# Of the box: room for offsets, and for the smooth end of the spectrum.
_LARGEST_FILLING = 0.9


@dataclass(frozen=True)
class Particle:
    """What every image shows.

    Attributes
    ----------
    spectrum
        Wide spectrum of the contrast against solvent, envelope included, in Å⁻² per voxel.
    diameter_angst
        Circle around the particle.
    mask
        (N, N, N) float32 soft mask.
    belt, contrast
        Micelle and its mean contrast on the oversampled grid, or None.
    """

    box_px: int
    pixel_size_angst: float
    envelope_bfactor_angst2: float
    n_atoms: int
    spectrum: Tensor
    diameter_angst: float
    mask: Tensor
    belt: Belt | None
    contrast: Tensor | None

    def volume(self, lowpass_angst: float | None = None) -> Tensor:
        """The map that images hold, (N, N, N), low-passed with a cosine edge of two shells where asked."""
        spectrum = image_spectrum(self.spectrum, self.box_px)
        volume = torch.fft.fftshift(torch.fft.irfftn(spectrum, s=(self.box_px,) * 3))
        return volume if lowpass_angst is None else low_pass(volume, lowpass_angst, self.pixel_size_angst)

    def disordered_spectrum(self, generator: np.random.Generator) -> Tensor:
        """Spectrum with one draw of the micelle's texture."""
        if self.belt is None or self.contrast is None:
            return self.spectrum
        texture = belt_texture(self.contrast, self.belt, self.pixel_size_angst, generator)
        decay = bfactor_decay(
            self.box_px, self.pixel_size_angst, BOUNDARY_BFACTOR_ANGST2 + self.envelope_bfactor_angst2
        )
        return self.spectrum + wide_spectrum(texture, self.box_px) * decay.float()


def build_particle(settings: SimulateConfig) -> Particle:
    """Read the model and compute its density.

    Raises
    ------
    BlushError
        Where the model is unusable or does not fit the box.
    """
    atoms = read_atoms(settings.specimen)
    check_size(atoms, settings)
    return build_particle_of(atoms, settings.specimen.belt, settings)


def build_particle_of(atoms: Atoms, belt: Belt | None, settings: SimulateConfig) -> Particle:
    """Density of atoms in solvent, and of a micelle around them, in the box of the settings."""
    return build_structure(whole(atoms), belt, settings)


def build_structure(structure: Structure, belt: Belt | None, settings: SimulateConfig) -> Particle:
    """Density of one state, atoms that are not always there with as much of their hole in the solvent."""
    box, pixel = settings.imaging.box_px, settings.imaging.pixel_size_angst
    atoms = structure.atoms
    share = occupied_share(atoms, structure.presence, box, pixel)
    occupied = share > 0
    contrast = belt_contrast(belt, atoms, occupied, box, pixel) if belt else None
    solvent = -settings.specimen.solvent_density * share
    filled = occupied if contrast is None else occupied | (contrast != 0)
    smooth = wide_spectrum(solvent if contrast is None else solvent + contrast, box)
    smooth = smooth * bfactor_decay(box, pixel, BOUNDARY_BFACTOR_ANGST2).float()
    envelope = settings.imaging.envelope_bfactor_angst2
    spectrum = (atoms_spectrum(atoms, box, pixel) + smooth) * bfactor_decay(box, pixel, envelope).float()
    return Particle(
        box_px=box,
        pixel_size_angst=pixel,
        envelope_bfactor_angst2=envelope,
        n_atoms=len(atoms),
        spectrum=spectrum,
        diameter_angst=settings.particle_diameter_angst or _diameter(filled, pixel * box),
        mask=soft_mask(filled, box, pixel, _MASK_EXTEND_ANGST, _MASK_EDGE_ANGST),
        belt=belt,
        contrast=contrast,
    )


def check_size(atoms: Atoms, settings: SimulateConfig) -> None:
    """Refuse a model that the box cannot hold.

    Raises
    ------
    BlushError
        With the box that it needs.
    """
    side = settings.imaging.box_px * settings.imaging.pixel_size_angst
    if 2 * atoms.radius_angst > _LARGEST_FILLING * side:
        message = f"box of {side:.0f} Å is too small for a model of {2 * atoms.radius_angst:.0f} Å"
        remedy = f"raise imaging.box_px to {int(2 * atoms.radius_angst / 0.75 / settings.imaging.pixel_size_angst) + 1}"
        raise BlushError("cannot simulate particles", [Problem(message, remedy, where="imaging.box_px")])


def _diameter(filled: Tensor, side_angst: float) -> float:
    """Diameter of a filled volume (origin at index 0) plus a tenth, rounded to 5 Å, at most the box."""
    size = filled.shape[0]
    where = torch.nonzero(filled)
    where = torch.where(where < size // 2, where, where - size).double() * (side_angst / size)
    return min(5 * round(2.2 * float(where.norm(dim=1).max()) / 5), side_angst)
