"""Iteration 0 of filaments: that of a refinement, with their symmetry, their tracks and the polarity they came with."""

from __future__ import annotations

from pathlib import Path

from blush.geometry.helix import Helix
from blush.helix.slow_twist import FIRST_WALK_DEG2_PER_ANGST
from blush.io.particles import ParticleSet
from blush.jobs import start as refinement
from blush.jobs.helix_columns import first_columns
from blush.jobs.inputs import read_config
from blush.refine.control import HelixControl
from blush.refine.start import first_helix_state
from blush.refine.state import State


def start(root: Path) -> Path:
    """Write the state from which iteration 1 runs."""
    return refinement.start(root, lambda particles, state, poses: _filaments(root, particles, state, poses))


def _filaments(root: Path, particles: ParticleSet, state: State, poses: refinement.Poses) -> State:
    config = read_config(root)
    settings = config.helix
    if settings.rise_angst is None or settings.twist_deg is None:
        raise ValueError(f"the configuration of a helix lacks {', '.join(settings.missing)}")
    helix = Helix(settings.rise_angst, settings.twist_deg, int(config.symmetry[1:]))
    begun = first_helix_state(state, helix, settings.sigma_psi_deg, settings.sigma_tilt_deg, FIRST_WALK_DEG2_PER_ANGST)
    poses |= first_columns(particles, begun.control_of(HelixControl).bins)
    return begun
