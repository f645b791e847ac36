"""From what an iteration measured to how the next one is run, or to the end.

`next_state` is the whole control of a refinement: resolution, counters, convergence, sampling, image sizes,
perturbation, in this order. It is RELION's auto-refine (Scheres 2012, doi:10.1016/j.jsb.2012.09.006).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from blush.refine import schedule
from blush.refine.changes import PoseChange
from blush.refine.control import RefineControl, SmallestChanges
from blush.refine.estimates import ImageModel, ReferenceModel
from blush.refine.record import Floats
from blush.refine.state import PoseSearch, State

_GAIN_PER_ANGST = 1e-4
_TOLERANCE = 1.03
_SMALL_STEP = 0.4
_FINE_ENOUGH = 0.75


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
    control = _with_limits(state, known)
    if state.final:
        return replace(known, control=control, converged=True)
    control = _count(control, state, known)
    if control.has_fine_enough_sampling and _stalled(control):  # by an *earlier* decision
        known = replace(known, final=True, stop_reason="converged")
    elif known.iteration + 1 >= control.settings.max_iterations:
        known = replace(known, final=True, stop_reason="max_iterations")
    elif _stalled(control):
        search, control = _decide_sampling(known, control)
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


def _with_limits(before: State, now: State) -> RefineControl:
    """Control that knows how well the iteration resolved, and how far the next one is to look beyond that."""
    control, (fsc,) = before.control_of(RefineControl), now.references.fsc
    return replace(
        control,
        best_resolution_angst=min(control.best_resolution_angst, now.resolution_angst),
        high_fsc_at_limit=control.high_fsc_at_limit or _is_high_at_limit(before.search, fsc),
        increment_shells=schedule.increment_shells(control.increment_shells, fsc),
    )


def _is_high_at_limit(used: PoseSearch, fsc: Floats) -> bool:
    """Whether the FSC was still above 0.2 just inside the size that was used."""
    return bool(fsc[used.current_size_px // 2 - 1] > 0.2)


def _count(control: RefineControl, before: State, now: State) -> RefineControl:
    """Count iterations in a row without a gain in resolution, and without large changes of poses."""
    gained = 1 / now.resolution_angst > 1 / before.resolution_angst + _GAIN_PER_ANGST
    settled, smallest = _has_settled(control, now), control.smallest_changes
    return replace(
        control,
        no_resolution_gain=0 if gained else control.no_resolution_gain + 1,
        no_large_changes=control.no_large_changes + 1 if settled else 0,
        smallest_changes=SmallestChanges(
            rotation_deg=_smaller(smallest.rotation_deg, now.change_rotation_deg),
            offset_angst=_smaller(smallest.offset_angst, now.change_offset_angst),
            class_fraction=_smaller(smallest.class_fraction, now.change_class),
        ),
    )


def _has_settled(control: RefineControl, now: State) -> bool:
    """Whether changes are small against the step, or no longer shrink.

    The step is the fine one of the *first* sampling unless `strict_thresholds`: RELION's parallel program compares
    with a sampling that it never refreshes, and its iteration counts follow from that.
    """
    strict, search, smallest = control.settings.strict_thresholds, now.search, control.smallest_changes
    order = search.healpix_order if strict else control.initial_healpix_order
    step_angst = search.offset_step_angst if strict else control.initial_offset_step_angst
    small_deg = _SMALL_STEP * schedule.angular_step_deg(order, search.oversampling)
    small_angst = _SMALL_STEP * step_angst / 2**search.oversampling
    offset, rotation = now.change_offset_angst, now.change_rotation_deg
    return (
        _no_longer_shrinks(now.change_class, smallest.class_fraction)
        and (_is_below(offset, small_angst) or _no_longer_shrinks(offset, smallest.offset_angst))
        and (_is_below(rotation, small_deg) or _no_longer_shrinks(rotation, smallest.rotation_deg))
    )


def _no_longer_shrinks(change: float | None, smallest: float | None) -> bool:
    return change is not None and smallest is not None and _TOLERANCE * change >= smallest


def _is_below(change: float | None, limit: float) -> bool:
    return change is not None and change < limit


def _smaller(smallest: float | None, change: float | None) -> float | None:
    return min((v for v in (smallest, change) if v is not None), default=None)


def _stalled(control: RefineControl) -> bool:
    return control.no_resolution_gain >= 1 and control.no_large_changes >= 1


def _decide_sampling(state: State, control: RefineControl) -> tuple[PoseSearch, RefineControl]:
    """Find the sampling of a stalled refinement fine enough, or make it finer and start counting again."""
    search = state.search
    accuracy_deg = state.references.best_accuracy_rotation_deg
    accuracy_angst = state.references.best_accuracy_offset_angst
    if accuracy_deg is None or accuracy_angst is None:
        raise ValueError(f"iteration {state.iteration} stalled, but its accuracies were not measured")
    if schedule.angular_step_deg(search.healpix_order, search.oversampling) < _FINE_ENOUGH * accuracy_deg:
        return search, replace(control, has_fine_enough_sampling=True)
    finer = schedule.finer(search, accuracy_angst, state.change_offset_angst or 0.0, control.settings.local_from_order)
    return finer, control.counting_again()
