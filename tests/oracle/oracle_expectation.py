"""Reference: the whole expectation step of one image, from pixels to sums (docs/algorithm.md, section 3), for reading.

Only the list of poses comes from `blush.geometry`, which has tests of its own.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from oracle_images import ctf, half_plane, prepare, shell_of
from oracle_model import Map
from oracle_posterior import correlations, log_likelihood, log_weights, offset_log_prior, phase_ramp, significant
from oracle_sums import Grid, residual_power, scale_terms

MASK_EDGE_PX = 5.0


@dataclass
class Result:
    """What one image contributes."""

    posterior: dict = field(default_factory=dict)  # (row, child, fine offset) -> kept weight; row = k R + orientation
    best: tuple = ()
    best_matrix: np.ndarray | None = None
    best_offset_px: np.ndarray | None = None
    pmax: float = 0.0
    n_significant: int = 0
    log_likelihood: float = 0.0
    residual: np.ndarray | None = None
    norm_correction: float = 0.0
    scale: tuple = (0.0, 0.0)
    offset_square: float = 0.0
    weight: float = 0.0


def expectation(image, row, optics, case, sums: list[Grid], local=None) -> Result:
    """Search, weigh and back-project one image; the references compete for it.

    `row` holds its STAR values and `optics` its group; `local` is (orientations, log priors) or None for all.
    """
    n, pixel_size, sigma2 = case.box, case.pixel_size, case.sigma2[row["optics"]]
    every = half_plane(n, n // 2)
    inner = [k for k in every if shell_of(*k) <= case.radius]
    origin_px = (row["x"] / pixel_size, row["y"] / pixel_size)
    masked, unmasked, whole_px = prepare(
        image, origin_px, case.norm_average / row["norm"], case.mask_radius_px, MASK_EDGE_PX, every
    )
    masked_inner = np.array([x for x, k in zip(masked, every, strict=True) if shell_of(*k) <= case.radius])
    unmasked_inner = np.array([x for x, k in zip(unmasked, every, strict=True) if shell_of(*k) <= case.radius])
    transfer = np.array([ctf(*k, pixel_size, n, **row["ctf"], **optics["lens"]) for k in inner])
    seen = transfer**2 if optics["premultiplied"] else transfer
    scaled = case.scale[row["group"]] * seen
    references = [Map(volume, case.radius) for volume in case.volumes]

    coarse = _coarse(masked_inner, scaled, case, whole_px, sigma2, references, inner, local)
    keys, poses = _children(coarse.kept, case, references, inner)
    log_weight = log_weights(masked_inner, scaled, poses, sigma2, inner, n, case.radius)
    kept, weight = significant(log_weight)
    if case.cross_correlation:
        kept = [int(correlations(masked_inner, scaled, poses, inner, n, case.radius).argmax())]
        weight = np.ones(len(poses))
    result = Result(n_significant=len(coarse.kept), weight=weight[kept].sum())
    result.posterior = {keys[index]: weight[index] for index in kept}
    result.best, result.pmax = keys[kept[0]], weight[kept[0]]
    best_row, child, offset = result.best
    orientation = best_row % case.grid.n_orientations
    result.best_matrix = case.grid.fine_matrices(torch.tensor([orientation]))[0, child].numpy()
    result.best_offset_px = np.array(whole_px) + case.fine_offsets_px[offset]
    outside = [k for k in every if shell_of(*k) > case.radius]
    beyond = sum(abs(x) ** 2 for x, k in zip(masked, every, strict=True) if k in outside)
    result.log_likelihood = log_likelihood(log_weight, sigma2, inner, case.radius) - beyond / 2
    factor = (1 if optics["premultiplied"] else scaled) / np.array([sigma2[shell_of(*k)] for k in inner])
    power = factor * scaled
    _accumulate(
        result,
        kept,
        weight,
        keys,
        poses,
        masked_inner,
        unmasked_inner,
        seen,
        factor,
        power,
        inner,
        case,
        row,
        whole_px,
        sums,
    )
    beyond_shells = residual_power(masked, np.zeros(len(every)), every, n // 2 + 1)
    beyond_shells[: case.radius + 1] = 0
    result.residual = result.residual + result.weight * beyond_shells
    result.norm_correction = row["norm"] / case.norm_average * np.sqrt(2 * result.residual.sum() / result.weight)
    return result


@dataclass
class Coarse:
    kept: list  # (row, coarse offset, log prior)


def _coarse(masked, scaled, case, whole_px, sigma2, references, inner, local) -> Coarse:
    """Every coarse pose at the coarse size; the significant ones."""
    orientations = range(case.grid.n_orientations) if local is None else [int(o) for o in local[0]]
    orientation_prior = np.zeros(len(orientations)) if local is None else np.asarray(local[1])
    offset_prior = offset_log_prior(whole_px, case.offsets_px, case.pixel_size, case.sigma_offset)
    matrices = case.grid.matrices(torch.tensor(list(orientations))).numpy()
    small = [index for index, k in enumerate(inner) if shell_of(*k) <= case.coarse_radius]
    pixels = [inner[index] for index in small]
    names, poses = [], []  # the reference is cut at the size compared, as every slice of it is
    for k, reference in enumerate(references):
        for orientation, rotation, prior in zip(orientations, matrices, orientation_prior, strict=True):
            central = reference.slice(rotation, pixels)
            central[[kx * kx + ky * ky > case.coarse_radius**2 for kx, ky in pixels]] = 0
            for t, offset in enumerate(case.offsets_px):
                log_prior = case.log_priors[k] + prior + offset_prior[t]
                names.append((k * case.grid.n_orientations + orientation, t, log_prior))
                poses.append((central, offset, log_prior))
    if case.cross_correlation:
        score = correlations(masked[small], scaled[small], poses, pixels, case.box, case.coarse_radius)
        return Coarse([names[int(score.argmax())]])
    log_weight = log_weights(masked[small], scaled[small], poses, sigma2, pixels, case.box, case.coarse_radius)
    kept, _ = significant(log_weight)
    return Coarse([names[index] for index in kept])


def _children(kept, case, references, inner):
    """Eight orientations and four offsets of every kept coarse pose, with the prior of the parent."""
    keys, poses, slices = [], [], {}
    for row, t, log_prior in kept:
        if row not in slices:
            k, orientation = divmod(row, case.grid.n_orientations)
            children = case.grid.fine_matrices(torch.tensor([orientation]))[0].numpy()
            slices[row] = [references[k].slice(child, inner) for child in children]
        for child, central in enumerate(slices[row]):
            for corner in range(4):
                offset = 4 * t + corner
                keys.append((row, child, offset))
                poses.append((central, case.fine_offsets_px[offset], log_prior))
    return keys, poses


def _accumulate(
    result, kept, weight, keys, poses, masked, unmasked, seen, factor, power, inner, case, row, whole_px, sums
):
    """Sums over the kept samples; the map is moved onto the image where the two are compared."""
    n_shells = case.box // 2 + 1
    result.residual = np.zeros(n_shells)
    rotations, cross, square = {}, 0.0, 0.0
    for index in kept:
        central, offset, _ = poses[index]
        moved = masked * phase_ramp(inner, case.box, *offset)
        prediction = case.scale[row["group"]] * seen * central
        result.residual += weight[index] * residual_power(moved, prediction, inner, n_shells)
        one = scale_terms(moved, seen * central, inner, case.scale_shells)
        cross, square = cross + weight[index] * one[0], square + weight[index] * one[1]
        whole = (np.array(whole_px) + offset) * case.pixel_size
        result.offset_square += weight[index] * (whole**2).sum()
        pose, child, _ = keys[index]
        data, total = rotations.get((pose, child), (0, 0))
        ramp = phase_ramp(inner, case.box, *offset)
        rotations[pose, child] = (data + weight[index] * factor * unmasked * ramp, total + weight[index] * power)
    for (pose, child), (data, total) in rotations.items():
        k, orientation = divmod(pose, case.grid.n_orientations)
        rotation = case.grid.fine_matrices(torch.tensor([orientation]))[0, child].numpy()
        sums[k].insert(rotation, data, total, inner)
    result.scale = (cross, square)
