"""From what an iteration of a classification measured to how the next one is run, or to the end."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from blush.refine import schedule
from blush.refine.changes import PoseChange
from blush.refine.control import ClassifyControl, ControlSettings
from blush.refine.estimates import ImageModel, ReferenceModel
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

    Raises
    ------
    ValueError
        The classification has already ended.
    """
    if state.converged:
        raise ValueError(f"iteration {state.iteration} was the last one: {state.stop_reason}")
    n, control = state.iteration + 1, replace(state.control_of(ClassifyControl), settings=settings)
    competes = len(state.references.share) > 1 and not state.search.confined
    few = competes and measured.change.class_fraction <= control.settled_fraction
    least = control.mean_iterations + LEAST_ITERATIONS
    control = replace(control, settled=control.settled + 1 if few and n >= least else 0)
    settled = control.settled >= SETTLED_ITERATIONS
    reason = "converged" if settled else "max_iterations" if n >= settings.max_iterations else ""
    known = replace(
        state,
        iteration=n,
        converged=bool(reason),
        stop_reason=reason,
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
    return _ready(known)


def _ready(state: State) -> State:
    """State with the grids and image sizes of the next iteration, within the limit that the user set."""
    ready = schedule.ready_for_next(state, schedule.FIRST_INCREMENT_SHELLS, high_fsc_at_limit=False)
    limit_angst = state.control_of(ClassifyControl).resolution_limit_angst
    if limit_angst is None:
        return ready
    facts, search = state.facts, ready.search
    most = 2 * schedule.shell_of_resolution(limit_angst, facts.box_px, facts.pixel_size_angst)
    fine, coarse = min(search.current_size_px, most), min(search.coarse_size_px, most)
    return replace(ready, search=replace(search, current_size_px=fine, coarse_size_px=coarse))


def collapsed(shares: Floats, n_images: int) -> list[int]:
    """Classes, from 1, that hold less than one image: they have no map of their own any more."""
    return [int(k) + 1 for k in np.flatnonzero(shares * n_images < 1)]
