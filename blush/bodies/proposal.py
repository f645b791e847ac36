"""Bodies proposed for a map: masks around blocks of it, with soft edges that overlap at their interfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from blush.bodies.domains import Division, as_division, divide
from blush.bodies.elastic import Integers
from blush.bodies.nodes import TITLE, Density, Model
from blush.errors import BlushError, Problem
from blush.fourier.mask import extend_and_soften
from blush.simulate.changes import atoms_of, check_part
from blush.simulate.mixture_settings import Part

_EDGE_ANGST, _EDGE_PX = 12.0, 4.0
"""Width of a mask's edge: the larger of both."""
_GROWTH_ANGST = 5.0
"""How far masks are 1 beyond the density, into the solvent."""
_SEQUENCE = 15
"""Residues in a row that decide together to which block the middle one belongs."""
_NEAR_ATOM_ANGST = 4.0
"""Voxels so near to an atom belong to its body, whatever the map shows there."""


@dataclass(frozen=True)
class NamedParts:
    """A body that is asked for by name: parts of the model; none is what no other body has."""

    name: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Blocks:
    """Which block every point belongs to.

    Attributes
    ----------
    position_angst, label
        (p, 3) points and their (p,) blocks from 0; -1 for none.
    division
        The blocks of the elastic network, with their flexible share.
    shares
        Flexible share by number of blocks, of those that were tried.
    reach_angst
        How far from a point voxels belong to its block, whatever the map shows there.
    """

    position_angst: NDArray[np.float64]
    label: Integers
    division: Division
    shares: dict[int, float]
    reach_angst: float = 0.0


def blocks_of_map(density: Density, count: int | None) -> Blocks:
    """Blocks of a map alone."""
    network, node = density.network()
    division, shares = divide(network, count)
    return Blocks(density.position_angst, division.label[node], division, shares)


def blocks_of_model(model: Model, density: Density, count: int | None) -> Blocks:
    """Blocks of a model in a map."""
    network, node = model.network(density)
    division, shares = divide(network, count)
    label = _along_chains(model, division.label[node], division.count)
    return Blocks(model.position_angst, label, division, shares, _NEAR_ATOM_ANGST)


def _along_chains(model: Model, label: Integers, count: int) -> Integers:
    """(n,) labels of atoms after a vote of the residues before and after, so that chains are cut in few places."""
    chain = model.unit.names.chain
    _, first = np.unique(model.residue, return_index=True)
    result = label.copy()
    for name in dict.fromkeys(chain.tolist()):
        residues = np.flatnonzero(chain[first] == name)
        share = np.stack([label[first[residues]] == block for block in range(count)]).astype(np.float64)
        voted = ndimage.uniform_filter1d(share, _SEQUENCE, axis=1, mode="nearest").argmax(0)
        mine = chain == name
        result[mine] = voted[np.searchsorted(residues, model.residue[mine])]
    return result


def blocks_by_name(model: Model, density: Density, bodies: Sequence[NamedParts]) -> Blocks:
    """Blocks that were asked for; atoms in none of them have label -1.

    Raises
    ------
    BlushError
        If a part finds nothing, or two bodies have the same atoms.
    """
    owner = np.full(len(model.position_angst), -1, dtype=np.int64)
    for number, body in enumerate(bodies):
        for part in body.parts:
            check_part(model.unit, part, f"body {body.name}")
            rows = atoms_of(model.unit, part)
            taken = owner[rows & (owner >= 0) & (owner != number)]
            if len(taken):
                message, other = f"has atoms that body {bodies[int(taken[0])].name} has already", f"{len(taken)} atoms"
                raise BlushError(
                    TITLE, [Problem(message, "correct one of both", where=f"body {body.name}", value=other)]
                )
            owner[rows] = number
    rest = [number for number, body in enumerate(bodies) if not body.parts]
    if rest and not (owner < 0).any():
        problem = Problem("is to have the rest, and none is left", "leave it out", where=f"body {bodies[rest[0]].name}")
        raise BlushError(TITLE, [problem])
    owner = np.where(owner < 0, rest[0] if rest else -1, owner)
    network, node = model.network(density)
    own = np.stack([np.bincount(node, owner == b, len(network.position_angst)) for b in range(len(bodies))], 1)
    division = as_division(network, own.argmax(1).astype(np.int64))
    shares = {1: 1.0, len(bodies): division.flexible_share}
    return Blocks(model.position_angst, owner, division, shares, _NEAR_ATOM_ANGST)


def masks_of(blocks: Blocks, density: Density, overlap_angst: float) -> Tensor:
    """Soft masks, (B, N, N, N) float32, around each block's part of the density.

    Every voxel of density belongs to the nearest point's block, and to others within half of the overlap; into the
    solvent all fall off alike.

    Parameters
    ----------
    overlap_angst
        How deep two neighbours reach into each other with their full height.
    """
    pixel, middle = density.pixel_size_angst, density.shape[0] // 2
    voxel = np.concatenate([density.voxel, _around(blocks, density)])
    _, nearest = cKDTree(blocks.position_angst).query((voxel[:, ::-1] - middle) * pixel)
    label = np.full(density.shape, -1, dtype=np.int64)
    label[tuple(voxel.T)] = blocks.label[nearest]
    edge = max(_EDGE_ANGST / pixel, _EDGE_PX)
    envelope = extend_and_soften(torch.from_numpy(label >= 0), _GROWTH_ANGST / pixel, edge)
    own = [torch.from_numpy(label == block) for block in range(int(blocks.label.max()) + 1)]
    return torch.stack(
        [torch.minimum(extend_and_soften(one, overlap_angst / 2 / pixel, edge), envelope) for one in own]
    )


def _around(blocks: Blocks, density: Density) -> Integers:
    """(m, 3) z, y, x of the voxels within reach of the blocks' points, whatever the map shows there."""
    if blocks.reach_angst == 0:
        return np.zeros((0, 3), dtype=np.int64)
    far = np.ones(density.shape, dtype=bool)
    place = np.round(blocks.position_angst[:, ::-1] / density.pixel_size_angst).astype(np.int64) + density.shape[0] // 2
    far[tuple(place[((place >= 0) & (place < density.shape)).all(1)].T)] = False
    distance = ndimage.distance_transform_edt(far, sampling=density.pixel_size_angst)
    return np.argwhere(distance <= blocks.reach_angst).astype(np.int64)


def neighbours(masks: Tensor) -> list[int | None]:
    """The body that each body overlaps most; None for one that overlaps none."""
    found: list[int | None] = []
    for b, mask in enumerate(masks):
        shared = [float(torch.minimum(mask, other).sum()) if o != b else 0.0 for o, other in enumerate(masks)]
        best = int(np.argmax(shared))
        found.append(best if shared[best] > 0 else None)
    return found
