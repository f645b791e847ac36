"""Checks of a helix against the box of its segments, each with the number that would be right."""

from __future__ import annotations

import math

from blush.config import RunConfig
from blush.errors import Problem
from blush.io.filaments import units_per_segment
from blush.io.optics import OpticsGroup
from blush.io.particles import ParticleSet

_LEAST_RADIUS_PX = 2
_LEAST_BOX_PX = 10


def check_helix(config: RunConfig, particles: ParticleSet) -> list[Problem]:
    """Settings of a helix that its segments prove wrong.

    References
    ----------
    He & Scheres 2017, doi:10.1016/j.jsb.2017.02.003: what has to fit into the box and its central part.
    """
    optics = particles.optics[0]
    if optics.box_px <= 0 or optics.pixel_size_angst <= 0:
        return []  # told where the optics were read
    return [*_check_box(config, optics), *_check_tube(config, optics), *_check_centre(config, particles)]


def _check_box(config: RunConfig, optics: OpticsGroup) -> list[Problem]:
    """The circle around a segment lies inside of its box."""
    box, pixel = optics.box_px, optics.pixel_size_angst
    if box < _LEAST_BOX_PX:
        remedy = f"extract with a box of {_LEAST_BOX_PX} px at least"
        return [Problem("box is too small for a segment", remedy, where="particles", value=f"{box} px")]
    most = (box // 2 * 2 - 2) * pixel
    if not config.particle_diameter_angst <= most * (1 + 1e-9):
        message = f"circle around a segment does not lie inside its box of {box} px"
        value = f"{config.particle_diameter_angst:g} Å"
        return [Problem(message, f"give at most {_down(most)}", where="particle_diameter_angst", value=value)]
    return []


def _check_tube(config: RunConfig, optics: OpticsGroup) -> list[Problem]:
    """The tube has a wall of a few pixels."""
    helix, pixel = config.helix, optics.pixel_size_angst
    outer = helix.tube_diameter_angst or 0.0
    least = 2 * _LEAST_RADIUS_PX * pixel
    if outer <= least:
        message = f"tube is no wider than {2 * _LEAST_RADIUS_PX} pixels of {pixel:g} Å"
        remedy = f"give more than {least:g}, in Å"
        return [Problem(message, remedy, where="helix.tube_diameter_angst", value=f"{outer:g} Å")]
    if helix.tube_inner_diameter_angst > outer - least:
        message = f"hollow leaves less than {_LEAST_RADIUS_PX} pixels of {pixel:g} Å of the tube's wall"
        value = f"{helix.tube_inner_diameter_angst:g} Å in {outer:g} Å"
        remedy = f"give at most {_down(outer - least)}"
        return [Problem(message, remedy, where="helix.tube_inner_diameter_angst", value=value)]
    return []


def _check_centre(config: RunConfig, particles: ParticleSet) -> list[Problem]:
    """Two units fit into the central part, which lies inside the sphere; the units of a segment fit into the rest."""
    helix, optics = config.helix, particles.optics[0]
    width, rise = optics.box_px * optics.pixel_size_angst, helix.most_rise_angst
    inside = math.sqrt(max(config.particle_diameter_angst**2 - (helix.tube_diameter_angst or 0.0) ** 2, 0.0))
    least, most = 2 * rise / width, min(inside / width, 0.999)
    if least > most:
        message = f"two units of {rise:g} Å do not fit into the {inside:g} Å of the tube that lie in the sphere"
        needed = math.hypot(2 * rise, helix.tube_diameter_angst or 0.0)
        remedy = f"give a particle_diameter_angst of at least {_up(needed)} (and a box for it), or a thinner tube"
        value = f"{config.particle_diameter_angst:g} Å"
        return [Problem(message, remedy, where="particle_diameter_angst", value=value)]
    if not least * (1 - 1e-9) <= helix.central_fraction <= most * (1 + 1e-9):
        short = helix.central_fraction < least
        message = "central part holds less than two units" if short else "central part reaches beyond the sphere"
        remedy = f"give {_up(least)} to {_down(most)}"
        return [Problem(message, remedy, where="helix.central_fraction", value=f"{helix.central_fraction:g}")]
    largest = most_units(helix.central_fraction, width, rise)
    if helix.units_per_segment is not None and helix.units_per_segment > largest:
        message = f"so many units of {rise:g} Å do not lie in a box of {width:g} Å"
        seen = min(units_per_segment(particles, helix.rise_angst or rise), largest)
        remedy = f"give at most {largest}; {seen} by the distance of segments; or null"
        value = str(helix.units_per_segment)
        return [Problem(message, remedy, where="helix.units_per_segment", value=value)]
    return []


def most_units(central_fraction: float, box_angst: float, rise_angst: float) -> int:
    """Units that a box can give to its central part, by shifts that keep this part inside the box."""
    return 2 * math.floor((1 - central_fraction) * box_angst / (2 * rise_angst)) + 1


def _down(value: float) -> str:
    """A number of three digits after the point that is no larger."""
    return f"{math.floor(value * 1000 * (1 + 1e-12)) / 1000:g}"


def _up(value: float) -> str:
    """A number of three digits after the point that is no smaller."""
    return f"{math.ceil(value * 1000 * (1 - 1e-12)) / 1000:g}"
