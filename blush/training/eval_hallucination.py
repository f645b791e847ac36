"""Whether a denoiser invents: what both halves agree on after it must have been in the particles.

`docs/training.md` has the four tests and their limits in words: random phases, pure noise, low-passed truth, and the
share of the denoised maps that is bias common to both halves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from blush.config.regulariser import RegulariserSettings
from blush.fourier.filter import low_pass
from blush.fourier.fsc import fsc, shell_sum
from blush.fourier.grid import shell_index_3d
from blush.regularise.drive import LEAST_POWER
from blush.regularise.map_checks import at_power_of, power_ratio
from blush.regularise.trailing import cut_shell, pass_below
from blush.training.eval_maps import WIENER, Method, TestPair, apply, corrected_fsc
from blush.validate.phase_randomise import randomise_phases

RANDOM_FROM_ANGST = (4.5, 6.0, 8.0)
BEYOND = 1.1
RISE, NOISE_FSC, BIAS = 0.05, 0.1, 0.05
BEYOND_WIENER, LOST, GROWN = 0.02, 0.1, 1.02
SEEN, TRAILING_SHELLS = 0.3, 2
NOISE_FROM_ANGST, LOWPASS_ANGST = 20.0, 10.0
PASSES = 10


@dataclass(frozen=True)
class Finding:
    """One figure and the limit it has to keep."""

    test: str
    pair: str
    figure: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the figure keeps its limit; one that is no number does not."""
        return bool(self.figure <= self.limit)


def findings(method: Method, pairs: Sequence[TestPair], seed: int) -> list[Finding]:
    """All tests on pairs whose signal is known."""
    found: list[Finding] = []
    for number, pair in enumerate(pairs):
        generator = torch.Generator().manual_seed(seed * 1000 + number)
        found += random_phases(method, pair, generator)
        found += pure_noise(method, pair, generator)
        found += low_passed(method, pair)
        found += recursion(method, pair)
    return found


def random_phases(method: Method, pair: TestPair, generator: torch.Generator) -> list[Finding]:
    """(a) Phases of each half random beyond X: the denoised halves agree no more there than those halves did."""
    found = []
    for limit_angst in RANDOM_FROM_ANGST:
        first = beyond_shell(pair, limit_angst)
        if first >= len(pair.mask) // 2 - 2:
            continue
        start = len(pair.mask) * pair.voxel_size_angst / limit_angst
        halves = [randomise_phases(half, start, generator) for half in pair.halves]
        changed = replace(pair, halves=(halves[0], halves[1]))
        made, _ = apply(method, changed)
        before, after = fsc(*halves), fsc(*made)
        rise = float(torch.nan_to_num(after[first:]).mean() - before[first:].mean())
        found.append(Finding(f"(a) random phases beyond {limit_angst:g} Å: rise of FSC", pair.name, rise, RISE))
        if pair.signal is not None:
            truth = float(torch.nan_to_num(fsc(made[0], pair.signal)[first:]).mean())
            test = f"(a) random phases beyond {limit_angst:g} Å: FSC with the truth"
            found.append(Finding(test, pair.name, abs(truth), RISE))
    return found


def pure_noise(method: Method, pair: TestPair, generator: torch.Generator) -> list[Finding]:
    """(b) Halves of the pair's noise alone: the denoised ones have nothing in common beyond 20 Å."""
    if pair.signal is None:
        return []
    noise = [randomise_phases(half - pair.signal, 0.5, generator) for half in pair.halves]
    made, _ = apply(method, replace(pair, halves=(noise[0], noise[1])))
    first = beyond_shell(pair, NOISE_FROM_ANGST * BEYOND)
    figure = float(torch.nan_to_num(fsc(*made))[first:].mean())
    return [Finding("(b) pure noise: FSC of the denoised halves", pair.name, figure, NOISE_FSC)]


def low_passed(method: Method, pair: TestPair) -> list[Finding]:
    """(c) Nothing true beyond 10 Å: the denoised halves agree no more there than the given ones."""
    if pair.signal is None:
        return []
    smooth = low_pass(pair.signal, LOWPASS_ANGST, pair.voxel_size_angst)
    halves = [half - pair.signal + smooth for half in pair.halves]
    made, _ = apply(method, replace(pair, halves=(halves[0], halves[1])))
    first = beyond_shell(pair, LOWPASS_ANGST)
    rise = float(torch.nan_to_num(fsc(*made))[first:].mean() - fsc(*halves)[first:].mean())
    return [Finding("(c) truth ends at 10 Å: rise of FSC beyond", pair.name, rise, RISE)]


