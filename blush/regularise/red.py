"""RED fusion: a denoised map as what the Wiener filter's prior expects, trusted less at low resolution.

Kimanius et al. 2021 (doi:10.1107/S2052252520014384): regularisation by denoising, the predecessor of Blush. Where the
Wiener filter draws every Fourier component towards zero, this draws it towards a denoiser's map.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from blush.fourier.filter import multiply_shells
from blush.fourier.fsc import resolution_at
from blush.maximization.reconstruct import reconstruct, transform_of_map
from blush.regularise.amplitude import cross_validated_gain
from blush.regularise.base import Coupling, HalfMaps, Outcome, Regulariser

RESOLVED_FSC = 0.5
_COUPLINGS: tuple[Coupling, ...] = ("none", "scalars", "field", "full")


def prior_weight(resolution_angst: float, full_weight_angst: float, no_weight_angst: float) -> float:
    """How much the denoised map counts: 1 up to one resolution, 0 from another on, linear between."""
    if not math.isfinite(resolution_angst):
        return 0.0
    share = (no_weight_angst - resolution_angst) / (no_weight_angst - full_weight_angst)
    return min(1.0, max(0.0, share))


class Red(Regulariser):
    """X = (D + w V / tau2') / (W + 1 / tau2'), V the denoised map and tau2' as in the Wiener filter.

    V is on the cells and at the scale of D / W, so a denoiser that gives back a noise-free map leaves it as it is. The
    prior acts where the Wiener filter's does: from the first regularised shell on, and where tau2 is not 0.

    Parameters
    ----------
    denoiser
        Any regulariser; what it couples, whether it keeps symmetry and its Nyquist frequency become those of the
        fusion, as the FSC does that sets tau2.
    full_weight_angst, no_weight_angst
        Resolutions (FSC = 0.5 between the halves) at which w is 1 and 0; with 4.4 and 10 it is the published
        clip(1.8 - 0.18 r, 0, 1). At w = 0 the denoiser is not asked, and the result is the Wiener map.

    Raises
    ------
    ValueError
        If `no_weight_angst` is not above `full_weight_angst`.
    """

    name = "red"
    reads = ("maps", "sums")

    def __init__(self, denoiser: Regulariser, full_weight_angst: float = 4.4, no_weight_angst: float = 10.0) -> None:
        if no_weight_angst <= full_weight_angst:
            raise ValueError(f"no weight at {no_weight_angst:g} Å is not beyond full weight at {full_weight_angst:g} Å")
        self.denoiser = denoiser
        self.full_weight_angst, self.no_weight_angst = full_weight_angst, no_weight_angst
        self.nyquist_angst = denoiser.nyquist_angst
        self.couples = max("scalars", denoiser.couples, key=_COUPLINGS.index)
        self.equivariant, self.looks_around = denoiser.equivariant, denoiser.looks_around
        self.learned, self.takes_alone = denoiser.learned, denoiser.takes_alone

    def regularise(self, maps: HalfMaps) -> Outcome:
        """Both halves' sums, each with its own denoised map as what is expected."""
        resolution_angst = resolution_at(torch.from_numpy(maps.fsc), RESOLVED_FSC, maps.box_px, maps.pixel_size_angst)
        weight = prior_weight(resolution_angst, self.full_weight_angst, self.no_weight_angst)
        notes = {"denoiser": self.denoiser.name, "weight": weight}
        if weight == 0:
            return Outcome((maps.wiener(0), maps.wiener(1)), notes)
        outcome = self.denoiser.regularise(maps)
        first, second = self._at_scale(outcome.references, maps)
        fused = fuse(maps, 0, first, weight), fuse(maps, 1, second, weight)
        return Outcome(fused, notes | {"denoiser_notes": outcome.notes})

    def _at_scale(self, denoised: tuple[Tensor, Tensor], maps: HalfMaps) -> tuple[Tensor, Tensor]:
        """Denoised maps whose amplitudes mean something, which the driver sees to only for what it is given."""
        if self.denoiser.amplitude == "keep":
            return denoised
        gain = cross_validated_gain(denoised, (maps.unregularised(0), maps.unregularised(1)))
        return multiply_shells(denoised[0], gain), multiply_shells(denoised[1], gain)


def fuse(maps: HalfMaps, half: int, denoised: Tensor, weight: float) -> Tensor:
    """X of one half, (N, N, N), from its sums and its denoised map; with `weight` 0 the Wiener map, bit by bit."""
    sums = maps.sums[half]
    expected = weight * transform_of_map(denoised.to(sums.grid.dtype), sums)
    return reconstruct(sums, maps.tau2[half], expected=expected)
