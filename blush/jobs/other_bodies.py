"""What the other bodies of a molecule add to the images of one: their newest maps and poses before its next iteration.

Bodies are refined in turn, and iteration n of each is made before iteration n + 1 of any. So a body sees those before
it as their iteration n left them, and those after it as their iteration n - 1 did; one that has converged waits with
what it has. Each half sees the maps of its own half alone. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from blush.jobs.body_runs import body_index, body_root, read_bodies
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import checked
from blush.refine.control import BodyControl
from blush.refine.state import State, load_state
from blush.refine.subset import Subset


@dataclass(frozen=True)
class Other:
    """Another body, as an iteration left it.

    Attributes
    ----------
    index
        Its number, from 0.
    iteration
        What left its maps and poses.
    """

    index: int
    iteration: int
    folder: RunFolder

    @property
    def state(self) -> Path:
        """State after the iteration."""
        return self.folder.state(self.iteration)

    @property
    def poses(self) -> Path:
        """Poses after the iteration."""
        return self.folder.poses(self.iteration)

    def reference(self, subset: Subset) -> Path:
        """Its map, inside its own mask, by the images of a half."""
        return self.folder.map(self.iteration, subset, "reference")


def others_of(folder: RunFolder, state: State) -> list[Other]:
    """The other bodies of the molecule as the iteration after `state` sees them; none where there are no bodies."""
    if not isinstance(state.control, BodyControl):
        return []
    run, own = folder.root.parent, body_index(folder.root)
    facts, found = read_bodies(run), []
    for index, one in enumerate(facts):
        if index == own:
            continue
        other = RunFolder(body_root(run, index))
        limit = 0 if not one.refine else state.iteration + (index < own)
        found.append(Other(index, _last_open(other, limit, any_later=state.final), other))
    return found


def _last_open(folder: RunFolder, limit: int, *, any_later: bool) -> int:
    """Newest iteration up to `limit` whose maps are references; where all bodies wait, the newest of all."""
    newest = folder.newest() if any_later else min(limit, folder.newest())
    while newest > 0 and load_state(checked(folder, folder.state(newest))).converged:
        newest -= 1
    return newest


def files_of_others(folder: RunFolder, state: State, subset: Subset) -> Iterator[Path]:
    """Files by which the images of a subset depend on the other bodies."""
    for other in others_of(folder, state):
        yield from (other.state, other.poses, other.reference(subset))
