"""Filaments of a particle table: which segment lies where on which, and how the track runs there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blush.errors import Problem
from blush.io.columns import numbers, row_problems
from blush.io.particle_columns import BLOCK, filament_index
from blush.io.particles import ParticleSet
from blush.io.star import Table

TUBE, TRACK, TRACK_PX = "rlnHelicalTubeID", "rlnHelicalTrackLengthAngst", "rlnHelicalTrackLength"
PSI, TILT, FLIP = "rlnAnglePsiPrior", "rlnAngleTiltPrior", "rlnAnglePsiFlipRatio"
LEAST_STEP_ANGST = 1e-3
"""Segments of a filament that lie closer along it than this are set so far apart."""
_SIDE_ON_DEG, _EITHER_WAY = 90.0, 0.5


def with_filaments(
    particles: ParticleSet, table: Table, star: Path, problems: list[Problem], warnings: list[Problem]
) -> tuple[ParticleSet, Table]:
    """Particles with the columns of their filaments, and the table with those that it lacked.

    A filament is a tube of one micrograph, in the order of their first rows. Its direction is that in which the track
    length grows, for ever; RELION's refinement negates the lengths of filaments that it found reversed, and that is
    undone. Segments at one place are set `LEAST_STEP_ANGST` apart in the order of their rows.

    Returns
    -------
    Both as they came where anything is wrong, which is appended to `problems`.
    """
    before = len(problems)
    filament = filament_index(table)
    if filament is None:
        remedy = "extract with filament tracing, or set job: refine"
        problems.append(Problem("has no filaments", remedy, str(star), f"{BLOCK}, {TUBE}"))
        return particles, table
    pixel = np.array([group.pixel_size_angst for group in particles.optics])[particles.optics_index]
    track, psi = _track(table, pixel, filament, star, problems), _psi(table, star, problems)
    tilt, flip = (
        numbers(table, name, default, BLOCK, star, problems)
        for name, default in ((TILT, _SIDE_ON_DEG), (FLIP, _EITHER_WAY))
    )
    bad = np.flatnonzero(np.isfinite(flip) & ((flip < 0) | (flip > 1)))
    remedy = "give the probability of psi + 180: 0.5 for both directions"
    problems += row_problems(bad, flip[bad], f"{FLIP} is not between 0 and 1", remedy, star, BLOCK)
    if len(problems) > before or track is None or psi is None:
        return particles, table
    track = _apart(filament, track, star, warnings)
    columns = {TRACK: track, PSI: psi, TILT: tilt, FLIP: flip}
    added = {name: values for name, values in columns.items() if name not in table}
    posed = replace(
        particles,
        filament=filament.astype(np.int32),
        track_angst=track,
        track_psi_deg=psi,
        track_tilt_deg=tilt,
        psi_flip_ratio=flip,
    )
    return posed, table | added


def _track(
    table: Table,
    pixel_size_angst: NDArray[np.float64],
    filament: NDArray[np.int64],
    star: Path,
    problems: list[Problem],
) -> NDArray[np.float64] | None:
    """Distance of each segment from the start of its filament in Å, at least 0; None where no column tells."""
    name = TRACK if TRACK in table else TRACK_PX
    if name not in table:
        remedy = f"add {TRACK}, the distance of each segment from the start of its filament"
        problems.append(Problem("column is missing", remedy, str(star), f"{BLOCK}, {TRACK}"))
        return None
    track = numbers(table, name, 0, BLOCK, star, problems) * (pixel_size_angst if name == TRACK_PX else 1.0)
    if not np.isfinite(track).all():
        return None
    lowest, highest = np.full(filament.max() + 1, np.inf), np.full(filament.max() + 1, -np.inf)
    np.minimum.at(lowest, filament, track)
    np.maximum.at(highest, filament, track)
    both = np.flatnonzero(((lowest < 0) & (highest > 0))[filament])
    first = both[np.sort(np.unique(filament[both], return_index=True)[1])]
    values = [f"tube {table[TUBE][row]} of {table['rlnImageName'][row]}" for row in first]
    message = f"{name} of this filament is negative in some rows and positive in others"
    problems += row_problems(first, values, message, "count it from one end of the filament", star, BLOCK)
    return np.where((lowest < 0)[filament], -track, track)


def _psi(table: Table, star: Path, problems: list[Problem]) -> NDArray[np.float64] | None:
    """Direction of the track in the image, in degrees; None where no column tells."""
    if PSI not in table:
        remedy = f"add {PSI}, -atan2(dy, dx) of the track in the micrograph, in degrees"
        problems.append(Problem("column is missing", remedy, str(star), f"{BLOCK}, {PSI}"))
        return None
    return numbers(table, PSI, 0, BLOCK, star, problems)


def _apart(
    filament: NDArray[np.int64], track_angst: NDArray[np.float64], star: Path, warnings: list[Problem]
) -> NDArray[np.float64]:
    """Track lengths of which no two of a filament are equal: along it, each is a least step beyond the one before."""
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
    message = "segments lie at one place of their filament"
    remedy = f"expected after symmetry expansion alone; they are set {LEAST_STEP_ANGST:g} Å apart, in the order of rows"
    warnings.append(Problem(message, remedy, str(star), f"{BLOCK}, {TRACK}", f"{is_moved.sum()} rows"))
    return result


def check_ignored_filaments(table: Table, star: Path) -> list[Problem]:
    """A warning where segments of filaments are refined by a job that has no filaments."""
    if TUBE not in table:
        return []
    message = "segments of filaments are refined as single particles, without helical symmetry or priors"
    return [Problem(message, "set job: helix for those", str(star), f"{BLOCK}, {TUBE}")]


def units_per_segment(particles: ParticleSet, rise_angst: float) -> int:
    """Units of a helix that each segment adds to those before it: the distance between segments, in units.

    Returns
    -------
    1 at least, and no more than lie in the box. The distance is the median of all filaments'; 1 where none has two
    segments.
    """
    if particles.filament is None or particles.track_angst is None:
        return 1
    order = np.lexsort((particles.track_angst, particles.filament))
    step = np.diff(particles.track_angst[order])[np.diff(particles.filament[order]) == 0]
    step = step[step > LEAST_STEP_ANGST * 2]  # copies of one image are no new segments
    if not len(step):
        return 1
    optics = particles.optics[0]
    most = 2 * int(optics.box_px * optics.pixel_size_angst / (2 * rise_angst)) + 1
    return min(max(round(float(np.median(step)) / rise_angst), 1), most)
