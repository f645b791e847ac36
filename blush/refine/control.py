"""What the control of a job keeps from an iteration to the next: the records, without the decisions.

Every job has a record of its own, which adds to `Control` what it counts; `state.CONTROLS` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Self

from blush.geometry.helix import Helix
from blush.refine.record import Axes, Floats, freeze_arrays


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
class SamplingControl(Control):
    """What decides about sampling and image size, of any job that searches poses."""

    best_resolution_angst: float
    increment_shells: int
    high_fsc_at_limit: bool = False
    has_fine_enough_sampling: bool = False
    no_resolution_gain: int = 0
    no_large_changes: int = 0
    smallest_changes: SmallestChanges = field(default_factory=SmallestChanges)

    def counting_again(self) -> Self:
        """The same with its counters set back, as after a change of sampling."""
        return replace(self, no_resolution_gain=0, no_large_changes=0, smallest_changes=SmallestChanges())


@dataclass(frozen=True)
class RefineControl(SamplingControl):
    """What decides about a refinement of one map in two half-sets."""

    AXES: ClassVar[Mapping[str, int]] = {"subsets": 2, "references": 1}
    JOINS_LAST: ClassVar[bool] = True


@dataclass(frozen=True)
class ClassifyControl(SamplingControl):
    """What decides about a classification.

    Attributes
    ----------
    settled_fraction
        Fraction of the images whose change of class counts as none.
    max_pose_iterations
        Iterations after which poses count as found with the single map.
    splits_at
        Iteration that makes the first map of every class from the single map of all images; 0: classes have maps from
        the start; None: not decided yet, since poses are still searched with the single map.
    searches
        Whether poses are searched again once classes have settled at those that the single map found.
    settled
        Iterations in a row in which no more images changed.
    """

    AXES: ClassVar[Mapping[str, int]] = {"subsets": 1}

    settled_fraction: float = field(kw_only=True)
    max_pose_iterations: int = field(kw_only=True)
    splits_at: int | None = field(default=0, kw_only=True)
    searches: bool = field(default=False, kw_only=True)
    resolution_limit_angst: float | None = field(default=None, kw_only=True)
    settled: int = field(default=0, kw_only=True)


@dataclass(frozen=True, eq=False)
class BodyControl(RefineControl):
    """What decides about one body of a molecule.

    Attributes
    ----------
    motion
        (subsets, 6, 6) covariance of its motions against the consensus: rotation vector in rad, displacement in Å.
    """

    motion: Annotated[Floats, Axes("subsets", "motions", "motions")] = field(kw_only=True)

    def __post_init__(self) -> None:
        freeze_arrays(self)


@dataclass(frozen=True, eq=False)
class HelixControl(RefineControl):
    """What decides about a refinement of filaments, beside what a refinement of single particles goes by.

    Attributes
    ----------
    rise_angst, twist_deg, fold
        Symmetry of the map; the two halves share it.
    slope_error_deg_per_angst
        Standard error of the slow twist that the filaments tell; None: they told nothing yet.
    walk_deg2_per_angst
        (subsets,) variance per distance of rot about the slow twist.
    sigma_psi_deg, sigma_tilt_deg
        (subsets,) widths of the priors about the smoothed track.
    along_range_angst, along_step_angst
        Reach and step of offsets along the filament.
    bins
        In which rot is told over the period of the slow twist.
    at_limit
        Names of what ended at a limit of its range.
    """

    rise_angst: float = field(kw_only=True)
    twist_deg: float = field(kw_only=True)
    fold: int = field(kw_only=True)
    slope_error_deg_per_angst: float | None = field(default=None, kw_only=True)
    walk_deg2_per_angst: Annotated[Floats, Axes("subsets")] = field(kw_only=True)
    sigma_psi_deg: Annotated[Floats, Axes("subsets")] = field(kw_only=True)
    sigma_tilt_deg: Annotated[Floats, Axes("subsets")] = field(kw_only=True)
    along_range_angst: float = field(kw_only=True)
    along_step_angst: float = field(kw_only=True)
    bins: int = field(kw_only=True)
    at_limit: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        freeze_arrays(self)

    @property
    def helix(self) -> Helix:
        """The symmetry as an operator."""
        return Helix(self.rise_angst, self.twist_deg, self.fold)
