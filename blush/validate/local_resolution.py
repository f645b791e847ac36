"""Resolution and filtering by place: the corrected FSC inside small overlapping spheres (docs/algorithm.md, section 7).

Each sphere is cut out with as much margin again, so a point costs the same whatever the size of the map.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from blush.fourier.filter import raised_cosine
from blush.fourier.fsc import fsc_of_transforms, interpolated_resolution_at
from blush.fourier.grid import radius_3d, shell_index_3d
from blush.fourier.mask import soft_sphere
from blush.fourier.thresholds import HALF_MAPS
from blush.io.half_maps import read_half_maps
from blush.io.mrc import write_volume
from blush.validate.phase_randomise import correct, randomise_phases
from blush.validate.sharpen import bfactor_weight

VOXELS_AT_ONCE = 8_000_000


@dataclass(frozen=True)
class LocalSettings:
    """Spheres in which the FSC is measured, lengths in Å.

    Parameters
    ----------
    sampling_angst
        Distance between centres.
    radius_angst, edge_angst
        Those of each spherical mask: 1 up to the radius, 0 beyond radius + edge.
    randomise_angst
        Resolution from which phases are randomised.
    worst_angst
        Largest value reported.
    """

    sampling_angst: float = 25.0
    radius_angst: float = 12.5
    edge_angst: float = 25.0
    randomise_angst: float = 25.0
    worst_angst: float = 50.0


@dataclass(frozen=True)
class LocalResolution:
    """Local resolution of a map.

    Attributes
    ----------
    resolution_angst
        (N, N, N): mean of 1/d over the spheres around a voxel, weighted by their masks; the worst beyond them.
    filtered
        (N, N, N): average of the halves, sharpened, each sphere weighted by its FSC and cut at its resolution.
    centres_px
        (p, 3) z y x of the spheres, and their resolutions `at_centres_angst` (p,).
    """

    resolution_angst: Tensor
    filtered: Tensor
    centres_px: Tensor
    at_centres_angst: Tensor

    def summary(self) -> str:
        """One line for the terminal."""
        low, middle, high = torch.quantile(self.at_centres_angst, torch.tensor([0.05, 0.5, 0.95]).double()).tolist()
        return f"local resolution {middle:.2f} Å (5 to 95 %: {low:.2f} to {high:.2f} Å)"


def local_resolution(
    half1: Tensor,
    half2: Tensor,
    pixel_size_angst: float,
    seed: int,
    mask: Tensor | None = None,
    bfactor_angst2: float = 0.0,
    settings: LocalSettings | None = None,
) -> LocalResolution:
    """Local resolution from two unfiltered half-maps.

    Parameters
    ----------
    half1, half2
        (N, N, N) real.
    seed
        That of the random phases.
    mask
        Spheres are measured only where it exceeds 1/2 at some voxel within `radius_angst`; None is everywhere.
    bfactor_angst2
        Sharpening of the filtered map.

    References
    ----------
    Cardone, Heymann & Steven 2013, doi:10.1016/j.jsb.2013.08.002
    """
    settings = settings or LocalSettings()
    box = half1.shape[0]
    reach_px = (settings.radius_angst + settings.edge_angst) / pixel_size_angst
    size = min(box - box % 2, 2 * math.ceil(2 * reach_px))
    window = soft_sphere(size, settings.radius_angst / pixel_size_angst, settings.edge_angst / pixel_size_angst)
    window = window.to(half1)
    generator = torch.Generator().manual_seed(seed)
    shell = box * pixel_size_angst / settings.randomise_angst
    sources = [half1, half2, *(randomise_phases(half, shell, generator) for half in (half1, half2))]
    sources.append(_sharpened((half1 + half2) / 2, pixel_size_angst, bfactor_angst2))
    padded = [pad(volume, (size // 2,) * 6) for volume in sources]
    sums = torch.zeros(3, *padded[0].shape, dtype=half1.dtype, device=half1.device)  # weight, weight / d, weighted map
    centres = sphere_centres(box, pixel_size_angst, settings, mask)
    found = []
    for batch in torch.split(centres, max(1, VOXELS_AT_ONCE // size**3)):
        cut = [torch.stack(list(_windows(volume, batch, size))) for volume in padded]
        resolution, maps = _measure(cut, window, pixel_size_angst, settings)
        found.append(resolution)
        for index, place in enumerate(_places(batch, size)):
            sums[(0, *place)] += window
            sums[(1, *place)] += window / float(resolution[index])
            sums[(2, *place)] += window * maps[index]
    inner = slice(size // 2, size // 2 + box)
    weight, inverse, density = sums[:, inner, inner, inner]
    covered = weight > 1e-6
    worst = torch.full_like(weight, settings.worst_angst)
    return LocalResolution(
        torch.where(covered, weight / inverse.clamp_min(1e-12), worst),
        torch.where(covered, density / weight.clamp_min(1e-6), 0.0),
        centres,
        torch.cat(found) if found else torch.zeros(0, dtype=torch.float64),
    )


def sphere_centres(box: int, pixel_size_angst: float, settings: LocalSettings, mask: Tensor | None) -> Tensor:
    """Centres (p, 3) z y x in voxels: a grid through the map's centre, within N/2 minus the sphere's radius."""
    step = max(1, round(settings.sampling_angst / pixel_size_angst))
    radius_px = settings.radius_angst / pixel_size_angst
    half = int((box / 2 - radius_px) // step)
    axis = torch.arange(-half, half + 1) * step
    grid = torch.cartesian_prod(axis, axis, axis)
    grid = grid[grid.double().norm(dim=1) <= box / 2 - radius_px] + box // 2
    if mask is None:
        return grid
    near = torch.nn.functional.max_pool3d((mask > 0.5).float()[None, None], 2 * int(radius_px) + 1, 1, int(radius_px))
    z, y, x = grid.T
    return grid[near[0, 0, z, y, x].cpu() > 0]


def _places(centres: Tensor, size: int) -> Iterator[tuple[slice, slice, slice]]:
    """Slices of each window in maps padded by size // 2."""
    for z, y, x in centres.tolist():
        yield slice(z, z + size), slice(y, y + size), slice(x, x + size)


