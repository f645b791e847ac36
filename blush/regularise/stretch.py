"""How much a small change of a half-map grows in what a method takes away: the norm of the Jacobian of I - D.

Where it is no more than 1, repeating the method cannot run away (firm non-expansiveness; Pesquet et al. 2021,
doi:10.1137/20M1387961). Found by power iteration of differences, without derivatives: what a change becomes is the next
change, brought back to its size. Each pass bounds the norm from below; for the best estimate of a map, whose Jacobian
is symmetric, the passes approach it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from blush.regularise.base import HalfMaps
from blush.regularise.certificate import LEAST_NOISE, probe, with_noise

Pair = tuple[Tensor, Tensor]


def stretch(
    make: Callable[[HalfMaps], Pair],
    maps: HalfMaps,
    passes: int,
    *,
    mask: Tensor | None = None,
    half: int = 0,
    reads_sums: bool = False,
) -> float:
    """Largest ratio of sizes, what I - D makes of a change over the change, that the passes find.

    Changes have the size of a fifth of the half-map's noise, as those of one iteration to the next have.

    Parameters
    ----------
    make
        D: makes references of half-maps.
    mask
        (N, N, N) that the references are multiplied by; None: they are not.
    """
    raw = maps.unregularised(half)
    share = torch.from_numpy(1 - maps.fsc).to(raw.device).clamp(LEAST_NOISE, 1).sqrt()
    change = probe(maps, half, share, raw)
    size = change.norm()
    window = torch.ones_like(raw) if mask is None else mask
    still = make(with_noise(maps, half, torch.zeros_like(raw), reads_sums)[0])[0]
    largest = 0.0
    for _ in range(passes):
        moved = make(with_noise(maps, half, change, reads_sums)[0])[0]
        left = change - window * (moved - still)
        largest = max(largest, float(left.norm() / change.norm()))
        change = left * (size / left.norm())
    return largest
