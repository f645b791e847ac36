"""Where simulated filaments run, where their units sit and look, and where boxes were cut: geometry without images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blush.geometry.helix import Helix, in_frame, nearest_zero, reversed_pose
from blush.simulate.acquisition import filament_generator
from blush.simulate.filament_settings import Filaments
from blush.simulate.settings import SimulateConfig

Floats = NDArray[np.float64]
_MARGIN_BOXES = 0.75
"""How far units go on beyond the middle of the first and last box, in boxes: past their corners."""


@dataclass(frozen=True)
class Units:
    """Units of one filament in the order of its track, (u,) or (u, k).

    Attributes
    ----------
    place_angst
        (u, 2) x and y in the micrograph, the first box ideally at the origin.
    euler_deg
        (u, 3) rot, tilt, psi: a view of the helix with a unit at z = 0.
    track_psi_deg, along_angst
        Direction of the track, and distance along its image from the first box.
    """

    place_angst: Floats
    euler_deg: Floats
    track_psi_deg: Floats
    along_angst: Floats


@dataclass(frozen=True)
class Filament:
    """One filament and the boxes cut from it.

    Attributes
    ----------
    polarity
        0: along its track; 1: against it.
    stretch
        Its slow twist over that of the helix, less 1.
    curvature_deg_per_angst
        How its track turns.
    track_angst, psi_prior_deg
        (n,) what was noted of each box.
    box_px
        (n, 2) x and y of the pixel in the middle of each box; pixels are those of `Units.place_angst`.
    euler_deg, origin_angst
        (n, 3) and (n, 2) true pose and the shift that centres: that of the unit nearest to the middle of the box.
    """

    units: Units
    polarity: int
    stretch: float
    curvature_deg_per_angst: float
    track_angst: Floats
    psi_prior_deg: Floats
    box_px: NDArray[np.int64]
    euler_deg: Floats
    origin_angst: Floats


def helix_of(filaments: Filaments) -> Helix:
    """The helix that the settings describe."""
    return Helix(filaments.rise_angst, filaments.twist_deg, filaments.fold)


def draw_filament(settings: SimulateConfig, filaments: Filaments, number: int, padding_angst: float) -> Filament:
    """The filament of a number; all but its polarity is the same however many there are.

    Parameters
    ----------
    padding_angst
        How far units go on beyond the boxes.
    """
    generator = filament_generator(settings.seed, number)
    polarity = _polarity(settings.seed, filaments, number, generator.random())
    psi, rot, curvature, tilt, phase = generator.uniform(-1, 1, 5)
    curvature *= filaments.curvature_deg_per_angst
    stretch = float(generator.normal(0, 1)) * filaments.stretch_sd
    helix, pixel = helix_of(filaments), settings.imaging.pixel_size_angst
    step = filaments.units_per_segment * filaments.rise_angst
    span = (filaments.segments - 1) * step
    margin = _MARGIN_BOXES * settings.imaging.box_px * pixel + padding_angst
    first = -margin + generator.uniform(0, filaments.rise_angst)
    arc = np.arange(first, span + margin, filaments.rise_angst)
    track_psi = 180 * psi + curvature * (arc - span / 2)
    wave = np.sin(2 * math.pi * arc / max(span, margin) + math.pi * phase)
    leaning = 90 + filaments.tilt_deg * (tilt + wave) / 2
    twist = filaments.twist_deg + stretch * helix.slope_deg_per_angst * filaments.rise_angst
    sign = 1 - 2 * polarity
    turn = 180 * rot + sign * twist * np.arange(len(arc))
    euler = np.stack([nearest_zero(turn, 360.0), leaning, nearest_zero(track_psi, 360.0)], 1)
    if polarity:
        euler = reversed_pose(euler)
    place, along = _integrated(arc, track_psi, leaning)
    units = Units(place, euler, track_psi, along)
    boxes = _cut(units, filaments, pixel, generator)
    return Filament(units, polarity, stretch, curvature, *boxes)


def _polarity(seed: int, filaments: Filaments, number: int, drawn: float) -> int:
    if filaments.reversed is None:
        return int(drawn < 0.5)
    order = np.random.default_rng([seed, filaments.count]).permutation(filaments.count)
    return int(number in order[: filaments.reversed])


def _integrated(arc: Floats, track_psi_deg: Floats, leaning_deg: Floats) -> tuple[Floats, Floats]:
    """Places of units on the curve of this direction, and distance along its image, both 0 at arc 0."""
    psi, step = np.radians(track_psi_deg), np.diff(arc)
    seen = step * np.sin(np.radians(leaning_deg[1:] + leaning_deg[:-1]) / 2)
    middle, half = (psi[1:] + psi[:-1]) / 2, np.diff(psi) / 2
    chord = seen * np.sinc(half / math.pi)  # exact on an arc of a circle
    moved = np.stack([chord * np.cos(middle), -chord * np.sin(middle), seen], 1)
    path = np.concatenate([np.zeros((1, 3)), np.cumsum(moved, axis=0)])
    path -= np.stack([np.interp(0.0, arc, column) for column in path.T])
    return path[:, :2], path[:, 2]


def _cut(
    units: Units, filaments: Filaments, pixel: float, generator: np.random.Generator
) -> tuple[Floats, Floats, NDArray[np.int64], Floats, Floats]:
    """Boxes at equal steps along the track, as it was picked: off across, at whole pixels; as `Filament` has them."""
    track: Floats = filaments.units_per_segment * filaments.rise_angst * np.arange(filaments.segments, dtype=np.float64)
    ideal = np.stack([np.interp(track, units.along_angst, column) for column in units.place_angst.T], 1)
    psi = np.interp(track, units.along_angst, units.track_psi_deg)
    across = _slow(filaments.segments, generator) * filaments.across_sd_angst
    sideways = np.stack([np.sin(np.radians(psi)), np.cos(np.radians(psi))], 1)
    box = np.rint((ideal + across[:, None] * sideways) / pixel).astype(np.int64)
    error = generator.normal(0, math.sqrt(0.5), 1) + generator.normal(0, math.sqrt(0.5), filaments.segments)
    # the unit nearest along the track stands for the box: its view, and the shift that brings it to the middle
    away = units.place_angst[None] - (box * pixel)[:, None]
    nearest = np.abs(in_frame(away, units.track_psi_deg[None])[..., 0]).argmin(1)
    prior = nearest_zero(psi + error * filaments.psi_error_deg, 360.0)
    return track, prior, box, units.euler_deg[nearest], -away[np.arange(len(box)), nearest]


def _slow(count: int, generator: np.random.Generator) -> Floats:
    """A random parabola of unit variance, (count,)."""
    t = np.linspace(-1, 1, count)
    level, slope, bow = generator.normal(0, 1, 3) * np.sqrt([0.6, 0.9, 1.125])
    return level + slope * t + bow * (t**2 - 1 / 3)
