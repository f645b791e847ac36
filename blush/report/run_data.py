"""What a run folder holds so far, read without torch; a part that is not there yet is None or empty."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.errors import BlushError, Problem
from blush.io.files import load_npz, read_record
from blush.io.noted import check_own
from blush.io.seal import is_sealed, verify_content
from blush.io.star import read_star
from blush.jobs.layout import RunFolder
from blush.jobs.progress import Record, read_progress
from blush.refine.state import State, load_state


@dataclass(frozen=True)
class RunData:
    """Files of a run, parsed.

    Attributes
    ----------
    states
        After each finished iteration, from 0 on.
    diagnostics
        maps.json by iteration.
    progress
        Lines of progress.jsonl.
    postprocess
        Blocks of postprocess.star.
    truth
        truth.json of postprocessing: what `blush.validate.compare.compare_with_truth` says.
    poses
        Columns of the last poses.npz.
    at_work
        Whether the run goes on, so that a page of it is soon out of date.
    """

    root: Path
    config: Record
    summary: Record
    states: tuple[State, ...]
    diagnostics: dict[int, Record]
    progress: tuple[Record, ...]
    postprocess: dict[str, Any]
    truth: Record
    poses: dict[str, NDArray[Any]]
    at_work: bool = False

    @property
    def name(self) -> str:
        """Name of the run."""
        return str(self.config.get("name", self.root.name))

    @property
    def last(self) -> State | None:
        """State after the last finished iteration; None before iteration 0."""
        return self.states[-1] if self.states else None

    @property
    def iterated(self) -> tuple[State, ...]:
        """States after iterations, without the one before the first."""
        return self.states[1:]

    @property
    def folder(self) -> Path:
        """Folder of the results of postprocessing."""
        return self.root / "postprocess"

    @property
    def box_angst(self) -> float:
        """Side of the box in Å.

        Raises
        ------
        BlushError
            The run has no state yet.
        """
        if self.last is None:
            raise BlushError(f"{self.root} has not started: it holds no state yet")
        return self.last.facts.box_px * self.last.facts.pixel_size_angst


def read_run(root: Path, at_work: bool = False) -> RunData:
    """Read a run folder at any time of its life.

    Raises
    ------
    BlushError
        The folder is not that of a run.
    """
    folder = RunFolder(root)
    states = read_states(root)
    if not states and not folder.progress.exists() and not folder.imported.exists():
        problem = Problem("holds no refinement", "give the folder output/name of a run", file=str(root))
        raise BlushError("cannot report", [problem])
    paths = {n: folder.diagnostics(n) for n in range(len(states))}
    star = root / "postprocess/postprocess.star"
    summary = own_json(root / "summary.json")
    return RunData(
        root=root,
        config=own_json(folder.imported / "config.json"),
        summary=summary,
        states=states,
        diagnostics={n: own_json(path) for n, path in paths.items() if path.exists()},
        progress=read_progress(folder.progress),
        postprocess=read_star(unchanged(star)) if star.exists() else {},
        truth=own_json(root / "postprocess/truth.json") or summary.get("truth") or {},
        poses=_last_poses(folder, len(states)),
        at_work=at_work,
    )


def read_states(root: Path) -> tuple[State, ...]:
    """States of iterations 0, 1, ... up to the first that is missing."""
    folder = RunFolder(root)
    states: list[State] = []
    while (path := folder.state(len(states))).exists():
        states.append(load_state(unchanged(path)))
    return tuple(states)


def own_json(path: Path) -> Record:
    """Content of a file of the run, none where it is not there; told where it is not as it was written."""
    return read_record(unchanged(path)) if path.exists() else {}


def unchanged(path: Path) -> Path:
    """The path of a file of the run that is as it was written, as far as it bears a seal or was noted."""
    check_own(path)
    if path.suffix in (".json", ".npz") and is_sealed(path):
        verify_content(path)
    return path


def _last_poses(folder: RunFolder, n_states: int) -> dict[str, NDArray[np.float64]]:
    for n in reversed(range(n_states)):
        if folder.poses(n).exists():
            return load_npz(unchanged(folder.poses(n)))
    return {}
