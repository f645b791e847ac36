"""Maps on cylinders about z: harmonics about the axis, in which a screw is a phase.

A map V(x, y, z) is sampled on circles of radii r as sum_n G_n(r, z) exp(i n q), q being the angle from x towards y.
Turned and moved along the screw it is G_n(r, z) exp(i n turn) at another z, so that no map is interpolated again for
every unit of a helix. Sampling is by cubic B-splines on sections that are oversampled twice, along z not at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.fourier.filter import raised_cosine
from blush.fourier.grid import centred_radius

STEP_PX = 0.5
"""Distance of circles."""
MARGIN_PX = 4.0
"""Empty room beyond the outermost density."""
CHUNK_VALUES = 2**24
"""Values of temporaries at once."""


@dataclass(frozen=True)
class Cylinders:
    """Circles of radii (j + 1/2) `STEP_PX` px about the axis of a map.

    Parameters
    ----------
    box_px
        N of the map, even.
    radius_px
        Density beyond it is cut off, over a cosine of 4 px.
    """

    box_px: int
    radius_px: float

    def __post_init__(self) -> None:
        if self.box_px % 2:
            raise ValueError(f"box {self.box_px} is odd; crop or pad the map to an even box first")

    @property
    def count(self) -> int:
        """Number of circles."""
        return math.ceil((self.radius_px + 2 * MARGIN_PX) / STEP_PX)

    @property
    def orders(self) -> int:
        """Harmonics n = 0 .. orders - 1: up to the Nyquist frequency along the outermost circle."""
        return math.ceil(math.pi * (self.radius_px + MARGIN_PX)) + 1

    def radii_px(self, device: torch.device | str = "cpu") -> Tensor:
        """Radii (count,) float64."""
        return (torch.arange(self.count, dtype=torch.float64, device=device) + 0.5) * STEP_PX


def harmonics(volume: Tensor, cylinders: Cylinders) -> Tensor:
    """G_n(r, z) of a map: (count, orders, d) complex; a map of d sections (d, N, N).

    Memory: 8 bytes times count, orders and d, and temporaries of some 0.5 GB.
    """
    n, device = cylinders.box_px, volume.device
    inside = raised_cosine(centred_radius(n, 2, device), cylinders.radius_px + MARGIN_PX / 2, MARGIN_PX)
    angles = 2 * (cylinders.orders - 1)
    q = torch.arange(angles, dtype=torch.float64, device=device) * (2 * math.pi / angles)
    radius = cylinders.radii_px(device)
    x, y = radius[:, None] * q.cos(), radius[:, None] * q.sin()
    taps = _spline_taps((2 * (y + n // 2)).flatten(), (2 * (x + n // 2)).flatten(), (2 * n, 2 * n))
    out = torch.empty(cylinders.count, cylinders.orders, len(volume), dtype=volume.dtype.to_complex(), device=device)
    step = max(1, CHUNK_VALUES // max(4 * n * n, cylinders.count * angles))
    for begin in range(0, len(volume), step):
        sections = volume[begin : begin + step] * inside.to(volume.dtype)
        values = _gather(_fine_coefficients(sections), taps).view(cylinders.count, angles, -1)
        out[:, :, begin : begin + step] = torch.fft.rfft(values, dim=1, norm="forward")
    return out


def sections(values: Tensor, cylinders: Cylinders) -> Tensor:
    """The map of harmonics: the inverse of `harmonics` for (count, orders, d), giving (d, N, N); 0 far outside."""
    n, device = cylinders.box_px, values.device
    angles, line = 4 * cylinders.orders, 2 * cylinders.count
    x = torch.arange(n, dtype=torch.float64, device=device) - n // 2
    radius = (x[:, None] ** 2 + x[None, :] ** 2).sqrt()
    within = (radius < cylinders.radius_px + MARGIN_PX).flatten().nonzero().squeeze(1)
    angle = torch.atan2(x[:, None], x[None, :]).flatten()[within]
    along = radius.flatten()[within] / STEP_PX - 0.5 + cylinders.count
    taps = _spline_taps(along, angle % (2 * math.pi) * (angles / (2 * math.pi)), (line, angles))
    out = torch.zeros(values.shape[2], n * n, dtype=values.real.dtype, device=device)
    step = max(1, CHUNK_VALUES // (line * angles))
    for begin in range(0, values.shape[2], step):
        coefficients = _polar_coefficients(values[:, :, begin : begin + step], angles)
        out[begin : begin + step, within] = _gather(coefficients, taps).T
    return out.view(-1, n, n)


def _fine_coefficients(sections: Tensor) -> Tensor:
    """Spline coefficients of sections (c, N, N) on a grid of half the spacing: (c, 2 N, 2 N); no Nyquist frequency."""
    n = sections.shape[-1]
    half, m = n // 2, 2 * n
    spectrum = torch.fft.rfft2(sections, norm="forward")
    fine = spectrum.new_zeros(len(sections), m, n + 1)
    fine[:, :half, :half] = spectrum[:, :half, :half]
    fine[:, m - half + 1 :, :half] = spectrum[:, half + 1 :, :half]
    response = _spline_response(m, sections)
    fine /= response[:, None] * response[: n + 1]
    return torch.fft.irfft2(fine, s=(m, m), norm="forward")


def _polar_coefficients(values: Tensor, angles: int) -> Tensor:
    """Spline coefficients (c, 2 count, angles) over the diameter and the angle, of harmonics (count, orders, c)."""
    count, orders, _ = values.shape
    sign = 1 - 2 * (torch.arange(orders, device=values.device) % 2)
    line = torch.cat((values.flip(0) * sign[:, None].to(values.real.dtype), values))  # at -r it is (-1)^n that at r
    spectrum = torch.fft.fft(line, dim=0) / _spline_response(2 * count, values.real)[:, None, None]
    line = torch.fft.ifft(spectrum, dim=0) / _spline_response(angles, values.real)[:orders, None]
    return torch.fft.irfft(line, n=angles, dim=1, norm="forward").permute(2, 0, 1).contiguous()


def _spline_response(size: int, like: Tensor) -> Tensor:
    """Transform of the sampled cubic B-spline at the frequencies of an FFT: (2 + cos w) / 3."""
    w = 2 * math.pi * torch.fft.fftfreq(size, dtype=torch.float64, device=like.device)
    return ((2 + w.cos()) / 3).to(like.dtype)


def _spline_taps(row: Tensor, column: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Flat places and weights of the 16 neighbours of points on a periodic grid: (16, p) int64 and float64."""
    places, weights = [], []
    for position in (row, column):
        floor = position.floor()
        f = position - floor
        weights.append(torch.stack(((1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3)) / 6)
        places.append(floor.long() + torch.arange(-1, 3, device=row.device)[:, None])
    rows, columns = places[0] % shape[0], places[1] % shape[1]
    index = rows[:, None] * shape[1] + columns[None]
    return index.flatten(0, 1), (weights[0][:, None] * weights[1][None]).flatten(0, 1)


def _gather(coefficients: Tensor, taps: tuple[Tensor, Tensor]) -> Tensor:
    """Values (p, c) at points of sections (c, rows, columns)."""
    lines = coefficients.flatten(1).T.contiguous()
    out = lines.new_zeros(taps[0].shape[1], lines.shape[1])
    for index, weight in zip(*taps, strict=True):
        out.addcmul_(lines[index], weight.to(lines.dtype)[:, None])
    return out
