"""Segments of filaments in the order in which a chain visits them, and what they share because their boxes overlap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Filaments:
    """Some whole filaments, longest first: place t, f is the t-th segment of the f-th filament that has one.

    Attributes
    ----------
    rows
        (n,) row of each place in the table of segments.
    starts
        (longest + 1,) first place of the t-th segments; places starts[t] to starts[t + 1] are those of the filaments
        0, 1, ... in this order.
    last
        (filaments,) place of the last segment of each.
    filament
        (n,) which of these filaments a place belongs to.
    following
        (n,) place of the next segment; -1: there is none.
    mirror
        (n,) place that each takes when every filament is walked from its other end.
    position_angst
        (n,) along the filament, from the middle between its ends.
    weight
        (n,) share of what a segment shows that counts as its own; see `own_share`.
    before, after
        (n,) place of the nearest segment on either side whose centre is half an extent away or more: what lies beyond
        shows, on average, nothing of this segment's own noise. -1: there is none.
    """

    rows: Ints
    starts: Ints
    last: Ints
    filament: Ints
    following: Ints
    mirror: Ints
    position_angst: Floats
    weight: Floats
    before: Ints
    after: Ints

    @classmethod
    def of(cls, rows: Ints, filament: Ints, track_angst: Floats, extent_angst: float) -> Filaments:
        """Filaments of the segments at `rows`.

        Parameters
        ----------
        rows
            (m,) rows of whole filaments.
        filament, track_angst
            (n,) of the whole table: number of the filament, distance along it.
        extent_angst
            What of the filament a segment shows.
        """
        rows = rows[np.lexsort((rows, track_angst[rows], filament[rows]))]
        _, first, length = np.unique(filament[rows], return_index=True, return_counts=True)
        longest_first = np.argsort(-length, kind="stable")
        first, length = first[longest_first], length[longest_first]
        step = np.arange(length.max(initial=0))
        inside = step < length[:, None]
        track = np.where(inside, track_angst[rows[np.minimum(first[:, None] + step, len(rows) - 1)]], np.inf)
        starts = np.concatenate(([0], np.cumsum(inside.sum(0))))
        place = starts[:-1] + np.arange(len(length))[:, None]
        by_step = inside.T
        ends = length[:, None] - 1
        before = (track[:, None] <= track[:, :, None] - extent_angst / 2).sum(2) - 1
        after = ends - (inside[:, None] & (track[:, None] >= track[:, :, None] + extent_angst / 2)).sum(2) + 1
        middle = (track[:, :1] + np.take_along_axis(track, ends, 1)) / 2

        def at(values: NDArray[np.generic]) -> NDArray[np.generic]:
            return values.T[by_step]

        def place_of(index: Ints, exists: NDArray[np.bool_]) -> Ints:
            clipped = np.clip(index, 0, ends)
            found = np.where(exists, np.take_along_axis(place, clipped, 1), -1)
            return np.asarray(at(found), dtype=np.int64)

        return cls(
            rows=np.asarray(at(rows[np.minimum(first[:, None] + step, len(rows) - 1)]), dtype=np.int64),
            starts=starts.astype(np.int64),
            last=np.take_along_axis(place, ends, 1)[:, 0],
            filament=np.asarray(at(np.broadcast_to(np.arange(len(length))[:, None], inside.shape)), dtype=np.int64),
            following=place_of(step + 1, step < ends),
            mirror=place_of(ends - step, inside),
            position_angst=np.asarray(at(track - middle), dtype=np.float64),
            weight=np.asarray(at(own_share(track, extent_angst)), dtype=np.float64),
            before=place_of(before, before >= 0),
            after=place_of(after, after <= ends),
        )

    def walk(self) -> Iterator[tuple[slice, slice]]:
        """Places of all t-th segments, and of those before them on the same filaments, for t = 1, 2, ..."""
        for t in range(1, len(self.starts) - 1):
            begin, end = int(self.starts[t]), int(self.starts[t + 1])
            previous = int(self.starts[t - 1])
            yield slice(begin, end), slice(previous, previous + end - begin)


def own_share(track_angst: Floats, extent_angst: float) -> Floats:
    """Share of a segment's pixels that counts as its own: where c boxes of one filament overlap, 1 / c for each.

    Segments whose boxes overlap show the same noise, and log likelihoods of them all would count it c times. The sum
    over a filament is its covered length in units of the extent.

    Parameters
    ----------
    track_angst
        (filaments, most segments) ascending along each filament, infinite beyond its last segment.

    Returns
    -------
    (filaments, most segments), 0 beyond the last segment.
    """
    inside, n = np.isfinite(track_angst), track_angst.shape[1]
    edges = np.concatenate((track_angst - extent_angst / 2, track_angst + extent_angst / 2), 1)
    order = np.argsort(edges, axis=1, kind="stable")
    along = np.take_along_axis(edges, order, 1)
    opens = np.where(order < n, 1, -1) * np.isfinite(along)
    boxes = np.cumsum(opens, 1)[:, :-1]
    known = np.isfinite(along[:, 1:]) & (boxes > 0)
    length = np.where(known, np.diff(np.where(np.isfinite(along), along, 0.0), axis=1), 0.0)
    until = np.cumsum(length / np.maximum(boxes, 1), 1)
    integral = np.zeros_like(along)
    np.put_along_axis(integral, order, np.concatenate((np.zeros((len(along), 1)), until), 1), 1)
    return np.where(inside, (integral[:, n:] - integral[:, :n]) / extent_angst, 0.0)


def blocks(
    rows: Ints, filament: Ints, track_angst: Floats, extent_angst: float, segments_at_once: int
) -> Iterator[Filaments]:
    """All filaments of the segments at `rows`, in blocks of `segments_at_once`, or of a single longer filament.

    Results of a filament do not depend on its block. Filaments of a block are of similar length.
    """
    ids, index, length = np.unique(filament[rows], return_inverse=True, return_counts=True)
    rank = np.empty(len(ids), dtype=np.int64)
    rank[np.argsort(-length, kind="stable")] = np.arange(len(ids))
    block_of_rank = (np.cumsum(np.sort(length)[::-1]) - 1) // segments_at_once
    block = block_of_rank[rank[index]]
    for one in np.unique(block):
        yield Filaments.of(rows[block == one], filament, track_angst, extent_angst)
