"""From what an iteration measured to how the next one is run, or to the end.

`next_state` is the whole control of a refinement: resolution, counters, convergence, sampling, image sizes,
perturbation, in this order. It is RELION's auto-refine (Scheres 2012, doi:10.1016/j.jsb.2012.09.006).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from blush.refine import schedule
from blush.refine.changes import PoseChange
from blush.refine.control import RefineControl
from blush.refine.estimates import ImageModel, ReferenceModel
from blush.refine.finer import counted, decide_sampling, stalled, with_limits
from blush.refine.state import State


@dataclass(frozen=True, eq=False)
class IterationResult:
    """What one iteration's expectation and maximisation steps measured.

    After the last iteration the SSNR, and the resolution by it, are those of the joined map. Accuracies may be `None`
    only while no change of sampling can follow, that is after iteration 1.
    """

    images: ImageModel
    references: ReferenceModel
    average_pmax: float
    log_likelihood: float
    change: PoseChange


def next_state(state: State, measured: IterationResult) -> State:
    """State after iteration `state.iteration + 1`, which ran as `state` says and measured `measured`.

    Raises
    ------
    ValueError
        The refinement has already converged, or the sampling is due for a decision and no accuracy was measured.
    """
    if state.converged:
        raise ValueError(f"iteration {state.iteration} was the last one: {state.stop_reason}")
    known = _with_measurements(state, measured)
    control = with_limits(state.control_of(RefineControl), state.search, known)
    if state.final:
        return replace(known, control=control, converged=True)
    control = counted(control, state, known)
    if control.has_fine_enough_sampling and stalled(control):  # by an *earlier* decision
        known = replace(known, final=True, stop_reason="converged")
    elif known.iteration + 1 >= control.settings.max_iterations:
        known = replace(known, final=True, stop_reason="max_iterations")
    elif stalled(control):
        search, control = decide_sampling(known, control)
        known = replace(known, search=search)
    known = replace(known, control=control)
    return schedule.ready_for_next(known, control.increment_shells, control.high_fsc_at_limit)


def _with_measurements(state: State, measured: IterationResult) -> State:
    """Take over what was measured, and the resolution that follows.

    A cross-correlation says nothing about the size of signal and noise, and after it the resolution stays that of the
    first reference, to which maps are filtered again.
    """
    images, references = measured.images, measured.references
    if state.search.first_cc:
        images = replace(images, noise=state.images.noise, scale=state.images.scale)
        references = replace(references, resolution_angst=state.references.resolution_angst)
    return replace(
        state,
        iteration=state.iteration + 1,
        search=replace(state.search, first_cc=False),
        images=images,
        references=references,
        resolution_angst=float(references.resolution_angst.min()),
        change_rotation_deg=measured.change.rotation_deg,
        change_offset_angst=measured.change.offset_angst,
        change_class=measured.change.class_fraction,
        average_pmax=measured.average_pmax,
        log_likelihood=measured.log_likelihood,
    )
