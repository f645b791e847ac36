"""The baseline: a Wiener filter whose signal spectrum follows from the half-map FSC (Scheres 2012)."""

from __future__ import annotations

from torch import Tensor

from blush.regularise.base import Coupling, HalfMaps


class Wiener:
    """Smoothness as the only prior: shells are damped by SSNR / (1 + SSNR)."""

    name = "wiener"
    couples: Coupling = "scalars"
    trails = False

    def regularise(self, maps: HalfMaps) -> tuple[Tensor, Tensor]:
        """Wiener-filtered half-maps; the FSC is all they share."""
        return maps.wiener(0), maps.wiener(1)


class Unregularised:
    """No prior at all: the half-maps as they are, cut by trailing. A reference for comparisons."""

    name = "none"
    couples: Coupling = "none"
    trails = True

    def regularise(self, maps: HalfMaps) -> tuple[Tensor, Tensor]:
        """Unregularised half-maps."""
        return maps.unregularised(0), maps.unregularised(1)
