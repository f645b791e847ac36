"""The bodies of a molecule that moves: which atoms they have, their densities, masks and centres."""

from dataclasses import dataclass

import gemmi
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from blush.errors import BlushError, Problem
from blush.geometry.bodies import BodyExtent
from blush.simulate.atoms import Atoms, Unit
from blush.simulate.body_settings import MovingBody
from blush.simulate.changes import atoms_of, check_part, whole
from blush.simulate.mixture_settings import Selection
from blush.simulate.particle import Particle, build_structure
from blush.simulate.settings import SimulateConfig
from blush.simulate.solvent import excluded_volume, soft_mask

_EXTEND_ANGST = 8.0
_EDGE_ANGST, _EDGE_PX = 12.0, 4.0
"""Width of a mask's edge: the larger of both."""
_TOUCH_ANGST = 5.0
_TITLE = "cannot simulate bodies"


@dataclass(frozen=True)
class SimulatedBody:
    """One body where it rests.

    Attributes
    ----------
    atoms
        In the frame of the resting molecule, centred as that is.
    particle
        Its density by itself, in its place in the box.
    mask
        (N, N, N) float32 soft mask.
    centre_angst
        (3,) float64, centre of the mask in whole voxels.
    """

    name: str
    atoms: Atoms
    particle: Particle
    mask: Tensor
    centre_angst: Tensor

    @property
    def radius_angst(self) -> float:
        """Distance of its farthest atom from its centre."""
        return float((self.atoms.position_angst - self.centre_angst).norm(dim=1).max())

    @property
    def kilodalton(self) -> float:
        """Mass without hydrogen."""
        weight = torch.tensor([gemmi.Element(int(z)).weight for z in self.atoms.element], dtype=torch.float64)
        return float((weight * self.atoms.occupancy).sum() / 1000)


def build_bodies(unit: Unit, settings: SimulateConfig) -> tuple[SimulatedBody, ...]:
    """Divide a model among its bodies, and compute the density of each.

    Raises
    ------
    BlushError
        Where a selection finds nothing, or an atom belongs to no body or to several.
    """
    owner = torch.from_numpy(_owners(unit, settings.bodies))
    count = len(unit.rotations)
    occupancy = unit.atoms.occupancy.repeat(count) / (count if unit.averaged else 1)
    element, bfactor = unit.atoms.element.repeat(count), unit.atoms.bfactor_angst2.repeat(count)
    atoms = Atoms(element, unit.placed(unit.atoms.position_angst), occupancy, bfactor)
    box, pixel = settings.imaging.box_px, settings.imaging.pixel_size_angst
    made = []
    for number, body in enumerate(settings.bodies):
        own = atoms.take(owner == number)
        volume = excluded_volume(own, box, pixel)
        mask = soft_mask(volume, box, pixel, _EXTEND_ANGST, max(_EDGE_ANGST, _EDGE_PX * pixel))
        centre = pixel * BodyExtent.of(mask).centre_px
        made.append(SimulatedBody(body.name, own, build_structure(whole(own), None, settings), mask, centre))
    return tuple(made)


def touching_angst(bodies: tuple[SimulatedBody, ...], number: int) -> Tensor:
    """Middle of the atoms of one body that touch others, (3,).

    Raises
    ------
    BlushError
        If none does.
    """
    own = bodies[number].atoms.position_angst
    others = torch.cat([body.atoms.position_angst for b, body in enumerate(bodies) if b != number])
    distance, _ = cKDTree(others.numpy()).query(own.numpy(), distance_upper_bound=_TOUCH_ANGST)
    near = torch.from_numpy(distance <= _TOUCH_ANGST)
    if not bool(near.any()):
        remedy = "say in `through` where its hinge is"
        message = f"touches no other body within {_TOUCH_ANGST:g} Å"
        raise BlushError(_TITLE, [Problem(message, remedy, where=f"body {bodies[number].name}")])
    return own[near].mean(0)


def _owners(unit: Unit, bodies: tuple[MovingBody, ...]) -> NDArray[np.int64]:
    """(o n,) number of the body of each atom of each copy."""
    owner = np.full(len(unit.rotations) * len(unit.atoms), -1, dtype=np.int64)
    rest = next((number for number, body in enumerate(bodies) if body.select is None), -1)
    for number, body in enumerate(bodies):
        for selection in body.selections or ():
            check_part(unit, selection, f"body {body.name}")
            rows = _in_copies(unit, selection)
            taken = rows & (owner >= 0) & (owner != number)
            if taken.any():
                other = bodies[int(owner[taken][0])].name
                message = f"selects atoms that body {other} has already"
                problem = Problem(
                    message, "correct one of both", str(unit.path), f"body {body.name}", _named(unit, taken)
                )
                raise BlushError(_TITLE, [problem])
            owner[rows] = number
    left = owner < 0
    if rest >= 0 and not left.any():
        problem = Problem(
            "is to have the rest, and none is left", "remove it", str(unit.path), f"body {bodies[rest].name}"
        )
        raise BlushError(_TITLE, [problem])
    if rest < 0 and left.any():
        remedy = "add a body without select, which has the rest"
        problem = Problem("has atoms in no body", remedy, str(unit.path), value=_named(unit, left))
        raise BlushError(_TITLE, [problem])
    return np.where(left, rest, owner)


def _in_copies(unit: Unit, selection: Selection) -> NDArray[np.bool_]:
    """(o n,) bool, atoms that match, in the copies that are meant."""
    copies = range(1, len(unit.rotations) + 1)
    own = atoms_of(unit, selection)
    return np.concatenate([own & (selection.copies is None or copy in selection.copies) for copy in copies])


def _named(unit: Unit, rows: NDArray[np.bool_]) -> str:
    """How many atoms, and the first of them by chain and residue."""
    first = int(np.flatnonzero(rows)[0]) % len(unit.atoms)
    return f"{int(rows.sum())} atoms, the first in chain {unit.names.chain[first]}, residue {unit.names.residue[first]}"
