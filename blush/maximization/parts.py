"""A map divided into compact parts, and classes as occupancies of the parts: the first guess of a classification.

Structures of one sample differ mostly in what is there and what is not, and where. As many numbers as there are parts
describe such a difference, against the many thousands of a map, so that few images decide them and their own noise
cannot hold them in a class. On the densities of all states together, the mean of all images, a state is 1 at the parts
that it has and 0 at those that it lacks (docs/classification.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.fourier.filter import gaussian

DENSE = 0.15
"""Density that belongs to a part, over the 99th percentile inside the mask."""
LLOYD_STEPS = 30
VOXELS_AT_ONCE = 2**16
OCCUPANCY_SD = 0.5
"""Expected deviation of an occupancy from that of the mean map."""
STEPS = 300
SOFT_STEPS = 36
"""Steps over which posteriors are sharpened, where they begin soft."""
TOLERANCE = 1e-6
"""Gain of the log likelihood per image with which a mixture has settled."""


def divide_into_parts(mean: Tensor, mask: Tensor, n_parts: int, seed: int, edge_px: float) -> Tensor:
    """Weights of the parts of a map, which add up to 1 everywhere: k-means of its density.

    Parameters
    ----------
    mean, mask
        (N, N, N)
    edge_px
        Standard deviation of the edge of a part.

    Returns
    -------
    (parts, N, N, N); fewer parts than asked for where the map has fewer dense voxels.
    """
    density = (mean * mask).clamp_min(0).double()
    inside = density[mask > 0.5]
    # kthvalue, since quantile refuses large maps
    top = inside.kthvalue(max(1, int(0.99 * len(inside)))).values
    chosen = density > DENSE * top
    points, weight = torch.nonzero(chosen).double(), density[chosen]
    if not len(points):
        return torch.ones_like(mean)[None]
    centres = _lloyd(points, weight, _first_centres(points, weight, min(n_parts, len(points)), seed))
    box = mean.shape[0]
    axis = torch.arange(box, dtype=torch.float64, device=mean.device)
    owner = torch.empty(box**3, dtype=torch.int64, device=mean.device)
    voxels = torch.cartesian_prod(axis, axis, axis)
    for begin in range(0, len(voxels), VOXELS_AT_ONCE):
        owner[begin : begin + VOXELS_AT_ONCE] = _nearest(voxels[begin : begin + VOXELS_AT_ONCE], centres)[1]
    owner = owner.view(box, box, box)
    return torch.stack([gaussian((owner == m).to(mean.dtype), edge_px) for m in range(len(centres))])


def _nearest(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance to the nearest centre, and which it is."""
    square = points.square().sum(1)[:, None] - 2 * (points @ centres.T) + centres.square().sum(1)
    distance = square.clamp_min(0).min(1)
    return distance.values, distance.indices


def _first_centres(points: Tensor, weight: Tensor, count: int, seed: int) -> Tensor:
    """Centres far from each other (k-means++: Arthur & Vassilvitskii 2007)."""
    generator = torch.Generator().manual_seed(seed)

    def draw(chance: Tensor) -> Tensor:
        return points[torch.multinomial(chance.cpu() / chance.sum().cpu(), 1, generator=generator)]

    centres = draw(weight)
    distance = _nearest(points, centres)[0]
    while len(centres) < count and bool((distance > 0).any()):
        centres = torch.cat((centres, draw(distance * weight)))
        distance = torch.minimum(distance, _nearest(points, centres[-1:])[0])
    return centres


def _lloyd(points: Tensor, weight: Tensor, centres: Tensor) -> Tensor:
    for _ in range(LLOYD_STEPS):
        owner = torch.cat([_nearest(part, centres)[1] for part in torch.split(points, VOXELS_AT_ONCE)])
        total = torch.zeros(len(centres), dtype=torch.float64, device=points.device).index_add_(0, owner, weight)
        moved = torch.zeros_like(centres).index_add_(0, owner, points * weight[:, None])
        centres = torch.where(total[:, None] > 0, moved / total.clamp_min(1e-300)[:, None], centres)
    return centres


@dataclass(frozen=True)
class Occupancies:
    """Classes as occupancies of parts.

    Attributes
    ----------
    occupancy
        (classes, parts); 1 is that of the mean map.
    share
        (classes,) fraction of the images.
    log_likelihood
        That of the images under the classes over that under the mean map, with the prior of the occupancies.
    """

    occupancy: Tensor
    share: Tensor
    log_likelihood: float


