"""The particle table after an iteration: the input's, with poses and fit written into it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from blush.io.particles import ParticleSet
from blush.io.star import Table

Floats = NDArray[np.float64]

POSE_COLUMNS = {
    "rlnAngleRot": "rot_deg",
    "rlnAngleTilt": "tilt_deg",
    "rlnAnglePsi": "psi_deg",
    "rlnOriginXAngst": "offset_x_angst",
    "rlnOriginYAngst": "offset_y_angst",
    "rlnNormCorrection": "norm_correction",
    "rlnLogLikeliContribution": "log_likelihood",
    "rlnMaxValueProbDistribution": "pmax",
}
"""RELION's column for each of ours; those that an iteration did not measure are left as they came."""

_STALE = ("rlnOriginX", "rlnOriginY")
"""Origins in pixels of older programs: they would contradict those in Å."""


def data_blocks(blocks: Mapping[str, Table], particles: ParticleSet, poses: Mapping[str, Floats]) -> dict[str, Table]:
    """Blocks `optics` and `particles` of a `_data.star`.

    Parameters
    ----------
    blocks
        The input's blocks; unknown columns and the order of rows and columns are kept, and so are image names, which
        stay relative to the project that the input belongs to.
    particles
        The same rows; gives half-sets and groups.
    poses
        Columns (n,) in the same order: rot_deg, tilt_deg, psi_deg, offset_x_angst, offset_y_angst and, where known,
        norm_correction, log_likelihood, pmax, n_significant, class_number.

    Raises
    ------
    ValueError
        A column has another number of rows.
    """
    table = {name: column for name, column in blocks["particles"].items() if name not in _STALE}
    updates: Table = {theirs: np.asarray(poses[ours]) for theirs, ours in POSE_COLUMNS.items() if ours in poses}
    updates["rlnGroupNumber"] = particles.group_index.astype(np.int64) + 1
    updates["rlnRandomSubset"] = particles.half.astype(np.int64)
    updates["rlnClassNumber"] = np.asarray(poses.get("class_number", np.ones(len(particles)))).astype(np.int64)
    if "n_significant" in poses:
        updates["rlnNrOfSignificantSamples"] = np.asarray(poses["n_significant"]).astype(np.int64)
    for name, column in updates.items():
        if len(column) != len(particles):
            raise ValueError(f"{name} has {len(column)} rows for {len(particles)} particles")
    return {**blocks, "particles": table | updates}


def group_names(blocks: Mapping[str, Table], particles: ParticleSet) -> NDArray[np.object_]:
    """Name of each scale group, (groups,), in the order of `group_index`: the micrograph's unless groups are named."""
    present, rows = np.unique(particles.group_index, return_index=True)
    n_groups = int(present[-1]) + 1 if len(present) else 0
    names = np.array([f"group_{g + 1:06d}" for g in range(n_groups)], dtype=object)
    table = blocks["particles"]
    column = table.get("rlnGroupName", table.get("rlnMicrographName"))
    if column is not None:
        names[present] = column[rows]
    return names
