"""Grid orientations near a prior orientation, with a Gaussian prior (docs/algorithm.md, section 3)."""

import math

import torch
from torch import Tensor

from blush.geometry.directions import DirectionTree
from blush.geometry.healpix import angular_step_deg

# Directions looked at for a chunk of particles; the largest temporary holds three float64 of each: 48 MB.
_CHUNK_ELEMENTS = 1 << 21


def local_neighbours(
    prior: Tensor, mates: Tensor, tree: DirectionTree, sigma_deg: float, cut: float = 3.0
) -> tuple[Tensor, Tensor]:
    """Orientations within `cut` sigma of a prior one, in direction and in plane, and their prior.

    The distance is to every mate A M of the prior orientation A. In plane it is the angle from the
    grid's psi to the psi that brings the node's direction closest to the mate, which near the poles differs from the
    difference of the Euler angles psi. Where no direction survives the cut the nearest one is used, and
    where no psi does, the nearest one.

    Parameters
    ----------
    prior
        (n, 3, 3) float64 previous orientations.
    mates
        (o, 3, 3) symmetry operators, right-multiplied by whatever takes a prior to the frame of the grid.
    tree
        Directions of the grid; psi is 0, step, ... with the step of its order.
    sigma_deg, cut
        Standard deviation of both Gaussians, and their limit in standard deviations.

    Returns
    -------
    orientation
        (n, m) int64 direction position * n_psi + psi position, ascending; -1 pads the end of each row.
    log_prior
        (n, m) float64; its exponential sums to 1 over each row, -inf in the padding.
    """
    if sigma_deg <= 0:
        raise ValueError(f"sigma {sigma_deg} degrees of the local search must be positive")
    if len(prior) == 0:
        return prior.new_zeros((0, 0), dtype=torch.int64), prior.new_zeros((0, 0))
    chunk = max(1, _CHUNK_ELEMENTS // (len(mates) * tree.visited(cut * sigma_deg)))
    parts = [_neighbours_of(block, mates, tree, sigma_deg, cut) for block in torch.split(prior, chunk)]
    width = max(part[0].shape[1] for part in parts)
    orientation = torch.cat([_widen(part[0], width, -1) for part in parts])
    return orientation, torch.cat([_widen(part[1], width, -math.inf) for part in parts])


def _neighbours_of(
    prior: Tensor, mates: Tensor, tree: DirectionTree, sigma_deg: float, cut: float
) -> tuple[Tensor, Tensor]:
    """`local_neighbours` for one chunk of particles."""
    frames, n_psi, step_deg = tree.frames, 6 * 2**tree.healpix_order, angular_step_deg(tree.healpix_order)
    mate = prior[:, None] @ mates
    row, which, node = tree.near(mate[:, :, 2], cut * sigma_deg)
    chosen = mate[row, which]
    distance_deg = _angle_deg(chosen[:, 2], frames[node, 2])
    psi, gap_deg = _near_psi(_closest_psi_deg(frames[node], chosen), n_psi, step_deg, cut * sigma_deg)
    log_weight = -0.5 * (distance_deg[:, None] ** 2 + gap_deg**2) / sigma_deg**2
    inside = psi >= 0
    key = (row[:, None] * len(frames) + node[:, None]) * n_psi + psi
    key, log_weight = _best_of_each(key[inside], log_weight[inside])
    return _pad_rows(key, log_weight, len(prior), len(frames) * n_psi)


def _angle_deg(first: Tensor, second: Tensor) -> Tensor:
    """Angle between unit vectors (..., 3), accurate for small ones."""
    chord = torch.linalg.vector_norm(first - second, dim=-1)
    return torch.rad2deg(2 * torch.asin((chord / 2).clamp(max=1)))


def _closest_psi_deg(frame: Tensor, target: Tensor) -> Tensor:
    """Psi for which Rz(psi) frame is closest to target: it maximises trace(Rz(psi) frame target^T)."""
    product = frame @ target.transpose(-1, -2)
    return torch.rad2deg(torch.atan2(product[..., 1, 0] - product[..., 0, 1], product[..., 0, 0] + product[..., 1, 1]))


def _near_psi(centre_deg: Tensor, n_psi: int, step_deg: float, limit_deg: float) -> tuple[Tensor, Tensor]:
    """(c, w) psi positions within the limit of each centre (-1 where outside), and their signed gaps in degrees."""
    reach = math.ceil(limit_deg / step_deg)
    window = torch.arange(min(2 * reach + 1, n_psi), device=centre_deg.device)
    nearest = torch.floor(centre_deg / step_deg + 0.5)
    position = nearest[:, None] + window - len(window) // 2
    gap_deg = position * step_deg - centre_deg[:, None]
    gap_deg = torch.remainder(gap_deg + 180.0, 360.0) - 180.0
    inside = (gap_deg.abs() <= limit_deg) | (window == len(window) // 2)
    position = torch.remainder(position.long(), n_psi)
    return torch.where(inside, position, -1), gap_deg


def _best_of_each(key: Tensor, log_weight: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct keys, ascending, with their largest weight: a node near two mates counts once."""
    distinct, inverse = torch.unique(key, return_inverse=True)
    best = log_weight.new_full((len(distinct),), -math.inf)
    return distinct, best.scatter_reduce(0, inverse, log_weight, "amax")


def _pad_rows(key: Tensor, log_weight: Tensor, n_rows: int, row_size: int) -> tuple[Tensor, Tensor]:
    """Lay ascending keys row * row_size + orientation out as (n_rows, m), normalising each row."""
    row = key // row_size
    count = torch.bincount(row, minlength=n_rows)
    column = torch.arange(len(key), device=key.device) - (count.cumsum(0) - count)[row]
    orientation = key.new_full((n_rows, int(count.max())), -1)
    orientation[row, column] = key % row_size
    table = log_weight.new_full(orientation.shape, -math.inf)
    table[row, column] = log_weight
    return orientation, table - torch.logsumexp(table, 1, keepdim=True)


def _widen(table: Tensor, width: int, fill: float) -> Tensor:
    """Pad the rows of (n, m) to (n, width)."""
    return torch.nn.functional.pad(table, (0, width - table.shape[1]), value=fill)
