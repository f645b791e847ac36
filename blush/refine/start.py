"""The state before the first iteration."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.geometry.helix import Helix
from blush.refine import schedule
from blush.refine.control import BodyControl, ControlSettings, HelixControl, RefineControl
from blush.refine.estimates import ImageModel, ReferenceModel
from blush.refine.filament_sampling import sampled
from blush.refine.state import PoseSearch, RunFacts, State


@dataclass(frozen=True)
class FirstSampling:
    """Search of the first iteration.

    `local` searches around the poses that the particles came with; it is implied by `healpix_order` at or beyond the
    order from which searches are local. `offset_sigma_angst` is the first width of the offset prior per axis. It is
    better too narrow than too wide: where images say little, a wide prior lets them be aligned to noise far from the
    centre, which then confirms it, while a narrow one widens within a few iterations if images disagree.
    """

    healpix_order: int = 2
    offset_range_angst: float = 7.5
    offset_step_angst: float = 3.0
    offset_sigma_angst: float = 5.0
    oversampling: int = 1
    local: bool = False


@dataclass(frozen=True)
class ParticleGeometry:
    """What all particles share."""

    box_px: int
    pixel_size_angst: float
    particle_diameter_angst: float
    symmetry: str
    n_groups: int


def first_state(
    particles: ParticleGeometry,
    sampling: FirstSampling,
    settings: ControlSettings,
    noise: NDArray[np.float64],
    seed: int,
    first_cc: bool,
) -> State:
    """State 0, from which iteration 1 runs.

    Parameters
    ----------
    noise
        (2, optics groups, N/2 + 1) initial noise variance per component, common to both halves or not.
    first_cc
        Iteration 1 compares by cross-correlation, for a reference of unknown grey scale. Not done where iteration 1
        is also the last one.

    Raises
    ------
    ValueError
        The noise does not fit the box.
    """
    local = sampling.local or sampling.healpix_order >= settings.local_from_order
    final = settings.max_iterations <= 1
    facts = RunFacts(
        job="refine",
        seed=seed,
        box_px=particles.box_px,
        pixel_size_angst=particles.pixel_size_angst,
        particle_diameter_angst=particles.particle_diameter_angst,
        symmetry=particles.symmetry,
        n_optics_groups=noise.shape[1],
    )
    lowpass_shell = schedule.shell_of_resolution(settings.initial_lowpass_angst, facts.box_px, facts.pixel_size_angst)
    resolution_angst = facts.box_px * facts.pixel_size_angst / lowpass_shell
    state = State(
        iteration=0,
        final=final,
        converged=False,
        stop_reason="max_iterations" if final else "",
        facts=facts,
        search=PoseSearch(
            healpix_order=sampling.healpix_order,
            local=local,
            sigma_angle_deg=schedule.local_sigma_deg(sampling.healpix_order, sampling.oversampling) if local else 0.0,
            offset_range_angst=sampling.offset_range_angst,
            offset_step_angst=sampling.offset_step_angst,
            oversampling=sampling.oversampling,
            perturbation=0.0,
            current_size_px=0,
            coarse_size_px=0,
            first_cc=first_cc and not final,
        ),
        images=ImageModel.first(noise, particles.n_groups, sampling.offset_sigma_angst),
        references=ReferenceModel.first(1, len(noise), facts.n_shells, resolution_angst),
        control=RefineControl(
            settings=settings,
            initial_healpix_order=sampling.healpix_order,
            initial_offset_step_angst=sampling.offset_step_angst,
            best_resolution_angst=resolution_angst,
            increment_shells=schedule.FIRST_INCREMENT_SHELLS,
        ),
        resolution_angst=resolution_angst,
    )
    return schedule.ready_for_next(state, schedule.FIRST_INCREMENT_SHELLS, high_fsc_at_limit=False)


def first_body_state(
    refined: State, references: ReferenceModel, images: ImageModel, motion: NDArray[np.float64]
) -> State:
    """State 0 of one body, which starts from maps of two halves and at a given grey scale.

    Parameters
    ----------
    refined
        What `first_state` gives of a local search.
    references, images
        What is known of the body's maps, and of its images without the other bodies.
    motion
        (subsets, 6, 6) covariance of its motions, to begin with.
    """
    return replace(
        refined,
        facts=replace(refined.facts, job="body"),
        references=references,
        images=images,
        control=BodyControl(**_kept(refined), motion=motion),
    )


def first_helix_state(refined: State, helix: Helix, sigma_psi_deg: float, sigma_tilt_deg: float, walk: float) -> State:
    """State 0 of filaments.

    Parameters
    ----------
    refined
        What `first_state` gives.
    sigma_psi_deg, sigma_tilt_deg
        First widths of the priors about the track.
    walk
        First variance of rot about the slow twist, in square degrees per Å.
    """
    halves = np.ones(len(refined.images.sigma_offset_angst))
    control = HelixControl(
        **_kept(refined),
        rise_angst=helix.rise_angst,
        twist_deg=helix.twist_deg,
        fold=helix.fold,
        walk_deg2_per_angst=walk * halves,
        sigma_psi_deg=sigma_psi_deg * halves,
        sigma_tilt_deg=sigma_tilt_deg * halves,
        along_range_angst=helix.rise_angst / 2,
        along_step_angst=math.inf,
        bins=0,
    )
    return replace(refined, facts=replace(refined.facts, job="helix"), control=sampled(control, refined.search))


def _kept(refined: State) -> dict[str, Any]:
    """Members of the control of a refinement, for a job that adds to them."""
    control = refined.control_of(RefineControl)
    return {one.name: getattr(control, one.name) for one in fields(control)}
