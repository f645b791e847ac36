"""What a run of several bodies left of each, read without torch, for its page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from blush.io.files import load_npz, read_record
from blush.jobs.body_runs import BODIES, body_folders
from blush.jobs.inputs import Plan
from blush.jobs.layout import RunFolder
from blush.refine.changes import rotations
from blush.refine.control import BodyControl
from blush.refine.state import State
from blush.report.class_tables import fsc_resolution_angst
from blush.report.run_data import RunData, read_run, unchanged

PLAUSIBLE = 0.99
"""Share of the motions of the learned prior that lie nearer than its end."""


@dataclass(frozen=True)
class BodyData:
    """One body of a run.

    Attributes
    ----------
    known
        What the import knows of it: name, centre, widths at the start.
    run
        Its folder, which is that of a refinement.
    """

    known: dict[str, Any]
    run: RunData

    @property
    def name(self) -> str:
        """Name that the user gave."""
        return str(self.known["name"])

    @property
    def refined(self) -> bool:
        """Whether its poses are searched."""
        return bool(self.known["refine"])

    @property
    def resolution_angst(self) -> float | None:
        """Resolution in its mask: of the end, or of the last iteration; None before there is one."""
        if self.run.summary:
            return _number(self.run.summary["resolution_angst"])
        return self.run.last.resolution_angst if self.run.last is not None and self.run.iterated else None

    @property
    def consensus_angst(self) -> float | None:
        """Resolution of the consensus in the mask, by the same rule: corrected FSC of its halves 0.143."""
        if not self.run.states:
            return None
        return fsc_resolution_angst(self.run.states[0].references.fsc[0], self.run.box_angst)

    @cached_property
    def widths(self) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Standard deviations of its motions after each iteration, the widest first: rotation in °, shift in Å."""
        return [_widths(state) for state in self.run.states]

    @cached_property
    def share_at_the_end(self) -> float | None:
        """Share of images whose motion lies beyond 99 % of what the prior of their last search expects."""
        if len(self.run.states) < 2 or "motion_mean" not in self.run.poses:
            return None
        imported = RunFolder(self.run.root).imported
        frozen = load_npz(unchanged(imported / "particles.npz"))
        plan = Plan.of(load_npz(unchanged(imported / "plan.npz")))
        views, mean = rotations(frozen), self.run.poses["motion_mean"]
        seen = np.zeros((len(mean), 5, 6))  # what an image shows of a motion: all of its turn, two of its shifts
        seen[:, :3, :3], seen[:, 3:, 3:] = np.eye(3), views[:, :2]
        beyond = np.zeros(len(mean), dtype=bool)
        for rows, motion in zip(plan.rows, self.run.states[-2].control_of(BodyControl).motion, strict=True):
            prior = seen[rows] @ motion @ seen[rows].transpose(0, 2, 1)
            far = (mean[rows][:, None] @ np.linalg.solve(prior, mean[rows][:, :, None])).ravel()
            beyond[rows] = far > chi2.ppf(PLAUSIBLE, 5)
        return float(beyond.mean())


def _widths(state: State) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    motion = state.control_of(BodyControl).motion.mean(0)
    rotation, shift = (np.sqrt(np.linalg.eigvalsh(part)[::-1].clip(0)) for part in (motion[:3, :3], motion[3:, 3:]))
    return np.rad2deg(rotation), shift


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def read_bodies_of(root: Path) -> list[BodyData]:
    """All bodies of a run, as far as they are; none before its import."""
    path = RunFolder(root).imported / BODIES
    if not path.exists():
        return []
    known = read_record(unchanged(path), members=("bodies",))["bodies"]
    return [BodyData(one, read_run(body.root)) for one, body in zip(known, body_folders(root), strict=False)]
