"""Electron scattering density of atoms, as Fourier coefficients.

Density is splatted on a grid of half the pixel size after blurring it by a known B-factor, so that neither the
grid nor the aliases of its sampling matter, and the blur is divided out of the transform. The transform reaches
1.5 times as far as the image, with a smooth end beyond the image's Nyquist frequency: a sharp end there would ring
over the whole box and spoil every slice near it (by 5 %, measured).

Values are per voxel of the image's pixel size: the transform of a map whose voxels hold scattering density in Å⁻²
(Å of scattering length per Å³), plain sums without factors, phases about the centre of the box.
"""

import math

import gemmi
import torch
from torch import Tensor

from blush.fourier.filter import raised_cosine
from blush.fourier.grid import radius_3d
from blush.simulate.atoms import Atoms

OVERSAMPLING = 2
# Blur in units of pixel²: aliases at Nyquist are below exp(-12) of the density there.
BLUR_PER_PIXEL2 = 24.0
"""Least B-factor of what is sampled, in units of pixel²."""
_REACH_SIGMA = 4.8
_ATOMS_AT_ONCE = 2000


def form_factors(element: Tensor) -> tuple[Tensor, Tensor]:
    """Five Gaussians of each atom, f(k) = Σ a exp(-b k²/4), in Å and Å².

    Parameters
    ----------
    element
        (n,) atomic numbers.

    Returns
    -------
    a and b, (n, 5) float64.

    References
    ----------
    International Tables C, 4.3.2.2; Peng et al. 1996, doi:10.1107/S0108767395014371
    """
    kinds, which = torch.unique(element, return_inverse=True)
    table = torch.tensor([gemmi.Element(int(z)).c4322.get_coefs() for z in kinds], dtype=torch.float64)
    return table[which, :5], table[which, 5:]


