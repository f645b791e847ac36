"""What a regulariser does to half-maps of a known truth, checked in seconds: identity, equivariance, swap, recursion.

The half-maps are made, not refined: D and W of the true map plus white noise of each half. So it is known what must
come out, for any regulariser, whether it looks at the maps or at the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from blush.fourier.backproject import Accumulator, empty_accumulator, trim
from blush.fourier.filter import multiply_shells
from blush.fourier.fsc import fsc, power_spectrum
from blush.maximization.halves import half_sum_fsc
from blush.maximization.reconstruct import reconstruct, transform_of_map
from blush.maximization.spectra import reference_noise, signal_to_noise
from blush.regularise.base import HalfMaps, Regulariser
from blush.regularise.drive import LEAST_POWER, Policy, Regularised, drive
from blush.regularise.trailing import cut_shell, pass_below
from blush.regularise.wiener import Wiener

WEIGHT = 40.0
"""W of every cell; only its ratio to the noise counts, and that is set by `noise`."""
LEVEL_FIELD = 1.0
LITTLE_NOISE = 1e-3
POWER_CHANGE, MAP_CHANGE = 0.02, 0.05
"""Largest changes that pass for identity, and for the same map: docs/comparing.md."""
ROUNDING = 1e-5
"""About a hundred steps of float32: what another order of sums may change, relative to the largest value."""
REPEATS = 10
GROWTH, BEYOND_WIENER, LOSS = 1.01, 0.02, 0.1
Letter = Literal["a", "b", "c", "d", "e"]
Turn = Callable[[Tensor], Tensor]
Driven = Callable[[HalfMaps], Regularised]


@dataclass(frozen=True)
class Check:
    """One figure against its limit.

    Attributes
    ----------
    letter
        Which of the five checks it belongs to.
    sense
        On which side of the limit the figure must be.
    """

    letter: Letter
    what: str
    figure: float
    limit: float
    sense: Literal["<=", ">="] = "<="

    @property
    def passed(self) -> bool:
        """Whether the figure keeps the limit; one that is not a number does not."""
        return self.figure <= self.limit if self.sense == "<=" else self.figure >= self.limit


@dataclass(frozen=True)
class Specimen:
    """The truth of the half-maps.

    Attributes
    ----------
    truth, mask
        (N, N, N), float32, on the device to be used.
    """

    truth: Tensor
    mask: Tensor
    pixel_size_angst: float
    particle_diameter_angst: float

    def half_maps(
        self, noise: float, turn: Turn | None = None, *, seed: int = 1, scratch: Path | None = None
    ) -> HalfMaps:
        """Half-maps of the truth with white noise, both turned alike where asked.

        Parameters
        ----------
        noise
            1 makes signal and noise equal at half of Nyquist, which puts FSC = 0.5 there; it scales the amplitude.
        """
        box = self.truth.shape[0]
        level = noise * (power_spectrum(self.truth)[box // 4] / box**3).sqrt()
        generator = torch.Generator().manual_seed(seed)
        own = (torch.randn(box, box, box, generator=generator).to(self.truth) for _ in range(2))
        noisy = [self.truth + level.to(self.truth) * values for values in own]
        turned = [volume if turn is None else turn(volume) for volume in noisy]
        mask = self.mask if turn is None else turn(self.mask)
        first, second = (_sums(volume) for volume in turned)
        fsc_of_halves = half_sum_fsc(first, second)
        sigma2 = np.stack([reference_noise(half) for half in (first, second)])
        return self._maps((first, second), fsc_of_halves, signal_to_noise(fsc_of_halves, joined=False) * sigma2, sigma2,
                          mask, scratch)  # fmt: skip

    def fed_back(self, references: tuple[Tensor, Tensor], maps: HalfMaps) -> HalfMaps:
        """Half-maps that are the references of others, at the same FSC and spectra."""
        sums = _sums(references[0]), _sums(references[1])
        return self._maps(sums, maps.fsc, maps.tau2, maps.sigma2_ref, maps.mask, maps.scratch)

    def _maps(
        self,
        sums: tuple[Accumulator, Accumulator],
        curve: np.ndarray,
        tau2: np.ndarray,
        sigma2: np.ndarray,
        mask: Tensor | None,
        scratch: Path | None,
    ) -> HalfMaps:
        return HalfMaps(
            sums=sums,
            fsc=curve,
            fsc_unmasked=curve,
            tau2=tau2,
            sigma2_ref=sigma2,
            unregularised=lambda half: reconstruct(sums[half]),
            wiener=lambda half: reconstruct(sums[half], tau2[half]),
            pixel_size_angst=self.pixel_size_angst,
            particle_diameter_angst=self.particle_diameter_angst,
            symmetry="C1",
            mask=mask,
            iteration=9,
            local=True,
            healpix_order=4,
            current_size_px=self.truth.shape[0],
            scratch=scratch,
        )


def _sums(volume: Tensor) -> Accumulator:
    """D = W V and W, inside the sphere that ends one shell below Nyquist."""
    box = volume.shape[0]
    sums = empty_accumulator(box, box // 2 - 1, dtype=volume.dtype, device=volume.device)
    sums.grid[..., :2] = WEIGHT * torch.view_as_real(transform_of_map(volume, sums))
    sums.grid[..., 2] = WEIGHT
    return trim(sums)


def map_checks(
    regulariser: Regulariser, specimen: Specimen, policy: Policy, scratch: Path | None = None
) -> Iterator[Check]:
    """The checks (c), (d) and (e), each as soon as it is known.

    Raises
    ------
    BlushError
        If the regulariser fails on these maps.
    """

    def driven(maps: HalfMaps) -> Regularised:
        return drive(regulariser, maps, policy)

    # Trailing cuts even what is free of noise; what the method itself does is asked here.
    maps = specimen.half_maps(LITTLE_NOISE, scratch=scratch)
    yield from _identity(drive(regulariser, maps, replace(policy, trailing_shells=None)), maps)
    maps = specimen.half_maps(LEVEL_FIELD, scratch=scratch)
    plain = driven(maps)
    for what, turn in TURNS.items():
        turned = driven(specimen.half_maps(LEVEL_FIELD, turn, scratch=scratch)).references
        yield Check("d", f"{what}: change of the map in the mask", _change(plain, turned, turn, specimen), MAP_CHANGE)
    yield Check("d", "halves swapped: change of the references", _swap_change(driven, plain, maps), ROUNDING)
    again = driven(maps).references
    differing = sum(int((one != two).sum()) for one, two in zip(plain.references, again, strict=True))
    yield Check("d", "made again: voxels that differ", float(differing), 0.0)

    def filtered(maps: HalfMaps) -> Regularised:
        return _trailed(drive(Wiener(), maps, policy), maps, policy)

    yield from _recursion(driven, filtered, specimen, maps, _last_shell(plain, maps))


def _trailed(made: Regularised, maps: HalfMaps, policy: Policy) -> Regularised:
    """What the driver leaves untrailed, cut where it cuts all others."""
    if policy.trailing_shells is None:
        return made
    cut = cut_shell(maps.fsc, policy.trailing_shells)
    return replace(made, references=(pass_below(made.references[0], cut), pass_below(made.references[1], cut)))


def _quarter_turn(axes: tuple[int, int]) -> Turn:
    """About the centre voxel N/2 of an even box."""
    return lambda volume: torch.roll(torch.rot90(volume, 1, axes), 1, axes[0])


TURNS: dict[str, Turn] = {
    "turned by 90° about x": _quarter_turn((0, 1)),
    "turned by 90° about z": _quarter_turn((1, 2)),
    "shifted by 1, 2, -1 px": lambda volume: torch.roll(volume, (1, 2, -1), (0, 1, 2)),
}


def _identity(made: Regularised, maps: HalfMaps) -> Iterator[Check]:
    """Where there is nothing to remove, nothing may be removed; shells up to two thirds of Nyquist, as in the contract.

    Beyond, a method may end its band; what that does is in the change of the map.
    """
    last = maps.box_px // 3
    given = [maps.unregularised(half) for half in (0, 1)]
    ratios = torch.stack([power_ratio(r, g)[1 : last + 1] for r, g in zip(made.references, given, strict=True)])
    yield Check("c", "almost no noise: change of a shell's power", float((ratios - 1).abs().max()), POWER_CHANGE)
    mask = maps.mask if maps.mask is not None else torch.ones_like(given[0])
    change = max(_relative(r, g, mask) for r, g in zip(made.references, given, strict=True))
    yield Check("c", "almost no noise: change of the map in the mask", change, MAP_CHANGE)


def _last_shell(made: Regularised, maps: HalfMaps) -> int:
    """Last shell that neither trailing nor the rim of the sums touches."""
    cut = made.diagnostics["trailing_shell"]
    rim = maps.sums[0].r_max - 1
    return int(rim if cut is None else max(1, min(cut - 2, rim)))


def power_ratio(one: Tensor, other: Tensor) -> Tensor:
    """Power of one map over that of another, by shell."""
    return power_spectrum(one) / power_spectrum(other).clamp_min(torch.finfo(torch.float64).tiny)


def _relative(one: Tensor, other: Tensor, mask: Tensor) -> float:
    return float(((one - other) * mask).norm() / (other * mask).norm())


def _change(plain: Regularised, turned: tuple[Tensor, Tensor], turn: Turn, specimen: Specimen) -> float:
    """Turning before or after must give the same, for both halves."""
    mask = turn(specimen.mask)
    return max(_relative(turn(one), two, mask) for one, two in zip(plain.references, turned, strict=True))


def _swap_change(driven: Driven, plain: Regularised, maps: HalfMaps) -> float:
    swapped = replace(
        maps,
        sums=(maps.sums[1], maps.sums[0]),
        tau2=maps.tau2[::-1].copy(),
        sigma2_ref=maps.sigma2_ref[::-1].copy(),
        unregularised=lambda half: maps.unregularised(1 - half),
        wiener=lambda half: maps.wiener(1 - half),
    )
    second, first = driven(swapped).references
    pairs = zip(plain.references, (first, second), strict=True)
    return max(float((one - two).abs().max() / one.abs().max()) for one, two in pairs)


def _recursion(driven: Driven, filtered: Driven, specimen: Specimen, maps: HalfMaps, last: int) -> Iterator[Check]:
    """Fed its own references: what alignment gives back must not grow, nor drift from the truth more than Wiener's."""
    growth, kept = _passes(driven, specimen, maps, last)
    _, kept_by_wiener = _passes(filtered, specimen, maps, last)
    yield Check("e", f"{REPEATS} times: power over that of once", growth, GROWTH)
    beyond = kept - kept_by_wiener
    yield Check("e", f"{REPEATS} times: mean FSC with the truth, gained over Wiener", beyond, -BEYOND_WIENER, ">=")
    yield Check("e", f"{REPEATS} times: mean FSC with the truth, gained", kept, -LOSS, ">=")


