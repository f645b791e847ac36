"""Warnings of values that are possible but seldom meant, and of columns by which nothing is refined here."""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from blush.errors import Problem
from blush.io.columns import numbers, row_ranges
from blush.io.optics import OpticsGroup
from blush.io.particle_columns import BLOCK
from blush.io.particles import ParticleSet
from blush.io.star import Table

_LEAST_DEFOCUS_ANGST, _LARGEST_DEFOCUS_ANGST = 2000.0, 100_000.0
"""0.2 to 10 µm of underfocus: what single particles are imaged with; beyond it the unit is likely another."""
_USUAL_VOLTAGE_KV = (60.0, 1500.0)
_USUAL_PIXEL_ANGST = (0.2, 20.0)
_USUAL_CONTRAST = 0.5
_USUAL_TILT_MRAD = 5.0
_SAME_PIXEL = 1e-3
_UNUSED = (
    *(f"rln{name}" for name in ("AngleRotPrior", "AngleTiltPrior", "AnglePsiPrior")),
    *(f"rln{name}" for name in ("OriginXPrior", "OriginYPrior", "OriginXPriorAngst", "OriginYPriorAngst")),
    *(f"rln{name}" for name in ("AnglePsiFlipRatio", "AngleRotFlipRatio", "ReconstructImageName", "IsFlip")),
)
"""Columns by which RELION or others refine, or turn images, and this program does not."""


def check_values(
    particles: ParticleSet, blocks: dict[str, Table], star: Path, used: Collection[str] = ()
) -> list[Problem]:
    """Warn of what is nearly always another unit, another sign, or a failed fit, and of what is not used.

    Parameters
    ----------
    blocks
        The tables `optics` and `particles` that the particles were read from.
    used
        Columns that the job uses, and others do not.
    """
    table = blocks["particles"]
    return [
        *_odd_rows(particles, table, star),
        *(problem for group in _used(particles) for problem in _odd_optics(group, star)),
        *_odd_detector(particles, blocks["optics"], star),
        *_odd_magnification(particles, table, star),
        *_unused(table, star, used),
    ]


def _used(particles: ParticleSet) -> list[OpticsGroup]:
    """Optics groups that have particles."""
    return [particles.optics[index] for index in np.unique(particles.optics_index)]


def _odd_rows(particles: ParticleSet, table: Table, star: Path) -> list[Problem]:
    """One warning for each kind of value of the rows, with how many and the first."""
    warnings = []
    kinds = [*(_of_defocus(particles) if "rlnDefocusU" in table else ()), *_of_rows(particles)]
    for is_odd, message, remedy, shown in kinds:
        if len(rows := np.flatnonzero(is_odd)):
            first = " and ".join(f"{name} {values[rows[0]]:g}" for name, values in shown.items())
            value = f"{len(rows)} of {len(particles)} rows; the first has {first}"
            warnings.append(Problem(message, remedy, str(star), f"{BLOCK} row {row_ranges(rows)}", value))
    return warnings


_Kind = tuple[np.ndarray, str, str, dict[str, np.ndarray]]


def _of_defocus(particles: ParticleSet) -> Iterator[_Kind]:
    """Rows whose defocus is odd, with message, remedy and the columns to show."""
    u, v = particles.defocus_u_angst, particles.defocus_v_angst
    shown = {"U": u, "V": v}
    small, low = np.minimum(abs(u), abs(v)), np.minimum(u, v)
    is_known = np.isfinite(u) & np.isfinite(v)
    yield (
        is_known & (low < 0),
        "defocus is negative, which is overfocus",
        "change its sign where the program that wrote it means so",
        shown,
    )
    yield (is_known & (low >= 0) & (small == 0), "defocus is 0", "fit the CTF of the micrographs", shown)
    yield (
        is_known & (low >= 0) & (small > 0) & (small < _LEAST_DEFOCUS_ANGST),
        f"defocus is below {_LEAST_DEFOCUS_ANGST:g} Å",
        "give it in Å; a value in µm is 10,000 times too small, one in nm 10 times",
        shown,
    )
    message = f"defocus is above {_LARGEST_DEFOCUS_ANGST:g} Å"
    yield is_known & (small > _LARGEST_DEFOCUS_ANGST), message, "give it in Å", shown
    yield (
        is_known & (low > 0) & (np.maximum(u, v) > 2 * small),
        "rlnDefocusU and rlnDefocusV differ by more than a factor of two",
        "remove particles of micrographs whose CTF fit has failed",
        shown,
    )


