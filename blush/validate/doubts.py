"""Why the resolution of a refinement may not be believed, although the half-maps agree.

The FSC of half-maps measures signal where their errors are independent. They are not where poses are uncertain:
both halves start from one reference and share its lowest resolutions and the solvent mask, and an image without a
certain pose, averaged over all poses that its reference likes, gives that reference back. Pure noise then "refines"
to 15 to 30 Å (tests/truth). The half-maps cannot tell; the poses can.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

PART_OF_PERIOD = 2 / 3
"""Largest displacement, relative to the resolution, by poses that are as accurate as expected.

The expected accuracy is what a likelihood ratio of 0.01 can tell apart, some three standard deviations: at two thirds
of a period, little more than a third of the amplitude is left at the rim. Sound refinements were seen to stay below
0.55; those of noise, or of particles too weak to align, lay at 0.6 to 1.2.
"""
UNCERTAIN_PMAX = 0.5
"""Mean probability of the best pose below which, on a coarse grid, most particles have no certain pose."""


@dataclass(frozen=True)
class Evidence:
    """What the last iteration and the final half-maps say.

    Attributes
    ----------
    resolution_angst
        As it is reported; infinite where nothing is resolved.
    accuracy_rotation_deg, accuracy_offset_angst
        Expected accuracy of the poses, None where it was not measured.
    change_rotation_deg
        Mean turn of the poses in the last iteration, None where it was not measured.
    fine_step_deg
        Spacing of the finest orientations that were searched.
    first_grid
        Whether these still belonged to the grid of the first, global search.
    average_pmax
        Mean over particles of the probability of the best pose.
    joined_angst
        Resolution down to which both halves used their common average.
    """

    resolution_angst: float
    particle_diameter_angst: float
    accuracy_rotation_deg: float | None
    accuracy_offset_angst: float | None
    change_rotation_deg: float | None
    fine_step_deg: float
    first_grid: bool
    average_pmax: float
    joined_angst: float


def doubts(evidence: Evidence) -> list[str]:
    """Reasons to doubt the reported resolution, one text for each cause, halves and poses; none if there are none."""
    poses = [text for text in (_accuracy(evidence), _sampling(evidence), _settling(evidence)) if text]
    return [text for text in (_resolution(evidence), "; and ".join(poses)) if text]


def _resolution(evidence: Evidence) -> str:
    """Whether the half-maps agree beyond what they were given in common."""
    if not math.isfinite(evidence.resolution_angst):
        return "the half-maps agree at no resolution: nothing is resolved"
    if evidence.resolution_angst < evidence.joined_angst:
        return ""
    return (
        f"the half-maps shared everything down to {evidence.joined_angst:.1f} Å during refinement, and agree no "
        f"further: the resolution of {evidence.resolution_angst:.1f} Å is not an independent measurement"
    )


def _accuracy(evidence: Evidence) -> str:
    """Whether poses as accurate as they are expected to be can give this resolution."""
    limit = PART_OF_PERIOD * evidence.resolution_angst
    parts = []
    if evidence.accuracy_rotation_deg is not None:
        rim = math.radians(evidence.accuracy_rotation_deg) * evidence.particle_diameter_angst / 2
        if rim > limit:
            parts.append(f"{evidence.accuracy_rotation_deg:.1f}° ({rim:.1f} Å at the rim of the particle)")
    if evidence.accuracy_offset_angst is not None and evidence.accuracy_offset_angst > limit:
        parts.append(f"{evidence.accuracy_offset_angst:.1f} Å in position")
    if not parts:
        return ""
    return (
        f"poses are expected to be accurate to {' and '.join(parts)} only, which hardly gives "
        f"{evidence.resolution_angst:.1f} Å: the agreement of the half-maps may be that of their common reference"
    )


def _sampling(evidence: Evidence) -> str:
    """Whether particles found certain poses, at least on the first grid."""
    if not evidence.first_grid or evidence.average_pmax >= UNCERTAIN_PMAX:
        return ""
    return (
        f"the search for orientations never became finer than the first grid ({evidence.fine_step_deg:.3g}°), and the "
        f"best pose of a particle has a probability of {evidence.average_pmax:.2f} on average: particles may be noise, "
        "or the reference or the symmetry wrong"
    )


def _settling(evidence: Evidence) -> str:
    """Whether poses still changed by more than the spacing of the grid."""
    change = evidence.change_rotation_deg
    if change is None or change <= evidence.fine_step_deg:
        return ""
    return (
        f"poses had not settled: the last iteration turned them by {change:.1f}° on average, on a grid of "
        f"{evidence.fine_step_deg:.3g}°"
    )
