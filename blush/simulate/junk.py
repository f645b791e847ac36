"""Images that a picker takes for particles: smears, edges of the carbon film, broken and off-centre particles."""

import math

import numpy as np
import torch
from torch import Tensor

from blush.simulate.acquisition import Acquisition
from blush.simulate.changes import Structure
from blush.simulate.images import middle, transfer
from blush.simulate.settings import Imaging

JUNK_WIDTHS = 2
"""Side of the box in which junk is seen through the CTF, in widths of the image: nothing comes in at the other side."""
_BLOBS = 5
_NEAREST, _FARTHEST = 0.3, 0.6
_LEAST_LEFT, _MOST_LEFT = 0.3, 0.7


def off_centre_angst(count: int, diameter_angst: float, generator: np.random.Generator) -> Tensor:
    """(n, 2) displacements x, y of particles that were picked beside their middle."""
    distance, angle = generator.uniform(size=(2, count))
    distance = diameter_angst * (_NEAREST + (_FARTHEST - _NEAREST) * distance)
    angle = 2 * math.pi * angle
    return torch.from_numpy(np.stack([distance * np.cos(angle), distance * np.sin(angle)], 1))


def broken(structure: Structure, generator: np.random.Generator) -> Structure:
    """A structure with all atoms on one side of a random plane left out; the rest stays in its place."""
    direction = torch.from_numpy(generator.standard_normal(3))
    left = generator.uniform(_LEAST_LEFT, _MOST_LEFT)
    height = structure.atoms.position_angst @ direction
    there = torch.argsort(torch.argsort(height)) < max(1, round(left * len(height)))
    return Structure(structure.atoms.take(there), structure.presence[there], structure.touched)


def blobs(count: int, imaging: Imaging, diameter_angst: float, generator: np.random.Generator) -> Tensor:
    """One to five round smears per image, in the wide box: (n, 2N, 2N) float32."""
    number = generator.integers(1, _BLOBS + 1, count)
    height, width, *place = generator.uniform(size=(4, count, _BLOBS))
    height = np.where(np.arange(_BLOBS) < number[:, None], 0.2 + height, 0)
    width = diameter_angst * (0.05 + 0.2 * width)
    axis = _axis_angst(imaging)
    reach = 0.5 * imaging.box_px * imaging.pixel_size_angst
    x, y = (np.exp(-((axis - reach * (2 * p - 1)[..., None]) ** 2) / (2 * width[..., None] ** 2)) for p in place)
    return torch.from_numpy(np.einsum("nby,nbx,nb->nyx", y, x, height, optimize=True)).float()


def edges(count: int, imaging: Imaging, diameter_angst: float, generator: np.random.Generator) -> Tensor:
    """A half plane of film per image, in the wide box: (n, 2N, 2N) float32."""
    angle, offset, width = generator.uniform(size=(3, count))
    angle, offset = 2 * math.pi * angle, diameter_angst * (offset - 0.5)
    width = diameter_angst * (0.02 + 0.1 * width)
    axis = _axis_angst(imaging)
    across = np.cos(angle)[:, None, None] * axis + np.sin(angle)[:, None, None] * axis[:, None]
    step = torch.from_numpy((across - offset[:, None, None]) / width[:, None, None])
    return (0.5 + 0.5 * torch.erf(step)).float()


def seen_through(objects: Tensor, seen: Acquisition, imaging: Imaging) -> Tensor:
    """Images (n, N, N) of flat objects (n, 2N, 2N) through the CTF and the envelope of all images."""
    size, pixel = objects.shape[-1], imaging.pixel_size_angst
    ky = torch.fft.fftfreq(size, pixel, dtype=torch.float64)
    kx = torch.fft.rfftfreq(size, pixel, dtype=torch.float64)
    y, x = (grid.flatten() for grid in torch.meshgrid(ky, kx, indexing="ij"))
    q2 = x**2 + y**2
    gain = transfer(seen, imaging, x, y) * torch.exp(-imaging.envelope_bfactor_angst2 / 4 * q2).float()
    gain = torch.where(q2 < (0.5 / pixel) ** 2, gain, torch.zeros(()))
    spectrum = torch.fft.rfft2(objects) * gain.view(len(objects), size, -1)
    return middle(torch.fft.irfft2(spectrum, s=(size, size)), imaging.box_px)


def with_variance(images: Tensor, variance: Tensor) -> Tensor:
    """Images (n, N, N) scaled to a variance (n,) of all their pixels."""
    found = images.double().flatten(1).var(dim=1, correction=0)
    return (images * (variance / found).sqrt()[:, None, None]).float()


def _axis_angst(imaging: Imaging) -> np.ndarray:
    """(2N,) distance of the wide box's pixels from its centre."""
    size = JUNK_WIDTHS * imaging.box_px
    return (np.arange(size) - size // 2) * imaging.pixel_size_angst
