"""Images of filaments: a strip of micrograph for each, seen through its CTF, and boxes cut from it with its noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from torch import Tensor

from blush.ctf.transfer import Optics, ctf_at, wavelength_angst
from blush.geometry.rotation import matrix_from_euler
from blush.simulate.acquisition import micrograph_defocus, noise_generator, phase_generator
from blush.simulate.density import BLUR_PER_PIXEL2, OVERSAMPLING, gaussian_reach
from blush.simulate.filament_settings import Filaments
from blush.simulate.filament_tracks import Filament, draw_filament
from blush.simulate.filament_unit import Unit
from blush.simulate.images import noise_field
from blush.simulate.settings import SimulateConfig

_GAUSSIANS_AT_ONCE = 4000


@dataclass(frozen=True)
class Strip:
    """A filament on its part of the micrograph.

    Attributes
    ----------
    image
        (h, w) float32.
    corner_px
        x and y of its first pixel, in pixels of the filament's own frame.
    """

    image: Tensor
    corner_px: NDArray[np.int64]

    def boxes(self, filament: Filament, box_px: int) -> Tensor:
        """Boxes of the filament, (n, N, N): overlapping ones share pixels."""
        first = torch.from_numpy(filament.box_px - self.corner_px) - box_px // 2
        inside = torch.arange(box_px)
        return self.image[(first[:, 1, None] + inside)[:, :, None], (first[:, 0, None] + inside)[:, None, :]]


class Strips:
    """Strips of all filaments, by number, made when they are asked for; noise has unit variance.

    Parameters
    ----------
    unit
        What is repeated along each.
    """

    def __init__(self, unit: Unit, settings: SimulateConfig, filaments: Filaments) -> None:
        self._unit, self._settings, self._filaments = unit, settings, filaments
        imaging = settings.imaging
        voltage = torch.tensor([group.voltage_kv for group in imaging.optics], dtype=torch.float64)
        # as far as the CTF carries the finest detail, half a micrograph's defocus being one side
        carried = float(wavelength_angst(voltage).max()) * imaging.defocus_max_angst / (2 * imaging.pixel_size_angst)
        self._padding_px = math.ceil(carried / imaging.pixel_size_angst)

    def filament(self, number: int) -> Filament:
        """Course and boxes of a filament."""
        padding = self._padding_px * self._settings.imaging.pixel_size_angst
        return draw_filament(self._settings, self._filaments, number, padding)

    def clean(self, number: int) -> Strip:
        """A filament without noise."""
        filament, imaging = self.filament(number), self._settings.imaging
        margin = imaging.box_px // 2 + self._padding_px
        corner = filament.box_px.min(0) - margin
        width, height = (2 * next_fast_len(-(-int(n) // 2), real=True) for n in np.ptp(filament.box_px, 0) + 2 * margin)
        transform = self._density(filament, corner, (height, width))
        if self._filaments.content == "random_phases":
            transform = self._with_random_phases(transform, (height, width), number)
        ky, kx = _frequencies((height, width), imaging.pixel_size_angst)
        transform = transform * self._transfer(kx, ky, number // self._filaments.per_micrograph)
        return Strip(torch.fft.irfft2(transform, s=(height, width)).float(), corner)

    def noisy(self, number: int, grey_scale: float) -> Strip:
        """A filament on a grey scale, in noise of unit variance; without the filament where there is only noise."""
        clean, imaging = self.clean(number), self._settings.imaging
        generator = noise_generator(self._settings.seed, number)
        shape = clean.image.shape[0], clean.image.shape[1]
        [noise] = noise_field(self._settings.noise, 1, shape, imaging.pixel_size_angst, generator)
        shown = 0.0 if self._filaments.content == "noise" else grey_scale
        return Strip(shown * clean.image + noise, clean.corner_px)

    def _density(self, filament: Filament, corner_px: NDArray[np.int64], shape: tuple[int, int]) -> Tensor:
        """Transform of the projected units with the envelope, (h, w/2 + 1), below the Nyquist frequency."""
        pixel = self._settings.imaging.pixel_size_angst
        view = matrix_from_euler(torch.from_numpy(filament.units.euler_deg))[:, :2]
        place = torch.from_numpy(filament.units.place_angst - corner_px * pixel)
        position = torch.einsum("uij,nj->uni", view, self._unit.position_angst) + place[:, None]
        extent = torch.tensor([shape[1], shape[0]]) * pixel
        inside = ((position > 0) & (position < extent)).all(-1)
        which = torch.nonzero(inside)[:, 1]
        blur = max(0.0, BLUR_PER_PIXEL2 * pixel**2 - float(self._unit.width_angst2.min()))
        width = self._unit.width_angst2[which] + blur
        grid = _splat(position[inside], self._unit.amplitude[which], width, shape, pixel)
        transform = _cropped(torch.fft.rfft2(grid), shape) / OVERSAMPLING**2
        ky, kx = _frequencies(shape, pixel)
        square = ky**2 + kx**2
        envelope = self._settings.imaging.envelope_bfactor_angst2 - blur
        kept = square < (0.5 / pixel) ** 2
        return transform * torch.where(kept, torch.exp(-envelope / 4 * square), 0.0)

    def _with_random_phases(self, transform: Tensor, shape: tuple[int, int], number: int) -> Tensor:
        """Amplitudes kept, phases beyond a resolution those of noise."""
        white = phase_generator(self._settings.seed, number).standard_normal(shape)
        noise = torch.fft.rfft2(torch.from_numpy(white))
        ky, kx = _frequencies(shape, self._settings.imaging.pixel_size_angst)
        start = 0.0 if self._filaments.random_from_angst is None else 1 / self._filaments.random_from_angst
        return torch.where(torch.hypot(ky, kx) >= start, transform.abs() * noise / noise.abs(), transform)

    def _transfer(self, kx: Tensor, ky: Tensor, micrograph: int) -> Tensor:
        """Contrast transfer function of a micrograph, (h, w/2 + 1)."""
        imaging = self._settings.imaging
        group = imaging.optics[micrograph % len(imaging.optics)]
        columns = (group.voltage_kv, group.spherical_aberration_mm, group.amplitude_contrast)
        optics = Optics(*(torch.tensor([value], dtype=torch.float64) for value in columns))
        defocus, angle = (torch.from_numpy(values) for values in micrograph_defocus(self._settings, micrograph))
        zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        x, y = kx.expand(len(ky), -1), ky.expand(-1, len(kx))
        values = ctf_at(x.flatten(), y.flatten(), defocus[:, 0], defocus[:, 1], angle, zero, zero, one, optics)
        return values.view(x.shape)


def _frequencies(shape: tuple[int, int], pixel_size_angst: float) -> tuple[Tensor, Tensor]:
    """Cycles per Å along y, (h, 1), and along x, (w/2 + 1,)."""
    ky = torch.fft.fftfreq(shape[0], pixel_size_angst, dtype=torch.float64)[:, None]
    return ky, torch.fft.rfftfreq(shape[1], pixel_size_angst, dtype=torch.float64)


def _splat(position: Tensor, amplitude: Tensor, width: Tensor, shape: tuple[int, int], pixel: float) -> Tensor:
    """Projected Gaussians on the oversampled grid (2h, 2w), as sums of voxels along the beam.

    Parameters
    ----------
    position
        (n, 2) x and y in Å from the first pixel.
    amplitude, width
        (n, g) a and b of f(k) = Σ a exp(-b k²/4).
    """
    rows, columns, step = OVERSAMPLING * shape[0], OVERSAMPLING * shape[1], pixel / OVERSAMPLING
    grid = torch.zeros(rows * columns, dtype=torch.float64)
    reach = gaussian_reach(width, step)
    around = torch.arange(-reach, reach + 1)
    for some in torch.split(torch.arange(len(position)), _GAUSSIANS_AT_ONCE):
        b = width[some, :, None, None]
        index = torch.floor(position[some] / step + 0.5).long()[:, :, None] + around
        distance = index * step - position[some, :, None]
        profile = torch.exp(-4 * math.pi**2 / b * distance[:, None] ** 2)  # (n, g, xy, block)
        weighted = profile[:, :, 1] * (amplitude[some] * 4 * math.pi / width[some] / pixel)[..., None]
        values = weighted.transpose(1, 2) @ profile[:, :, 0]
        flat = (index[:, 1, :, None] % rows) * columns + index[:, 0, None, :] % columns
        grid.index_add_(0, flat.flatten(), values.flatten())
    return grid.view(rows, columns)


def _cropped(transform: Tensor, shape: tuple[int, int]) -> Tensor:
    """Lowest frequencies of a transform in rfftn layout."""
    half = shape[0] // 2
    rows = torch.cat([torch.arange(half), torch.arange(-half, 0)]) % transform.shape[0]
    return transform[rows][:, : shape[1] // 2 + 1]
