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


LARGEST_GAIN = 4.0
"""Most by which damped differences are enlarged."""


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
    shell
        Last shell in which the mean's signal is as strong as its noise.
    fields
        (N, N, N) of every class: by what the mean is multiplied to give the map that is expected of the class.
    expects
        Whether they say anything: False where the mean is expected of every class.
    """

    fsc_mean: Floats
    tau2_mean: Floats
    tau2_difference: Floats
    confirmed: Tensor
    shell: int
    fields: tuple[Tensor, ...]
    expects: bool


def class_prior(
    sums: ClassSums, shares: Floats, mask: Tensor, difference_power: float, fields: Sequence[Tensor] = ()
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
    fields
        (N, N, N) of every class, as `ClassPrior` has them; none: the mean is expected of every class.
    """
    means = [sums.of_all_classes(sums.half(h)) for h in (0, 1)]
    total = add_halves(*means)
    fsc = half_sum_fsc(*means)
    signal = np.where(fsc > 0, signal_to_noise(fsc, joined=True), 0.0)
    tau2 = signal * reference_noise(total)
    below = np.flatnonzero(signal[1:] < 1)
    shell = max(1, int(below[0]) if len(below) else len(signal) - 1)
    width_px = CONFIRMED_OVER_RESOLUTION * total.box_px / shell
    expected = tuple(fields) or (torch.ones_like(mask),) * sums.n_classes
    confirmed = _confirmed(sums, means, shares, expected, mask, difference_power * tau2, width_px)
    if fields:  # what noise has is left out; without an expectation classes must be able to grow from it
        confirmed = (2 * confirmed - 1).clamp_min(0)
    return ClassPrior(fsc, tau2, difference_power * tau2, confirmed, shell, expected, bool(fields))


def _confirmed(
    sums: ClassSums,
    means: Sequence[Accumulator],
    shares: Floats,
    fields: Sequence[Tensor],
    mask: Tensor,
    tau2: Floats,
    width_px: float,
) -> Tensor:
    """Local share of signal in what two halves say beyond what is expected: their product over it and disagreement."""
    middles = [reconstruct(mean) for mean in means]
    product = torch.zeros_like(mask, dtype=torch.float64)
    disagreement = torch.zeros_like(product)
    for k, field in enumerate(fields):
        halves = [sums.of(k, sums.half(h)) for h in (0, 1)]
        damped = [_damped(reconstruct(half) - field * middles[h], half, tau2) * mask for h, half in enumerate(halves)]
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


def mean_map(sums: ClassSums, prior: ClassPrior, without: int | None) -> Tensor:
    """(N, N, N) map of all images but those of one fold, or of all, under its own prior; not masked."""
    return reconstruct(sums.of_all_classes(sums.without(without)), prior.tau2_mean)


def class_differences(sums: ClassSums, prior: ClassPrior, without: int | None) -> list[tuple[Tensor, Tensor]]:
    """What is expected of every class and its damped difference from that, (N, N, N) each, not masked.

    Parameters
    ----------
    without
        Fold whose images the maps know nothing of; None: maps of all images.
    """
    folds = sums.without(without)
    mean = mean_map(sums, prior, without)
    made = []
    for k, field in enumerate(prior.fields):
        own, expected = sums.of(k, folds), field * mean
        pull = transform_of_map(expected, own)
        guided = inverse_transform(divide(own, prior.tau2_difference, first_shell=1, expected=pull))
        made.append((expected, prior.confirmed * (guided - expected)))
    return made


def agreement(sums: ClassSums, fold: int, made: Sequence[tuple[Tensor, Tensor]]) -> Floats:
    """What the images of a fold say of differences made without them: (K, 2) products with them, and their squares.

    The first over the second, summed over folds, is the factor by which damped differences explain images best.

    Parameters
    ----------
    made
        Expected map and difference of every class, of `class_differences` without the fold.
    """
    found = np.zeros((sums.n_classes, 2))
    for k, (expected, difference) in enumerate(made):
        own = sums.folds[fold][k]
        inside = shells_of_cells(own) <= own.r_max
        seen = transform_of_map(difference, own)
        residual = own.data - own.weight * transform_of_map(expected, own)
        found[k, 0] = float((residual * seen.conj()).real[inside].double().sum())
        found[k, 1] = float((own.weight * seen.abs().square())[inside].double().sum())
    return found


def gains(agreements: Floats) -> Floats:
    """(K,) factor of every class's difference, within 0 and `LARGEST_GAIN`; 1 where nothing was measured.

    Damping takes from true differences, too. A class that is drawn to the mean wins images of other classes, which
    draw it nearer. So differences are given back the size that images confirm which had no part in them.

    Parameters
    ----------
    agreements
        (folds, K, 2) of `agreement`.
    """
    product, square = agreements.sum(0).T
    ratio = np.divide(product, square, out=np.ones_like(product), where=square > 0)
    return np.clip(ratio, 0.0, LARGEST_GAIN)


def class_references(
    sums: ClassSums, prior: ClassPrior, mask: Tensor, left_out: Sequence[int | None]
) -> tuple[dict[int | None, list[Tensor]], Floats]:
    """Maps of every class, inside the mask: what is expected, and as much of the difference as images confirm.

    Parameters
    ----------
    left_out
        Folds without which maps are made; None: maps of all images.

    Returns
    -------
    By the fold left out, (N, N, N) of every class; and the factor of every class's difference, measured on the folds
    that were left out. It is 1 without any, and where nothing is expected: then noise is what differs at first, and
    must not be enlarged.
    """
    made = {without: class_differences(sums, prior, without) for without in left_out}
    known = [agreement(sums, fold, made[fold]) for fold in left_out if fold is not None and prior.expects]
    gain = gains(np.stack(known)) if known else np.ones(sums.n_classes)
    maps = {
        without: [(expected + float(g) * one) * mask for g, (expected, one) in zip(gain, pairs, strict=True)]
        for without, pairs in made.items()
    }
    return maps, gain


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
