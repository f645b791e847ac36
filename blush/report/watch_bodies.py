"""What a run of several bodies is doing now, from the files of each; a run of any other job is followed as it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from blush.cluster.holder import holder_of
from blush.io.files import read_record
from blush.jobs.body_runs import BODIES, body_folders
from blush.jobs.layout import RunFolder
from blush.report.run_data import unchanged
from blush.report.watch import Status, Watcher


@dataclass
class RunWatcher:
    """Follows the folder of any run; that of one of several bodies through a `Watcher` for each."""

    root: Path
    _bodies: dict[str, Watcher] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._whole = Watcher(self.root)

    def look(self, now: float) -> Status:
        """Read what is new and say where the run is; `now` is the time in seconds since the epoch."""
        self._bodies = self._bodies or {name: Watcher(path) for name, path in _refined(self.root).items()}
        whole = self._whole.look(now)
        if not self._bodies:
            return whole
        each = {name: body.look(now) for name, body in self._bodies.items()}
        heard = max((self._whole, *self._bodies.values()), key=lambda watcher: watcher.last_heard).last_heard
        refined = all(one.refined for one in each.values())
        name = max(each, key=lambda one: self._bodies[one].last_heard)
        return replace(
            each[name],
            iteration=max(one.iteration for one in each.values()) if refined else each[name].iteration,
            silent_seconds=now - heard if heard else 0.0,
            refined=refined,
            finished=refined and (self.root / "summary.json").exists(),
            gave_up=refined and any(one.gave_up for one in each.values()),
            holder=holder_of(self.root),
            body=name,
        )

    def new_lines(self) -> list[str]:
        """A line about each iteration of any body that was finished since this was asked for last, in their order."""
        if not self._bodies:
            return self._whole.new_lines()
        width = max(map(len, self._bodies))
        lines = [(name, line) for name, body in self._bodies.items() for line in body.new_lines()]
        return [f"{name:<{width}} {line}" for name, line in sorted(lines, key=lambda one: one[1].split()[:2])]

    @property
    def reached(self) -> tuple[str, str]:
        """Number of the last iteration and what it resolves, in words: of each body, where there are several."""
        if not self._bodies:
            return self._whole.reached
        each = {name: body.reached for name, body in self._bodies.items()}
        told = ", ".join(f"{name} {found}" for name, (_, found) in each.items() if found)
        return ", ".join(number for number, _ in each.values() if number), told


def _refined(root: Path) -> dict[str, Path]:
    """Folders of the bodies that are refined by their names; none of another job, or before the import."""
    path = RunFolder(root).imported / BODIES
    if not path.exists():
        return {}
    known = read_record(unchanged(path), members=("bodies",))["bodies"]
    pairs = zip(known, body_folders(root), strict=False)
    return {str(one["name"]): folder.root for one, folder in pairs if one["refine"]}
