"""The record of motions of a run of several bodies, from what its last iterations left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from blush.bodies.evidence import vector_change
from blush.bodies.motions import BodyMotions, mask_extent
from blush.errors import BlushError, Problem
from blush.io.files import load_npz
from blush.io.mrc import read_volume
from blush.jobs.body_runs import BodyFacts, body_mask, body_root, read_bodies
from blush.jobs.inputs import latest_state, read_frozen_particles
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import checked
from blush.refine.changes import rotations
from blush.refine.control import BodyControl
from blush.refine.schedule import angular_step_deg
from blush.refine.state import State, load_state

Floats = NDArray[np.float64]
_UNIFORM = 12.0
"""Square of a width over the variance of what is spread evenly over it."""


def record_of_run(run: Path) -> BodyMotions:
    """What bodies of a finished run did.

    A posterior on a grid is as uncertain as it is wide, and as a cell of its grid: the variance of both is recorded.

    Raises
    ------
    BlushError
        Bodies have not finished.
    """
    whole, facts = RunFolder(run), read_bodies(run)
    particles = read_frozen_particles(run)
    pixel, n = particles.optics[0].pixel_size_angst, len(particles)
    parts = [_of_body(run, index, one, n) for index, one in enumerate(facts)]
    masks = [read_volume(checked(whole, body_mask(run, index)))[0] for index in range(len(facts))]
    centres = np.array([one.centre_px for one in facts], dtype=np.float64) * pixel
    extents = [mask_extent(mask, centre, pixel) for mask, centre in zip(masks, centres, strict=True)]
    stacked = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    return BodyMotions(
        names=tuple(one.name for one in facts),
        centre_angst=centres,
        refined=np.array([one.refine for one in facts]),
        volume_angst3=np.array([volume for volume, _ in extents]),
        spread_angst2=np.stack([spread for _, spread in extents]),
        prior=stacked["prior"].swapaxes(0, 1),
        views=rotations(vars(particles)),
        rotations=stacked["rotations"],
        shift_angst=stacked["shift_angst"],
        covariance=stacked["covariance"],
        half=particles.half.astype(np.int64),
    )


def _of_body(run: Path, index: int, facts: BodyFacts, n: int) -> dict[str, NDArray[Any]]:
    """Arrays of one body; one that was not refined stays with the consensus."""
    if not facts.refine:
        still = np.broadcast_to(np.eye(3), (n, 3, 3))
        nothing = {"shift_angst": np.zeros((n, 2)), "covariance": np.zeros((n, 5, 5))}
        return {"rotations": still, **nothing, "prior": np.zeros((2, 6, 6))}
    folder, state = RunFolder(body_root(run, index)), latest_state(body_root(run, index))
    if state is None or not state.converged:
        problem = Problem("has not finished", f"finish it: blush run {run}", str(folder.root))
        raise BlushError("there are no motions to tell", [problem])
    before = load_state(checked(folder, folder.state(state.iteration - 1)))
    poses = load_npz(checked(folder, folder.poses(state.iteration)))
    mean, square = poses["motion_mean"], poses["motion_square"]
    spread = square - mean[:, :, None] * mean[:, None, :] + np.diag(_cell(before))
    to_right = np.broadcast_to(np.eye(5), (n, 5, 5)).copy()
    to_right[:, :3, :3] = np.linalg.inv(vector_change(mean[:, :3]))
    return {
        "rotations": Rotation.from_rotvec(mean[:, :3]).as_matrix(),
        "shift_angst": mean[:, 3:],
        "covariance": to_right @ spread @ to_right.swapaxes(1, 2),
        "prior": before.control_of(BodyControl).motion,
    }


def _cell(state: State) -> Floats:
    """(5,) variance within a cell of the finest grid of the iteration after a state: rad² and Å²."""
    search = state.search
    step = np.deg2rad(angular_step_deg(search.healpix_order, search.oversampling))
    offset = search.offset_step_angst / 2**search.oversampling
    return np.square([step, step, step, offset, offset]) / _UNIFORM
