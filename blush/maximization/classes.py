"""Maps of classes from sums by fold: a common mean, and differences from it that have a prior of their own.

Classes of one specimen share most of their density. A prior for each whole map, as 3D classification has it (Scheres
2010, doi:10.1016/S0076-6879(10)82012-9), takes the signal that they share as licence for their differences, whose noise
then holds every image to the class that it is in. Here a class is the mean of all images plus a difference, and the
difference is damped twice: shell by shell with a signal of its own, and place by place where two halves of the images
do not confirm it. A reference for the images of a fold is made without that fold (docs/classification.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.fourier.backproject import Accumulator
from blush.fourier.filter import gaussian, multiply_shells
from blush.fourier.transform import transform
from blush.maximization.cells import CellSums, add, divided, noise_of
from blush.maximization.class_sums import ClassSums
from blush.maximization.reconstruct import reconstruct
from blush.maximization.resolution import resolution_shell
from blush.maximization.spectra import radial_average, shells_of_cells, signal_to_noise

Floats = NDArray[np.float64]
CONFIRMED_OVER_RESOLUTION = 1.5
"""Standard deviation of the place over which halves are compared, in units of the resolution of the mean."""


LARGEST_GAIN = 4.0
"""Most by which damped differences are enlarged."""


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
        Last shell in which the mean's signal is as strong as its noise; a low shell that the CTF starves is no end.
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
    fsc = sums.fsc[1]
    signal = np.where(fsc > 0, signal_to_noise(fsc, joined=True), 0.0)
    tau2 = signal * noise_of(add(means))
    shell = resolution_shell(signal, over_gaps=True)
    width_px = CONFIRMED_OVER_RESOLUTION * sums.cells.map_px / shell
    expected = tuple(fields) or (torch.ones_like(mask),) * sums.n_classes
    confirmed = _confirmed(sums, means, shares, expected, mask, difference_power * tau2, width_px)
    if fields:  # what noise has is left out; without an expectation classes must be able to grow from it
        confirmed = (2 * confirmed - 1).clamp_min(0)
    return ClassPrior(fsc, tau2, difference_power * tau2, confirmed, shell, expected, bool(fields))


def _confirmed(
    sums: ClassSums,
    means: Sequence[CellSums],
    shares: Floats,
    fields: Sequence[Tensor],
    mask: Tensor,
    tau2: Floats,
    width_px: float,
) -> Tensor:
    """Local share of signal in what two halves say beyond what is expected: their product over it and disagreement."""
    cells = sums.cells
    middles = [cells.map(divided(mean, None)) for mean in means]
    product = torch.zeros_like(mask, dtype=torch.float64)
    disagreement = torch.zeros_like(product)
    for k, field in enumerate(fields):
        halves = [sums.cells_of(k, sums.half(h)) for h in (0, 1)]
        beyond = [cells.map(divided(half, None)) - field * middles[h] for h, half in enumerate(halves)]
        damped = [_damped(one, half, tau2) * mask for one, half in zip(beyond, halves, strict=True)]
        product += float(shares[k]) * (damped[0] * damped[1]).double()
        disagreement += float(shares[k]) * ((damped[0] - damped[1]) / 2).double().square()
    signal = gaussian(product, width_px).clamp_min(0)
    noise = gaussian(disagreement, width_px).clamp_min(torch.finfo(torch.float64).tiny)
    return (signal / (signal + noise)).to(mask.dtype)


def _damped(difference: Tensor, half: CellSums, tau2: Floats) -> Tensor:
    """A difference under the Wiener filter of its own signal."""
    noise = noise_of(half)
    factor = np.divide(tau2, tau2 + noise, out=np.zeros_like(tau2), where=(tau2 > 0) & (noise > 0))
    return multiply_shells(difference, torch.from_numpy(factor))


def mean_map(sums: ClassSums, prior: ClassPrior, without: int | None) -> Tensor:
    """(N, N, N) map of all images but those of one fold, or of all, under its own prior; not masked."""
    return sums.cells.map(divided(sums.of_all_classes(sums.without(without)), prior.tau2_mean))


@dataclass(frozen=True)
class Difference:
    """A class as what is expected of it and its damped difference from that, (N, N, N) each, not masked.

    Attributes
    ----------
    pull
        (n,) transform of what is expected, on the cells of the sums.
    """

    expected: Tensor
    change: Tensor
    pull: Tensor


def class_differences(sums: ClassSums, prior: ClassPrior, without: int | None, mean: Tensor) -> Iterator[Difference]:
    """Every class, one after the other.

    Parameters
    ----------
    without
        Fold whose images the maps know nothing of; None: maps of all images.
    mean
        (N, N, N) `mean_map` of the same images.
    """
    cells = sums.cells
    for k, field in enumerate(prior.fields):
        expected = field * mean
        pull = cells.transform(expected)
        own = sums.cells_of(k, sums.without(without))
        guided = divided(own, prior.tau2_difference, first_shell=1, expected=pull)
        yield Difference(expected, prior.confirmed * cells.map(guided - pull), pull)


def agreement(own: CellSums, made: Difference) -> tuple[float, float]:
    """What images say of a difference made without them: the product with it, and its square.

    The first over the second, summed over folds, is the factor by which damped differences explain images best.
    """
    seen = own.cells.transform(made.change)
    seen = torch.where(own.cells.shell <= own.cells.r_max, seen, torch.zeros_like(seen))  # the rim is left out
    residual = torch.view_as_real(own.data - own.weight * made.pull)
    product = (residual * torch.view_as_real(seen)).sum(dtype=torch.float64)
    square = (own.weight * torch.view_as_real(seen).square().sum(1)).sum(dtype=torch.float64)
    return float(product), float(square)


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
) -> tuple[Iterator[tuple[int | None, list[Tensor]]], Floats]:
    """Maps of every class, inside the mask: what is expected, and as much of the difference as images confirm.

    Parameters
    ----------
    left_out
        Folds without which maps are made; None: maps of all images.

    Returns
    -------
    Fold by fold, made as they are asked for, the one left out and (N, N, N) of every class; and the factor of every
    class's difference, measured on the folds that were left out. It is 1 without any, and where nothing is expected:
    then noise is what differs at first, and must not be enlarged.
    """
    means = {without: mean_map(sums, prior, without) for without in left_out}
    changes: dict[int | None, list[Tensor]] = {without: [] for without in left_out}
    known = {fold: np.zeros((sums.n_classes, 2)) for fold in left_out if fold is not None and prior.expects}
    for without in left_out:
        for k, one in enumerate(class_differences(sums, prior, without, means[without])):
            if without in known:
                known[without][k] = agreement(sums.folds[without][k], one)
            changes[without].append(one.change)
    gain = gains(np.stack(list(known.values()))) if known else np.ones(sums.n_classes)

    def whole(without: int | None) -> list[Tensor]:
        pieces = zip(prior.fields, gain, changes[without], strict=True)
        return [(field * means[without] + float(g) * change) * mask for field, g, change in pieces]

    return ((without, whole(without)) for without in left_out), gain


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
