"""A certificate of an iteration's references: whether what a network made of the half-maps can be right.

No truth is needed. A half-map is signal and noise, M = S + N, and the FSC F of a shell says how much is which: of its
power P the noise has σ² = (1 - F) P. A Wiener filter leaves an error of v = F σ², the posterior variance. Two things
follow for any map R that is made of M.

*Change.* Whoever knows more than the Wiener filter moves its map W towards the truth, so by no more than it is wrong:
|R - W|² is at most v.

*Error.* Stein's identity (doi:10.1214/aos/1176345632) tells the error without the truth: |R - S|² is on average
|R - M|² - σ² (1 - 2 r), where the damping r is the share that comes out again of a little noise added to M. It is
told over that of W in the same half-map, for which v is no more than what is expected. A method that knows more has
less of it; one that invents or destroys has more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from blush.fourier.backproject import Accumulator
from blush.fourier.filter import multiply_shells
from blush.fourier.fsc import fsc, power_spectrum, shell_sum
from blush.fourier.grid import shell_index_3d
from blush.fourier.mask import soft_sphere
from blush.maximization.reconstruct import refiltered, transform_of_map
from blush.regularise.base import HalfMaps
from blush.regularise.symmetry import symmetrised
from blush.regularise.trailing import FSC_LIMIT, first_below

PROBE = 0.2
"""Amplitude of the noise that is added, over that of the noise there is."""
CLEAN = 0.95
"""FSC from which on a shell holds so little noise that the edge of a mask counts more."""
LEAST_NOISE = 1e-3
EDGE_PX = 5.0
LEAST_SHELLS = 4
"""From 1 on; that noise has an FSC above 1/7 in so many happens once in a thousand times."""
MOST_CHANGE, MOST_ERROR = 1.0, 1.05
"""Limits, both over the Wiener filter's error; 0.05 is left to chance."""
MOST_BEYOND = FSC_LIMIT**2
"""Power from the first shell with FSC < 1/7 on, over that of the half-map: what a Wiener filter leaves of it."""
Pair = tuple[Tensor, Tensor]


def certificate(
    make: Callable[[HalfMaps], Pair],
    hold: Callable[[Pair, HalfMaps], Pair],
    references: Pair,
    maps: HalfMaps,
    *,
    reads_sums: bool = False,
) -> dict[str, Any]:
    """Change, error and damping of references, and what they say in words; nothing of it goes into the references.

    One half is probed, first and second by turns.

    Parameters
    ----------
    make
        Makes references of other half-maps just as `references` were made.
    hold
        Holds maps back as these references were: trailing and cross-over.
    references
        (N, N, N) of each half.
    reads_sums
        Whether the method looks at the sums of the half-maps themselves.

    Returns
    -------
    `verdict` ("holds", "fails" or "nothing measured"), `words`, `half` (the one that was probed), and `beyond`: the
    share of the half-map's power that its reference keeps from the first shell with FSC < 1/7 on. Where a shell is
    measured, but not free of noise: `change` and `error` over the Wiener filter's error, and `damping` and
    `damping_wiener`, the shares of the added noise that come out. By shell, `change_of_shell` and `damping_of_shell`.
    """
    half = (maps.iteration + 1) % 2
    mask, curve = _seen(maps)
    number = torch.arange(len(curve), device=mask.device)
    measured = (number > 0) & (number < first_below(curve.cpu().numpy()))
    judged = measured & (curve < CLEAN)
    raw, after = maps.unregularised(half), references[half]
    power = power_spectrum(raw * mask).clamp_min(torch.finfo(torch.float64).tiny)
    count = torch.bincount(shell_index_3d(maps.box_px, mask.device).flatten(), minlength=len(curve))[: len(curve)]
    rest = (~measured & (number > 0)) * count
    left, given = (float((rest * power_spectrum(volume)).sum()) for volume in (after, raw))
    found: dict[str, Any] = {"half": half + 1, "beyond": left / given if given > 0 else 0.0}
    is_measured = int(measured.sum()) >= LEAST_SHELLS
    if not is_measured or not bool(judged.any()):
        return found | _verdict(found, is_measured)
    noise = power * (1 - curve).clamp(LEAST_NOISE, 1)
    added = probe(maps, half, (noise / power / mask.square().mean()).sqrt(), raw * mask)
    probed, filtered = with_noise(maps, half, added, reads_sums)
    before = hold((maps.wiener(half),) * 2, maps)[0]
    damping = _response((make(probed)[0] - after) * mask, added * mask)
    damping_wiener = _response((hold((filtered,) * 2, probed)[0] - before) * mask, added * mask)

    def summed(values: Tensor) -> float:
        """Over all coefficients."""
        return float((count * values)[judged].sum())

    def stein(volume: Tensor, damped: Tensor) -> float:
        """Estimated squared error, in units of the noise."""
        return summed(power_spectrum((volume - raw) * mask) / noise - 1 + 2 * damped)

    change = power_spectrum((after - before) * mask) / noise
    at_most = max(stein(before, damping_wiener), summed(curve) / 2)  # where chance leaves no error, half the expected
    found |= {
        "change": summed(change) / at_most,
        "error": stein(after, damping) / at_most,
        "damping": summed(damping) / summed(torch.ones_like(damping)),
        "damping_wiener": summed(damping_wiener) / summed(torch.ones_like(damping)),
        "change_of_shell": torch.where(judged, change / curve, 0).tolist(),
        "damping_of_shell": damping.tolist(),
    }
    return found | _verdict(found, True)


