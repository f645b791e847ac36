"""The one record that carries a refinement from an iteration to the next.

The state written after iteration n holds what n measured and everything that n + 1 needs, so any iteration can be run
again from this file, the particles and the maps alone. It is JSON with floats by `repr`: reading it back gives the
same bits.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.errors import BlushError, Problem
from blush.io.files import read_record, write_json

ALGORITHM_VERSION = 9
"""Raised when the same inputs give other results: neither states nor finished work of another version are continued."""

_REMEDY = "delete this iteration's folder and run the same command again, or start a new run"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ControlSettings:
    """What the user fixed once and the control of the iterations obeys.

    Parameters
    ----------
    initial_lowpass_angst
        Resolution of the first reference.
    local_from_order
        HEALPix order from which searches are local.
    max_iterations
        Number of the iteration that is made the last one if nothing converged before.
    perturbation_factor
        Half the width, in steps, of the window in which the grid is shifted at random; 0 turns it off.
    strict_thresholds
        Compare pose changes with the present sampling, as RELION's text says, instead of with the first sampling,
        as its parallel program does.
    """

    initial_lowpass_angst: float = 40.0
    local_from_order: int = 4
    max_iterations: int = 50
    perturbation_factor: float = 0.5
    strict_thresholds: bool = False


@dataclass(frozen=True, eq=False)
class RefinementState:
    """What is known after `iteration`, and how the next one is to be run.

    Spectra have N/2 + 1 shells and are variances per real or imaginary component. `None` means "not measured yet".
    `final` says that the next iteration is the joined last one, `converged` that nothing is left to do.
    """

    # the run
    iteration: int
    final: bool
    converged: bool
    stop_reason: str  # "" while running, then "converged" or "max_iterations"
    seed: int
    settings: ControlSettings
    # the particles
    box_px: int
    pixel_size_angst: float
    particle_diameter_angst: float
    symmetry: str
    n_optics_groups: int
    # sampling of the next E-step
    healpix_order: int
    local: bool
    sigma_angle_deg: float
    offset_range_angst: float
    offset_step_angst: float
    oversampling: int
    perturbation: float
    initial_healpix_order: int
    initial_offset_step_angst: float
    # image sizes of the next E-step
    current_size_px: int
    coarse_size_px: int
    first_cc: bool
    # what the half-maps said
    resolution_angst: float
    best_resolution_angst: float
    increment_shells: int
    high_fsc_at_limit: bool
    has_fine_enough_sampling: bool
    fsc: Floats  # (shells,)
    fsc_unmasked: Floats  # (shells,)
    ssnr: Floats  # (shells,)
    tau2: Floats  # (2, shells)
    sigma2_ref: Floats  # (2, shells)
    # the image model
    sigma_offset_angst: Floats  # (2,)
    noise: Floats  # (2, optics groups, shells)
    scale: Floats  # (2, groups)
    norm_average: Floats  # (2,)
    # accuracies, changes and counters
    accuracy_rotation_deg: float | None = None
    accuracy_offset_angst: float | None = None
    no_resolution_gain: int = 0
    no_large_changes: int = 0
    change_rotation_deg: float | None = None
    change_offset_angst: float | None = None
    change_class: float | None = None
    smallest_change_rotation_deg: float | None = None
    smallest_change_offset_angst: float | None = None
    smallest_change_class: float | None = None
    # fit
    average_pmax: float = 0.0
    log_likelihood: float | None = None
    algorithm_version: int = field(default=ALGORITHM_VERSION)

    def __post_init__(self) -> None:
        for name in _ARRAY_NDIM:
            object.__setattr__(self, name, _frozen_array(getattr(self, name)))
        _require_shapes(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RefinementState) and self.as_json() == other.as_json()

    __hash__ = None  # type: ignore[assignment]

    @property
    def n_shells(self) -> int:
        """N/2 + 1."""
        return self.box_px // 2 + 1

    def as_json(self) -> dict[str, Any]:
        """Plain lists, numbers and strings."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values.update({name: values[name].tolist() for name in _ARRAY_NDIM})
        values["settings"] = dataclasses.asdict(self.settings)
        return values


_PLAIN: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
_ARRAY_NDIM = {
    "fsc": 1,
    "fsc_unmasked": 1,
    "ssnr": 1,
    "tau2": 2,
    "sigma2_ref": 2,
    "sigma_offset_angst": 1,
    "noise": 3,
    "scale": 2,
    "norm_average": 1,
}


def save_state(path: Path, state: RefinementState) -> None:
    """Write a state beside `path` and rename; the same state gives the same bytes.

    Raises
    ------
    ValueError
        A number is infinite or not a number: such a state must not be continued from.
    """
    write_json(path, state.as_json())


def load_state(path: Path) -> RefinementState:
    """Read a state; equal to the one that was saved, to the last bit.

    Raises
    ------
    BlushError
        The file is missing, damaged, or of another algorithm version.
    """
    values = read_record(path, _REMEDY)
    version = values.get("algorithm_version")
    if version != ALGORITHM_VERSION:
        raise _unreadable(path, f"algorithm version {version}, but this Blush has {ALGORITHM_VERSION}")
    try:
        settings = ControlSettings(**_typed(ControlSettings, values.pop("settings")))
        return RefinementState(settings=settings, **_typed(RefinementState, values))
    except KeyError as error:
        raise _unreadable(path, f"lacks {error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise _unreadable(path, str(error)) from error


def _typed(kind: type, values: Any) -> dict[str, Any]:
    """The same values, each of which is of the type of its field.

    Raises
    ------
    ValueError
        Where one is not; names are left to the constructor.
    """
    if not isinstance(values, dict):
        raise ValueError("settings are no JSON object")
    types = {f.name: str(f.type) for f in dataclasses.fields(kind)}
    for name, value in values.items():
        wanted = _PLAIN.get(types.get(name, "").removesuffix(" | None"), (list,))
        is_none = value is None and types.get(name, "").endswith(" | None")
        is_bool_alone = isinstance(value, bool) and bool not in wanted
        if name in types and not is_none and (is_bool_alone or not isinstance(value, wanted)):
            raise ValueError(f"{name} is {str(value)[:40]!r}, not {types[name]}")
        if wanted == (list,) and name in types and np.array(value).dtype.kind not in "iuf":
            raise ValueError(f"{name} holds something else than numbers")
    return dict(values)


def _unreadable(path: Path, message: str) -> BlushError:
    problem = Problem(message, _REMEDY, file=str(path))
    return BlushError("the refinement state cannot be used", [problem])


def _frozen_array(values: Any) -> Floats:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


def _require_shapes(state: RefinementState) -> None:
    for name, ndim in _ARRAY_NDIM.items():
        shape = getattr(state, name).shape
        if len(shape) != ndim:
            raise ValueError(f"{name} has shape {shape}, but {ndim} dimension(s) are expected")
    for name in ("fsc", "fsc_unmasked", "ssnr", "tau2", "sigma2_ref", "noise"):
        shells = getattr(state, name).shape[-1]
        if shells != state.n_shells:
            raise ValueError(f"{name} has {shells} shells, but a box of {state.box_px} px has {state.n_shells}")
    if state.noise.shape[:2] != (2, state.n_optics_groups):
        raise ValueError(f"noise has shape {state.noise.shape}, not (2, {state.n_optics_groups}, shells)")
