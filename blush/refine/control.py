"""What the control of a job keeps from an iteration to the next: the records, without the decisions.

Every job has a record of its own, which adds to `Control` what it counts; `state.CONTROLS` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar


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


@dataclass(frozen=True)
class Control:
    """What the control of every job knows.

    Attributes
    ----------
    AXES
        Lengths that axes of the state have in this job, by name, where the job fixes them.
    JOINS_LAST
        Whether the last iteration joins the subsets, and leaves final maps instead of references.
    """

    AXES: ClassVar[Mapping[str, int]] = {}
    JOINS_LAST: ClassVar[bool] = False

    settings: ControlSettings
    initial_healpix_order: int
    initial_offset_step_angst: float


@dataclass(frozen=True)
class SmallestChanges:
    """Smallest changes of poses since the sampling last became finer; `None` before the first."""

    rotation_deg: float | None = None
    offset_angst: float | None = None
    class_fraction: float | None = None


@dataclass(frozen=True)
class RefineControl(Control):
    """What decides about sampling, image size and the end of a refinement of one map in two half-sets."""

    AXES: ClassVar[Mapping[str, int]] = {"subsets": 2, "references": 1}
    JOINS_LAST: ClassVar[bool] = True

    best_resolution_angst: float
    increment_shells: int
    high_fsc_at_limit: bool = False
    has_fine_enough_sampling: bool = False
    no_resolution_gain: int = 0
    no_large_changes: int = 0
    smallest_changes: SmallestChanges = field(default_factory=SmallestChanges)

    def counting_again(self) -> RefineControl:
        """The same with its counters set back, as after a change of sampling."""
        return replace(self, no_resolution_gain=0, no_large_changes=0, smallest_changes=SmallestChanges())


@dataclass(frozen=True)
class ClassifyControl(Control):
    """What decides about the end of a classification.

    Attributes
    ----------
    settled_fraction
        Fraction of the images whose change of class counts as none.
    mean_iterations
        Iterations with a single map of all images, the last of which makes the first map of every class; 0: none.
    settled
        Iterations in a row in which no more of them changed.
    """

    AXES: ClassVar[Mapping[str, int]] = {"subsets": 1}

    settled_fraction: float
    mean_iterations: int = 0
    resolution_limit_angst: float | None = None
    settled: int = 0
