"""From what an iteration measured to how the next one is run, or to the end.

`next_state` is the whole control of a refinement: resolution, counters, convergence, sampling, image sizes,
perturbation, in this order. It is RELION's auto-refine (Scheres 2012, doi:10.1016/j.jsb.2012.09.006).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.refine import schedule
from blush.refine.changes import PoseChange
from blush.refine.resolution import resolution_shell
from blush.refine.state import RefinementState

Floats = NDArray[np.float64]

_TAKEN_OVER = (
    "fsc",
    "fsc_unmasked",
    "ssnr",
    "tau2",
    "sigma2_ref",
    "norm_average",
    "sigma_offset_angst",
    "average_pmax",
    "log_likelihood",
    "accuracy_rotation_deg",
    "accuracy_offset_angst",
)
_GAIN_PER_ANGST = 1e-4
_TOLERANCE = 1.03
_SMALL_STEP = 0.4
_FINE_ENOUGH = 0.75


@dataclass(frozen=True, eq=False)
class IterationResult:
    """What one iteration's expectation and maximisation steps measured.

    Spectra have N/2 + 1 shells; the first axis of two is the half-set. After the last iteration `ssnr` is that of
    the joined map. Accuracies may be `None` only while no change of sampling can follow, that is after iteration 1.
    """

    fsc: Floats
    fsc_unmasked: Floats
    ssnr: Floats
    tau2: Floats
    sigma2_ref: Floats
    noise: Floats
    scale: Floats
    norm_average: Floats
    sigma_offset_angst: Floats
    average_pmax: float
    log_likelihood: float
    change: PoseChange
    accuracy_rotation_deg: float | None = None
    accuracy_offset_angst: float | None = None


def next_state(state: RefinementState, measured: IterationResult) -> RefinementState:
    """State after iteration `state.iteration + 1`, which ran as `state` says and measured `measured`.

    Raises
    ------
    ValueError
        The refinement has already converged, or the sampling is due for a decision and no accuracy was measured.
    """
    if state.converged:
        raise ValueError(f"iteration {state.iteration} was the last one: {state.stop_reason}")
    known = _with_measurements(state, measured)
    if state.final:
        return replace(known, converged=True)
    known = _count(state, known)
    if _has_converged(known):
        known = replace(known, final=True, stop_reason="converged")
    elif known.iteration + 1 >= known.settings.max_iterations:
        known = replace(known, final=True, stop_reason="max_iterations")
    else:
        known = _decide_sampling(known)
    return schedule.with_sizes(schedule.with_perturbation(known))


def _with_measurements(state: RefinementState, measured: IterationResult) -> RefinementState:
    """Take over what was measured, and the resolution that follows."""
    values: dict[str, Any] = {name: getattr(measured, name) for name in _TAKEN_OVER}
    if not state.first_cc:  # cross-correlation says nothing about the size of signal and noise
        values |= {"noise": measured.noise, "scale": measured.scale}
    resolution_angst = _resolution_angst(state, measured.ssnr)
    return replace(
        state,
        iteration=state.iteration + 1,
        first_cc=False,
        resolution_angst=resolution_angst,
        best_resolution_angst=min(state.best_resolution_angst, resolution_angst),
        high_fsc_at_limit=state.high_fsc_at_limit or _is_high_at_limit(state, measured.fsc),
        increment_shells=schedule.increment_shells(state.increment_shells, measured.fsc),
        change_rotation_deg=measured.change.rotation_deg,
        change_offset_angst=measured.change.offset_angst,
        change_class=measured.change.class_fraction,
        **values,
    )


def _resolution_angst(state: RefinementState, ssnr: Floats) -> float:
    """Shell edge in Å; after a cross-correlation step that of the first reference, to which maps are filtered again."""
    if state.first_cc:
        return state.resolution_angst
    return state.box_px * state.pixel_size_angst / resolution_shell(ssnr, over_gaps=not state.final)


def _is_high_at_limit(state: RefinementState, fsc: Floats) -> bool:
    """Whether the FSC was still above 0.2 just inside the size that was used."""
    return bool(fsc[state.current_size_px // 2 - 1] > 0.2)


def _count(before: RefinementState, now: RefinementState) -> RefinementState:
    """Count iterations in a row without a gain in resolution, and without large changes of poses."""
    gained = 1 / now.resolution_angst > 1 / before.resolution_angst + _GAIN_PER_ANGST
    settled = _has_settled(now)
    return replace(
        now,
        no_resolution_gain=0 if gained else before.no_resolution_gain + 1,
        no_large_changes=before.no_large_changes + 1 if settled else 0,
        smallest_change_rotation_deg=_smaller(now.smallest_change_rotation_deg, now.change_rotation_deg),
        smallest_change_offset_angst=_smaller(now.smallest_change_offset_angst, now.change_offset_angst),
        smallest_change_class=_smaller(now.smallest_change_class, now.change_class),
    )


def _has_settled(now: RefinementState) -> bool:
    """Whether changes are small against the step, or no longer shrink.

    The step is the fine one of the *first* sampling unless `strict_thresholds`: RELION's parallel program compares
    with a sampling that it never refreshes, and its iteration counts follow from that.
    """
    strict = now.settings.strict_thresholds
    order = now.healpix_order if strict else now.initial_healpix_order
    step_angst = now.offset_step_angst if strict else now.initial_offset_step_angst
    small_deg = _SMALL_STEP * schedule.angular_step_deg(order, now.oversampling)
    small_angst = _SMALL_STEP * step_angst / 2**now.oversampling
    return (
        _no_longer_shrinks(now.change_class, now.smallest_change_class)
        and (_is_below(now.change_offset_angst, small_angst) or _no_longer_shrinks(*_offsets(now)))
        and (_is_below(now.change_rotation_deg, small_deg) or _no_longer_shrinks(*_rotations(now)))
    )


def _offsets(now: RefinementState) -> tuple[float | None, float | None]:
    return now.change_offset_angst, now.smallest_change_offset_angst


def _rotations(now: RefinementState) -> tuple[float | None, float | None]:
    return now.change_rotation_deg, now.smallest_change_rotation_deg


def _no_longer_shrinks(change: float | None, smallest: float | None) -> bool:
    return change is not None and smallest is not None and _TOLERANCE * change >= smallest


def _is_below(change: float | None, limit: float) -> bool:
    return change is not None and change < limit


def _smaller(smallest: float | None, change: float | None) -> float | None:
    return min((v for v in (smallest, change) if v is not None), default=None)


def _stalled(state: RefinementState) -> bool:
    return state.no_resolution_gain >= 1 and state.no_large_changes >= 1


def _has_converged(state: RefinementState) -> bool:
    """Stalled at a sampling that an *earlier* decision found fine enough."""
    return state.has_fine_enough_sampling and _stalled(state)


def _decide_sampling(state: RefinementState) -> RefinementState:
    """Keep the sampling while there is progress, else find it fine enough or make it finer."""
    if not _stalled(state):
        return state
    if state.accuracy_rotation_deg is None or state.accuracy_offset_angst is None:
        raise ValueError(f"iteration {state.iteration} stalled, but its accuracies were not measured")
    fine_deg = schedule.angular_step_deg(state.healpix_order, state.oversampling)
    if fine_deg < _FINE_ENOUGH * state.accuracy_rotation_deg:
        return replace(state, has_fine_enough_sampling=True)
    return _finer(state, state.accuracy_offset_angst, state.change_offset_angst or 0.0)


def _finer(state: RefinementState, accuracy_angst: float, change_angst: float) -> RefinementState:
    """Next HEALPix order and the offsets that go with it; counting starts again."""
    present = schedule.OffsetGrid(state.offset_range_angst, state.offset_step_angst)
    offsets = schedule.finer_offsets(present, accuracy_angst, change_angst, state.oversampling)
    order = state.healpix_order + 1
    local = state.local or order >= state.settings.local_from_order
    return replace(
        state,
        healpix_order=order,
        local=local,
        sigma_angle_deg=schedule.local_sigma_deg(order, state.oversampling) if local else 0.0,
        offset_range_angst=offsets.range_angst,
        offset_step_angst=offsets.step_angst,
        no_resolution_gain=0,
        no_large_changes=0,
        smallest_change_rotation_deg=None,
        smallest_change_offset_angst=None,
        smallest_change_class=None,
    )
