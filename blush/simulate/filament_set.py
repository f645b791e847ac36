"""A simulated set of filaments on disk, as RELION extracts segments, with the truth beside."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blush.errors import BlushError, Problem
from blush.fourier.filter import low_pass
from blush.geometry.helix import in_frame
from blush.io.files import write_json
from blush.io.mrc import write_stack, write_volume
from blush.io.star import Table
from blush.simulate.acquisition import Acquisition, micrograph_defocus
from blush.simulate.filament_settings import Filaments
from blush.simulate.filament_strips import Strips
from blush.simulate.filament_tracks import Filament, helix_of
from blush.simulate.filament_unit import Unit, build_unit, helix_map
from blush.simulate.set_files import Progress, settings_content, stack_name, write_tables
from blush.simulate.settings import SimulateConfig

_CIRCLE = 0.9
"""Diameter of the circle around a segment, as a part of the box."""
_WIDER = 1.1
"""Of the tube around the units."""
_MASK_EDGE_PX = 5


def simulate_filaments(settings: SimulateConfig, filaments: Filaments, progress: Progress) -> Path:
    """Make a set of segments of filaments.

    Beside the files of `blush.simulate.particle_set.simulate`: the tables hold what RELION's extraction notes of
    filaments (tube, track length, priors, coordinates), truth.star also the polarity of each segment's filament,
    `blushPolarity` (1: against its track). Half-sets of the truth are by filament.

    Returns
    -------
    Path of particles.star.

    Raises
    ------
    BlushError
        Where the unit cannot be used, or is wider than the box.
    """
    progress("density", 0, 1)
    settings = _with_counts(settings, filaments)
    unit, imaging = build_unit(settings), settings.imaging
    tube, circle = _sizes(unit, settings, filaments)
    strips = Strips(unit, settings, filaments)
    variance = _signal_variance(strips, settings, filaments, tube, circle)
    grey_scale = (settings.noise.snr / variance) ** 0.5
    volume = grey_scale * helix_map(unit, helix_of(filaments), settings)
    out, pixel = settings.output, imaging.pixel_size_angst
    write_volume(out / "true_map.mrc", volume.numpy(), pixel)
    write_volume(out / "reference.mrc", low_pass(volume, settings.initial_lowpass_angst, pixel).numpy(), pixel)
    write_volume(out / "mask.mrc", tube_mask(imaging.box_px, tube / pixel).numpy(), pixel)
    drawn = [strips.filament(number) for number in range(filaments.count)]
    corners = _write_stacks(strips, drawn, settings, filaments, grey_scale, tube)
    progress("images", filaments.count, filaments.count)
    noted, truth = _tables(drawn, corners, filaments)
    write_tables(out, _acquisition(drawn, settings, filaments), settings, truth, noted)
    derived = {
        "filaments": [
            {"polarity": one.polarity, "stretch": one.stretch, "curvature_deg_per_angst": one.curvature_deg_per_angst}
            for one in drawn
        ],
        "grey_scale": grey_scale,
        "particle_diameter_angst": circle,
        "signal_variance": variance,
        "slope_deg_per_angst": helix_of(filaments).slope_deg_per_angst,
        "tube_diameter_angst": tube,
    }
    write_json(out / "simulation.json", {"settings": settings_content(settings), "derived": derived})
    return out / "particles.star"


def _with_counts(settings: SimulateConfig, filaments: Filaments) -> SimulateConfig:
    """Settings whose numbers of images follow from the filaments."""
    counts = {
        "n_particles": filaments.images,
        "particles_per_micrograph": filaments.per_micrograph * filaments.segments,
    }
    return settings.model_copy(update={"imaging": settings.imaging.model_copy(update=counts)})


def _sizes(unit: Unit, settings: SimulateConfig, filaments: Filaments) -> tuple[float, float]:
    """Diameters of the tube and of the circle around a segment, in Å."""
    side = settings.imaging.box_px * settings.imaging.pixel_size_angst
    tube = filaments.tube_diameter_angst or 5.0 * math.ceil(_WIDER * 2 * unit.radius_angst / 5)
    circle = settings.particle_diameter_angst or float(math.floor(_CIRCLE * side))
    if tube > circle:
        needed = 2 * math.ceil(tube / _CIRCLE / settings.imaging.pixel_size_angst / 2)
        message = f"tube of {tube:g} Å is wider than the circle of {circle:g} Å around a segment"
        problem = Problem(message, f"raise imaging.box_px to {needed}", where="imaging.box_px")
        raise BlushError("cannot simulate filaments", [problem])
    return tube, circle


def tube_mask(box_px: int, diameter_px: float) -> Tensor:
    """(N, N, N) float32: 1 inside a tube along z, a raised cosine to 0 over a few pixels."""
    axis = torch.arange(box_px, dtype=torch.float64) - box_px // 2
    fraction = ((torch.hypot(axis[:, None], axis) - diameter_px / 2) / _MASK_EDGE_PX).clamp(0, 1)
    return (0.5 + 0.5 * torch.cos(math.pi * fraction)).float().expand(box_px, -1, -1).contiguous()


def _in_tube(filament: Filament, box_px: int, tube_px: float) -> Tensor:
    """(n, N, N) bool, inside the tube along the direction noted for each segment."""
    axis = np.arange(box_px) - box_px // 2
    places = np.stack(np.meshgrid(axis, axis), -1).astype(np.float64)
    across = in_frame(places[None], filament.psi_prior_deg[:, None, None])[..., 1]
    return torch.from_numpy(np.abs(across) <= tube_px / 2)


def _signal_variance(
    strips: Strips, settings: SimulateConfig, filaments: Filaments, tube_angst: float, circle_angst: float
) -> float:
    """Variance of noise-free segments inside tube and circle, the mean over the first micrograph."""
    box, pixel = settings.imaging.box_px, settings.imaging.pixel_size_angst
    axis = torch.arange(box) - box // 2
    circle = torch.hypot(axis[:, None].double(), axis.double()) < circle_angst / 2 / pixel
    found = []
    for number in range(min(filaments.per_micrograph, filaments.count)):
        filament = strips.filament(number)
        inside = (_in_tube(filament, box, tube_angst / pixel) & circle).double()
        images = strips.clean(number).boxes(filament, box).double()
        count = inside.sum((1, 2))
        mean = (images * inside).sum((1, 2)) / count
        found.append(((images - mean[:, None, None]) ** 2 * inside).sum((1, 2)) / count)
    return float(torch.cat(found).mean())


def _write_stacks(
    strips: Strips,
    drawn: list[Filament],
    settings: SimulateConfig,
    filaments: Filaments,
    grey_scale: float,
    tube_angst: float,
) -> list[np.ndarray]:
    """One stack for each micrograph, normalised outside the tubes; returns where each filament's frame begins."""
    imaging, each = settings.imaging, filaments.per_micrograph
    corners = []
    for micrograph in range(-(-filaments.count // each)):
        images, left = [], 0
        for number in range(micrograph * each, min((micrograph + 1) * each, filaments.count)):
            strip = strips.noisy(number, grey_scale)
            inside = _in_tube(drawn[number], imaging.box_px, tube_angst / imaging.pixel_size_angst)
            images.append(_normalised(strip.boxes(drawn[number], imaging.box_px), ~inside))
            corners.append(np.array([left, 0]) - strip.corner_px)
            left += strip.image.shape[1]
        stack = torch.cat(images).numpy().astype(np.float16 if imaging.float16 else np.float32)
        write_stack(settings.output / stack_name(micrograph), stack, imaging.pixel_size_angst)
    return corners


def _normalised(images: Tensor, outside: Tensor) -> Tensor:
    """Images with mean 0 and s.d. 1 where they show background."""
    weight, values = outside.double(), images.double()
    count = weight.sum((1, 2), keepdim=True)
    values = values - (values * weight).sum((1, 2), keepdim=True) / count
    return (values / ((values**2 * weight).sum((1, 2), keepdim=True) / count).sqrt()).float()


def _tables(drawn: list[Filament], corners: list[np.ndarray], filaments: Filaments) -> tuple[Table, Table]:
    """What extraction notes of each segment, and what is true of it."""
    number = np.repeat(np.arange(filaments.count), filaments.segments)
    place = np.concatenate([one.box_px + corner for one, corner in zip(drawn, corners, strict=True)])
    noted: Table = {
        "rlnCoordinateX": place[:, 0].astype(np.float64),
        "rlnCoordinateY": place[:, 1].astype(np.float64),
        "rlnHelicalTubeID": number % filaments.per_micrograph + 1,
        "rlnHelicalTrackLengthAngst": np.concatenate([one.track_angst for one in drawn]),
        "rlnAngleTiltPrior": np.full(len(number), 90.0),
        "rlnAnglePsiPrior": np.concatenate([one.psi_prior_deg for one in drawn]),
        "rlnAnglePsiFlipRatio": np.full(len(number), 0.5),
    }
    truth: Table = {
        "rlnRandomSubset": number % 2 + 1,
        "blushPolarity": np.array([one.polarity for one in drawn])[number],
    }
    return noted, truth


def _acquisition(drawn: list[Filament], settings: SimulateConfig, filaments: Filaments) -> Acquisition:
    """True poses and defocus of all segments."""
    micrograph = np.repeat(np.arange(filaments.count) // filaments.per_micrograph, filaments.segments)
    seen = [micrograph_defocus(settings, number) for number in range(micrograph[-1] + 1)]
    return Acquisition(
        euler_deg=torch.from_numpy(np.concatenate([one.euler_deg for one in drawn])),
        origin_angst=torch.from_numpy(np.concatenate([one.origin_angst for one in drawn])),
        defocus_angst=torch.from_numpy(np.concatenate([defocus for defocus, _ in seen])[micrograph]),
        defocus_angle_deg=torch.from_numpy(np.concatenate([angle for _, angle in seen])[micrograph]),
        micrograph=torch.from_numpy(micrograph),
        optics=torch.from_numpy(micrograph % len(settings.imaging.optics)),
    )
