"""Where the time went, from the progress log: per stage and per iteration.

Wall time is the length of the union of the intervals in which work was logged, so shards that ran side by side
count once, and the pause between a kill and the next start does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from blush.jobs.progress import Record

PARTIAL_STAGES = frozenset({"expectation"})
"""Records of work that another record of the same work will close: `shard` closes `expectation`."""
STAGE_NAMES = {"shard": "expectation"}


@dataclass(frozen=True)
class Spent:
    """Time of one stage or iteration in seconds: `wall` by the clock, `busy` and `cpu` summed over processes."""

    wall: float
    busy: float
    cpu: float


def by_stage(progress: Sequence[Record]) -> dict[str, Spent]:
    """Time per stage, in the order of their first appearance."""
    groups: dict[str, list[Record]] = {}
    for record in closed(progress):
        groups.setdefault(_stage_name(record), []).append(record)
    return {stage: spent(records) for stage, records in groups.items()}


def _stage_name(record: Record) -> str:
    stage = str(record["stage"])
    return STAGE_NAMES.get(stage, stage)


def by_iteration(progress: Sequence[Record]) -> dict[int, Spent]:
    """Time per iteration."""
    groups: dict[int, list[Record]] = {}
    for record in closed(progress):
        if "iteration" in record:
            groups.setdefault(int(record["iteration"]), []).append(record)
    return {iteration: spent(records) for iteration, records in sorted(groups.items())}


def closed(progress: Iterable[Record]) -> list[Record]:
    """Records of finished pieces of work that say how long they took."""
    return [r for r in progress if r["stage"] not in PARTIAL_STAGES and "seconds" in r]


def spent(records: Sequence[Record]) -> Spent:
    """Time of some records together."""
    busy = sum(float(r["seconds"]) for r in records)
    cpu = sum(float(r.get("cpu_seconds", 0.0)) for r in records)
    return Spent(
        union_seconds([(float(r["time"]) - float(r["seconds"]), float(r["time"])) for r in records]), busy, cpu
    )


def union_seconds(intervals: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def duration(seconds: float) -> str:
    """`1 h 02 min`, `3 min 05 s`, `41 s` or `0.4 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def compact(seconds: float) -> str:
    """`2.3 h`, `4.4 min` or `41 s`: for where there is little room."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
