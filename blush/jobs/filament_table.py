"""One line for each filament of a finished refinement: which way it runs, how it twists, how ideal it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.geometry.helix import Helix
from blush.helix.along import Along
from blush.io.filaments import TUBE
from blush.io.star import Table

COLUMNS = (
    "micrograph",
    "tube",
    "segments",
    "length_angst",
    "reversed",
    "segments_against",
    "polarity_log_odds",
    "twist_deg",
    "twist_error_deg",
    "phase_spread_deg",
    "across_sd_angst",
)


def filament_lines(table: Table, along: Along, log_odds: NDArray[np.float64], helix: Helix) -> str:
    """A table with tabs, one line for each filament in the order of their first rows.

    Parameters
    ----------
    table
        The segments as they were imported.
    along
        Their refined places on filaments.
    log_odds
        (n,) log odds that the filament of each segment runs along its track.
    helix
        The symmetry of the end. `twist_deg` is that of a unit on this filament: the helix's, and the slow twist of the
        filament's own beyond it, with its standard error; empty where a filament has too few segments.
    """
    filament, count = along.filament, along.count
    first = np.unique(filament, return_index=True)[1]
    ends = np.full((2, len(count)), np.nan)
    for row, pick in zip(ends, (np.fmin, np.fmax), strict=True):
        pick.at(row, filament, along.track_angst)
    slope, error = along.own_slopes()
    against = np.bincount(filament, along.against_most, len(count))
    name = "rlnMicrographName" if "rlnMicrographName" in table else "rlnImageName"
    mean = np.bincount(filament, along.across_angst) / count
    across = np.sqrt(np.bincount(filament, (along.across_angst - mean[filament]) ** 2) / count)
    phase = np.sqrt(_means(along.phase_deg**2, filament, ~along.against_most))
    columns: tuple[Any, ...] = (
        [str(table[name][row]) for row in first],
        [str(table[TUBE][row]) for row in first],
        count,
        ends[1] - ends[0],
        along.is_reversed.astype(int),
        against.astype(int),
        log_odds[first],
        helix.twist_deg + slope * helix.rise_angst,
        error * helix.rise_angst,
        phase,
        across,
    )
    rows = zip(*columns, strict=True)
    return "".join("\t".join(_shown(each) for each in row) + "\n" for row in (COLUMNS, *rows))


def _means(values: NDArray[np.float64], group: NDArray[np.int64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    size = int(group.max(initial=-1)) + 1
    return np.asarray(np.bincount(group[used], values[used], size) / np.bincount(group[used], minlength=size).clip(1))


def _shown(value: Any) -> str:
    if not isinstance(value, float | np.floating):
        return str(value)
    return f"{value:.6g}" if np.isfinite(value) else ""
