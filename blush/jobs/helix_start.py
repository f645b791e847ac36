"""Iteration 0 of filaments: that of a refinement, with their symmetry, their tracks and the polarity they came with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from blush.config import RunConfig
from blush.expectation.image_masks import TUBE_EDGE_PX, tubes
from blush.fourier.mask import soft_circle
from blush.geometry.helix import Helix
from blush.helix.slow_twist import FIRST_WALK_DEG2_PER_ANGST
from blush.io.optics import OpticsGroup
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
    return replace(begun, search=replace(begun.search, pose_temperature=tube_temperature(config, particles.optics[0])))


def tube_temperature(config: RunConfig, optics: OpticsGroup) -> float:
    """By how much a likelihood of segments in their tubes is too sure; see `blush.jobs.temperature.mask_temperature`.

    Raises
    ------
    ValueError
        If the settings name no tube, which the checks of the input refuse.
    """
    tube, pixel = config.helix.tube_diameter_angst, optics.pixel_size_angst
    if tube is None:
        raise ValueError("helix.tube_diameter_angst is missing")
    circle = soft_circle(optics.box_px, config.particle_diameter_angst / (2 * pixel), TUBE_EDGE_PX, dtype=torch.float64)
    inside = torch.minimum(tubes(optics.box_px, tube / (2 * pixel), torch.zeros(1, dtype=torch.float64))[0], circle)
    return 1 / float(inside.square().mean())
