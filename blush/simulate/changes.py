"""Changes to an atomic model that make another state of it: atoms removed, turned about a hinge, or there in part."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from blush.errors import BlushError, Problem
from blush.simulate.atoms import Atoms, Unit
from blush.simulate.mixture_settings import Change, Occupancy, Part, Remove, Rotate, Selection


@dataclass(frozen=True)
class Structure:
    """Atoms of one state, centred as the unchanged particle is.

    Attributes
    ----------
    atoms
        What is there; occupancy counts `presence`.
    presence
        (n,) float64, the share of particles that have each atom, and its hole in the solvent.
    touched
        Atoms that a change has to do with, where they were and where they are.
    """

    atoms: Atoms
    presence: Tensor
    touched: Atoms


@dataclass(frozen=True)
class _Changed:
    """A unit after some changes: where its atoms are, which share of particles has them, and which were touched."""

    position_angst: Tensor
    presence: Tensor
    touched: Tensor


def whole(atoms: Atoms) -> Structure:
    """Atoms without any change."""
    return Structure(atoms, torch.ones(len(atoms), dtype=torch.float64), atoms.take(torch.arange(0)))


def changed(unit: Unit, changes: Sequence[Change], species: str) -> Structure:
    """A model with changes, in the place of every symmetry copy.

    Parameters
    ----------
    changes
        With one angle each.
    species
        Its name, for errors.

    Raises
    ------
    BlushError
        Where a change selects no atom, a chain or a copy that is not there, or nothing is left.
    """
    _check(unit, changes, species)
    count = len(unit.rotations)
    chosen = [
        tuple(k for k, change in enumerate(changes) if copy in (change.select.copies or (copy,)))
        for copy in range(1, count + 1)
    ]
    made = {which: _apply(unit, [changes[k] for k in which]) for which in set(chosen)}
    parts = [made[which] for which in chosen]
    before = unit.placed(unit.atoms.position_angst)
    places = {which: unit.placed(part.position_angst).view(count, -1, 3) for which, part in made.items()}
    each = [places[which][copy] for copy, which in enumerate(chosen)]
    presence, touched = torch.cat([p.presence for p in parts]), torch.cat([p.touched for p in parts])
    occupancy = unit.atoms.occupancy.repeat(count) / (count if unit.averaged else 1)
    element, bfactor = unit.atoms.element.repeat(count), unit.atoms.bfactor_angst2.repeat(count)
    after = Atoms(element, torch.cat(each), occupancy * presence, bfactor)
    there = presence > 0
    if not there.any():
        raise _refused(unit, f"species {species}", "no atom is left", "remove fewer")
    old = Atoms(element, before, occupancy, bfactor).take(touched)
    return Structure(after.take(there), presence[there], _joined(old, after.take(touched & there)))


def _apply(unit: Unit, changes: Sequence[Change]) -> _Changed:
    """The unit in its own place after changes, in their order."""
    state = _Changed(
        unit.atoms.position_angst,
        torch.ones(len(unit.atoms), dtype=torch.float64),
        torch.zeros(len(unit.atoms), dtype=torch.bool),
    )
    for change in changes:
        rows = torch.from_numpy(atoms_of(unit, change.select))
        position, presence = state.position_angst, state.presence
        if isinstance(change, Remove):
            presence = torch.where(rows, 0.0, presence)
        elif isinstance(change, Occupancy):
            presence = torch.where(rows, change.scale * presence, presence)
        else:
            position = torch.where(rows[:, None], _turned(unit, change, position), position)
        state = _Changed(position, presence, state.touched | rows)
    return state


def _turned(unit: Unit, change: Rotate, position: Tensor) -> Tensor:
    """All atoms turned about the axis of a change."""
    if not isinstance(change.angle_deg, float):
        raise TypeError(f"an angle is wanted, not {change.angle_deg}")
    first, second = change.axis[0], change.axis[1]
    if isinstance(first, Part) and isinstance(second, Part):
        ends = middle_of(unit, first), middle_of(unit, second)
        axis, point = ends[1] - ends[0], ends[0]
    else:
        axis, point = torch.tensor(change.axis, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    if isinstance(change.through, Part):
        point = middle_of(unit, change.through)
    elif change.through is not None:
        point = torch.tensor(change.through, dtype=torch.float64) + unit.frame.middle_angst
    turn = torch.from_numpy(
        Rotation.from_rotvec((axis / axis.norm()).numpy() * change.angle_deg, degrees=True).as_matrix()
    )
    return (position - point) @ turn.T + point


def middle_of(unit: Unit, part: Part) -> Tensor:
    """Mean position of the chosen atoms, before any change, and before `unit.frame.middle_angst` is subtracted."""
    return unit.atoms.position_angst[torch.from_numpy(atoms_of(unit, part))].mean(0)


def atoms_of(unit: Unit, part: Part) -> NDArray[np.bool_]:
    """Atoms of the unit that match: (n,) bool."""
    names = unit.names
    rows = np.ones(len(unit.atoms), dtype=bool)
    if part.chains is not None:
        rows &= np.isin(names.chain, part.chains)
    if part.residue_names is not None:
        rows &= np.isin(names.residue_name, part.residue_names)
    if part.residues is not None:
        within = [(names.residue >= first) & (names.residue <= last) for first, last in part.residues]
        rows &= np.any(within, axis=0)
    return rows


def _check(unit: Unit, changes: Sequence[Change], species: str) -> None:
    """Refuse selections that find nothing."""
    for number, change in enumerate(changes, start=1):
        where = f"species {species}, change {number}"
        parts: list[Part] = [change.select]
        if isinstance(change, Rotate):
            parts += [p for p in (*change.axis, change.through) if isinstance(p, Part)]
        for part in parts:
            check_part(unit, part, where)
        if isinstance(change, Rotate) and len(parts) > 2 and _no_direction(unit, change):
            raise _refused(unit, where, "both ends of the axis are one point", "choose other atoms")


def check_part(unit: Unit, part: Part, where: str) -> None:
    """Refuse a selection that finds nothing.

    Parameters
    ----------
    where
        What selects, for the error.

    Raises
    ------
    BlushError
        With the chains or copies that there are.
    """
    chains = list(dict.fromkeys(unit.names.chain.tolist()))
    missing = [name for name in part.chains or () if name not in chains]
    if missing:
        raise _refused(unit, where, f"the model has chains {chains}", "name some of them", " ".join(missing))
    if not atoms_of(unit, part).any():
        said = ", ".join(f"{k}: {v}" for k, v in part.model_dump(exclude_none=True).items() if k != "copies")
        raise _refused(unit, where, "selects no atom", "correct the selection", said)
    over = [copy for copy in part.copies or () if copy > len(unit.rotations)] if isinstance(part, Selection) else []
    if over:
        message = f"symmetry puts the model into {len(unit.rotations)} places"
        raise _refused(unit, where, message, "name some of them in copies", str(over[0]))


def _no_direction(unit: Unit, change: Rotate) -> bool:
    """Whether the two selections of an axis have the same middle."""
    first, second = change.axis[0], change.axis[1]
    if not isinstance(first, Part) or not isinstance(second, Part):
        return False
    return float((middle_of(unit, first) - middle_of(unit, second)).norm()) < 1e-3


def _refused(unit: Unit, where: str, message: str, remedy: str, value: str | None = None) -> BlushError:
    """Error about one change, or about all of a species."""
    return BlushError("cannot change an atomic model", [Problem(message, remedy, str(unit.path), where, value)])


def _joined(first: Atoms, second: Atoms) -> Atoms:
    """The atoms of both."""
    columns = ("element", "position_angst", "occupancy", "bfactor_angst2")
    return Atoms(*(torch.cat([getattr(first, c), getattr(second, c)]) for c in columns))