def _windows(padded: Tensor, centres: Tensor, size: int) -> Iterator[Tensor]:
    for place in _places(centres, size):
        yield padded[place]


def _measure(
    cut: list[Tensor], window: Tensor, pixel_size_angst: float, settings: LocalSettings
) -> tuple[Tensor, Tensor]:
    """Resolutions (b,) and filtered maps (b, n, n, n) of windows of half1, half2, both randomised, and the map."""
    size = window.shape[0]
    first, second, random1, random2 = (torch.fft.rfftn(part * window, dim=(-3, -2, -1)) for part in cut[:4])
    masked, randomised = fsc_of_transforms(first, second, size), fsc_of_transforms(random1, random2, size)
    start = math.floor(size * pixel_size_angst / settings.randomise_angst + 0.5)
    corrected = correct(masked, randomised, start)
    resolution = torch.tensor(
        [interpolated_resolution_at(curve, HALF_MAPS, size, pixel_size_angst) for curve in corrected],
        dtype=torch.float64,
    ).clamp_max(settings.worst_angst)
    weight = _filters(corrected, resolution, size, pixel_size_angst).to(window)
    spectrum = torch.fft.rfftn(cut[4], dim=(-3, -2, -1))
    return resolution, torch.fft.irfftn(spectrum * weight, s=(size,) * 3, dim=(-3, -2, -1))


def _filters(corrected: Tensor, resolution: Tensor, size: int, pixel_size_angst: float) -> Tensor:
    """sqrt(2 F / (1 + F)) up to each resolution with an edge of 2 shells: (b, n, n, n // 2 + 1)."""
    shell = shell_index_3d(size, corrected.device)
    radius = radius_3d(size, corrected.device)
    merit = (2 * corrected.clamp(0, 1) / (1 + corrected.clamp(0, 1))).sqrt()
    merit = pad(merit, (0, 1))[:, shell.clamp_max(merit.shape[1])]
    edges = [raised_cosine(radius, size * pixel_size_angst / float(limit), 2) for limit in resolution]
    return merit * torch.stack(edges)


def _sharpened(volume: Tensor, pixel_size_angst: float, bfactor_angst2: float) -> Tensor:
    box = volume.shape[0]
    weight = bfactor_weight(radius_3d(box, volume.device) / (box * pixel_size_angst), bfactor_angst2)
    return torch.fft.irfftn(torch.fft.rfftn(volume) * weight.to(volume.dtype), s=volume.shape)


def local_resolution_files(
    folder: Path, half1: Path, half2: Path, seed: int, pixel_size_angst: float | None, bfactor_angst2: float
) -> LocalResolution:
    """Write locres.mrc and locres_filtered.mrc beside the results of postprocessing, inside their mask.mrc."""
    mask = folder / "mask.mrc"
    files = read_half_maps(half1, half2, mask if mask.exists() else None, pixel_size_angst, even=False)
    pixel = files.pixel_size_angst
    local = local_resolution(*files.halves, pixel, seed, files.mask, bfactor_angst2)
    write_volume(folder / "locres.mrc", local.resolution_angst.numpy(), pixel, files.placement)
    write_volume(folder / "locres_filtered.mrc", local.filtered.numpy(), pixel, files.placement)
    return local
