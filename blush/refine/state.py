"""The one record that carries a job from an iteration to the next.

The state written after iteration n holds what n measured and everything that n + 1 needs, so any iteration can be run
again from this file, the particles and the maps alone. It is JSON with floats by `repr`: reading it back gives the
same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from blush.errors import BlushError, Problem
from blush.io.files import read_record, write_json
from blush.refine.control import BodyControl, ClassifyControl, Control, ControlSettings, HelixControl, RefineControl
from blush.refine.estimates import ImageModel, ReferenceModel
from blush.refine.record import as_json, axis_lengths, from_json

ALGORITHM_VERSION = 14
"""Raised when the same inputs give other results: neither states nor finished work of another version are continued."""

CONTROLS: Mapping[str, type[Control]] = {
    "refine": RefineControl,
    "classify": ClassifyControl,
    "body": BodyControl,
    "helix": HelixControl,
}
"""The record of each job's control, by the name of the job."""

_REMEDY = "delete this iteration's folder and run the same command again, or start a new run"

JobControl = TypeVar("JobControl", bound=Control)


@dataclass(frozen=True)
class RunFacts:
    """What never changes in a run."""

    job: str
    seed: int
    box_px: int
    pixel_size_angst: float
    particle_diameter_angst: float
    symmetry: str
    n_optics_groups: int

    @property
    def n_shells(self) -> int:
        """N/2 + 1."""
        return self.box_px // 2 + 1


@dataclass(frozen=True)
class PoseSearch:
    """How the next expectation step searches: its grids, and the image sizes of its two passes.

    `sigma_angle_deg` is the width of the prior of local searches. `perturbation` shifts the grids by a fraction of
    their step. `first_cc` compares by cross-correlation.

    `fixed` keeps the poses that images have. `confined` compares each image with the reference of its label alone.
    `temperature` divides the log likelihood of references, `pose_temperature` that of poses. `direction_floor` is the
    least share of a direction in the learned histogram, over the mean share.
    """

    healpix_order: int
    local: bool
    sigma_angle_deg: float
    offset_range_angst: float
    offset_step_angst: float
    oversampling: int
    perturbation: float
    current_size_px: int
    coarse_size_px: int
    first_cc: bool
    fixed: bool = False
    confined: bool = False
    temperature: float = 1.0
    direction_floor: float = 0.0
    pose_temperature: float = 1.0


@dataclass(frozen=True, eq=False)
class State:
    """What is known after `iteration`, and how the next one is to be run.

    `None` means "not measured yet".

    Attributes
    ----------
    final
        The next iteration is the last one; in a refinement it joins the half-sets.
    converged
        Nothing is left to do.
    stop_reason
        "" while running, then "converged" or "max_iterations".
    control
        What the job keeps for its decisions; a record of `CONTROLS[facts.job]`.
    resolution_angst
        The one that drives the iterations.
    change_rotation_deg, change_offset_angst, change_class
        How far poses moved in this iteration, and the fraction of images that changed reference.
    """

    iteration: int
    final: bool
    converged: bool
    stop_reason: str
    facts: RunFacts
    search: PoseSearch
    images: ImageModel
    references: ReferenceModel
    control: Control
    resolution_angst: float
    change_rotation_deg: float | None = None
    change_offset_angst: float | None = None
    change_class: float | None = None
    average_pmax: float = 0.0
    log_likelihood: float | None = None
    algorithm_version: int = field(default=ALGORITHM_VERSION)

    def __post_init__(self) -> None:
        self.control_of(_control_kind(self.facts))
        _require_lengths(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and self.as_json() == other.as_json()

    __hash__ = None  # type: ignore[assignment]

    def control_of(self, kind: type[JobControl]) -> JobControl:
        """The control, which is that of a certain job.

        Raises
        ------
        ValueError
            It is another job's.
        """
        if not isinstance(self.control, kind):
            raise ValueError(f"{type(self.control).__name__} is not the {kind.__name__} of job {self.facts.job!r}")
        return self.control

    def as_json(self) -> dict[str, Any]:
        """Plain lists, numbers and strings."""
        return as_json(self)


def with_settings(state: State, settings: ControlSettings) -> State:
    """The same state under changed settings, which apply from the next iteration on."""
    return replace(state, control=replace(state.control, settings=settings))


def save_state(path: Path, state: State) -> None:
    """Write a state beside `path` and rename; the same state gives the same bytes.

    Raises
    ------
    ValueError
        A number is infinite or not a number: such a state must not be continued from.
    """
    write_json(path, state.as_json())


def load_state(path: Path) -> State:
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
        facts = from_json(RunFacts, values.get("facts"), "facts")
        return from_json(State, values, control=_control_kind(facts))
    except (TypeError, ValueError, OverflowError) as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, message: str) -> BlushError:
    problem = Problem(message, _REMEDY, file=str(path))
    return BlushError("the state of the run cannot be used", [problem])


def _control_kind(facts: RunFacts) -> type[Control]:
    if facts.job not in CONTROLS:
        raise ValueError(f"facts.job is {facts.job[:40]!r}, not one of {', '.join(CONTROLS)}")
    return CONTROLS[facts.job]


def _require_lengths(state: State) -> None:
    """Raise ValueError where axes of one name differ in length, or from what the run and its job say."""
    facts = state.facts
    wanted = {"shells": facts.n_shells, "optics groups": facts.n_optics_groups, **state.control.AXES}
    for part in ("images", "references", "control"):
        for name, axis, length in axis_lengths(getattr(state, part)):
            if wanted.setdefault(axis, length) != length:
                raise ValueError(f"{part}.{name} has {length} {axis}, but {wanted[axis]} are expected")
