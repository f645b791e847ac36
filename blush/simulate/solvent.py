"""The space a particle takes from the solvent, and the detergent or lipid around its membrane part."""

import math

import gemmi
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from blush.simulate.atoms import Atoms
from blush.simulate.density import OVERSAMPLING, block_points, flat_index
from blush.simulate.settings import Belt

_PROBE_ANGST = 1.4
# Softness of the boundary between particle and solvent, an r.m.s. width of 0.8 Å.
BOUNDARY_BFACTOR_ANGST2 = 50.0
_ATOMS_AT_ONCE = 20000


def excluded_volume(atoms: Atoms, box_px: int, pixel_size_angst: float) -> Tensor:
    """Where no water molecule's centre can come near: van der Waals spheres grown by a probe, then shrunk by it.

    Returns
    -------
    (2N, 2N, 2N) bool on the oversampled grid, the origin at index 0.

    References
    ----------
    Jiang & Brünger 1994, doi:10.1006/jmbi.1994.1633 (flat solvent model).
    """
    size, step = OVERSAMPLING * box_px, pixel_size_angst / OVERSAMPLING
    radius = torch.tensor([gemmi.Element(int(z)).vdw_r for z in atoms.element], dtype=torch.float64)
    reach = math.ceil((float(radius.max()) + _PROBE_ANGST) / step)
    grown = torch.zeros(size**3, dtype=torch.bool)
    for rows in torch.split(torch.arange(len(atoms)), _ATOMS_AT_ONCE):
        index, distance = block_points(atoms.position_angst[rows] / step, reach, size)
        x, y, z = ((distance * step) ** 2).unbind(1)
        square = (z[:, :, None, None] + y[:, None, :, None] + x[:, None, None, :]).flatten(1)
        grown[flat_index(index, size)[square < (radius[rows, None] + _PROBE_ANGST) ** 2]] = True
    centred = np.fft.fftshift(grown.view(size, size, size).numpy())
    depth = ndimage.distance_transform_edt(centred, sampling=step)
    # The transform counts from the nearest point outside, which lies half a step beyond the surface.
    return torch.from_numpy(np.fft.ifftshift(depth > _PROBE_ANGST + step / 2))


def occupied_share(atoms: Atoms, presence: Tensor, box_px: int, pixel_size_angst: float) -> Tensor:
    """Share of the particles in which a point is inside the particle, where each atom has its share.

    Atoms of a smaller share are there only together with those of a larger one.

    Parameters
    ----------
    presence
        (n,) float64 in (0, 1].

    Returns
    -------
    (2N, 2N, 2N) float32 on the oversampled grid, the origin at index 0.
    """
    levels = torch.unique(presence).tolist()
    share = torch.zeros(())
    for below, level in zip([0.0, *levels], levels, strict=False):
        there = atoms.take(presence >= level)
        share = share + (level - below) * excluded_volume(there, box_px, pixel_size_angst).float()
    return share


def soft_mask(volume: Tensor, box_px: int, pixel_size_angst: float, extend_angst: float, edge_angst: float) -> Tensor:
    """Mask of a box around an excluded volume: 1 as far as `extend_angst`, a raised cosine to 0 over the edge.

    Parameters
    ----------
    volume
        (2N, 2N, 2N) bool, the origin at index 0.

    Returns
    -------
    (N, N, N) float32, the origin at its centre.
    """
    coarse = np.fft.fftshift(volume.numpy())[::OVERSAMPLING, ::OVERSAMPLING, ::OVERSAMPLING]
    distance = torch.from_numpy(ndimage.distance_transform_edt(~coarse, sampling=pixel_size_angst))
    fraction = ((distance - extend_angst) / edge_angst).clamp(0, 1)
    return (0.5 + 0.5 * torch.cos(math.pi * fraction)).float()


def belt_contrast(belt: Belt, atoms: Atoms, occupied: Tensor, box_px: int, pixel_size_angst: float) -> Tensor:
    """Density of a micelle above that of solvent, in Å⁻².

    A core and a shell of head groups, both ellipsoids of revolution about z whose equator lies beyond the protein's
    own radius at that height; nothing where `occupied`.

    Returns
    -------
    (2N, 2N, 2N) float32 on the oversampled grid, the origin at index 0.
    """
    size, step = OVERSAMPLING * box_px, pixel_size_angst / OVERSAMPLING
    z = atoms.position_angst[:, 2] - belt.center_z_angst
    slab = atoms.position_angst[z.abs() < belt.core_height_angst / 2, :2]
    protein = float(torch.quantile(slab.norm(dim=1), 0.9)) if len(slab) else 0.0
    axis = torch.from_numpy(np.fft.fftfreq(size, 1 / size)).float() * step
    across2 = axis[None, :, None] ** 2 + axis[None, None, :] ** 2
    along2 = (axis[:, None, None] - belt.center_z_angst) ** 2

    def inside(grow: float) -> Tensor:
        equator, pole = protein + belt.core_width_angst + grow, belt.core_height_angst / 2 + grow
        return across2 / equator**2 + along2 / pole**2 < 1

    core, whole = inside(0.0), inside(belt.shell_angst)
    contrast = torch.where(core, belt.core_contrast, torch.where(whole, belt.shell_contrast, 0.0))
    return torch.where(occupied, torch.zeros(()), contrast).float()


def belt_texture(contrast: Tensor, belt: Belt, pixel_size_angst: float, generator: np.random.Generator) -> Tensor:
    """Disorder of a micelle: its contrast times a smooth random field of the belt's texture.

    Returns
    -------
    (2N, 2N, 2N) float32, like `contrast`.
    """
    size, step = contrast.shape[0], pixel_size_angst / OVERSAMPLING
    white = torch.from_numpy(generator.standard_normal(contrast.shape, dtype=np.float32))
    q = torch.from_numpy(np.fft.fftfreq(size, step)).float()
    half = torch.fft.rfftfreq(size, step)
    q2 = q[:, None, None] ** 2 + q[None, :, None] ** 2 + half**2
    sigma = belt.texture_angst / 2.355  # full width at half maximum
    smooth = torch.fft.irfftn(torch.fft.rfftn(white) * torch.exp(-2 * (math.pi * sigma) ** 2 * q2), s=contrast.shape)
    return contrast * smooth / smooth.std() * belt.texture_sd
