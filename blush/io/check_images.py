"""Checks of the pixels: every image is read once, in blocks of bounded size."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blush.errors import Problem
from blush.io.columns import row_problems, row_ranges
from blush.io.image_digests import image_digests
from blush.io.mrc import map_stack
from blush.io.particle_columns import BLOCK
from blush.io.particles import ParticleSet

_BLOCK_BYTES = 2**25
_LARGEST_MEAN = 0.5
_SPREAD_RANGE = (0.5, 2.0)
"""Background mean over s.d., and s.d., beyond which RELION's refinement warns (docs/algorithm.md, section 2)."""

_EXTRACTION_RADIUS = 0.375
"""Radius of RELION's background circle at extraction, as a fraction of the box."""

_INVERTED_SCORE = -5.0
"""Contrast in standard errors below which particles are taken for dark."""


@dataclass(frozen=True)
class ImageStatistics:
    """Per image: (n,) each.

    Parameters
    ----------
    n_nan, n_infinite
        Pixels that are no number.
    lowest, highest
        Extreme values; NaN where a pixel is NaN.
    background_mean, background_sd
        Outside the particle's circle.
    digest
        XXH3 of the pixels as stored, uint64.
    centre_mean
        Inside half the particle's radius, which averages over fine detail as a low-pass filter would.
    """

    n_nan: np.ndarray
    n_infinite: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    background_mean: np.ndarray
    background_sd: np.ndarray
    centre_mean: np.ndarray
    digest: np.ndarray


def check_images(
    particles: ParticleSet, rows: np.ndarray, star: Path, particle_diameter_angst: float | None
) -> tuple[list[Problem], list[Problem], np.ndarray]:
    """Check every image of these particles.

    Parameters
    ----------
    rows
        0-based row of each particle in the STAR file.

    Returns
    -------
    Problems (pixels that are not finite, constant images), warnings (normalisation, contrast), and the digest of each
    image (n,) uint64.
    """
    if not len(particles):
        return [], [], np.zeros(0, dtype=np.uint64)
    statistics = image_statistics(particles, particle_diameter_angst)
    problems = _pixel_problems(statistics, particles, rows, star)
    broken = statistics.n_nan + statistics.n_infinite + (statistics.lowest == statistics.highest) > 0
    whole = ImageStatistics(**{name: array[~broken] for name, array in vars(statistics).items()})
    warnings = [*_normalisation_warnings(whole, rows[~broken], star), *_contrast_warnings(whole, star)]
    return problems, warnings, statistics.digest


def image_statistics(particles: ParticleSet, particle_diameter_angst: float | None = None) -> ImageStatistics:
    """Read every image once, stack by stack, `_BLOCK_BYTES` at a time."""
    results = {name: np.zeros(len(particles)) for name in ImageStatistics.__dataclass_fields__}
    results["digest"] = np.zeros(len(particles), dtype=np.uint64)
    with np.errstate(invalid="ignore", over="ignore"):
        for rows, stored in _blocks(particles):
            group = particles.optics[particles.optics_index[rows[0]]]
            radius_px = (
                None
                if not (particle_diameter_angst and group.pixel_size_angst)
                else particle_diameter_angst / group.pixel_size_angst / 2
            )
            results["digest"][rows] = image_digests(stored)
            images = stored.astype(np.float32) * particles.image_sign[rows, None, None]
            for name, values in _statistics(images, radius_px).items():
                results[name][rows] = values
    return ImageStatistics(**results)


