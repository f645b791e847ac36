"""The section of a filament from its 2D class averages and the distance of its cross-overs.

At tilt 90 degrees, the column at x of a filament along x is the one-dimensional projection of its section at the angle
180 x / cross-over, whatever its rungs are, once these are filtered away. Where along the filament each average was
taken, which way round, and how far off the axis, is not known: it is found by expectation-maximisation over all places,
from several random beginnings at once, and a section is made by filtered back-projection in every iteration.

Notes
-----
Scheres 2020, doi:10.1107/S2059798319016577 (sections of amyloids from class averages).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.helix.starts import turned_sections

ITERATIONS = 30
FIRST_SHARPNESS = 0.05
"""Share of the log-likelihood that counts at first; it grows to all of it over half the iterations."""


@dataclass(frozen=True)
class SectionFound:
    """The best of several beginnings.

    Attributes
    ----------
    section
        (N, N), rows y; mirrored and turned as it happens to be: both are the same filament.
    explained
        Share of the averages' power in the tube that the section explains.
    spread
        The same for every beginning.
    places_deg
        (k,) rot at the middle column of each average.
    """

    section: Tensor
    explained: float
    spread: tuple[float, ...]
    places_deg: Tensor


def section_of_classes(
    columns: Tensor, angles: int, shifts_px: int, beginnings: int, seed: int, seen: Tensor | None = None
) -> SectionFound:
    """The section whose projections the averages are made of.

    Parameters
    ----------
    columns
        (k, x, y) averages with the filament along x, low-passed, zero outside the filament; y is even.
    angles
        Columns to a whole turn, which is two cross-overs; even.
    shifts_px
        How far off the axis averages may be.
    beginnings
        Random beginnings, of which the best is taken.
    seed
        Seed of these.
    seen
        (k, x) 1 where an average has a column, 0 where it has none; None: everywhere.
    """
    generator = torch.Generator().manual_seed(seed)
    candidates = _candidates(columns, shifts_px)
    kinds, length = candidates.shape[1], columns.shape[1]
    spectra = torch.fft.rfft(_folded(candidates, angles), dim=2)
    present = torch.ones(len(columns), length) if seen is None else seen.to(columns.dtype)
    covering = _candidates(present[:, :, None].expand(-1, -1, 2), 0)[..., :1]
    coverage = torch.fft.rfft(_folded(covering, angles), dim=2)[..., 0].repeat(1, kinds // 2, 1)
    pixels = present.sum() * columns.shape[2]
    shape = (beginnings, len(columns), kinds, angles)
    # Offsets from the beginning trap some searches, and offsets that come later others: half of them do either.
    late = (torch.arange(beginnings) % 2 == 1)[:, None] & (torch.arange(kinds) // 2 != shifts_px)
    weight = (torch.rand(shape, generator=generator) ** 8).masked_fill(late[:, None, :, None], 0)
    weight /= weight.sum((2, 3), keepdim=True)
    power = candidates.square().sum((2, 3))[None, :, :, None]
    for iteration in range(ITERATIONS):
        sinogram, section = _section(weight, spectra, coverage, angles)
        spectrum = torch.fft.rfft(sinogram, dim=1)
        cross = torch.fft.irfft(torch.einsum("bfy,kcfy->bkcf", spectrum, spectra.conj()), n=angles, dim=3)
        strength = torch.fft.rfft(sinogram.square().sum(2), dim=1)
        own = torch.fft.irfft(strength[:, None, None] * coverage.conj(), n=angles, dim=3)
        residual = power - 2 * cross + own
        if iteration < ITERATIONS // 2:
            residual = residual.masked_fill(late[:, None, :, None], math.inf)
        least = residual.amin((2, 3), keepdim=True)
        variance = least.sum((1, 2, 3), keepdim=True) / pixels
        sharpness = min(1.0, FIRST_SHARPNESS ** (1 - 2 * (iteration + 1) / ITERATIONS))
        weight = torch.softmax((-sharpness / 2 * (residual - least) / variance).flatten(2), 2).view(shape)
    explained = 1 - least.sum((1, 2, 3)) / power[:, :, :1].sum((1, 2, 3))
    best = int(explained.argmax())
    places = weight[best].sum(1).argmax(1) * (360 / angles)
    return SectionFound(section[best], float(explained[best]), tuple(explained.tolist()), places)


def _candidates(columns: Tensor, shifts_px: int) -> Tensor:
    """Averages as they are and turned by half a turn, at every offset across: (k, c, x, y)."""
    both = torch.stack((columns, _half_turn(columns)), 1)
    moved = [torch.roll(both, shift, 3) for shift in range(-shifts_px, shifts_px + 1)]
    return torch.cat(moved, 1)


def _half_turn(columns: Tensor) -> Tensor:
    """Images turned by 180 degrees about their centre columns and rows, N // 2."""
    turned = columns.flip(1, 2)
    shifts = [1 if size % 2 == 0 else 0 for size in columns.shape[1:]]
    return torch.roll(turned, shifts, (1, 2))


