"""The filters that need no denoiser: Wiener (Scheres 2012), a plain low-pass, and none at all."""

from __future__ import annotations

from blush.fourier.filter import low_pass
from blush.regularise.base import HalfMaps, Outcome, Regulariser
from blush.regularise.trailing import cut_shell


class Wiener(Regulariser):
    """Smoothness as the only prior: shells are damped by SSNR / (1 + SSNR), with the SSNR of the half-map FSC."""

    name = "wiener"
    couples = "scalars"
    trails = False

    def regularise(self, maps: HalfMaps) -> Outcome:
        """Wiener-filtered half-maps; the FSC is all they share."""
        return Outcome((maps.wiener(0), maps.wiener(1)))


class Unregularised(Regulariser):
    """No prior at all: the half-maps as they are, cut by trailing. A reference for comparisons."""

    name = "none"

    def regularise(self, maps: HalfMaps) -> Outcome:
        """Unregularised half-maps."""
        return Outcome((maps.unregularised(0), maps.unregularised(1)))


class LowPass(Regulariser):
    """A sharp limit and no damping below it: at a fixed resolution, or where the FSC falls below 1/7.

    Parameters
    ----------
    resolution_angst
        The limit; None: where the FSC between the halves ends.
    """

    name = "lowpass"
    couples = "scalars"

    def __init__(self, resolution_angst: float | None = None) -> None:
        self.resolution_angst = resolution_angst

    def regularise(self, maps: HalfMaps) -> Outcome:
        """Both unregularised halves through the same raised-cosine filter."""
        limit_angst = self.resolution_angst
        if limit_angst is None:
            limit_angst = maps.box_px * maps.pixel_size_angst / cut_shell(maps.fsc, 0)
        first, second = (low_pass(maps.unregularised(half), limit_angst, maps.pixel_size_angst) for half in (0, 1))
        return Outcome((first, second), {"resolution_angst": limit_angst})
