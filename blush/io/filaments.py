"""Filaments of a particle table: which segment lies where on which, and how the track runs there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blush.errors import Problem
from blush.io.columns import numbers, row_problems
from blush.io.particle_columns import BLOCK, filament_index
from blush.io.particles import ParticleSet
from blush.io.star import Table
from blush.io.tracks import agreement, directions_by_place, pixel_by_track, tracks_by_place, turned

TUBE, TRACK, TRACK_PX = "rlnHelicalTubeID", "rlnHelicalTrackLengthAngst", "rlnHelicalTrackLength"
PSI, TILT, FLIP = "rlnAnglePsiPrior", "rlnAngleTiltPrior", "rlnAnglePsiFlipRatio"
USED = (PSI, TILT, FLIP)
"""Columns that are priors of filaments, and say nothing to other jobs."""
COORDINATES = ("rlnCoordinateX", "rlnCoordinateY")
PIXELS = ("rlnMicrographPixelSize", "rlnMicrographOriginalPixelSize")
LEAST_STEP_ANGST = 1e-3
"""Segments of a filament that lie closer along it than this are set so far apart."""
_SIDE_ON_DEG, _EITHER_WAY = 90.0, 0.5
_FARTHEST = 1e6
"""Of coordinates in pixels and track lengths in Å or pixels: more is no place in a micrograph."""
_ALONG = 0.5
"""Least cosine, in the mean over a filament, between noted directions and those of its coordinates."""
Floats = NDArray[np.float64]


@dataclass
class Segments:
    """A table that is being read, and what there is to say about it.

    Attributes
    ----------
    filament
        (n,) filament of each row.
    """

    table: Table
    optics: Table
    star: Path
    filament: NDArray[np.int64]
    problems: list[Problem]
    warnings: list[Problem]

    def column(self, name: str, default: float = 0.0) -> Floats:
        """A column as numbers."""
        return numbers(self.table, name, default, BLOCK, self.star, self.problems)

    def lacks(self, name: str, remedy: str) -> None:
        """Tell a column that has to be there."""
        self.problems.append(Problem("column is missing", remedy, str(self.star), f"{BLOCK}, {name}"))

    def notes(self, message: str, remedy: str, name: str, value: str | None = None) -> None:
        """Tell what was done about a column."""
        self.warnings.append(Problem(message, remedy, str(self.star), f"{BLOCK}, {name}", value))

    def refuse(self, rows: NDArray[np.int64], message: str, remedy: str) -> None:
        """Refuse the filaments of some rows, each by its name."""
        first = rows[np.sort(np.unique(self.filament[rows], return_index=True)[1])]
        self.problems += row_problems(first, [self.name(row) for row in first], message, remedy, self.star, BLOCK)

    def name(self, row: int) -> str:
        """The filament of a row as a user knows it."""
        return filament_name(self.table, row)

    def place_px(self) -> Floats | None:
        """(n, 2) coordinates in the micrograph; None where the table has none, or the same in every row."""
        if not all(name in self.table for name in COORDINATES):
            return None
        place = np.stack([self.bounded(name, -_FARTHEST, _FARTHEST) for name in COORDINATES], 1)
        return place if np.isfinite(place).all() and np.ptp(place, axis=0).any() else None

    def bounded(self, name: str, least: float, most: float, default: float = 0.0) -> Floats:
        """A column whose values lie in a range; others are refused by row."""
        values = self.column(name, default)
        bad = np.flatnonzero(np.isfinite(values) & ~((values >= least) & (values <= most)))
        message, remedy = f"{name} is not between {least:g} and {most:g}", "correct the value or remove the row"
        self.problems += row_problems(bad, values[bad], message, remedy, self.star, BLOCK)
        return np.where(np.isin(np.arange(len(values)), bad), np.nan, values)

    def stated_pixel_angst(self) -> float | None:
        """Pixel size of the micrographs; None where nothing states it, or several do."""
        for name in PIXELS:
            for table, block in ((self.table, BLOCK), (self.optics, "data_optics")):
                if name in table:
                    sizes = np.unique(numbers(table, name, 0, block, self.star, self.problems))
                    return float(sizes[0]) if len(sizes) == 1 and sizes[0] > 0 else None
        return None


def filament_name(table: Table, row: int) -> str:
    """The filament of a row as a user knows it: tube and micrograph."""
    place = table["rlnMicrographName"] if "rlnMicrographName" in table else table["rlnImageName"]
    return f"tube {table[TUBE][row]} of {place[row]}"


def with_filaments(
    particles: ParticleSet, blocks: dict[str, Table], star: Path, problems: list[Problem], warnings: list[Problem]
) -> tuple[ParticleSet, Table]:
    """Particles with the columns of their filaments, and the table of particles with those that it lacked.

    A filament is a tube of one micrograph, in the order of their first rows. Its direction is that in which the track
    length grows, for ever; RELION's refinement negates the lengths of filaments that it found reversed, and that is
    undone. What is missing is made from coordinates, and told. Segments at one place are set `LEAST_STEP_ANGST` apart
    in the order of their rows.

    Returns
    -------
    Both as they came where anything is wrong, which is appended to `problems`.
    """
    before, table = len(problems), blocks["particles"]
    filament = filament_index(table)
    if filament is None:
        remedy = "extract with filament tracing, or set job: refine"
        problems.append(Problem("has no filaments", remedy, str(star), f"{BLOCK}, {TUBE}"))
        return particles, table
    segments = Segments(table, blocks["optics"], star, filament, problems, warnings)
    pixel = np.array([group.pixel_size_angst for group in particles.optics])[particles.optics_index]
    track = _track(segments, pixel)
    psi = None if track is None else _psi(segments, track)
    tilt, flip = segments.bounded(TILT, 0, 180, _SIDE_ON_DEG), segments.bounded(FLIP, 0, 1, _EITHER_WAY)
    if len(problems) > before or track is None or psi is None:
        return particles, table
    columns = {TRACK: _apart(segments, track), PSI: psi, TILT: tilt, FLIP: flip}
    added = {name: values for name, values in columns.items() if name not in table}
    posed = replace(
        particles,
        filament=filament.astype(np.int32),
        track_angst=columns[TRACK],
        track_psi_deg=psi,
        track_tilt_deg=tilt,
        psi_flip_ratio=flip,
    )
    return posed, table | added


def _track(segments: Segments, pixel_size_angst: Floats) -> Floats | None:
    """Distance of each segment from the start of its filament in Å, at least 0; None where it cannot be told."""
    name = TRACK if TRACK in segments.table else TRACK_PX
    if name not in segments.table:
        return _track_by_place(segments)
    track = segments.bounded(name, -_FARTHEST, _FARTHEST) * (pixel_size_angst if name == TRACK_PX else 1.0)
    if not np.isfinite(track).all():
        return None
    filament = segments.filament
    lowest, highest = np.full(filament.max() + 1, np.inf), np.full(filament.max() + 1, -np.inf)
    np.minimum.at(lowest, filament, track)
    np.maximum.at(highest, filament, track)
    message = f"{name} of this filament is negative in some rows and positive in others"
    both = np.flatnonzero(((lowest < 0) & (highest > 0))[filament])
    segments.refuse(both, message, "count it from one end of the filament")
    return np.where((lowest < 0)[filament], -track, track)


def _track_by_place(segments: Segments) -> Floats | None:
    """The same from coordinates, where they and their pixel size are known."""
    place, pixel = segments.place_px(), segments.stated_pixel_angst()
    if place is None or pixel is None:
        needed = ", ".join(COORDINATES if place is None else (PIXELS[0],))
        segments.lacks(TRACK, f"add it, the distance of each segment along its filament; or {needed}, to make it from")
        return None
    track, bad = tracks_by_place(place * pixel, segments.filament)
    segments.refuse(bad, "coordinates of this filament turn back", f"add {TRACK}, or remove the filament")
    segments.notes("is made from coordinates", f"expected where a program notes no {TRACK}", TRACK, f"{pixel:g} Å/px")
    return track


def _psi(segments: Segments, track_angst: Floats) -> Floats | None:
    """Direction in which the track runs, in degrees; None where it cannot be told."""
    place = segments.place_px()
    by_place = None if place is None else directions_by_place(place, segments.filament, track_angst)
    if PSI in segments.table:
        psi = segments.bounded(PSI, -720, 720)
        return psi if by_place is None or not np.isfinite(psi).all() else _along(segments, psi, by_place)
    if by_place is None:
        remedy = f"add it, -atan2(dy, dx) of the track in degrees; or {', '.join(COORDINATES)}, to make it from"
        segments.lacks(PSI, remedy)
        return None
    lone = np.flatnonzero(np.isnan(by_place))
    segments.refuse(lone, "filament of one place has no direction", f"add {PSI}, or remove the filament")
    segments.notes("is made from coordinates", f"expected where a program notes no {PSI}", PSI)
    return by_place


def _along(segments: Segments, psi_deg: Floats, by_place_deg: Floats) -> Floats:
    """Noted directions, turned where they run against the track, as refinements of RELION leave some."""
    cosine, is_mirrored = agreement(psi_deg, by_place_deg, segments.filament)
    if is_mirrored:
        segments.notes("coordinates are mirrored", "expected of some programs; they tell no more", COORDINATES[1])
    message = f"{PSI} of this filament does not run along its coordinates"
    remedy = "correct it, -atan2(dy, dx) of the track in degrees; or remove the column to have it made from these"
    segments.refuse(np.flatnonzero((np.abs(cosine) < _ALONG)[segments.filament]), message, remedy)
    is_against = (cosine <= -_ALONG)[segments.filament]
    if is_against.any():
        count = len(np.unique(segments.filament[is_against]))
        told = "directions run against the track and are turned by 180 degrees"
        segments.notes(told, "expected after a refinement", PSI, f"{count} filaments")
    return turned(psi_deg, is_against)


def _apart(segments: Segments, track_angst: Floats) -> Floats:
    """Track lengths of which no two of a filament are equal: along it, each is a least step beyond the one before."""
    filament = segments.filament
    order = np.lexsort((track_angst, filament))  # stable: equal ones stay in the order of rows
    sorted_filament, sorted_track = filament[order], track_angst[order]
    begins = np.flatnonzero(np.diff(sorted_filament, prepend=-1))
    rank = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
    # filaments end to end, so that one running maximum serves all of them
    lifted = sorted_filament * (sorted_track.max(initial=0) + LEAST_STEP_ANGST * len(order) + 1.0)
    level = sorted_track - LEAST_STEP_ANGST * rank + lifted
    is_moved = np.maximum.accumulate(level) > level
    if not is_moved.any():
        return track_angst
    result = track_angst.copy()
    spread = np.maximum.accumulate(level) - lifted + LEAST_STEP_ANGST * rank
    result[order[is_moved]] = spread[is_moved]
    remedy = f"expected after symmetry expansion alone; they are set {LEAST_STEP_ANGST:g} Å apart, in the order of rows"
    segments.notes("segments lie at one place of their filament", remedy, TRACK, f"{is_moved.sum()} rows")
    return result


def place_angst(particles: ParticleSet, segments: Segments) -> Floats | None:
    """(n, 2) places of segments in their micrographs in Å, by the tracks' own scale; None where they are not known."""
    place = segments.place_px()
    if place is None or particles.track_angst is None:
        return None
    pixel = pixel_by_track(place, segments.filament, particles.track_angst) or segments.stated_pixel_angst()
    return None if pixel is None else place * pixel


