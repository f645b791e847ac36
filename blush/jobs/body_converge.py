"""The checkpoint of one body's loop: that of a refinement, and how far the body moves. No torch here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.jobs import converge as refinement
from blush.jobs.body_runs import body_index, read_bodies
from blush.jobs.inputs import TABLE_COLUMNS, read_frozen_particles, read_plan
from blush.maximization.motion import first_motion, update_motion
from blush.refine.changes import rotations
from blush.refine.control import BodyControl
from blush.refine.state import State

MOTION_COLUMNS = ("motion_mean", "motion_square")
"""(n, 5) and (n, 5, 5) mean and second moment of what each image shows of its motion."""

NARROWING = 0.5
"""By which what is added to the learned covariance falls from an iteration to the next. Maps of the consensus are
blurred by the motion, and hold the noise of their images at the poses of the consensus: by these alone little seems to
move, and what is held still by a narrow prior takes long to come free again."""


def converge(root: Path, iteration: int) -> State:
    """Write poses, motions and the state of an iteration; each half learns its covariance of motions by itself."""
    kept = refinement.Keeping((*TABLE_COLUMNS, *MOTION_COLUMNS), lambda *known: _moved(root, *known))
    return refinement.converge(root, iteration, kept)


def _moved(root: Path, state: State, columns: dict[str, NDArray[Any]]) -> State:
    control = state.control_of(BodyControl)
    views = rotations(vars(read_frozen_particles(root)))
    halves = zip(control.motion, read_plan(root).rows, strict=True)
    mean, square = columns["motion_mean"], columns["motion_square"]
    learned = [update_motion(motion, views[rows], mean[rows], square[rows]) for motion, rows in halves]
    facts = read_bodies(root.parent)[body_index(root)]
    wide = first_motion(facts.sigma_rotation_deg, facts.sigma_offset_angst) * NARROWING**state.iteration
    return replace(state, control=replace(control, motion=np.stack(learned) + wide))