def bias(pair: TestPair, made: tuple[Tensor, Tensor]) -> Finding:
    """(d) Power of what the denoiser adds to both halves alike, over that of the signal, where FSC > 0.5.

    With M = S + N and D = S + B + rest, each D at the scale of S: B = cov(D1, D2) + var S - 2 cov(M1, D2).
    """
    maps = [torch.fft.rfftn(values * pair.mask) for values in (*pair.halves, *made)]
    box = len(pair.mask)
    shell, n = shell_index_3d(box), box // 2 + 1

    def cov(one: Tensor, two: Tensor) -> np.ndarray:
        return shell_sum((one * two.conj()).real, shell, n).numpy()

    signal = cov(maps[0], maps[1])
    # D1 is at index 2 and is compared with M2, D2 with M1.
    first, second = signal / _safe(cov(maps[2], maps[1])), signal / _safe(cov(maps[3], maps[0]))
    left = first * second * cov(maps[2], maps[3]) + signal - 2 * second * cov(maps[0], maps[3])
    seen = np.nan_to_num(fsc(pair.halves[0] * pair.mask, pair.halves[1] * pair.mask).numpy()) > 0.5
    seen[0] = False
    share = float(np.median(left[seen] / signal[seen])) if seen.any() else 0.0
    return Finding("(d) bias common to both halves over signal", pair.name, share, BIAS)


def _safe(values: np.ndarray) -> np.ndarray:
    return np.where(np.abs(values) > 1e-30, values, np.inf)


def recursion(method: Method, pair: TestPair) -> list[Finding]:
    """(e) Ten times through it, as a refinement would: what is lost beyond what a Wiener filter loses, and in all.

    Each pass is masked with the true mask and trailed by two shells, for the method and for Wiener alike; and as in
    `blush check-regulariser` particles are taken to measure each shell anew, so that it comes back at the power of the
    half-map, and at its FSC. Fed back as damped as it is, a shell of a plain Wiener filter with FSC 0.2 would vanish
    below the leakage of its neighbours; an FSC taken from denoised and masked maps would say that they have no noise.
    """
    if pair.signal is None:
        return []
    curve = corrected_fsc(pair)
    lost, most = ten_passes(method, pair, curve)
    if not np.isfinite(lost):
        return []
    reference, _ = ten_passes(Method(WIENER, RegulariserSettings(name="wiener")), pair, curve)
    what = "(e) ten passes, masked and trailed"
    return [
        Finding(f"{what}: loss of FSC with the truth beyond Wiener's", pair.name, lost - reference, BEYOND_WIENER),
        Finding(f"{what}: loss of FSC with the truth", pair.name, lost, LOST),
        Finding(f"{what}: power over that of one", pair.name, most, GROWN),
    ]


def ten_passes(method: Method, pair: TestPair, curve: np.ndarray) -> tuple[float, float]:
    """Mean FSC with the signal after the first pass over the least after any later one, and the growth of power.

    Over the shells that trailing leaves, whose FSC with the signal was above 0.3 after the first pass, and which
    keep more than a thousandth of the half-map's power.

    Returns
    -------
    Loss, not a number where there is no such shell; and largest power over that of the first pass.
    """
    assert pair.signal is not None
    given = [half * pair.mask for half in pair.halves]
    cut = cut_shell(curve, TRAILING_SHELLS)

    def flattened(maps: tuple[Tensor, Tensor], masked: bool) -> tuple[Tensor, Tensor]:
        first, second = (pass_below(one if masked else one * pair.mask, cut) for one in maps)
        return first, second

    def once(halves: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        made, _ = apply(method, replace(pair, halves=halves), curve=curve)
        return flattened(made, not method.learned)  # the classical ones come with the mask

    made = once(pair.halves)
    growth, most, curves = 1.0, 1.0, [_with_signal(made[0], pair)]
    for _ in range(PASSES - 1):
        fed = at_power_of(made[0], given[0]), at_power_of(made[1], given[1])
        made = once(fed)
        before = sum(one.square().sum() for one in flattened(fed, masked=False))
        growth *= float(sum(one.square().sum() for one in made) / before)
        most = max(most, growth)
        curves.append(_with_signal(made[0], pair))
    seen = (curves[0] > SEEN) & (power_ratio(made[0], given[0]) > LEAST_POWER).to(curves[0].device)
    seen[0] = False
    seen[cut + 1 :] = False
    if not seen.any():
        return float("nan"), most
    means = [float(one[seen].mean()) for one in curves]
    return means[0] - min(means[1:]), most


def _with_signal(made: Tensor, pair: TestPair) -> Tensor:
    assert pair.signal is not None
    return torch.nan_to_num(fsc(made, pair.signal * pair.mask))


def beyond_shell(pair: TestPair, limit_angst: float) -> int:
    """First shell that lies safely beyond a resolution."""
    return int(np.ceil(BEYOND * len(pair.mask) * pair.voxel_size_angst / limit_angst))