def fit_occupancies(overlap: Tensor, gram: Tensor, n_classes: int, seed: int, starts: int) -> Occupancies:
    """The most probable of several mixtures of classes, each from a random start, by expectation-maximisation.

    Parameters
    ----------
    overlap
        (n, parts) float64: <X, CTF P_b> / sigma^2 of every image with the projection of every part.
    gram
        (n, parts, parts) float64: <CTF P_b, CTF P_c> / sigma^2.

    Notes
    -----
    With o = 1 + d the log likelihood of image i over that of the mean is d z_i - d G_i d / 2, z_i = y_i - G_i 1.
    """
    mixtures = _Mixtures(overlap - gram.sum(2), gram, n_classes, [seed * starts + i for i in range(starts)])
    for step in range(STEPS):
        if not mixtures.step(step):
            break
    return mixtures.best()


class _Mixtures:
    """Mixtures from several random starts, all of which take a step at once: they read the same products.

    Half of them are sharpened slowly: softened at first a mixture forgets a bad start; but where signal is weak, also
    every difference.
    """

    SOFTEST = (0.2, 1.0)
    """Of the log likelihood, at first."""

    def __init__(self, surprise: Tensor, gram: Tensor, n_classes: int, seeds: Sequence[int]) -> None:
        self.surprise, parts, device = surprise, surprise.shape[1], surprise.device
        self.row, self.column = torch.triu_indices(parts, parts, device=device)
        self.gram = gram.flatten(1)[:, self.row * parts + self.column]  # it is symmetric
        self.twice = torch.where(self.row == self.column, 1.0, 2.0).double()
        draws = [torch.randn(n_classes, parts, generator=_seeded(one), dtype=torch.float64) for one in seeds]
        self.change = (torch.stack(draws) * (OCCUPANCY_SD / 2)).to(device)
        self.share = torch.full((len(seeds), n_classes), 1 / n_classes, dtype=torch.float64, device=device)
        self.softest = torch.tensor([self.SOFTEST[i % 2] for i in range(len(seeds))], dtype=torch.float64)
        self.likelihood = torch.full((len(seeds),), -torch.inf, dtype=torch.float64)
        self.active = torch.arange(len(seeds))

    def step(self, number: int) -> bool:
        """One step of all mixtures that still change; whether any does."""
        active, n, parts = self.active, len(self.surprise), self.surprise.shape[1]
        change, share = self.change[active], self.share[active]
        softest = self.softest[active]
        sharpness = (softest + (1 - softest) * number / SOFT_STEPS).clamp_max(1.0)
        products = change[..., self.row] * change[..., self.column] * self.twice
        score = self.surprise @ change.flatten(0, 1).T - self.gram @ products.flatten(0, 1).T / 2
        score = score.view(n, *share.shape)
        penalty = change.square().sum((1, 2)) / OCCUPANCY_SD**2 / 2
        likelihood = (torch.logsumexp(score + share.log(), 2).sum(0) - penalty).cpu()
        posterior = torch.softmax(sharpness.to(score)[:, None] * score + share.log(), 2)
        share = posterior.mean(0).clamp_min(1 / n)
        self.share[active] = share / share.sum(1, keepdim=True)
        columns = posterior.flatten(1).T
        normal = torch.empty(len(columns), parts, parts, dtype=torch.float64, device=score.device)
        normal[:, self.row, self.column] = normal[:, self.column, self.row] = columns @ self.gram
        normal.diagonal(dim1=1, dim2=2).add_(1 / OCCUPANCY_SD**2)
        solved = torch.linalg.solve(normal, (columns @ self.surprise)[..., None])[..., 0]
        self.change[active] = solved.view_as(change)
        settled = (sharpness == 1) & ((likelihood - self.likelihood[active]).abs() < TOLERANCE * n)
        self.likelihood[active] = torch.where(sharpness == 1, likelihood, -torch.inf)
        self.active = active[~settled]
        return len(self.active) > 0

    def best(self) -> Occupancies:
        """The most probable one, its classes from large to small."""
        k = int(self.likelihood.argmax())
        order = torch.argsort(self.share[k], descending=True, stable=True)
        return Occupancies(1 + self.change[k, order], self.share[k, order], float(self.likelihood[k]))


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
