"""What images say of a map that they had no part in: each half of them is told by the map of the other half.

For an image x and a map A that x has not entered, E ln [p(x | A) / p(x | 0)] is above 0 if A knows something of x, and
never above 0 if x is noise (Gibbs' inequality), where p(x | A) is summed over all poses that x may have. An FSC cannot
say this: noise of two halves that was aligned to one reference, or a network's invention in both, correlates.

*All poses.* A local search sums over a window of poses that was chosen by looking at x, with a prior q that sums to 1
over it. Since u / q is at least u / max q in the window, where u is the uniform prior over all poses,

    p(x | A) >= (u / max q) sum over the window of q p(x | A, pose),

so that ln (u / max q) added to the gain of the window makes a lower bound. The same holds for offsets.

*Chance.* The mean of p(x | A) / p(x | 0) over images of noise is 1, so that by Markov's inequality at most one in
twenty of them has odds of 20 or more. That many images are told from noise by chance; any more are a finding.

*Bands.* The same with A cut at growing shells: what a band adds to the log evidence is above 0 on average where the
band is right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from blush.validate.filament_evidence import Compared

Floats = NDArray[np.float64]
ODDS = 20.0
CHANCE = 1 / ODDS
LEAST_GAIN = 0.002
"""Of an image, below which a difference is none: a search leaves out 0.001 of the probability."""
RARE = 1e-3
"""Probability of so many told images of noise below which they are a finding."""
_WORDS = {"better": "supported", "worse": "refuted", "not told apart": "silent"}


def orientation_log_share(sigma_deg: float | None, order: int) -> float:
    """Ln (u / max q) of a Gaussian prior about an orientation against the uniform one.

    Parameters
    ----------
    sigma_deg
        Width in either direction and in plane; None: the search covers all orientations already.
    order
        Elements of the point group: so many orientations are one.
    """
    if sigma_deg is None:
        return 0.0
    volume = (2 * math.pi) ** 1.5 * math.radians(sigma_deg) ** 3
    return min(0.0, math.log(order * volume / (8 * math.pi**2)))


def offset_log_share(whole_angst: Floats, offsets_angst: Floats, step_angst: float, sigma_angst: float) -> Floats:
    """(n,) ln of how much of a Gaussian prior of offsets about zero lies in the window of each image.

    The search gives that prior a sum of 1 over the window, so that this is ln (u / q) at every offset of it.

    Parameters
    ----------
    whole_angst
        (n, 2) centres of the windows.
    offsets_angst
        (t, 2) grid about a centre, each for a square of `step_angst`.
    """
    away = ((whole_angst[:, None] + offsets_angst) ** 2).sum(-1)
    density = np.exp(-away / (2 * sigma_angst**2)) / (2 * math.pi * sigma_angst**2)
    return np.minimum(0.0, np.log(np.maximum(density.sum(1) * step_angst**2, np.finfo(float).tiny)))


@dataclass(frozen=True)
class Told:
    """Log evidence of images under the other half's map, against none.

    Attributes
    ----------
    log_gain
        (n, bands) with the map up to the end of each band, over the poses of the window.
    log_share
        (n,) what makes a lower bound over all poses of it.
    half
        (n,) 1 or 2.
    edges_angst
        (bands,) resolution at the end of each band.
    resolution_angst
        What the halves' FSC says; None: not measured.
    plain
        (n,) with the Wiener-filtered map in place of what a regulariser made; None: the map is that.
    """

    log_gain: Floats
    log_share: Floats
    half: NDArray[np.int64]
    edges_angst: Sequence[float]
    resolution_angst: float | None
    plain: Floats | None = None

    @property
    def told(self) -> NDArray[np.bool_]:
        """(n,) images that the other half's map tells from noise with odds of 20 to 1."""
        found: NDArray[np.bool_] = self.log_gain[:, -1] + self.log_share > math.log(ODDS)
        return found

    @property
    def is_seen(self) -> bool:
        """Whether more images are told than chance would."""
        return bool(binom.sf(int(self.told.sum()) - 1, len(self.told), CHANCE) < RARE)

    def bands(self) -> list[dict[str, Any]]:
        """Every band: its ends in Å, what it adds to the log evidence of an image, its error, and a verdict."""
        found, before, start = [], np.zeros(len(self.half)), math.inf
        for column, edge in enumerate(self.edges_angst):
            compared = self._against(self.log_gain[:, column] - before)
            found.append(
                {
                    "from_angst": start if math.isfinite(start) else None,
                    "to_angst": edge,
                    **_figures(compared),
                    "verdict": _WORDS[compared.verdict],
                }
            )
            before, start = self.log_gain[:, column], edge
        return found

    def supported_angst(self) -> float | None:
        """Where the last of the bands ends that are supported without a gap; None: not even the first is."""
        found = None
        for band in self.bands():
            if band["verdict"] != "supported":
                break
            found = float(band["to_angst"])
        return found

    def record(self) -> dict[str, Any]:
        """All of it, with the verdict ("holds", "silent" or "fails") in words."""
        verdict, words = self._verdict()
        found: dict[str, Any] = {
            "images": len(self.half),
            "told_share": float(self.told.mean()),
            "chance_share": CHANCE,
            "bands": self.bands(),
            "resolution_angst": self.resolution_angst,
            "supported_angst": self.supported_angst() if self.is_seen else None,
            "verdict": verdict,
        }
        if self.plain is not None:
            compared = self._against(self.log_gain[:, -1] - self.plain)
            found["regulariser"] = _figures(compared) | {"verdict": compared.verdict}
            words.append(_against_plain(compared))
        return found | {"words": words}

    def _against(self, difference: Floats) -> Compared:
        return Compared(difference, self.half, LEAST_GAIN * len(difference))

    def _verdict(self) -> tuple[str, list[str]]:
        share = f"{self.told.mean():.0%} of the images are told from noise by the map of the half they are not in"
        if not self.is_seen:
            return "fails", [f"{share}, which chance may do: nothing shows that the map is of these images."]
        words = [f"{share}; of pure noise at most {CHANCE:.0%} would be."]
        bands, supported = self.bands(), self.supported_angst()
        within = [one for one in bands if self.resolution_angst is None or _reaches(one, self.resolution_angst)]
        against = [one for one in within if one["verdict"] == "refuted"]
        if against:
            text = f"From {_named(against[0]['from_angst'])} on the map makes images that it has not seen less probable"
            return "fails", [*words, f"{text}: what it shows there is not in them."]
        if any(one["verdict"] == "silent" for one in within):
            reach = "No band" if supported is None else f"The map up to {supported:.1f} Å"
            more = "" if supported is None else ", beyond it these images are too few to say"
            return "silent", [*words, f"{reach} is supported by images that it has not seen{more}."]
        return "holds", [*words, f"Every band is supported by images that it has not seen, up to {supported:.1f} Å."]


def _reaches(band: dict[str, Any], resolution_angst: float) -> bool:
    """Whether a band begins before the resolution."""
    return band["from_angst"] is None or band["from_angst"] > resolution_angst * (1 + 1e-9)


def _named(start_angst: float | None) -> str:
    return "the first shell" if start_angst is None else f"{start_angst:.1f} Å"


def _figures(compared: Compared) -> dict[str, Any]:
    """Mean of an image, and its standard error."""
    n = len(compared.per_filament)
    error = compared.error / n
    return {"gain_per_image": compared.total / n, "error": error if math.isfinite(error) else None}


def _against_plain(compared: Compared) -> str:
    amount = f"{compared.total / len(compared.per_filament):+.2f} ± {compared.error / len(compared.per_filament):.2f}"
    if compared.verdict == "better":
        return f"What the regulariser made tells them better than the Wiener-filtered map, by {amount} an image."
    if compared.verdict == "worse":
        return f"The Wiener-filtered map tells them better than what the regulariser made of it ({amount} an image)."
    return f"What the regulariser made and the Wiener-filtered map tell them alike ({amount} an image)."
