"""What the expectation step of a refinement of filaments takes from its files, beside what every refinement takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.expectation.model import FilamentModel
from blush.geometry.sampling import frame_offsets, offset_grid
from blush.io.particles import ParticleSet
from blush.jobs.inputs import read_config
from blush.refine.control import HelixControl
from blush.refine.state import State

COLUMNS = ("filament_prior", "rot_log_prior", "polarity_pose")
"""What is known of segments, in tables of poses."""


def filament_model(root: Path, state: State, index: int) -> FilamentModel | None:
    """What the state says of the segments of the subset at `index`; None where they are none.

    The width across the filament is that of offsets, of one component.
    """
    control = state.control
    if not isinstance(control, HelixControl):
        return None
    tube = read_config(root).helix.tube_diameter_angst
    if tube is None:
        raise ValueError("a refinement of filaments has no tube")
    return FilamentModel(
        helix=control.helix,
        sigma_psi_deg=float(control.sigma_psi_deg[index]),
        sigma_tilt_deg=float(control.sigma_tilt_deg[index]),
        sigma_across_angst=float(state.images.sigma_offset_angst[index]),
        along_step_angst=_grid(state, control)[1],
        tube_diameter_angst=tube,
        bins=control.bins,
    )


def offsets_of(state: State) -> Tensor:
    """(t, 2) coarse offsets, perturbed: in the image, or of segments along and across their filament."""
    search, control = state.search, state.control
    if not isinstance(control, HelixControl):
        grid = offset_grid(0.0 if search.fixed else search.offset_range_angst, search.offset_step_angst)
        return grid + search.perturbation * search.offset_step_angst
    in_frame, along_step = _grid(state, control)
    return in_frame + search.perturbation * torch.tensor([along_step, search.offset_step_angst], dtype=torch.float64)


def _grid(state: State, control: HelixControl) -> tuple[Tensor, float]:
    search = state.search
    along = (control.along_range_angst, control.along_step_angst)
    return frame_offsets(along, (search.offset_range_angst, search.offset_step_angst))


def with_tracks(particles: ParticleSet, poses: dict[str, NDArray[np.float64]], rows: NDArray[np.int64]) -> ParticleSet:
    """Particles at `rows` of a table of poses with what it knows of segments."""
    if COLUMNS[0] not in poses:
        return particles
    prior, table, known = (poses[name][rows] for name in COLUMNS)
    return replace(particles, filament_prior=prior, rot_log_prior=table, polarity_pose=known)