def atoms_spectrum(atoms: Atoms, box_px: int, pixel_size_angst: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Transform of the atoms' density.

    Returns
    -------
    (M, M, M/2 + 1) complex, rfftn layout, M = `wide_box`.
    """
    narrowest = float(atoms.bfactor_angst2.min())
    blur = max(0.0, BLUR_PER_PIXEL2 * pixel_size_angst**2 - narrowest)
    grid = splat(atoms, blur, box_px, pixel_size_angst, dtype)
    return wide_spectrum(grid, box_px) * bfactor_decay(box_px, pixel_size_angst, -blur).to(dtype)


def splat(atoms: Atoms, blur_angst2: float, box_px: int, pixel_size_angst: float, dtype: torch.dtype) -> Tensor:
    """Density of blurred atoms in Å⁻² on the oversampled grid (2N, 2N, 2N), the origin at index 0."""
    size, step = OVERSAMPLING * box_px, pixel_size_angst / OVERSAMPLING
    grid = torch.zeros(size**3, dtype=dtype)
    order = torch.argsort(atoms.bfactor_angst2)  # atoms of like width share the size of their blocks
    for rows in torch.split(order, _ATOMS_AT_ONCE):
        amplitude, width = form_factors(atoms.element[rows])
        width = width + (atoms.bfactor_angst2[rows] + blur_angst2)[:, None]
        _add(grid, atoms.position_angst[rows], amplitude * atoms.occupancy[rows, None], width, step)
    return grid.view(size, size, size)


def splat_gaussians(
    position_angst: Tensor,
    amplitude: Tensor,
    width_angst2: Tensor,
    box_px: int,
    pixel_size_angst: float,
    dtype: torch.dtype,
) -> Tensor:
    """Density of Gaussians f(k) = Σ a exp(-b k²/4) on the oversampled grid (2N, 2N, 2N), the origin at index 0.

    Parameters
    ----------
    position_angst
        (n, 3) x, y, z.
    amplitude, width_angst2
        (n, g) a in Å and b in Å², wide enough for the grid (`BLUR_PER_PIXEL2`).
    """
    size, step = OVERSAMPLING * box_px, pixel_size_angst / OVERSAMPLING
    grid = torch.zeros(size**3, dtype=dtype)
    for rows in torch.split(torch.arange(len(position_angst)), _ATOMS_AT_ONCE):
        _add(grid, position_angst[rows], amplitude[rows], width_angst2[rows], step)
    return grid.view(size, size, size)


def _add(grid: Tensor, position_angst: Tensor, amplitude: Tensor, width: Tensor, step: float) -> None:
    """Add Gaussians to a flattened cubic grid."""
    dtype, size = grid.dtype, round(grid.numel() ** (1 / 3))
    amplitude = amplitude * (4 * math.pi / width) ** 1.5
    reach = gaussian_reach(width, step)
    index, distance = block_points(position_angst / step, reach, size)
    profile = torch.exp(-4 * math.pi**2 / width[:, None, None, :] * (distance * step)[..., None] ** 2).to(dtype)
    plane = profile[:, 1, :, None] * profile[:, 0, None, :]  # (n, y, x, g)
    column = profile[:, 2] * amplitude[:, None].to(dtype)
    values = column @ plane.flatten(1, 2).transpose(1, 2)
    grid.index_add_(0, flat_index(index, size).flatten(), values.flatten())


def gaussian_reach(width_angst2: Tensor, step_angst: float) -> int:
    """Grid steps beyond which nothing is left of the widest of some Gaussians exp(-b k²/4)."""
    return math.ceil(_REACH_SIGMA * math.sqrt(float(width_angst2.max()) / (8 * math.pi**2)) / step_angst)


def block_points(position_px: Tensor, reach: int, size: int) -> tuple[Tensor, Tensor]:
    """Grid coordinates around each atom, wrapped, and their distances from it, along each axis.

    Parameters
    ----------
    position_px
        (n, 3) x, y, z in grid steps.

    Returns
    -------
    (n, 3, 2 reach + 1) int64 in [0, size), and distances in grid steps.
    """
    near = torch.floor(position_px + 0.5).long()
    points = near[:, :, None] + torch.arange(-reach, reach + 1)
    return points % size, points - position_px[:, :, None]


def flat_index(index: Tensor, size: int) -> Tensor:
    """(n, b³) positions in a flattened (z, y, x) grid from (n, 3, b) coordinates x, y, z."""
    x, y, z = index.unbind(1)
    return ((z[:, :, None, None] * size + y[:, None, :, None]) * size + x[:, None, None, :]).flatten(1)


def wide_box(box_px: int) -> int:
    """Box in which spectra are kept: even, half as large again as that of the images."""
    return 2 * math.ceil(0.75 * box_px)


def wide_spectrum(grid: Tensor, box_px: int) -> Tensor:
    """Transform of an oversampled grid, per voxel of the box, unchanged to N/2 and smoothly to 0 at 0.75 N."""
    wide = wide_box(box_px)
    cropped = crop_spectrum(torch.fft.rfftn(grid), wide) / OVERSAMPLING**3
    end = raised_cosine(radius_3d(wide), (box_px + wide) / 4, (wide - box_px) / 2)
    return cropped * end.to(grid.dtype)


def image_spectrum(spectrum: Tensor, box_px: int) -> Tensor:
    """Part of a wide spectrum that images of the box can hold, |k| < N/2; (N, N, N/2 + 1)."""
    cropped = crop_spectrum(spectrum, box_px)
    return torch.where(radius_3d(box_px) < box_px // 2, cropped, torch.zeros((), dtype=cropped.dtype))


def crop_spectrum(spectrum: Tensor, box_px: int) -> Tensor:
    """Lowest frequencies of a transform in rfftn layout, values unchanged."""
    half = box_px // 2
    rows = torch.cat([torch.arange(half), torch.arange(-half, 0)]) % spectrum.shape[0]
    return spectrum[rows][:, rows][:, :, : half + 1]


def bfactor_decay(box_px: int, pixel_size_angst: float, bfactor_angst2: float) -> Tensor:
    """exp(-B q²/4) for the wide box of images of this box; constant beyond 0.75 N, where nothing is left."""
    wide = wide_box(box_px)
    q = radius_3d(wide).clamp(max=wide / 2) / (box_px * pixel_size_angst)
    return torch.exp(-bfactor_angst2 / 4 * q**2)
