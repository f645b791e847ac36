"""Slow modes of an elastic network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import eigsh
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_RIGID = 6
"""Modes of a network that moves as a whole."""
_NEAREST = 8
"""Neighbours that every node is tied to, however far: a node at a tip would be loose, and its modes the slowest."""
_MODES = 20
_ALIKE, _WEAKEST = 0.1, 0.02
"""Relative difference of local resolutions that halves a spring, about; and what is left of one at least."""
_ASKED, _LEAST_MOVED = 2, 0.05
"""So many times as many modes are computed, for those that move less than this part of the nodes are left out: loose
ends and linkers, which say nothing of domains."""
_SHIFT = -1e-3
_SLOWEST = 1e-4
"""Eigenvalues below it count as this: parts that nothing holds together."""


@dataclass(frozen=True)
class Network:
    """Nodes of a molecule, and which of them are tied.

    Attributes
    ----------
    position_angst
        (n, 3) x, y, z.
    pairs
        (p, 2) tied nodes, each pair once.
    modes
        (n, 3, k) slowest deformations, each scaled by its thermal amplitude; relative units.
    """

    position_angst: Floats
    pairs: Integers
    modes: Floats

    @classmethod
    def of(
        cls, position_angst: Floats, weight: Floats, reach_angst: float, local_angst: Floats | None = None
    ) -> Network:
        """Anisotropic elastic network: springs between all nodes within a distance.

        Parameters
        ----------
        position_angst
            (n, 3) nodes.
        weight
            (n,) strengths; a spring is as strong as the geometric mean of its ends.
        reach_angst
            Longest spring.
        local_angst
            (n,) local resolution, where it is known: springs between nodes of unlike resolution are weak, for parts
            that move together blur alike.

        References
        ----------
        Atilgan et al. 2001, doi:10.1016/S0006-3495(01)76033-X (anisotropic network); Ming et al. 2002,
        doi:10.1073/pnas.082148899 (nodes of a density map).
        """
        pairs = _pairs(position_angst, reach_angst)
        spring = np.sqrt(weight[pairs].prod(1)) / weight.mean()
        if local_angst is not None:
            unlike = np.log(local_angst[pairs[:, 0]] / local_angst[pairs[:, 1]])
            spring = spring * np.maximum(np.exp(-0.5 * (unlike / _ALIKE) ** 2), _WEAKEST)
        hessian = _hessian(position_angst, pairs, spring)
        n = 3 * len(position_angst)
        start = np.random.default_rng(0).standard_normal(n)
        values, vectors = eigsh(hessian, k=min(_ASKED * _MODES + _RIGID, n - 1), sigma=_SHIFT, v0=start)
        slowest = np.argsort(values, kind="stable")[_RIGID:]
        modes = (vectors[:, slowest] / np.sqrt(np.maximum(values[slowest], _SLOWEST))).reshape(-1, 3, len(slowest))
        return cls(position_angst, pairs, modes[..., _collective(modes)][..., :_MODES])

    def strain(self) -> Floats:
        """(p,) mean square change of the length of each tie."""
        first, second = self.pairs.T
        line = self.position_angst[second] - self.position_angst[first]
        line /= np.linalg.norm(line, axis=1, keepdims=True)
        return np.asarray((np.einsum("pak,pa->pk", self.modes[second] - self.modes[first], line) ** 2).sum(1))


def _collective(modes: Floats) -> NDArray[np.bool_]:
    """(k,) whether a mode moves more than a few nodes; all where none does."""
    square = (modes**2).sum(1)
    share = square.sum(0) ** 2 / (len(modes) * (square**2).sum(0))
    return share >= _LEAST_MOVED if (share >= _LEAST_MOVED).any() else np.ones(len(share), dtype=bool)


def _pairs(position_angst: Floats, reach_angst: float) -> Integers:
    """(p, 2) pairs of nodes within reach, and of each with its nearest, in ascending order."""
    tree = cKDTree(position_angst)
    near = tree.query_pairs(reach_angst, output_type="ndarray")
    _, nearest = tree.query(position_angst, k=min(_NEAREST + 1, len(position_angst)))
    tied = np.stack([np.repeat(np.arange(len(nearest)), nearest.shape[1] - 1), nearest[:, 1:].ravel()], 1)
    return np.unique(np.sort(np.concatenate([near, tied]), axis=1), axis=0).astype(np.int64)


def _hessian(position_angst: Floats, pairs: Integers, spring: Floats) -> sparse.csc_matrix:
    """(3n, 3n) second derivatives of the energy of all springs."""
    n = len(position_angst)
    line = position_angst[pairs[:, 1]] - position_angst[pairs[:, 0]]
    line /= np.linalg.norm(line, axis=1, keepdims=True)
    block = spring[:, None, None] * line[:, :, None] * line[:, None, :]
    diagonal = np.zeros((n, 3, 3))
    np.add.at(diagonal, pairs.ravel(), np.repeat(block, 2, axis=0))
    rows = np.concatenate([pairs[:, 0], pairs[:, 1], np.arange(n)])
    columns = np.concatenate([pairs[:, 1], pairs[:, 0], np.arange(n)])
    order = np.lexsort((columns, rows))
    blocks = np.concatenate([-block, -block, diagonal])[order]
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
    return sparse.bsr_matrix((blocks, columns[order], starts), shape=(3 * n, 3 * n)).tocsc()