def _passes(driven: Driven, specimen: Specimen, maps: HalfMaps, last: int) -> tuple[float, float]:
    """Largest power of a pass over that of the first, and lowest mean FSC with the truth, less that of the first.

    As in a refinement, references are flattened by the mask, and what comes back of a shell is as strong as particles
    make it: each shell is fed back at the power of the half-map. Shells that hold less than a thousandth of it are
    left alone, and do not count: they hold what the map's border leaks into them.
    """
    mask = specimen.mask
    given = maps.unregularised(0) * mask, maps.unregularised(1) * mask
    single = driven(maps).references
    made, growth, most = [(single[0] * mask, single[1] * mask)], 1.0, 1.0
    for _ in range(REPEATS - 1):
        fed = at_power_of(made[-1][0], given[0]), at_power_of(made[-1][1], given[1])
        first, second = driven(specimen.fed_back(fed, maps)).references
        growth *= _power((first, second), last) / _power(fed, last)
        most = max(most, growth)
        made.append((first * mask, second * mask))
    gained = []
    for half in (0, 1):
        kept = (power_ratio(made[-1][half], given[half]) > LEAST_POWER)[1 : last + 1]
        curves = [fsc(pair[half], specimen.truth)[1 : last + 1][kept].mean() for pair in made]
        gained.append(float(min(curves[1:]) - curves[0]))
    return most, min(gained)


def at_power_of(reference: Tensor, unregularised: Tensor) -> Tensor:
    """A reference whose shells have the power of the half-map again."""
    ratio = power_ratio(reference, unregularised)
    return multiply_shells(reference, torch.where(ratio > LEAST_POWER, ratio.clamp_min(LEAST_POWER).rsqrt(), 1.0))


def _power(pair: tuple[Tensor, Tensor], last_shell: int) -> float:
    """Power of both maps in the shells that trailing leaves alone."""
    shell = torch.arange(last_shell + 1, dtype=torch.float64, device=pair[0].device)
    return float(sum((power_spectrum(volume)[: last_shell + 1] * shell**2).sum() for volume in pair))