def _of_rows(particles: ParticleSet) -> Iterator[_Kind]:
    """Rows whose phase shift, envelope or origin is odd."""
    phase = particles.phase_shift_deg
    as_radians = (phase != 0) & bool(np.nanmax(abs(phase), initial=0) <= np.pi)
    remedy = "give rlnPhaseShift in degrees"
    yield as_radians, "phase shifts are all of a few degrees, as if in radians", remedy, {"rlnPhaseShift": phase}
    yield abs(phase) > 360, "phase shift is beyond a full turn", remedy, {"rlnPhaseShift": phase}
    shown = {"rlnCtfBfactor": particles.ctf_bfactor}
    message = "rlnCtfBfactor is negative: the CTF would grow with resolution"
    yield particles.ctf_bfactor < 0, message, "give it positive, in Å², or remove the column", shown
    extent = np.array([group.box_px * group.pixel_size_angst for group in particles.optics])[particles.optics_index]
    x, y = particles.offset_x_angst, particles.offset_y_angst
    yield (
        (extent > 0) & (np.hypot(x, y) > extent / 2),
        "origin is further from the centre than half the box",
        "give rlnOriginXAngst and rlnOriginYAngst in Å, rlnOriginX and rlnOriginY in pixels",
        {"x": x, "y": y},
    )


def _odd_optics(group: OpticsGroup, star: Path) -> Iterator[Problem]:
    """Values that few microscopes have; 0 stands for what is missing, and is refused on its own."""
    tilt = max(abs(group.beam_tilt_x_mrad), abs(group.beam_tilt_y_mrad))
    kinds = (
        (
            group.voltage_kv > 0 and not _USUAL_VOLTAGE_KV[0] <= group.voltage_kv <= _USUAL_VOLTAGE_KV[1],
            "few microscopes have this voltage",
            "give it in kV; 200 and 300 are usual",
            f"{group.voltage_kv:g} kV",
        ),
        (
            group.spherical_aberration_mm == 0,
            "spherical aberration is 0",
            "give that of the microscope, unless it has a corrector; 2.7 mm is usual",
            "0 mm",
        ),
        (
            group.amplitude_contrast > _USUAL_CONTRAST,
            "amplitude contrast is large",
            "give it as a fraction; 0.1 is usual",
            f"{group.amplitude_contrast:g}",
        ),
        (
            group.pixel_size_angst > 0 and not _USUAL_PIXEL_ANGST[0] <= group.pixel_size_angst <= _USUAL_PIXEL_ANGST[1],
            "few data have this pixel size",
            "give it in Å, of the images as they are extracted",
            f"{group.pixel_size_angst:g} Å",
        ),
        (tilt > _USUAL_TILT_MRAD, "beam tilt is large", "give it in mrad, or fit it again", f"{tilt:g} mrad"),
    )
    for is_odd, message, remedy, value in kinds:
        if is_odd:
            yield Problem(message, remedy, str(star), f"data_optics {group.name!r}", value)


def _odd_detector(particles: ParticleSet, optics: Table, star: Path) -> list[Problem]:
    """Detectors whose pixel size nobody states."""
    if "rlnMicrographOriginalPixelSize" in optics or not any(group.mtf_file for group in particles.optics):
        return []
    message = "rlnMtfFileName comes without rlnMicrographOriginalPixelSize: images are taken not to have been binned"
    return [Problem(message, "add the column if they were", str(star), "data_optics")]


def _odd_magnification(particles: ParticleSet, table: Table, star: Path) -> list[Problem]:
    """Rows of one optics group with several magnifications: RELION 3.1 and later go by the group, and so is it here."""
    if not {"rlnMagnification", "rlnDetectorPixelSize"} <= table.keys():
        return []
    detector, magnification = (
        numbers(table, name, 0, BLOCK, star, []) for name in ("rlnDetectorPixelSize", "rlnMagnification")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        pixel = 1e4 * detector / magnification
    low, high = np.full(len(particles.optics), np.inf), np.zeros(len(particles.optics))
    np.minimum.at(low, particles.optics_index, pixel)
    np.maximum.at(high, particles.optics_index, pixel)
    message = "rows of one optics group differ in rlnDetectorPixelSize and rlnMagnification, which are not used"
    remedy = "make an optics group of each, or remove the columns"
    return [
        Problem(message, remedy, str(star), f"data_optics {group.name!r}", f"{low[row]:g} to {high[row]:g} Å")
        for row, group in enumerate(particles.optics)
        if high[row] > (1 + _SAME_PIXEL) * low[row]
    ]


def _unused(table: Table, star: Path, used: Collection[str]) -> list[Problem]:
    """One warning for all columns that are kept and have no effect, where they say anything."""
    warnings = []
    if names := [n for n in _UNUSED if n in table and n not in used and _says_something(n, table)]:
        message = "columns are kept, and nothing is refined by them"
        remedy = "bring in what they say before the import, or remove them"
        warnings.append(Problem(message, remedy, str(star), BLOCK, ", ".join(names)))
    return warnings


def _says_something(name: str, table: Table) -> bool:
    """Whether a column is more than zeros, or than the name of the image that is used."""
    if name == "rlnReconstructImageName":
        return bool((table[name] != table["rlnImageName"]).any())
    values = numbers(table, name, 0, BLOCK, Path(), [])
    return bool((values != 0).any())
