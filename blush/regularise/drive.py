"""The driver: runs a regulariser on both halves and treats every one of them alike.

What must not depend on the method is done here: refusing what mixes the halves, checking what comes back, symmetry,
amplitudes, trailing and cross-over, an announced fallback, and the record of what was done, shell by shell, with a
certificate for what was learned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from blush.errors import BlushError
from blush.fourier.filter import multiply_shells
from blush.fourier.fsc import fsc, shell_sum
from blush.fourier.grid import shell_index_3d
from blush.io.upload import downloaded
from blush.regularise.amplitude import cross_validated_gain
from blush.regularise.base import HalfMaps, Regulariser, RegulariserError
from blush.regularise.certificate import certificate
from blush.regularise.stretch import stretch
from blush.regularise.symmetry import symmetrised
from blush.regularise.trailing import cross_over_shell, cut_shell, trail
from blush.regularise.wiener import Wiener

LEAST_POWER = 1e-3
"""Shells with less of the half-map's power left hold leakage from the map's border, whose FSC says nothing."""
PLAUSIBLE_POWER = (0.05, 20.0)
"""Range of a reference's power over its half-map's, over the shells where the halves agree."""
AGREEMENT = 0.3
"""FSC from which on a shell is taken to be measured."""
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Policy:
    """What the user asked of every regulariser.

    Attributes
    ----------
    trailing_shells
        Shells to stay behind FSC = 1/7, or None to switch trailing off.
    starts
        "local": Wiener until searches are local.
    fallback
        What a failure leads to: the end of the run, or Wiener in this iteration.
    amplitude
        "method": what the regulariser declares; or the same for every one but Wiener.
    certified
        Whether what a learned method made is certified (`blush.regularise.certificate`).
    jacobian_passes
        Passes of power iteration for the Jacobian norm of what it takes away (`blush.regularise.stretch`); 0: none.
    """

    trailing_shells: int | None = 2
    starts: Literal["first", "local"] = "first"
    fallback: Literal["error", "wiener"] = "error"
    amplitude: Literal["method", "keep", "cross_validated"] = "method"
    certified: bool = False
    jacobian_passes: int = 0


@dataclass(frozen=True)
class Regularised:
    """References and the record of what was done."""

    references: Pair
    diagnostics: dict[str, Any]


def drive(
    regulariser: Regulariser, maps: HalfMaps, policy: Policy, announce: Callable[[str], None] | None = None
) -> Regularised:
    """References of both halves from one regulariser, held to the contract.

    Parameters
    ----------
    announce
        Is told when Wiener takes a failed regulariser's place.

    Raises
    ------
    BlushError
        If it mixes the halves; or if it fails, or returns what cannot be a reference, and no fallback was asked for.
    """
    if regulariser.couples == "full":
        raise BlushError(f"regulariser {regulariser.name} mixes the half-maps, which gold-standard refinement forbids")
    if policy.starts == "local" and not maps.local:
        return _finish(Wiener(), maps, policy, {"asked_for": regulariser.name, "waits_for": "local searches"})
    try:
        return _finish(regulariser, maps, policy, {"asked_for": regulariser.name})
    except RegulariserError as error:
        if policy.fallback == "error":
            raise BlushError(
                f"regulariser {regulariser.name} failed in iteration {maps.iteration}: {error}",
                ["regulariser.fallback: wiener goes on with the Wiener filter in iterations where this happens"],
            ) from None
        text = f"iteration {maps.iteration}: {regulariser.name} failed, Wiener took its place: {error}"
        if announce is not None:
            announce(text)
        return _finish(Wiener(), maps, policy, {"asked_for": regulariser.name, "fallback": str(error)})


def _finish(regulariser: Regulariser, maps: HalfMaps, policy: Policy, record: dict[str, Any]) -> Regularised:
    """What is done to every regulariser's maps, in this order: checks, symmetry, amplitudes, trailing."""
    maps = _seen_by(regulariser, maps)
    outcome = regulariser.regularise(maps)
    _check(regulariser.name, outcome.references, maps.box_px)
    halves = maps.unregularised(0), maps.unregularised(1)
    pair = _of_symmetry(regulariser, outcome.references, maps)
    gain: Tensor | None = None
    wanted = regulariser.amplitude if policy.amplitude == "method" or not regulariser.trails else policy.amplitude
    if wanted == "cross_validated":
        gain = cross_validated_gain(pair, halves)
        pair = _scaled(pair, gain)
        record["amplitude_gain"] = gain.tolist()
    _check_power(regulariser.name, pair, halves, maps)
    pair, record["trailing_shell"], record["cross_over_shell"] = _held_back(regulariser, pair, maps, policy)
    record |= {"name": regulariser.name, "couples": regulariser.couples, "notes": outcome.notes}
    record["continued"] = maps.continued is not None and regulariser.looks_around
    if policy.certified and regulariser.learned:

        def hold(held: Pair, of: HalfMaps) -> Pair:
            return _held_back(regulariser, held, of, policy)[0]

        def again(other: HalfMaps) -> Pair:
            made = _of_symmetry(regulariser, regulariser.regularise(other).references, other)
            return hold(made if gain is None else _scaled(made, gain), other)

        reads_sums = "sums" in regulariser.reads
        found = record["certificate"] = certificate(again, hold, pair, maps, reads_sums=reads_sums)
        for name, mask in {"jacobian": None, "jacobian_masked": maps.mask}.items() if policy.jacobian_passes else ():
            found[name] = stretch(again, maps, policy.jacobian_passes, mask=mask, reads_sums=reads_sums)
        if policy.jacobian_passes:
            found["words"].append(
                f"a small change grows to {found['jacobian']:.2f} of itself in what is taken away, "
                f"{found['jacobian_masked']:.2f} with the solvent mask (norm of the Jacobian of I - D, at least)"
            )
    return Regularised(pair, record | _diagnose(pair, halves, maps))


