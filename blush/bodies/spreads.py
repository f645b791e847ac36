"""Families of spreads along a component, with the evidence of uncertain images: one top or two.

Lengths are in units of the standard deviation of all images, and parameters are free numbers, so that any is allowed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from blush.bodies.along import Along

Floats = NDArray[np.float64]
_LEAST_WIDTH = 0.05
"""Least standard deviation of a Gaussian or an edge over that of all."""
VALLEY = 0.9
"""Least depth of a valley, as its height over that of the lower top: where two Gaussians follow a steep flank and a
long tail, they may have a second top that is hardly one."""


@dataclass(frozen=True)
class Pair:
    """Two Gaussians: half their distance, their middle, logarithms of variances, logit of the share of the lower.

    With one top, the distance is at most twice the smaller standard deviation, which suffices at any shares.

    References
    ----------
    Behboodian 1970, doi:10.1080/00401706.1970.10488640.
    """

    one_top: bool
    free: tuple[float, ...]

    def parts(self, free: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shares, means and variances, (2,) each."""
        variance = _LEAST_WIDTH**2 + free[2:4].exp()
        half = torch.tanh(free[0]) * variance.min().sqrt() if self.one_top else free[0]
        share = torch.sigmoid(free[4])
        return torch.stack((share, 1 - share)), free[1] + torch.stack((-half, half)), variance

    def log_likelihood(self, r: Tensor, a: Tensor, free: Tensor) -> Tensor:
        """(n,) of images with evidence r z - a z^2 / 2."""
        share, mean, variance = self.parts(free)
        r, a = r[:, None], a[:, None]
        return torch.logsumexp(share.log() + _gaussian(r, a, mean, variance), 1)

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """Places of n images."""
        share, mean, variance = (part.numpy() for part in self.parts(_tensor(self.free)))
        first = rng.random(n) < share[0]
        return np.where(first, *mean) + np.sqrt(np.where(first, *variance)) * rng.standard_normal(n)

    def gaussians(self) -> tuple[Floats, Floats, Floats]:
        """Shares, means and standard deviations, the lower mean first."""
        share, mean, variance = (part.numpy() for part in self.parts(_tensor(self.free)))
        order = np.argsort(mean)
        return share[order], mean[order], np.sqrt(variance[order])

    def has_two_tops(self, least_share: float) -> bool:
        """Whether the density has two tops with a valley between, and both Gaussians their share of the images."""
        share, mean, variance = (part.numpy() for part in self.parts(_tensor(self.free)))
        if share.min() < least_share:
            return False
        x = np.linspace(mean.min(), mean.max(), 512)[:, None]
        height = (share * np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(variance)).sum(1)
        return bool(height.min() < VALLEY * min(height[0], height[-1]))


@dataclass(frozen=True)
class Plateau:
    """A plateau with soft edges and a Gaussian on it: one top, flat, skew or with tails.

    Free are the middle of the plateau, logarithms of half its width and of the variance of its edges, where on it the
    Gaussian is, the logarithm of its variance, and the logit of the plateau's share.
    """

    free: tuple[float, ...]

    def parts(self, free: Tensor) -> tuple[Tensor, ...]:
        """Share of the plateau, its ends and the variance of its edges; mean and variance of the Gaussian."""
        half, edge = free[1].exp(), _LEAST_WIDTH**2 + free[2].exp()
        mean, variance = free[0] + half * torch.tanh(free[3]), _LEAST_WIDTH**2 + free[4].exp()
        return torch.sigmoid(free[5]), free[0] - half, free[0] + half, edge, mean, variance

    def log_likelihood(self, r: Tensor, a: Tensor, free: Tensor) -> Tensor:
        """(n,) of images with evidence r z - a z^2 / 2."""
        _, low, high, edge, mean, variance = self.parts(free)
        a = a.clamp_min(1e-9)
        broad = (edge + 1 / a).sqrt()
        end, begin = (r / a - low) / broad, (r / a - high) / broad
        side = torch.where(end + begin > 0, -1.0, 1.0)  # of both tails the one where differences keep their digits
        upper, lower = torch.maximum(side * end, side * begin), torch.minimum(side * end, side * begin)
        log_upper, log_lower = torch.special.log_ndtr(upper), torch.special.log_ndtr(lower)
        log_part = log_upper + torch.log(-torch.expm1((log_lower - log_upper).clamp_max(-1e-12)))
        plateau = log_part - (high - low).log() + r**2 / (2 * a) + (2 * math.pi / a).log() / 2
        return torch.logaddexp(
            torch.nn.functional.logsigmoid(free[5]) + plateau,
            torch.nn.functional.logsigmoid(-free[5]) + _gaussian(r, a, mean, variance),
        )

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """Places of n images."""
        share, low, high, edge, mean, variance = (float(part) for part in self.parts(_tensor(self.free)))
        flat = rng.uniform(low, high, n) + math.sqrt(edge) * rng.standard_normal(n)
        return np.where(rng.random(n) < share, flat, mean + math.sqrt(variance) * rng.standard_normal(n))


Spread = Pair | Plateau
TWO_TOPS = tuple(Pair(False, (1.0, 0.0, -1.0, -1.0, share)) for share in (0.0, 1.5, -1.5))
ONE_TOP: tuple[Spread, ...] = (
    *(Pair(True, (1.0, 0.0, -1.0, -1.0, share)) for share in (0.0, 1.5, -1.5)),
    *(Plateau((middle, 0.3, -2.5, where, -1.0, 0.0)) for middle, where in ((0.0, 0.0), (0.3, -1.0), (-0.3, 1.0))),
)
"""Where searches begin."""


def best_spread(along: Along, starts: tuple[Spread, ...]) -> tuple[Spread, float]:
    """The spread that explains images best, of those that searches from the given ones find, and its log likelihood."""
    r, a = _tensor(along.score), _tensor(along.information)
    found = [_search(r, a, start) for start in starts]
    return max(found, key=lambda one: one[1])


def _search(r: Tensor, a: Tensor, start: Spread) -> tuple[Spread, float]:
    def lacking(values: Floats) -> tuple[float, Floats]:
        free = _tensor(values).requires_grad_()
        log_likelihood = start.log_likelihood(r, a, free).mean()
        (slope,) = torch.autograd.grad(log_likelihood, free)
        return -log_likelihood.item(), -slope.numpy()

    best = minimize(lacking, np.array(start.free), jac=True, method="L-BFGS-B", bounds=[(-12, 12)] * len(start.free))
    return replace(start, free=tuple(best.x.tolist())), -float(best.fun) * len(r)


def log_likelihoods(along: Along, spread: Spread) -> Floats:
    """(n,) of images under a spread."""
    r, a = _tensor(along.score), _tensor(along.information)
    found: Floats = spread.log_likelihood(r, a, _tensor(spread.free)).numpy()
    return found


def _gaussian(r: Tensor, a: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Log of the mean of exp(r z - a z^2 / 2) over a Gaussian."""
    narrow = 1 + a * variance
    return r * mean - a * mean**2 / 2 + variance * (r - a * mean) ** 2 / (2 * narrow) - narrow.log() / 2


def _tensor(values: Floats | tuple[float, ...]) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)