def _blocks(particles: ParticleSet) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions and images (b, h, w), as stored, of one stack at a time, in the order of the file."""
    order = np.lexsort((particles.image_index, particles.stack_index))
    starts = np.flatnonzero(np.diff(particles.stack_index[order])) + 1
    for rows in np.split(order, starts):
        stack = map_stack(particles.stacks[particles.stack_index[rows[0]]])
        per_block = max(1, _BLOCK_BYTES // (4 * stack.shape[1] * stack.shape[2]))
        for start in range(0, len(rows), per_block):
            chosen = rows[start : start + per_block]
            yield chosen, stack[particles.image_index[chosen]]


def _statistics(images: np.ndarray, radius_px: float | None) -> dict[str, np.ndarray]:
    """The fields of `ImageStatistics`, but for the digest, of one block of equal images."""
    box = images.shape[1]
    axis = np.arange(box) - box // 2
    distance = np.hypot(axis[:, None], axis[None, :]).reshape(-1)
    # corners are background whatever the diameter, so that a circle as wide as the box still leaves some
    radius = min(radius_px or _EXTRACTION_RADIUS * box, box / 2)
    regions = np.stack([distance > radius, distance <= radius / 2], axis=1).astype(np.float64)
    pixels = images.reshape(len(images), -1).astype(np.float64)
    lowest, highest = pixels.min(axis=1), pixels.max(axis=1)
    means = pixels @ (regions / regions.sum(axis=0))
    broken = np.flatnonzero(~np.isfinite(lowest) | ~np.isfinite(highest))
    n_nan, n_infinite = np.zeros(len(pixels)), np.zeros(len(pixels))
    n_nan[broken] = np.isnan(pixels[broken]).sum(axis=1)
    n_infinite[broken] = np.isinf(pixels[broken]).sum(axis=1)
    pixels -= means[:, :1]
    spread = np.sqrt(np.square(pixels, out=pixels) @ regions[:, 0] / regions[:, 0].sum())
    return {
        "n_nan": n_nan,
        "n_infinite": n_infinite,
        "lowest": lowest,
        "highest": highest,
        "background_mean": means[:, 0],
        "background_sd": spread,
        "centre_mean": means[:, 1],
    }


def _pixel_problems(statistics: ImageStatistics, particles: ParticleSet, rows: np.ndarray, star: Path) -> list[Problem]:
    """Images with pixels that are no number, and images without any signal."""
    names = _ImageNames(particles)
    bad = np.flatnonzero(statistics.n_nan + statistics.n_infinite)
    values = [
        f"{statistics.n_nan[i]:.0f} NaN and {statistics.n_infinite[i]:.0f} infinite in {names(int(i))}" for i in bad
    ]
    remedy = "extract it again or remove the row"
    problems = row_problems(rows[bad], values, "image has pixels that are not finite", remedy, star, BLOCK)
    flat = np.flatnonzero((statistics.lowest == statistics.highest) & np.isfinite(statistics.lowest))
    values = [f"every pixel {statistics.lowest[i]:g} in {names(int(i))}" for i in flat]
    return problems + row_problems(rows[flat], values, "image is constant", remedy, star, BLOCK)


@dataclass(frozen=True)
class _ImageNames:
    """Names of images as a STAR file has them, with the stack's absolute path."""

    particles: ParticleSet

    def __call__(self, position: int) -> str:
        stack = self.particles.stacks[self.particles.stack_index[position]]
        return f"{self.particles.image_index[position] + 1:06d}@{stack}"


def _normalisation_warnings(statistics: ImageStatistics, rows: np.ndarray, star: Path) -> list[Problem]:
    """Images whose background is not of mean 0 and standard deviation 1."""
    mean, spread = statistics.background_mean, statistics.background_sd
    with np.errstate(divide="ignore", invalid="ignore"):
        off = (np.abs(mean / spread) > _LARGEST_MEAN) | (spread < _SPREAD_RANGE[0]) | (spread > _SPREAD_RANGE[1])
    bad = np.flatnonzero(off)
    if not len(bad):
        return []
    value = f"{len(bad)} of {len(rows)} images; the first has mean {mean[bad[0]]:.3g} and s.d. {spread[bad[0]]:.3g}"
    message = "images are not normalised to a background of mean 0 and s.d. 1"
    remedy = "normalise them at extraction (relion_preprocess --operate_on ... --norm)"
    return [Problem(message, remedy, str(star), f"{BLOCK} row {row_ranges(np.sort(rows[bad]))}", value)]


def _contrast_warnings(statistics: ImageStatistics, star: Path) -> list[Problem]:
    """Particles that are darker than their background; medians, so that no single image decides."""
    usable = statistics.background_sd > 0
    contrast = (statistics.centre_mean - statistics.background_mean)[usable] / statistics.background_sd[usable]
    if len(contrast) < 2:
        return []
    median = float(np.median(contrast))
    # 1.4826 MAD estimates the s.d., and 1.2533 s.d./sqrt(n) is the standard error of a median
    error = 1.2533 * 1.4826 * float(np.median(np.abs(contrast - median))) / np.sqrt(len(contrast))
    if median >= 0 or median > _INVERTED_SCORE * error:
        return []
    value = f"centre {median:.3g} background s.d. from the background, {median / error:.1f} standard errors"
    remedy = "extract with inverted contrast, or multiply the images by -1"
    return [Problem("particles are darker than their background", remedy, str(star), BLOCK, value)]
