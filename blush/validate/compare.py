"""A map against the true one: the resolution that simulated data really gave."""

from __future__ import annotations

import math
from typing import Any

import torch
from scipy import ndimage
from torch import Tensor

from blush.fourier.filter import resize_volume
from blush.fourier.fsc import fsc, resolution_at
from blush.fourier.thresholds import TRUTH
from blush.io.particles import ParticleSet
from blush.validate.poses import Drift, pose_errors

OVERSAMPLING = 2
"""Voxels per voxel before a map is turned; with quintic splines then, errors stay below 1e-3 (test_compare.py)."""


def true_resolution(volume: Tensor, truth: Tensor, mask: Tensor | None, pixel_size_angst: float) -> dict[str, Any]:
    """FSC of a map with the truth, and where it falls below the thresholds.

    Parameters
    ----------
    volume, truth
        (N, N, N) in one frame; scale and sharpening do not matter.
    mask
        (N, N, N) in [0, 1] around the true density, or None. It is applied to both: the truth has no noise
        that the mask could correlate.

    Returns
    -------
    fsc, the curve; resolution_angst at `blush.fourier.thresholds.TRUTH`; resolution_at_half_angst at 0.5;
    fsc_unmasked and unmasked_resolution_angst. A resolution is None where nothing is resolved.
    """
    box = volume.shape[-1]
    unmasked = fsc(volume, truth)
    curve = unmasked if mask is None else fsc(volume * mask, truth * mask)
    result: dict[str, Any] = {"fsc": curve.tolist(), "fsc_unmasked": unmasked.tolist(), "threshold": TRUTH}
    for name, values, threshold in (
        ("resolution_angst", curve, TRUTH),
        ("resolution_at_half_angst", curve, 0.5),
        ("unmasked_resolution_angst", unmasked, TRUTH),
    ):
        resolution = resolution_at(values, threshold, box, pixel_size_angst)
        result[name] = resolution if math.isfinite(resolution) else None
    return result


def into_true_frame(volume: Tensor, drift: Drift, pixel_size_angst: float) -> Tensor:
    """Turn and shift a refined map so that it lies on the true one: W(x) = V(R^T (x - c)).

    Parameters
    ----------
    volume
        (N, N, N).
    drift
        As `pose_errors` found it.
    """
    box = volume.shape[0]
    fine = resize_volume(volume.double(), pixel_size_angst, OVERSAMPLING * box, pixel_size_angst / OVERSAMPLING)
    backward = drift.rotation.T.flip(0, 1)  # x y z to z y x
    shift_px = drift.shift_angst.flip(0) / pixel_size_angst
    centre = torch.full((3,), float(box // 2), dtype=torch.float64)
    fine_centre = torch.full((3,), float(OVERSAMPLING * box // 2), dtype=torch.float64)
    matrix = OVERSAMPLING * backward
    offset = fine_centre - matrix @ (centre + shift_px)
    moved = ndimage.affine_transform(
        fine.cpu().numpy(), matrix.numpy(), offset.numpy(), output_shape=(box,) * 3, order=5, mode="nearest"
    )
    return torch.from_numpy(moved).to(volume)


def compare_with_truth(
    volume: Tensor,
    truth: Tensor,
    mask: Tensor | None,
    pixel_size_angst: float,
    estimated: ParticleSet,
    true: ParticleSet,
    symmetry: str = "C1",
) -> dict[str, Any]:
    """Everything that simulated data tell about a refined map and its poses, as plain numbers for JSON.

    Parameters
    ----------
    volume, truth, mask
        (N, N, N), of one box and pixel size; the mask in the frame of the truth.
    estimated, true
        The same particles in the same order.

    Returns
    -------
    The keys of `true_resolution`, and `poses`, the summary of `pose_errors`.
    """
    errors = pose_errors(estimated, true, symmetry)
    aligned = into_true_frame(volume, errors.drift, pixel_size_angst)
    return true_resolution(aligned, truth, mask, pixel_size_angst) | {"poses": errors.summary()}
