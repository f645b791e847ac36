"""A map divided into compact parts: the first classes of a classification differ in how much of each they have.

Structures of one sample differ mostly in what is there and what is not, and where. As many numbers as there are parts
describe such a difference, against the many thousands of a map, so that few images decide them and their own noise
cannot hold them in a class. On the densities of all states together, the mean of all images, a state is 1 at the parts
that it has and 0 at those that it lacks (docs/classification.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

from blush.fourier.filter import gaussian

DENSE = 0.15
"""Density that belongs to a part, over the 99th percentile inside the mask."""
LLOYD_STEPS = 30
VOXELS_AT_ONCE = 2**16


def divide_into_parts(
    mean: Tensor, mask: Tensor, n_parts: int, seed: int, edge_px: float, interest: Tensor | None = None
) -> Tensor:
    """Weights of the parts of a map, which add up to 1 everywhere: k-means of its density.

    Parameters
    ----------
    mean, mask
        (N, N, N)
    edge_px
        Standard deviation of the edge of a part.
    interest
        (N, N, N) > 0: what density counts by, so that parts are smaller where it is large; None: the same everywhere.

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
    if interest is not None:
        weight = weight * interest.double()[chosen]
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
