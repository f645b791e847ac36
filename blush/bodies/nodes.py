"""Nodes of a map and of a model: what is divided among bodies, in the frame of the map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from blush.bodies.elastic import Floats, Integers, Network
from blush.errors import BlushError, Problem
from blush.fourier.filter import low_pass
from blush.fourier.mask import solid_density
from blush.io.mrc import Map
from blush.simulate.atoms import Unit, read_unit
from blush.simulate.settings import Specimen

_LOWPASS_ANGST = 15.0
_MOST_NODES = 800
"""More take long, and divide no better."""
_MAP_REACH, _MODEL_REACH_ANGST = 2.0, 15.0
"""Length of springs in cells of a map; in Å between residues, all of which are nodes."""
_LEAST_WEIGHT = 0.05
_LEAST_IN_MAP = 0.5
TITLE = "bodies cannot be proposed"


@dataclass(frozen=True)
class Density:
    """A map where it stands out of the solvent.

    Attributes
    ----------
    shape
        Axes z, y, x of the map.
    voxel
        (m, 3) z, y, x of its voxels that do.
    position_angst
        (m, 3) the same as x, y, z from voxel N/2.
    value
        (m,) low-passed density, 1 in the mean.
    local_angst
        (m,) local resolution; None where it is not known.
    """

    shape: tuple[int, int, int]
    pixel_size_angst: float
    voxel: Integers
    position_angst: Floats
    value: Floats
    local_angst: Floats | None = None

    @classmethod
    def of(cls, found: Map, diameter_angst: float, local: NDArray[np.float32] | None = None) -> Density:
        """What of a map stands out, inside the sphere of the particle.

        Parameters
        ----------
        local
            Local resolution in the box of the map, in Å.

        Raises
        ------
        BlushError
            If next to nothing does.
        """
        pixel, volume = found.pixel_size_angst, torch.from_numpy(found.array)
        solid = solid_density(volume, pixel, diameter_angst, _LOWPASS_ANGST)
        voxel = solid.nonzero().numpy()
        if len(voxel) < 100:
            remedy = "give a map of the particle with positive density, in its middle, and its diameter"
            raise BlushError(
                TITLE, [Problem("shows no density above the solvent", remedy, value=f"{len(voxel)} voxels")]
            )
        filtered = low_pass(volume, max(_LOWPASS_ANGST, 2 * pixel), pixel)[solid].double().clamp(min=0).numpy()
        position = (voxel[:, ::-1] - found.array.shape[0] // 2) * pixel
        depth, height, width = found.array.shape
        there = None if local is None else local[tuple(voxel.T)].astype(np.float64).clip(min=2 * pixel)
        return cls((depth, height, width), pixel, voxel, position, filtered / filtered.mean(), there)

    @property
    def solid(self) -> Tensor:
        """(N, N, N) boolean, where its voxels are."""
        solid = torch.zeros(self.shape, dtype=torch.bool)
        solid[tuple(torch.from_numpy(self.voxel.T))] = True
        return solid

    def network(self) -> tuple[Network, Integers]:
        """Elastic network of cells of density, and the (m,) cell of each voxel.

        Cells with little in them are no nodes; their voxels belong to the nearest one.
        """
        side = max(self.pixel_size_angst, (len(self.value) * self.pixel_size_angst**3 / _MOST_NODES) ** (1 / 3))
        _, cell = np.unique(np.floor(self.position_angst / side), axis=0, return_inverse=True)
        weight = np.bincount(cell.ravel(), self.value)
        middle = [np.bincount(cell.ravel(), self.value * axis) for axis in self.position_angst.T]
        kept = weight > _LEAST_WEIGHT * weight.mean()
        node = (np.stack(middle, 1) / weight.clip(min=1e-12)[:, None])[kept]
        _, nearest = cKDTree(node).query(self.position_angst)
        return Network.of(node, weight[kept], _MAP_REACH * side, self.local_at(node)), nearest.astype(np.int64)

    def local_at(self, position_angst: Floats) -> Floats | None:
        """Local resolution at points (n, 3), that of the nearest voxel; None where it is not known."""
        if self.local_angst is None:
            return None
        return np.asarray(self.local_angst[cKDTree(self.position_angst).query(position_angst)[1]])


@dataclass(frozen=True)
class Model:
    """An atomic model in the frame of a map.

    Attributes
    ----------
    unit
        Its atoms with their names.
    position_angst
        (n, 3) x, y, z of the atoms from voxel N/2 of the map.
    residue
        (n,) number of the residue of each atom, from 0.
    """

    unit: Unit
    position_angst: Floats
    residue: Integers

    @classmethod
    def read(cls, path: Path, found: Map, density: Density) -> Model:
        """Read a model that was fitted into a map.

        Raises
        ------
        BlushError
            If it cannot be read, or lies beside the density of the map.
        """
        unit = read_unit(Specimen(model=path))
        pixel = found.pixel_size_angst
        corner = np.array(found.placement.origin_angst) + pixel * np.array(found.placement.start_px)
        raw = (unit.atoms.position_angst + unit.frame.center_angst).numpy()
        position = raw - corner - pixel * (found.array.shape[0] // 2)
        distance, _ = cKDTree(density.position_angst).query(position, distance_upper_bound=2 * pixel)
        share = float(np.isfinite(distance).mean())
        if share < _LEAST_IN_MAP:
            remedy = "fit it into the map, as ChimeraX does (fitmap), and save it relative to the map"
            problem = Problem(
                "lies beside the density of the map", remedy, str(path), value=f"{share:.0%} of it inside"
            )
            raise BlushError(TITLE, [problem])
        names = unit.names
        keys = np.array(
            [f"{c}\0{r}\0{n}" for c, r, n in zip(names.chain, names.residue, names.residue_name, strict=True)]
        )
        _, first, residue = np.unique(keys, return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(first))
        return cls(unit, position, order[residue.ravel()].astype(np.int64))

    def network(self, density: Density) -> tuple[Network, Integers]:
        """Elastic network of every so many a residue, and the (n,) node of each atom."""
        count = np.bincount(self.residue)
        middle = np.stack([np.bincount(self.residue, axis) / count for axis in self.position_angst.T], 1)
        step = max(1, -(-len(middle) // _MOST_NODES))
        node = middle[::step]
        _, nearest = cKDTree(node).query(middle)
        reach = _MODEL_REACH_ANGST * step ** (1 / 3)
        network = Network.of(node, np.ones(len(node)), reach, density.local_at(node))
        return network, nearest.astype(np.int64)[self.residue]


def ranges(model: Model, rows: NDArray[np.bool_]) -> str:
    """Residues of some atoms by chain, as `A:1-120, A:240-310, B`; a chain alone is all of it."""
    names = model.unit.names
    parts = []
    for chain in dict.fromkeys(names.chain[rows].tolist()):
        mine = names.chain == chain
        shown = chain or "atoms of no chain"
        if rows[mine].all():
            parts.append(shown)
            continue
        every = np.unique(names.residue[mine])
        place = np.searchsorted(every, np.unique(names.residue[mine & rows]))
        breaks = np.flatnonzero(np.diff(place) > 1) + 1
        parts += [f"{shown}:{every[part[0]]}-{every[part[-1]]}" for part in np.split(place, breaks)]
    return ", ".join(parts)
