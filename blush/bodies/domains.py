"""Rigid blocks of a molecule: the division whose blocks, each moved as a whole, come nearest to its slow modes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.cluster.vq import kmeans2
from scipy.linalg import eigh
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from blush.bodies.elastic import Floats, Integers, Network

_ROUNDS = 50
_STARTS = 5
_VOTERS = 9
"""A node and its neighbours, which decide together to which block it belongs."""
_FRAGMENT = 0.2
"""Part of a block's largest piece below which a piece apart from it goes to what is around it."""
_STANDS_OUT, _LEAST_GAIN = 2.0, 0.02
"""Factor by which one more block has to lower the flexible share to stand out, and by how much at least."""


@dataclass(frozen=True)
class Division:
    """A network in blocks.

    Attributes
    ----------
    label
        (n,) block of each node, from 0, the largest first.
    flexible_share
        Part of the slow modes, by mean square, that is no rigid motion of the blocks.
    """

    label: Integers
    flexible_share: float

    @property
    def count(self) -> int:
        """Number of blocks."""
        return int(self.label.max()) + 1


def divide(network: Network, count: int | None, most: int = 6) -> tuple[Division, dict[int, float]]:
    """Divide a network into rigid blocks.

    Parameters
    ----------
    count
        Number of blocks; None: the largest up to `most` whose last block stands out; where none does, that from which
        the flexible share falls by the largest factor.

    Returns
    -------
    The division, and the flexible share by number of blocks, of those that were tried.
    """
    wanted = range(2, most + 1) if count is None else range(count, count + 1)
    likeness = _likeness(network, max(wanted))
    tried = {q: _division(network, likeness[:, -q:]) for q in wanted}
    shares = {1: 1.0} | {q: one.flexible_share for q, one in tried.items()}
    if count is not None:
        return tried[count], shares
    largest = max((q for q in tried if stands_out(shares, q)), default=None)
    if largest is None:
        largest = max(tried, key=lambda q: (shares[q - 1] / max(shares[q], 1e-9), -q))
    return tried[largest], shares


def stands_out(shares: dict[int, float], count: int) -> bool:
    """Whether a division into so many blocks explains much more than one into fewer; where that was tried."""
    if count - 1 not in shares:
        return True
    fewer, share = shares[count - 1], shares[count]
    return fewer >= _STANDS_OUT * share and fewer - share >= _LEAST_GAIN


def _division(network: Network, likeness: Floats) -> Division:
    """Blocks by their strain first, then each node to the block whose rigid motion moves it best.

    Parameters
    ----------
    likeness
        (n, q) of `_likeness`, for q blocks.
    """
    count = likeness.shape[1]
    label = _clustered(likeness)
    for _ in range(_ROUNDS):
        nearest = _voted(network, _misfit(network, label, count).argmin(1), count)
        if (nearest == label).all():
            break
        label = nearest
    return as_division(network, _ordered(_joined(network, label, count)))


def as_division(network: Network, label: Integers) -> Division:
    """A network in given blocks, (n,) from 0; what blocks of a few nodes do counts as flexible."""
    misfit = _misfit(network, label, int(label.max()) + 1)[np.arange(len(label)), label]
    total = (network.modes**2).sum((1, 2))
    return Division(label, float(np.where(np.isfinite(misfit), misfit, total).sum() / total.sum()))


def _likeness(network: Network, count: int) -> Floats:
    """(n, count) vectors by which nodes whose ties keep their lengths lie together, the strongest last.

    References
    ----------
    Ponzoni et al. 2015, doi:10.1016/j.str.2015.06.022 (clustering by fluctuations of distances); Ng, Jordan & Weiss
    2001, https://papers.nips.cc/paper/2092-on-spectral-clustering-analysis-and-an-algorithm.
    """
    n, strain = len(network.position_angst), network.strain()
    likeness = np.zeros((n, n))
    first, second = network.pairs.T
    likeness[first, second] = likeness[second, first] = np.exp(-strain / (2 * strain.mean()))
    scale = 1 / np.sqrt(likeness.sum(1).clip(min=1e-9))
    _, vectors = eigh(likeness * scale[:, None] * scale, subset_by_index=(n - count, n - 1))
    return np.asarray(vectors)


def _clustered(likeness: Floats) -> Integers:
    """(n,) as many clusters as there are vectors."""
    points = likeness / np.linalg.norm(likeness, axis=1, keepdims=True).clip(min=1e-12)
    starts = [np.random.default_rng(seed) for seed in range(_STARTS)]
    found = [kmeans2(points, points.shape[1], minit="++", seed=start) for start in starts]
    spread = [float(((points - centre[label]) ** 2).sum()) for centre, label in found]
    return np.asarray(found[int(np.argmin(spread))][1], dtype=np.int64)


def _misfit(network: Network, label: Integers, count: int) -> Floats:
    """(n, q) mean square by which each node's modes miss the rigid motion of each block; infinite for tiny blocks."""
    misfit = np.full((len(label), count), np.inf)
    for block in range(count):
        own = label == block
        if own.sum() < _VOTERS:
            continue
        middle = network.position_angst[own].mean(0)
        arm, moved = network.position_angst[own] - middle, network.modes[own]
        shift = moved.mean(0)
        inertia = (arm**2).sum() * np.eye(3) - arm.T @ arm
        turned = np.cross(arm[:, None], (moved - shift).transpose(0, 2, 1)).sum(0)
        turn = np.linalg.solve(inertia + 1e-9 * np.trace(inertia) * np.eye(3), turned.T)
        rigid = shift + np.cross(turn.T, (network.position_angst - middle)[:, None]).transpose(0, 2, 1)
        misfit[:, block] = ((network.modes - rigid) ** 2).sum((1, 2))
    return misfit


def _voted(network: Network, label: Integers, count: int) -> Integers:
    """Labels after a vote of each node's neighbours; a tie goes to the node's own."""
    _, near = cKDTree(network.position_angst).query(network.position_angst, k=min(_VOTERS, len(label)))
    votes = np.stack([(label[near] == block).sum(1) for block in range(count)], 1).astype(np.float64)
    votes[np.arange(len(label)), label] += 0.5
    return np.asarray(votes.argmax(1), dtype=np.int64)


def _joined(network: Network, label: Integers, count: int) -> Integers:
    """Labels with small pieces apart from their block given to the nearest node of another."""
    first, second = network.pairs.T
    tied = label[first] == label[second]
    n = len(label)
    graph = sparse.coo_matrix((np.ones(tied.sum()), (first[tied], second[tied])), shape=(n, n))
    _, piece = connected_components(graph, directed=False)
    size = np.bincount(piece)[piece]
    largest = np.array([size[label == block].max(initial=0) for block in range(count)])
    kept = size >= np.maximum(_FRAGMENT * largest[label], _VOTERS)
    _, nearest = cKDTree(network.position_angst[kept]).query(network.position_angst)
    return np.asarray(np.where(kept, label, label[kept][nearest]), dtype=np.int64)


def _ordered(label: Integers) -> Integers:
    """Labels from 0 without gaps, the largest block first."""
    kinds, count = np.unique(label, return_counts=True)
    rank = np.argsort(np.argsort(-count, kind="stable"))
    return np.asarray(rank[np.searchsorted(kinds, label)], dtype=np.int64)