def check_ignored_filaments(table: Table, star: Path) -> list[Problem]:
    """A warning where segments of filaments are refined by a job that has no filaments."""
    if TUBE not in table:
        return []
    message = "segments of filaments are refined as single particles, without helical symmetry or priors"
    return [Problem(message, "set job: helix for those", str(star), f"{BLOCK}, {TUBE}")]


def track_steps(particles: ParticleSet) -> Floats:
    """Distances from each segment to the next of its filament in Å, without those between copies of one image."""
    if particles.filament is None or particles.track_angst is None:
        return np.zeros(0)
    order = np.lexsort((particles.track_angst, particles.filament))
    step: Floats = np.diff(particles.track_angst[order])[np.diff(particles.filament[order]) == 0]
    return step[step > 2 * LEAST_STEP_ANGST]


def units_per_segment(particles: ParticleSet, rise_angst: float) -> int:
    """Units of a helix that each segment adds to those before it: the distance between segments, in units.

    Returns
    -------
    1 at least, and no more than lie in the box. The distance is the median of all filaments'; 1 where none has two
    segments.
    """
    step = track_steps(particles)
    if not len(step):
        return 1
    optics = particles.optics[0]
    most = 2 * int(optics.box_px * optics.pixel_size_angst / (2 * rise_angst)) + 1
    return min(max(round(float(np.median(step)) / rise_angst), 1), most)
