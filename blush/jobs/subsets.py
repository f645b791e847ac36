"""How a job divides its images: into subsets with references of their own, and each of these into folds.

Known from the configuration alone, before anything is imported; afterwards the plan of the run says it.
"""

from __future__ import annotations

from blush.config import RunConfig
from blush.refine.subset import HALVES, Subset


def subsets_of(config: RunConfig) -> tuple[Subset, ...]:
    """The subsets of a run, in the order of all arrays that have one entry for each."""
    return (Subset.ALL,) if config.job == "classify" else HALVES


def folds_of(config: RunConfig) -> int:
    """Number of folds of each subset, whose sums are kept apart."""
    return config.classification.folds if config.job == "classify" else 1
