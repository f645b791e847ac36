"""Checks of the maps that a run starts from: reference, masks, truth."""

from dataclasses import dataclass
from pathlib import Path

from blush.errors import BlushError, Problem, problems_of
from blush.io.header import PIXEL_TOLERANCE, Header
from blush.io.mrc import SAME_PIXEL, map_header, read_volume
from blush.io.noted import check_own
from blush.io.optics import OpticsGroup

_MASK_ROUNDING = 1e-3
_LEAST_MASK = 0.5
"""A mask lets something through: half of it at least, somewhere."""
_UNSET_ROUNDING = 1e-4
_SMALLER = 0.9
"""Part of the particle's diameter that a map of the particle is at least as wide as."""


@dataclass(frozen=True)
class MapScale:
    """Pixel size of a map that may have any, and what it is compared with.

    Parameters
    ----------
    setting
        Setting that states the pixel size.
    stated_angst
        Its value; None: the header's counts.
    particles
        Optics of the particles; None where they cannot be read.
    particle_diameter_angst
        What the map has room for.
    """

    setting: str
    stated_angst: float | None
    particles: OpticsGroup | None
    particle_diameter_angst: float


def check_map(
    path: Path, role: str, like: OpticsGroup | None = None, is_mask: bool = False, scale: MapScale | None = None
) -> list[Problem]:
    """Check one map.

    Parameters
    ----------
    role
        What the map is for, as the message names it.
    like
        Optics whose box and pixel size the map must have; any are fine where it is None.
    is_mask
        Whether values must lie in [0, 1].
    scale
        What tells, of a map of any pixel size, whether its header can be right.
    """
    try:
        check_own(path)
        header = map_header(path)
    except BlushError as error:
        return problems_of(error)
    problems: list[Problem] = []

    def report(message: str, remedy: str, value: str) -> None:
        problems.append(Problem(f"{role} {message}", remedy, str(path), "header", value))

    depth, height, width = header.shape
    pixel = header.pixel_size_angst
    if not depth == height == width:
        report("is not cubic", "pad or crop it to a cube", f"{width} x {height} x {depth}")
    elif width % 2:
        report("has an odd box", f"crop it to {width - 1}", f"{width} px")
    if scale is not None:
        if (doubt := _implausible(header, scale)) is not None:
            report(*doubt, f"{scale.stated_angst or pixel:g} Å")
    elif not pixel > 0:
        report("has no pixel size", "set it in the header", f"{pixel:g} Å")
    elif like is not None and abs(pixel / like.pixel_size_angst - 1) > SAME_PIXEL:
        wanted = f"{like.pixel_size_angst:g}"
        remedy = f"resample it to {wanted} Å, or write {wanted} into the header where that is wrong"
        report("has another pixel size than the particles", remedy, f"{pixel:g} Å")
    if like is not None and width != like.box_px:
        report("has another box than the particles", f"pad or crop it to {like.box_px} px", f"{width} px")
    return problems + _value_problems(path, role, is_mask)


def _implausible(header: Header, scale: MapScale) -> tuple[str, str] | None:
    """Message and remedy where the header's pixel size cannot be believed, and none was stated.

    Many programs leave 0 or 1 Å where nobody sets it; a map of the particles' box has nearly always their pixel size.
    """
    pixel, particles, width = header.pixel_size_angst, scale.particles, header.shape[2]
    if scale.stated_angst is not None:
        return _too_small(width * scale.stated_angst, scale)
    right = "" if particles is None else f": {particles.pixel_size_angst * particles.box_px / width:.5g} if it shows "
    right += "" if particles is None else "the same field as the particles' images"
    if not pixel > 0:
        return "has no pixel size", f"set it in the header, or state {scale.setting}{right}"
    if particles is None or abs(pixel / particles.pixel_size_angst - 1) <= PIXEL_TOLERANCE:
        return None
    remedy = f"correct the header, or state {scale.setting}{right}, {pixel:g} if the header is right"
    if abs(pixel - 1) < _UNSET_ROUNDING:
        own = f"{particles.pixel_size_angst:g} Å"
        return f"has the pixel size that programs leave where nobody sets it, the particles have {own}", remedy
    if width == particles.box_px:
        return f"has the particles' box, but not their pixel size of {particles.pixel_size_angst:g} Å", remedy
    return _too_small(width * pixel, scale)


def _too_small(width_angst: float, scale: MapScale) -> tuple[str, str] | None:
    """Message and remedy where a map has no room for the particle."""
    if width_angst >= _SMALLER * scale.particle_diameter_angst:
        return None
    message = f"is {width_angst:g} Å wide, and the particle {scale.particle_diameter_angst:g} Å"
    return message, f"give a map of the whole particle, or correct {scale.setting} or particle_diameter_angst"


def _value_problems(path: Path, role: str, is_mask: bool) -> list[Problem]:
    """Values must be finite and differ, and those of a mask lie in [0, 1]."""
    where = f"{role} values"
    try:
        values, _ = read_volume(path)
    except BlushError as error:
        return problems_of(error)
    lowest, highest = float(values.min()), float(values.max())
    if lowest == highest:
        return [Problem(f"{role} is constant", "give a map with density", str(path), where, f"{lowest:g}")]
    if is_mask and (lowest < -_MASK_ROUNDING or highest > 1 + _MASK_ROUNDING):
        message = f"{role} is not in [0, 1]"
        return [Problem(message, "scale it to [0, 1]", str(path), where, f"{lowest:g} to {highest:g}")]
    if is_mask and highest < _LEAST_MASK:
        message = f"{role} lets nothing through"
        return [Problem(message, "scale it to 1 on the particle", str(path), where, f"at most {highest:g}")]
    return []