def _of_symmetry(regulariser: Regulariser, pair: Pair, maps: HalfMaps) -> Pair:
    if regulariser.equivariant or maps.symmetry == "C1":
        return pair
    return symmetrised(pair[0], maps.symmetry), symmetrised(pair[1], maps.symmetry)


def _scaled(pair: Pair, gain: Tensor) -> Pair:
    return multiply_shells(pair[0], gain), multiply_shells(pair[1], gain)


def _seen_by(regulariser: Regulariser, maps: HalfMaps) -> HalfMaps:
    """Maps whose ends are continued, for a method that looks around; each is made once.

    The FSC stays that of the maps as they came.
    """
    fill = maps.continued
    if fill is None or not regulariser.looks_around:
        return maps
    raw, wiener = maps.unregularised, maps.wiener
    return replace(
        maps, unregularised=cache(lambda half: fill(raw(half))), wiener=cache(lambda half: fill(wiener(half)))
    )


def _held_back(
    regulariser: Regulariser, pair: Pair, maps: HalfMaps, policy: Policy
) -> tuple[Pair, int | None, int | None]:
    """References behind the measured resolution and the method's Nyquist frequency; both shells, where they act."""
    if not regulariser.trails:
        return pair, None, None
    n, pixel = maps.box_px, maps.pixel_size_angst
    trails = policy.trailing_shells is not None
    cut = cut_shell(maps.fsc, policy.trailing_shells) if policy.trailing_shells is not None else n
    cross_over = cross_over_shell(n, pixel, regulariser.nyquist_angst)
    crosses = cross_over is not None and cut > cross_over
    if not trails and not crosses:
        return pair, None, None
    radius_px = maps.particle_diameter_angst / (2 * pixel)
    wiener = [maps.wiener(half) if crosses else None for half in (0, 1)]
    first, second = (trail(pair[half], cut, cross_over, wiener[half], radius_px) for half in (0, 1))
    return (first, second), cut if trails else None, cross_over if crosses else None


def _check(name: str, references: Pair, box_px: int) -> None:
    if len(references) != 2:
        raise RegulariserError(f"{name} returned {len(references)} reference(s), not one per half")
    finite = torch.stack([torch.isfinite(one).all() for one in references]).tolist()
    for half, reference in enumerate(references, start=1):
        if reference.shape != (box_px,) * 3:
            shape = tuple(reference.shape)
            raise RegulariserError(f"{name} returned shape {shape} for half {half}, not {(box_px,) * 3}")
        if not finite[half - 1]:
            raise RegulariserError(f"{name} returned values that are not finite for half {half}")


def _check_power(name: str, pair: Pair, halves: Pair, maps: HalfMaps) -> None:
    """Where the halves agree, a reference has about the power of its half-map; a map of another scale has not."""
    agree = torch.from_numpy(np.array(maps.fsc > AGREEMENT))
    agree[0] = False  # the mean of a map is not determined by particles
    if not agree.any():
        return
    low, high = PLAUSIBLE_POWER
    powers = downloaded({str(number): _power(one) for number, one in enumerate((*pair, *halves))})
    sums = [powers[str(number)][agree].sum() for number in range(4)]
    for half, (reference, unregularised) in enumerate(zip(sums[:2], sums[2:], strict=True), start=1):
        kept = float(reference / unregularised)
        if not low < kept < high:
            raise RegulariserError(
                f"{name} returned {kept:.3g} times the power of half {half} in the shells where both halves agree "
                f"(FSC > {AGREEMENT}), which should be {low:g} to {high:g}: its map has another scale"
            )


def _power(volume: Tensor) -> Tensor:
    box = volume.shape[0]
    power = torch.fft.rfftn(volume).abs().square()
    return shell_sum(power, shell_index_3d(box, volume.device), box // 2 + 1)


def _diagnose(references: Pair, halves: Pair, maps: HalfMaps) -> dict[str, Any]:
    """Per shell: power kept, the amplitude kept of what was there, and the FSC before and after."""
    tiny = torch.finfo(torch.float64).tiny
    box = maps.box_px
    shell, n = shell_index_3d(box, maps.device), box // 2 + 1
    ratio, damping = [], []
    for reference, unregularised in zip(references, halves, strict=True):
        after, before = torch.fft.rfftn(reference), torch.fft.rfftn(unregularised)
        power = shell_sum(before.abs().square(), shell, n).clamp_min(tiny)
        ratio.append(shell_sum(after.abs().square(), shell, n) / power)
        damping.append(shell_sum((after * before.conj()).real, shell, n) / power)
    present = torch.minimum(ratio[0], ratio[1]) > LEAST_POWER
    rows = torch.stack([*ratio, *damping, fsc(*references).to(ratio[0]), present.to(ratio[0])]).tolist()
    curve = [value if kept else None for value, kept in zip(rows[4], rows[5], strict=True)]
    return {
        "power_ratio": rows[:2],
        "damping": rows[2:4],
        "fsc_in": maps.fsc_unmasked.tolist(),
        "fsc_out": curve,
    }
