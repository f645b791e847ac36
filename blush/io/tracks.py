"""The course of filaments by the coordinates of their segments in the micrograph, and which filaments come near."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_DEGREE = 3
"""Filaments are smooth: their course is a cubic of the distance along them."""
_MOST_PAIRS = 200_000_000
"""Each takes 16 bytes; a million segments 14 Å apart, in tubes of 120 Å, have a tenth as many."""
_MIRROR_GAIN = 0.1
"""How much better directions have to agree with mirrored coordinates before these are taken to be mirrored."""


def rows_by_filament(filament: NDArray[np.integer]) -> Iterator[Integers]:
    """Rows of each filament, from the first on."""
    order = np.argsort(filament, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(filament[order])) + 1)


def tracks_by_place(place_angst: Floats, filament: NDArray[np.integer]) -> tuple[Floats, Integers]:
    """Distance along each filament, from one of its ends, by where its segments lie.

    Segments follow each other along the longest extent of the filament, and distances from one to the next add up.

    Returns
    -------
    (n,) Å, and the first row of each filament whose segments do not follow each other so: it turns back.
    """
    track, bad = np.zeros(len(filament)), []
    for rows in rows_by_filament(filament):
        place = place_angst[rows]
        axis = np.linalg.svd(place - place.mean(0), full_matrices=False)[2][0]
        axis = axis if axis[np.abs(axis).argmax()] > 0 else -axis
        order = np.argsort(place @ axis, kind="stable")
        step = np.diff(place[order], axis=0)
        track[rows[order]] = np.concatenate([[0.0], np.cumsum(np.hypot(*step.T))])
        if len(step) > 1 and ((step[1:] * step[:-1]).sum(1) < 0).any():
            bad.append(int(rows.min()))
    return track, np.array(sorted(bad), dtype=np.int64)


def directions_by_place(place_angst: Floats, filament: NDArray[np.integer], track_angst: Floats) -> Floats:
    """Psi of the tracks at each segment, -atan2(dy, dx) along growing distance; NaN where a filament has one place."""
    psi = np.full(len(filament), np.nan)
    for rows in rows_by_filament(filament):
        distance = track_angst[rows]
        extent = np.ptp(distance)
        degree = min(_DEGREE, len(np.unique(distance)) - 1)
        if degree < 1 or extent <= 0 or not np.ptp(place_angst[rows], axis=0).any():
            continue
        scaled = 2 * (distance - distance.min()) / extent - 1
        slope = np.polynomial.polynomial.polyder(np.polynomial.polynomial.polyfit(scaled, place_angst[rows], degree))
        dx, dy = np.polynomial.polynomial.polyval(scaled, slope)
        psi[rows] = -np.degrees(np.arctan2(dy, dx))
    return psi


def agreement(psi_deg: Floats, by_place_deg: Floats, filament: NDArray[np.integer]) -> tuple[Floats, bool]:
    """How well noted directions agree with those of places, by filament: 1 along, -1 against, NaN where none is known.

    Programs disagree on which way y points in a micrograph. Coordinates are taken to be mirrored where that makes
    them agree better with the directions of all filaments together.

    Returns
    -------
    (f,) means of the cosine of the difference, and whether coordinates are mirrored.
    """

    def means(by_place: Floats) -> Floats:
        cosine = np.cos(np.radians(psi_deg - by_place))
        known = np.isfinite(cosine)
        total = np.bincount(filament, weights=np.where(known, cosine, 0.0))
        count = np.bincount(filament, weights=known.astype(np.float64))
        return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)

    direct, mirrored = means(by_place_deg), means(-by_place_deg)
    if not np.isfinite(direct).any():
        return direct, False
    is_mirrored = bool(np.nanmean(np.abs(mirrored)) > np.nanmean(np.abs(direct)) + _MIRROR_GAIN)
    return (mirrored if is_mirrored else direct), is_mirrored


def turned(psi_deg: Floats, which: NDArray[np.bool_]) -> Floats:
    """Directions, those of some rows turned by 180 degrees, in (-180, 180]."""
    return np.where(which, 180.0 - (-psi_deg) % 360.0, psi_deg)


def near_filaments(
    place_angst: Floats, filament: NDArray[np.integer], micrograph: NDArray[np.integer], reach_angst: float
) -> Integers:
    """Pairs of filaments of one micrograph that have segments within a distance of each other, (k, 2) ascending.

    Raises
    ------
    ValueError
        If so many segments lie at nearly one place that their pairs would fill the memory.
    """
    apart = 10 * (float(np.abs(place_angst).max(initial=0.0)) + reach_angst)
    tree = cKDTree(np.column_stack([place_angst, apart * micrograph.astype(np.float64)]))
    if tree.count_neighbors(tree, reach_angst) > _MOST_PAIRS:
        raise ValueError("too many segments lie at nearly one place")
    pairs = filament[tree.query_pairs(reach_angst, output_type="ndarray")].reshape(-1, 2).astype(np.int64)
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return np.unique(pairs, axis=0)


def pixel_by_track(place_px: Floats, filament: NDArray[np.integer], track_angst: Floats) -> float | None:
    """Pixel size of coordinates in Å, by the distances between neighbours along all tracks; None where there are none.

    The median of what neighbours say: boxes are cut at whole pixels, and a coarse one misleads only its neighbours.
    """
    order = np.lexsort((track_angst, filament))
    same = np.diff(filament[order]) == 0
    along = np.diff(track_angst[order])[same]
    across = np.hypot(*np.diff(place_px[order], axis=0)[same].T)
    is_step = (along > 0) & (across > 0)
    return float(np.median(along[is_step] / across[is_step])) if is_step.any() else None
