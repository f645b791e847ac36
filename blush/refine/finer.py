"""When poses have settled on a grid, and when they ask for a finer one: what every job that searches poses decides by.

It is RELION's auto-refine (Scheres 2012, doi:10.1016/j.jsb.2012.09.006).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from blush.refine import schedule
from blush.refine.control import SamplingControl, SmallestChanges
from blush.refine.record import Floats
from blush.refine.state import PoseSearch, State

_GAIN_PER_ANGST = 1e-4
_TOLERANCE = 1.03
_SMALL_STEP = 0.4
_FINE_ENOUGH = 0.75

AnyControl = TypeVar("AnyControl", bound=SamplingControl)


def with_limits(control: AnyControl, used: PoseSearch, now: State) -> AnyControl:
    """Control that knows how well the iteration resolved, and how far the next one is to look beyond that.

    Parameters
    ----------
    used
        How the iteration searched.
    now
        What is known after it; of several references the best FSC of each shell counts.
    """
    fsc = now.references.fsc.max(axis=0)
    return replace(
        control,
        best_resolution_angst=min(control.best_resolution_angst, now.resolution_angst),
        high_fsc_at_limit=control.high_fsc_at_limit or _is_high_at_limit(used, fsc),
        increment_shells=schedule.increment_shells(control.increment_shells, fsc),
    )


def _is_high_at_limit(used: PoseSearch, fsc: Floats) -> bool:
    """Whether the FSC was still above 0.2 just inside the size that was used."""
    return bool(fsc[used.current_size_px // 2 - 1] > 0.2)


def counted(control: AnyControl, before: State, now: State) -> AnyControl:
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


def _has_settled(control: AnyControl, now: State) -> bool:
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


def stalled(control: AnyControl) -> bool:
    """Whether this sampling has given what it can."""
    return control.no_resolution_gain >= 1 and control.no_large_changes >= 1


def decide_sampling(state: State, control: AnyControl) -> tuple[PoseSearch, AnyControl]:
    """Find the sampling of a stalled search fine enough, or make it finer and start counting again.

    Raises
    ------
    ValueError
        The accuracies were not measured.
    """
    search = state.search
    accuracy_deg = state.references.best_accuracy_rotation_deg
    accuracy_angst = state.references.best_accuracy_offset_angst
    if accuracy_deg is None or accuracy_angst is None:
        raise ValueError(f"iteration {state.iteration} stalled, but its accuracies were not measured")
    if schedule.angular_step_deg(search.healpix_order, search.oversampling) < _FINE_ENOUGH * accuracy_deg:
        return search, replace(control, has_fine_enough_sampling=True)
    finer = schedule.finer(search, accuracy_angst, state.change_offset_angst or 0.0, control.settings.local_from_order)
    return finer, control.counting_again()
