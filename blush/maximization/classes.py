"""Maps of classes from sums by fold: a common mean, and differences from it that have a prior of their own.

Classes of one specimen share most of their density. A prior for each whole map, as 3D classification has it (Scheres
2010, doi:10.1016/S0076-6879(10)82012-9), takes the signal that they share as licence for their differences, whose noise
then holds every image to the class that it is in. Here a class is the mean of all images plus a difference, and the
difference is damped twice: shell by shell with a signal of its own, and place by place where two halves of the images
do not confirm it. A reference for the images of a fold is made without that fold (docs/classification.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.fourier.backproject import Accumulator
from blush.fourier.filter import gaussian, multiply_shells
from blush.fourier.transform import inverse_transform, transform
from blush.maximization.halves import add_halves, half_sum_fsc
from blush.maximization.reconstruct import divide, reconstruct, transform_of_map
from blush.maximization.spectra import radial_average, reference_noise, shells_of_cells, signal_to_noise

Floats = NDArray[np.float64]
CONFIRMED_OVER_RESOLUTION = 1.5
"""Standard deviation of the place over which halves are compared, in units of the resolution of the mean."""


@dataclass(frozen=True)
class ClassSums:
    """D and W of every class, fold by fold; the first half of the folds are the images of half-map 1.

    Attributes
    ----------
    folds
        Sums by fold, then by class, symmetrised.
    """

    folds: Sequence[Sequence[Accumulator]]

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.folds[0])

    def of(self, k: int, folds: Sequence[int]) -> Accumulator:
        """Class k from some of the folds."""
        return reduce(add_halves, (self.folds[f][k] for f in folds))

    def of_all_classes(self, folds: Sequence[int]) -> Accumulator:
        """All classes from some of the folds."""
        return reduce(add_halves, (self.of(k, folds) for k in range(self.n_classes)))

    def half(self, index: int) -> tuple[int, ...]:
        """Folds of half 0 or 1."""
        middle = len(self.folds) // 2
        return tuple(range(middle)) if index == 0 else tuple(range(middle, len(self.folds)))

    def without(self, fold: int | None) -> tuple[int, ...]:
        """All folds but one, or all."""
        return tuple(f for f in range(len(self.folds)) if f != fold)


@dataclass(frozen=True)
class ClassPrior:
    """What is known of classes before an iteration's references are made.

    Attributes
    ----------
    fsc_mean
        (N/2 + 1,) of the mean of all classes, between halves of the images.
    tau2_mean
        (N/2 + 1,) signal variance of that mean per component.
    tau2_difference
        (N/2 + 1,) that of the difference of a class from it.
    confirmed
        (N, N, N) from 0 to 1: share of the classes' differences that both halves of the images confirm at a place.
    """

    fsc_mean: Floats
    tau2_mean: Floats
    tau2_difference: Floats
    confirmed: Tensor


def class_prior(
    sums: ClassSums, shares: Floats, mask: Tensor, difference_power: float, resolution_px: float | None = None
) -> ClassPrior:
    """Spectra and the map of confirmed differences.

    Parameters
    ----------
    shares
        (K,) fraction of the images in each class.
    mask
        (N, N, N) solvent mask.
    difference_power
        Signal variance of differences over that of the mean, before data are seen.
    resolution_px
        Resolution of the mean in pixels; None: as `fsc_mean` has it.
    """
    means = [sums.of_all_classes(sums.half(h)) for h in (0, 1)]
    total = add_halves(*means)
    fsc = half_sum_fsc(*means)
    signal = np.where(fsc > 0, signal_to_noise(fsc, joined=True), 0.0)
    tau2 = signal * reference_noise(total)
    below = np.flatnonzero(signal[1:] < 1)
    shell = max(1, int(below[0]) if len(below) else len(signal) - 1)
    width_px = CONFIRMED_OVER_RESOLUTION * (total.box_px / shell if resolution_px is None else resolution_px)
    confirmed = _confirmed(sums, means, shares, mask, difference_power * tau2, width_px)
    return ClassPrior(fsc, tau2, difference_power * tau2, confirmed)


def _confirmed(
    sums: ClassSums, means: Sequence[Accumulator], shares: Floats, mask: Tensor, tau2: Floats, width_px: float
) -> Tensor:
    """Local signal over signal and noise of the differences: their product between halves, and their disagreement."""
    middles = [reconstruct(mean) for mean in means]
    product = torch.zeros_like(mask, dtype=torch.float64)
    disagreement = torch.zeros_like(product)
    for k in range(sums.n_classes):
        halves = [sums.of(k, sums.half(h)) for h in (0, 1)]
        damped = [_damped(reconstruct(half) - middles[h], half, tau2) * mask for h, half in enumerate(halves)]
        product += float(shares[k]) * (damped[0] * damped[1]).double()
        disagreement += float(shares[k]) * ((damped[0] - damped[1]) / 2).double().square()
    signal = gaussian(product, width_px).clamp_min(0)
    noise = gaussian(disagreement, width_px).clamp_min(torch.finfo(torch.float64).tiny)
    return (signal / (signal + noise)).to(mask.dtype)


def _damped(difference: Tensor, half: Accumulator, tau2: Floats) -> Tensor:
    """A difference under the Wiener filter of its own signal."""
    noise = reference_noise(half)
    factor = np.divide(tau2, tau2 + noise, out=np.zeros_like(tau2), where=(tau2 > 0) & (noise > 0))
    return multiply_shells(difference, torch.from_numpy(factor))


def class_references(sums: ClassSums, prior: ClassPrior, mask: Tensor, without: int | None) -> list[Tensor]:
    """(N, N, N) map of every class: the mean plus what its images say and the prior lets pass, inside the mask.

    Parameters
    ----------
    without
        Fold whose images the maps know nothing of; None: maps of all images.
    """
    folds = sums.without(without)
    mean = reconstruct(sums.of_all_classes(folds), prior.tau2_mean)
    made = []
    for k in range(sums.n_classes):
        own = sums.of(k, folds)
        expected = transform_of_map(mean, own)
        guided = inverse_transform(divide(own, prior.tau2_difference, first_shell=1, expected=expected))
        made.append((mean + prior.confirmed * (guided - mean)) * mask)
    return made


def fsc_of_classes(sums: ClassSums) -> Floats:
    """(K, N/2 + 1) between the two halves of every class's images; 0 where there is but one fold.

    The halves share what decided their labels, so that it is too high where labels are noise.
    """
    if len(sums.folds) == 1:
        return np.zeros((sums.n_classes, sums.folds[0][0].box_px // 2 + 1))
    return np.stack([half_sum_fsc(*(sums.of(k, sums.half(h)) for h in (0, 1))) for k in range(sums.n_classes)])


def spectrum_references(sums: ClassSums, last: Sequence[Tensor], fudge: float) -> tuple[list[Tensor], Floats]:
    """Maps under the power of the reference that they come from, times `fudge`: 3D classification as RELION has it.

    Source: Scheres 2012, doi:10.1016/j.jsb.2012.09.006; a fudge over 4 keeps noise for ever.

    Parameters
    ----------
    last
        (N, N, N) references that the images were compared with.

    Returns
    -------
    Maps, not masked, and their signal variance without the fudge, (K, N/2 + 1).
    """
    maps, spectra = [], []
    for k, reference in enumerate(last):
        own = sums.of(k, sums.without(None))
        tau2 = power_of_reference(reference, own)
        maps.append(reconstruct(own, tau2, fudge=fudge))
        spectra.append(tau2)
    return maps, np.stack(spectra)


def power_of_reference(reference: Tensor, sums: Accumulator) -> Floats:
    """(N/2 + 1,) variance per component of a reference's padded transform, averaged over the cells of each shell."""
    sphere = transform(reference, sums.r_max, sums.pad)
    power = radial_average(sphere.values.abs().square() / 2, shells_of_cells(sums), sums.r_max + 1).cpu().numpy()
    out = np.zeros(sums.box_px // 2 + 1)
    out[: len(power)] = power
    return out
