"""Checks of the maps and folds that a classification starts from: maps that are one map, or of other hands."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.config import RunConfig
from blush.errors import Problem
from blush.fourier.filter import low_pass, resize_volume
from blush.io.mrc import read_volume
from blush.io.optics import OpticsGroup
from blush.jobs.inputs import Plan

LEAST_BOX_PX = 32
"""Maps are compared at this box where their first filter leaves nothing beyond."""
SAME = 1 - 1e-6
"""Correlation of two maps that are one map but for rounding and their scale."""
_MIRROR_CORRELATES = 0.5
_UNEQUAL = 1.25


def check_references(config: RunConfig, like: OpticsGroup) -> tuple[list[Problem], list[Problem]]:
    """Compare the first maps of classes with each other, at the resolution at which they are used.

    Two that are one map there would be given the same images for ever. One whose mirror image is much more like another
    one is probably of the other hand; maps are compared as they lie, and turned by half a turn about the axes.

    Parameters
    ----------
    like
        Box and pixel size of the particles.

    Returns
    -------
    Problems, and warnings.
    """
    paths = config.classification.references
    filtered, sharp = [], []
    for path in paths:
        volume, header_angst = read_volume(path)
        pixel_angst = config.reference_pixel_size_angst or header_angst
        small, small_angst = _small(torch.from_numpy(volume), pixel_angst, config.initial_lowpass_angst, like)
        sharp.append(small)
        filtered.append(low_pass(small, config.initial_lowpass_angst, small_angst))
    problems, warnings = [], []
    for i, j in combinations(range(len(paths)), 2):
        value = f"classes {i + 1} and {j + 1}"
        if _correlation(filtered[i], filtered[j]) > SAME:
            where, other = "classification.references", paths[i].name
            message = f"is the same map as {other} after the first filter; their classes would never part"
            remedy = "give different maps, a smaller initial_lowpass_angst, or none and classification.classes"
            problems.append(Problem(message, remedy, str(paths[j]), where, value))
        elif _is_mirrored(sharp[i], sharp[j]):
            message = f"is more like {paths[i].name} when it is mirrored"
            remedy = "bring all maps to one hand, or their classes differ by that alone"
            warnings.append(Problem(message, remedy, str(paths[j]), "classification.references", value))
    return problems, warnings


def check_folds(plan: dict[str, NDArray[Any]]) -> list[Problem]:
    """A warning where folds differ much in size, as images that lie together may make them."""
    drawn = Plan.of(plan)
    warnings = []
    for subset, edges, folds in zip(drawn.subsets, drawn.edges, drawn.folds, strict=True):
        sizes = np.bincount(folds, weights=np.diff(edges)).astype(np.int64)
        if sizes.max() > _UNEQUAL * sizes.min() and sizes.max() - sizes.min() > 1:
            remedy = "use fewer classification.folds, or list images of large filaments or many copies less often"
            message = f"folds of {subset.infix} differ in size: copies of an image, and a filament, lie in one"
            value = f"{sizes.min()} to {sizes.max()} rows"
            warnings.append(Problem(message, remedy, where="classification.folds", value=value))
    return warnings


def _small(volume: Tensor, pixel_angst: float, filter_angst: float, like: OpticsGroup) -> tuple[Tensor, float]:
    """A map as the particles see it, in the smallest box that holds what its filter leaves; and its pixel size."""
    width_angst = like.box_px * like.pixel_size_angst
    box = min(max(LEAST_BOX_PX, 2 * round(width_angst / filter_angst + 2)), like.box_px)
    return resize_volume(volume, pixel_angst, box, width_angst / box).double(), width_angst / box


def _correlation(one: Tensor, other: Tensor) -> float:
    """Pearson's coefficient of all voxels."""
    a, b = one - one.mean(), other - other.mean()
    return float((a * b).sum() / (a.norm() * b.norm()).clamp_min(torch.finfo(a.dtype).tiny))


def _is_mirrored(one: Tensor, other: Tensor) -> bool:
    """Whether a map is at least twice as near to the mirror image of another as to the other itself."""
    found = {True: -1.0, False: -1.0}
    for flips in product((False, True), repeat=3):
        axes = [axis for axis in range(3) if flips[axis]]
        turned = other.flip(axes).roll([1] * len(axes), axes) if axes else other  # about the centre, voxel N/2
        mirrored = len(axes) % 2 == 1
        found[mirrored] = max(found[mirrored], _correlation(one, turned))
    return found[True] > _MIRROR_CORRELATES and 1 - found[True] < (1 - found[False]) / 2
