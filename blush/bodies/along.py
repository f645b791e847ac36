"""One component alone: how images spread along it, without their uncertainty, and where each of them is.

Along a component, image i has the log likelihood r z - a z^2 / 2 of its place z: with a > 0 a measurement r / a whose
variance is 1 / a, with a = 0 none. All that is unknown of other components is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

Floats = NDArray[np.float64]
_LOSS = 1.920729
"""Half the 95 % quantile of chi squared of one degree of freedom."""
_SMOOTHINGS = 100


@dataclass(frozen=True)
class Along:
    """Evidence of n images along one component, about the population's mean, in Å.

    Attributes
    ----------
    score, information
        (n,) r and a.
    """

    score: Floats
    information: Floats

    def take(self, rows: NDArray[np.int64]) -> Along:
        """That of some images."""
        return Along(self.score[rows], self.information[rows])

    def log_likelihood(self, variance: float) -> float:
        """How well a Gaussian of this variance explains all images, in logarithms, less that of no motion."""
        spread = 1 + variance * self.information
        return float((variance * self.score**2 / spread - np.log(spread)).sum() / 2)

    def slope(self, variance: float) -> float:
        """Derivative of the log likelihood by the variance."""
        spread = 1 + variance * self.information
        return float(((self.score / spread) ** 2 - self.information / spread).sum() / 2)

    def best_variance(self) -> float:
        """The variance that explains the images best; 0 where noise does."""
        if self.slope(0.0) <= 0:
            return 0.0
        return float(brentq(self.slope, 0.0, self._far(self.slope), xtol=1e-9))

    def interval(self) -> tuple[float, float]:
        """Variances that explain the images nearly as well: 95 % of their likelihood ratios."""
        best = self.best_variance()
        least = self.log_likelihood(best) - _LOSS

        def above(variance: float) -> float:
            return self.log_likelihood(variance) - least

        low = 0.0 if above(0.0) >= 0 else float(brentq(above, 0.0, best, xtol=1e-9))
        return low, float(brentq(above, best, self._far(above, best), xtol=1e-9))

    def noise_share(self, variance: float) -> float:
        """Mean share of the variance of the images' measurements that their uncertainty makes up."""
        return float((1 / (1 + variance * self.information)).mean())

    def _far(self, function: Callable[[float], float], start: float = 0.0) -> float:
        """A variance beyond which a falling function is negative."""
        scale = 1 / max(self.information.mean(), 1e-300)
        end = start + scale
        while function(end) > 0:
            end = start + 4 * (end - start)
        return end


def density(along: Along, centres: Floats) -> Floats:
    """How many of the images are where, without their uncertainty: shares (m,) of bins about equally spaced centres.

    References
    ----------
    Silverman, Jones, Wilson & Nychka 1990, J. R. Stat. Soc. B 52:271 (EM with smoothing).
    """
    fit = along.score[:, None] * centres - along.information[:, None] * centres**2 / 2
    likely = np.exp(fit - fit.max(1, keepdims=True))
    share = np.full(len(centres), 1 / len(centres))
    for _ in range(_SMOOTHINGS):
        weight = likely * share
        share = (weight / weight.sum(1, keepdims=True)).mean(0)
        share = np.convolve(np.pad(share, 1, mode="edge"), [0.1, 0.8, 0.1], mode="valid")
        share /= share.sum()
    return share


def measured(along: Along, centres: Floats) -> Floats:
    """Shares (m,) of the images in equally spaced bins by their measurements, those beyond them in the last ones.

    Images that know less than a tenth of the median are left out.
    """
    known = along.information > 0.1 * np.median(along.information)
    place = (along.score[known] / along.information[known] - centres[0]) / (centres[1] - centres[0])
    bins = np.rint(place).clip(0, len(centres) - 1).astype(np.int64)
    return np.bincount(bins, minlength=len(centres)) / max(int(known.sum()), 1)
