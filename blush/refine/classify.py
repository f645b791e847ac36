"""From what an iteration of a classification measured to how the next one is run, or to the end."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from blush.refine import schedule
from blush.refine.changes import PoseChange
from blush.refine.control import ClassifyControl, ControlSettings
from blush.refine.estimates import ImageModel, ReferenceModel
from blush.refine.finer import counted, decide_sampling, stalled, with_limits
from blush.refine.record import Floats
from blush.refine.state import PoseSearch, RunFacts, State

SETTLED_ITERATIONS = 2
LEAST_ITERATIONS = 5
"""Random classes change little at first, before their maps differ: that is no end."""


@dataclass(frozen=True, eq=False)
class ClassesMeasured:
    """What one iteration's expectation and maximisation steps measured of classes."""

    images: ImageModel
    references: ReferenceModel
    resolution_angst: float
    average_pmax: float
    log_likelihood: float
    change: PoseChange


def first_class_state(
    facts: RunFacts, search: PoseSearch, control: ClassifyControl, noise: Floats, n_groups: int, n_classes: int
) -> State:
    """State 0, from which iteration 1 runs.

    Parameters
    ----------
    search
        The search of all iterations; image sizes follow from the resolution.
    noise
        (1, optics groups, N/2 + 1) initial noise variance per component.
    """
    lowpass_angst = control.settings.initial_lowpass_angst
    shell = schedule.shell_of_resolution(lowpass_angst, facts.box_px, facts.pixel_size_angst)
    resolution_angst = facts.box_px * facts.pixel_size_angst / shell
    state = State(
        iteration=0,
        final=False,
        converged=False,
        stop_reason="",
        facts=facts,
        search=search,
        images=ImageModel.first(noise, n_groups, max(search.offset_step_angst, 5.0)),
        references=ReferenceModel.first(n_classes, 1, facts.n_shells, resolution_angst),
        control=control,
        resolution_angst=resolution_angst,
    )
    return _ready(state)


def next_class_state(state: State, measured: ClassesMeasured, settings: ControlSettings) -> State:
    """State after iteration `state.iteration + 1`, which ran as `state` says and measured `measured`.

    Poses are searched with a single map first, on grids that become finer as in a refinement. When they have settled,
    the map is divided into classes, and images are divided among them at these poses. When those have settled, poses
    are searched around the ones that images have, with the maps of all classes.

    Raises
    ------
    ValueError
        The classification has already ended, or the sampling is due for a decision and no accuracy was measured.
    """
    if state.converged:
        raise ValueError(f"iteration {state.iteration} was the last one: {state.stop_reason}")
    n, control = state.iteration + 1, replace(state.control_of(ClassifyControl), settings=settings)
    known = replace(
        state,
        iteration=n,
        search=replace(state.search, first_cc=False, confined=False),
        images=measured.images,
        references=measured.references,
        control=control,
        resolution_angst=measured.resolution_angst,
        change_rotation_deg=measured.change.rotation_deg,
        change_offset_angst=measured.change.offset_angst,
        change_class=measured.change.class_fraction,
        average_pmax=measured.average_pmax,
        log_likelihood=measured.log_likelihood,
    )
    if control.splits_at == n:
        known = replace(known, search=replace(known.search, fixed=True))
    else:
        known = _sampled(state, known)
    return _ready(known if alone(known) else _competed(state, known))


def alone(state: State) -> bool:
    """Whether images are compared with the single map of all images still, which is to become those of classes."""
    splits_at = state.control_of(ClassifyControl).splits_at
    return splits_at is None or splits_at > state.iteration


def _sampled(before: State, known: State) -> State:
    """The state with finer grids where poses ask for them; with the next iteration set to split, where none is left."""
    control = known.control_of(ClassifyControl)
    if before.search.fixed or (control.has_fine_enough_sampling and not alone(before)):
        return known
    control = counted(with_limits(control, before.search, known), before, known)
    search, found = known.search, control.has_fine_enough_sampling and stalled(control)
    if not found and stalled(control):
        search, control = decide_sampling(known, control)
    if alone(before) and (found or known.iteration + 1 >= control.max_pose_iterations):
        control = replace(control, splits_at=known.iteration + 1)
    return replace(known, search=search, control=control)


def _competed(before: State, known: State) -> State:
    """The state with its classes found settled, and what follows from that."""
    control, search, n = known.control_of(ClassifyControl), known.search, known.iteration
    first = control.splits_at or 0
    competes = len(known.references.share) > 1 and not before.search.confined
    few = competes and (known.change_class or 0.0) <= control.settled_fraction
    sampled = before.search.fixed or control.has_fine_enough_sampling
    settled = control.settled + 1 if few and sampled and n >= first + LEAST_ITERATIONS else 0
    reason = "max_iterations" if n - max(0, first - 1) >= control.settings.max_iterations else ""
    if settled >= SETTLED_ITERATIONS and before.search.fixed and control.searches:
        width_deg = schedule.local_sigma_deg(search.healpix_order, search.oversampling)
        search, settled = replace(search, fixed=False, local=True, sigma_angle_deg=width_deg), 0
    elif settled >= SETTLED_ITERATIONS:
        reason = "converged"
    control = replace(control, settled=settled)
    return replace(known, search=search, control=control, converged=bool(reason), stop_reason=reason)


def _ready(state: State) -> State:
    """State with the grids and image sizes of the next iteration, within the limit that the user set.

    Grids are not shifted at random where classes compete: poses on a coarse grid are off by more than classes differ,
    and another grid in every iteration would move images from class to class.

    Where poses are searched with maps of classes, all images align to maps that share most of their noise, and the FSC
    says too much: images are compared no further than two independent halves had reached with the single map.
    """
    control, looks = state.control_of(ClassifyControl), state
    increment, high = control.increment_shells, control.high_fsc_at_limit
    if not alone(state):
        increment, high = schedule.FIRST_INCREMENT_SHELLS, False
    if not alone(state) and control.splits_at and not state.search.fixed:
        increment, least_angst = 0, control.best_resolution_angst
        looks = replace(state, resolution_angst=max(least_angst, state.resolution_angst))
    ready = replace(state, search=schedule.ready_for_next(looks, increment, high).search)
    if not alone(state):
        ready = replace(ready, search=replace(ready.search, perturbation=0.0))
    if control.resolution_limit_angst is None:
        return ready
    facts, search = state.facts, ready.search
    most = 2 * schedule.shell_of_resolution(control.resolution_limit_angst, facts.box_px, facts.pixel_size_angst)
    fine, coarse = min(search.current_size_px, most), min(search.coarse_size_px, most)
    return replace(ready, search=replace(search, current_size_px=fine, coarse_size_px=coarse))


def collapsed(shares: Floats, n_images: int) -> list[int]:
    """Classes, from 1, that hold less than one image: they have no map of their own any more."""
    return [int(k) + 1 for k in np.flatnonzero(shares * n_images < 1)]