def _seen(maps: HalfMaps) -> tuple[Tensor, Tensor]:
    """Where maps are compared, and their FSC there: in the mask that corrected the FSC, else in the particle's sphere.

    There the FSC is that of the maps: that of the sums knows no place.
    """
    if maps.mask is not None and maps.fsc is not maps.fsc_unmasked:
        return maps.mask, torch.from_numpy(maps.fsc.copy()).to(maps.mask.device)
    halves = maps.unregularised(0), maps.unregularised(1)
    radius_px = maps.particle_diameter_angst / (2 * maps.pixel_size_angst)
    sphere = soft_sphere(maps.box_px, min(radius_px, maps.box_px / 2 - EDGE_PX), EDGE_PX).to(halves[0])
    return sphere, fsc(halves[0] * sphere, halves[1] * sphere)


def probe(maps: HalfMaps, half: int, share: Tensor, seen: Tensor) -> Tensor:
    """White noise of a fifth of the noise's amplitude in every shell: (N, N, N).

    It has the maps' point group, and depends on seed, half and size alone. Outside the sphere that the box holds there
    is none, as maps that are made of sums have none there.

    Parameters
    ----------
    share
        (N / 2 + 1,) amplitude of the noise of a coefficient, over that of `seen`.
    seen
        (N, N, N) half-map.
    """
    generator = torch.Generator().manual_seed(2 * maps.seed + half + 1_000_003)
    white = torch.randn((maps.box_px,) * 3, generator=generator, dtype=torch.float64).to(seen)
    white = symmetrised(white, maps.symmetry) * soft_sphere(maps.box_px, maps.box_px / 2 - EDGE_PX, EDGE_PX).to(seen)
    amplitude = (power_spectrum(seen) / power_spectrum(white).clamp_min(torch.finfo(torch.float64).tiny)).sqrt()
    return multiply_shells(white, PROBE * share * amplitude)


def with_noise(maps: HalfMaps, half: int, added: Tensor, reads_sums: bool) -> tuple[HalfMaps, Tensor]:
    """Half-maps that are one half with noise added, twice, so that a method need not work twice; its Wiener map."""
    old, tau2 = maps.sums[half], maps.tau2[half]
    raw = maps.unregularised(half) + added
    filtered = maps.wiener(half) + refiltered(added, old, tau2)
    sums = old
    if reads_sums:
        grid = old.grid.clone()
        grid[..., :2] += torch.view_as_real(transform_of_map(added, old) * old.weight)
        sums = Accumulator(grid, old.box_px, old.r_max, old.pad)
    twice = replace(
        maps,
        sums=(sums, sums),
        tau2=maps.tau2[[half, half]],
        sigma2_ref=maps.sigma2_ref[[half, half]],
        unregularised=lambda _: raw,
        wiener=lambda _: filtered,
    )
    return twice, filtered


def _response(difference: Tensor, added: Tensor) -> Tensor:
    """Share of the noise that comes out of what it was added to, by shell: Re <difference, added> / <added, added>."""
    one, two = torch.fft.rfftn(difference), torch.fft.rfftn(added)
    box = added.shape[0]
    shell, n = shell_index_3d(box, added.device), box // 2 + 1
    given = shell_sum(two.abs().square(), shell, n).clamp_min(torch.finfo(torch.float64).tiny)
    return shell_sum((one * two.conj()).real, shell, n) / given


def _verdict(found: dict[str, Any], is_measured: bool) -> dict[str, Any]:
    """Whether the limits hold, and all that is to be said, in sentences."""
    if not is_measured:
        words = f"the half-maps agree (FSC > 1/7) in fewer than {LEAST_SHELLS} shells, as noise may"
        return {"verdict": "nothing measured", "words": [words]}
    wrong = []
    if "error" in found and not found["error"] <= MOST_ERROR:
        wrong.append(f"its squared error is an estimated {found['error']:.2f} of a Wiener filter's")
    if "change" in found and not found["change"] <= MOST_CHANGE:
        wrong.append(f"it changes the Wiener map by {found['change']:.2f} of what that can be wrong by")
    if not found["beyond"] <= MOST_BEYOND:
        wrong.append(f"its maps hold {found['beyond']:.2g} of the half-maps' power beyond what these have in common")
    if wrong:
        return {"verdict": "fails", "words": wrong}
    if "error" not in found:
        return {"verdict": "holds", "words": ["the half-maps have hardly any noise where they agree"]}
    return {
        "verdict": "holds",
        "words": [
            f"the squared error is an estimated {found['error']:.2f} of a Wiener filter's, and {found['damping']:.2f} "
            f"of noise comes through, of which it lets through {found['damping_wiener']:.2f}"
        ],
    }
