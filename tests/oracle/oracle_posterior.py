"""Reference: squared residuals, priors, two passes and the posterior of one image (docs/algorithm.md, section 3)."""

import math

import numpy as np
from oracle_images import shell_of


def phase_ramp(pixels, n, tx, ty):
    """Moves an image by (tx, ty) pixels."""
    return np.array([np.exp(-2j * np.pi * (kx * tx + ky * ty) / n) for kx, ky in pixels])


def squared_residual(image, prediction, sigma2, pixels, r_max):
    """D^2 = sum_k |X - P|^2 / (2 sigma^2) over rounded shells 1 to r_max."""
    total = 0.0
    for x, p, (kx, ky) in zip(image, prediction, pixels, strict=True):
        shell = shell_of(kx, ky)
        if 1 <= shell <= r_max:
            total += abs(x - p) ** 2 / (2 * sigma2[shell])
    return total


def offset_log_prior(whole_px, offsets_px, pixel_size, sigma_angst):
    """Gaussian of the whole offset around zero, divided by its mean over the search."""
    weights = []
    for tx, ty in offsets_px:
        x, y = (whole_px[0] + tx) * pixel_size, (whole_px[1] + ty) * pixel_size
        weights.append(math.exp(-(x * x + y * y) / (2 * sigma_angst**2)))
    return np.log(np.array(weights) / np.mean(weights))


def log_weights(image, ctf, poses, sigma2, pixels, n, r_max):
    """-D^2 + log prior of every pose.

    Poses are (slice, (tx, ty), log prior); the image is moved by the offset, the slice multiplied by scale times CTF.
    """
    result = []
    for central_slice, (tx, ty), log_prior in poses:
        moved = image * phase_ramp(pixels, n, tx, ty)
        result.append(log_prior - squared_residual(moved, ctf * central_slice, sigma2, pixels, r_max))
    return np.array(result)


def correlations(image, ctf, poses, pixels, n, r_max):
    """Sum Re(X conj(CTF P)) / sqrt(sum |CTF P|^2) of every pose: the score of the first iteration, without priors."""
    inside = [1 <= shell_of(*k) <= r_max for k in pixels]
    result = []
    for central_slice, (tx, ty), _ in poses:
        prediction = (ctf * central_slice)[inside]
        moved = (image * phase_ramp(pixels, n, tx, ty))[inside]
        result.append((moved * np.conj(prediction)).real.sum() / np.sqrt((abs(prediction) ** 2).sum()))
    return np.array(result)


def significant(log_weight, fraction=0.999):
    """Indices of the smallest set of samples whose summed weight exceeds the fraction, and all normalised weights."""
    weight = np.exp(log_weight - log_weight.max())
    weight = weight / weight.sum()
    kept, total = [], 0.0
    for index in np.argsort(-weight, kind="stable"):
        kept.append(int(index))
        total += weight[index]
        if total > fraction:
            break
    return kept, weight


def log_likelihood(log_weight, sigma2, pixels, r_max):
    """ln sum w - D^2_min - sum_k ln 2 pi sigma^2; the weights hold exp(-D^2) already."""
    top = log_weight.max()
    total = top + math.log(np.exp(log_weight - top).sum())
    for kx, ky in pixels:
        shell = shell_of(kx, ky)
        if 1 <= shell <= r_max:
            total -= math.log(2 * math.pi * sigma2[shell])
    return total
