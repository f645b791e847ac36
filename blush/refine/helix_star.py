"""What RELION's tables say of a helix beside what they say of single particles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from blush.refine.control import HelixControl
from blush.refine.state import State

Limits = tuple[float, float]


@dataclass(frozen=True)
class HelixOptions:
    """Choices of the configuration that the tables repeat.

    Parameters
    ----------
    rise_range_angst, twist_range_deg
        Limits of the search; None where the value is kept.
    """

    units_per_segment: int
    rise_range_angst: Limits | None
    twist_range_deg: Limits | None
    central_fraction: float
    tube_diameter_angst: float
    tube_inner_diameter_angst: float
    impose_symmetry: bool


def general(state: State, options: HelixOptions | None) -> dict[str, Any]:
    """Of `model_general`."""
    if options is None:
        return {"rlnIsHelix": 0}
    control = state.control_of(HelixControl)
    twist, rise = control.twist_deg, control.rise_angst
    twist_limits, rise_limits = options.twist_range_deg or (twist, twist), options.rise_range_angst or (rise, rise)
    return {
        "rlnIsHelix": 1,
        "rlnNrHelicalAsymUnits": options.units_per_segment,
        "rlnHelicalTwistMin": twist_limits[0],
        "rlnHelicalTwistMax": twist_limits[1],
        "rlnHelicalTwistInitialStep": 0.0,
        "rlnHelicalRiseMin": rise_limits[0],
        "rlnHelicalRiseMax": rise_limits[1],
        "rlnHelicalRiseInitialStep": 0.0,
    }


def priors(state: State) -> dict[str, Any]:
    """Of `model_general`, what has another meaning for single particles."""
    if not isinstance(state.control, HelixControl):
        return {}
    return {
        "rlnSigmaPriorRotAngle": 0.0,
        "rlnSigmaPriorTiltAngle": float(state.control.sigma_tilt_deg.mean()),
        "rlnSigmaPriorPsiAngle": float(state.control.sigma_psi_deg.mean()),
    }


def classes(state: State, count: int) -> dict[str, Any]:
    """Of `model_classes`."""
    if not isinstance(state.control, HelixControl):
        return {}
    control = state.control
    return {
        "rlnHelicalRise": np.full(count, control.rise_angst),
        "rlnHelicalTwist": np.full(count, control.twist_deg),
    }


def flags(state: State, options: HelixOptions | None) -> dict[str, Any]:
    """Of `optimiser_general`."""
    if options is None:
        return {"rlnDoHelicalRefine": 0}
    control = state.control_of(HelixControl)
    return {
        "rlnDoHelicalRefine": 1,
        "rlnIgnoreHelicalSymmetry": int(not options.impose_symmetry),
        "rlnHelicalTwistInitial": control.twist_deg,
        "rlnHelicalRiseInitial": control.rise_angst,
        "rlnHelicalCentralProportion": options.central_fraction,
        "rlnNrHelicalNStart": 1,
        "rlnHelicalMaskTubeInnerDiameter": options.tube_inner_diameter_angst or -1.0,
        "rlnHelicalMaskTubeOuterDiameter": options.tube_diameter_angst,
        "rlnHelicalSymmetryLocalRefinement": int(bool(options.rise_range_angst or options.twist_range_deg)),
        "rlnHelicalSigmaDistance": -1.0,
        "rlnHelicalKeepTiltPriorFixed": 1,
    }