def _folded(values: Tensor, angles: int) -> Tensor:
    """Columns of (k, c, x, y) about the middle one put at 0, those a whole turn apart added: (k, c, angles, y)."""
    length = values.shape[2]
    index = (torch.arange(length) - length // 2) % angles
    return torch.zeros(*values.shape[:2], angles, values.shape[3]).index_add_(2, index, values)


def _section(weight: Tensor, spectra: Tensor, coverage: Tensor, angles: int) -> tuple[Tensor, Tensor]:
    """Sinograms (b, angles, y) and sections (b, y, y) of averages at places with these weights."""
    placed = torch.fft.rfft(weight, dim=3)
    total = torch.fft.irfft(torch.einsum("bkcf,kcfy->bfy", placed, spectra), n=angles, dim=1)
    count = torch.fft.irfft(torch.einsum("bkcf,kcf->bf", placed, coverage), n=angles, dim=1)[..., None]
    total, count = total + _opposite(total), count + torch.roll(count, angles // 2, 1)
    measured = total / (count + 0.05 * count.mean(1, keepdim=True))
    section = _back_projected(measured)
    sinogram = _projected(section, angles)
    scale = (count * measured * sinogram).sum((1, 2)) / (count * sinogram.square()).sum((1, 2)).clamp_min(1e-30)
    return sinogram * scale[:, None, None], section * scale[:, None, None]


def _opposite(sinogram: Tensor) -> Tensor:
    """What is seen from the other side: half a turn on, mirrored."""
    return torch.roll(torch.roll(sinogram.flip(2), 1, 2), sinogram.shape[1] // 2, 1)


def _back_projected(sinogram: Tensor) -> Tensor:
    """Filtered back-projection, within the circle that fills the section: (b, y, y)."""
    angles, n = sinogram.shape[1:]
    frequency = torch.fft.rfftfreq(2 * n)
    ramp = torch.where(frequency == 0, 1 / (8 * n), frequency) * torch.cos(math.pi / 2 * frequency / 0.5)
    padded = torch.fft.irfft(torch.fft.rfft(sinogram, n=2 * n, dim=2) * ramp, n=2 * n, dim=2)[..., :n]
    axis = torch.arange(n, dtype=torch.float32) - n // 2
    angle = 2 * math.pi * torch.arange(angles) / angles
    # Seen at rot a, a point (x, y) lies at y cos a - x sin a.
    place = axis[:, None] * angle.cos()[:, None, None] - axis * angle.sin()[:, None, None] + n // 2
    low = place.floor().clamp(0, n - 2).long().flatten(1)
    part = (place.flatten(1) - low).clamp(0, 1)
    lines = padded.gather(2, low.expand(len(sinogram), -1, -1)) * (1 - part)
    lines += padded.gather(2, (low + 1).expand(len(sinogram), -1, -1)) * part
    inside = torch.hypot(axis[:, None], axis) < n / 2 - 1
    return lines.sum(1).view(-1, n, n) * (math.pi / angles) * inside


def _projected(section: Tensor, angles: int) -> Tensor:
    """Sums of a section along the view, at every angle of a whole turn: (b, angles, y)."""
    half = 2 * math.pi * torch.arange(angles // 2, dtype=torch.float64) / angles
    lines = turned_sections(section, half).sum(3)  # turned so that the view is along x
    return torch.cat((lines, _opposite(torch.cat((lines, lines), 1))[:, angles // 2 :]), 1)
