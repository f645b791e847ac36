"""Half-maps whose FSC cannot be what it seems: filtered or masked alike, made of the same data, or not independent."""

from __future__ import annotations

import torch
from torch import Tensor

from blush.fourier.fsc import fsc, last_shell_above, power_spectrum
from blush.fourier.grid import centred_radius, resolution_angst
from blush.fourier.thresholds import HALF_MAPS

EMPTY_POWER = 1e-11
"""Of the strongest shell: less is the rounding of float32, about 1e-14; noise is far more in any measurement."""
SAME = 1e-6
"""1 - FSC below which two shells are one: only a million times more signal than noise would do it."""
FEWEST_SHELLS = 3
"""Shells in a row that are no chance."""
HIGH = 0.5
NEARLY_ALL = 0.9
"""Part of the way to Nyquist up to which a map is filtered that holds nothing beyond."""
SPHERE = 0.75
"""Of half the box: programs leave the corners of unmasked maps empty, and some a little more."""
FLAT_PART, FLAT_ROUNDING = 0.1, 1e-6
"""Part of the sphere that is one value, relative to the largest, where a mask was applied."""


def half_map_doubts(half1: Tensor, half2: Tensor, pixel_size_angst: float) -> list[str]:
    """Reasons not to believe the FSC of two half-maps, one sentence each; none where there are none.

    Parameters
    ----------
    half1, half2
        (N, N, N) as they were given.
    """
    box, curve = half1.shape[0], fsc(half1, half2)
    is_empty = _is_empty(half1) & _is_empty(half2)
    found = [
        _filtered(is_empty, box, pixel_size_angst),
        _masked(half1, half2),
        _shared(torch.where(is_empty, 0.0, curve), box, pixel_size_angst),
        _never_falls(curve, is_empty),
        _comes_back(torch.where(is_empty, 0.0, curve), box, pixel_size_angst),
    ]
    return [text for text in found if text]


def _is_empty(half: Tensor) -> Tensor:
    """Shells without power, (N // 2 + 1,)."""
    power = power_spectrum(half)
    return power < EMPTY_POWER * power.max()


def _filtered(is_empty: Tensor, box: int, pixel: float) -> str:
    """Whether nothing is left beyond a shell well before Nyquist."""
    filled = torch.nonzero(~is_empty)
    last = int(filled[-1]) if len(filled) else 0
    if last >= NEARLY_ALL * (box // 2):
        return ""
    limit = resolution_angst(last, box, pixel)
    return f"the half-maps hold nothing beyond {limit:.1f} Å: they were filtered alike; give unfiltered half-maps"


def _masked(half1: Tensor, half2: Tensor) -> str:
    """Whether much of a sphere well within the box is one value, in both."""
    radius = centred_radius(half1.shape[0], device=half1.device)
    inside, rim = radius <= SPHERE * half1.shape[0] / 2, radius > (SPHERE - 0.1) * half1.shape[0] / 2
    parts = []
    for half in (half1, half2):
        solvent = half[inside & rim].median()
        is_flat = (half[inside] - solvent).abs() <= FLAT_ROUNDING * half.abs().max()
        parts.append(float(is_flat.double().mean()))
    if min(parts) < FLAT_PART:
        return ""
    share = f"{min(parts):.0%} of the sphere within the box"
    return f"the half-maps are flat in {share}: they were masked alike, and a mask correlates; give unmasked half-maps"


def _runs(is_so: Tensor) -> list[tuple[int, int]]:
    """First and last shell of each run of shells, from shell 1 on, that is no chance."""
    runs: list[tuple[int, int]] = []
    start = None
    for shell, flag in enumerate([*is_so.tolist()[1:], False], start=1):
        if flag and start is None:
            start = shell
        elif not flag and start is not None:
            if shell - start >= FEWEST_SHELLS:
                runs.append((start, shell - 1))
            start = None
    return runs


def _shared(curve: Tensor, box: int, pixel: float) -> str:
    """Whether shells are the same in both."""
    runs = _runs(1 - curve < SAME)
    if not runs:
        return ""
    first, last = (resolution_angst(shell, box, pixel) for shell in runs[0])
    return (
        f"the half-maps are one map from {first:.1f} to {last:.1f} Å (FSC 1): they share data there, as references "
        "do while a refinement runs; give the unfiltered half-maps of its end"
    )


def _never_falls(curve: Tensor, is_empty: Tensor) -> str:
    """Whether the agreement has no end."""
    if bool(is_empty[1:].any()) or float(curve[1:].min()) < HIGH:
        return ""
    return (
        f"the FSC is {float(curve[-1]):.2f} at Nyquist and {HIGH} or more before: the pixels are too large for the "
        "resolution, or the half-maps are not independent"
    )


def _comes_back(curve: Tensor, box: int, pixel: float) -> str:
    """Whether the agreement returns after it has ended."""
    fallen = last_shell_above(curve, HALF_MAPS) + 1
    runs = [run for run in _runs(curve > HIGH) if run[0] > fallen]
    if not runs:
        return ""
    end, back = resolution_angst(fallen, box, pixel), resolution_angst(runs[0][0], box, pixel)
    return (
        f"the FSC falls below {HALF_MAPS} at {end:.1f} Å and is above {HIGH} again from {back:.1f} Å: the half-maps "
        "share something there that is no signal, as a mask, a lattice, or particles that are in both"
    )
