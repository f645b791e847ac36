"""Atoms of a particle: read from a PDB or mmCIF file, cleaned, centred and made symmetric."""

from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.config.input_file import unreadable
from blush.errors import BlushError, Problem
from blush.geometry.symmetry import operators
from blush.simulate.settings import Specimen
from blush.simulate.symmetry_frame import symmetry_frame

_LARGEST = 1e6
"""Of a coordinate in Å, an occupancy or a B-factor: more is none."""
DEMO_MODEL = Path(__file__).parent / "data" / "rubisco_unit.cif.gz"


@dataclass(frozen=True)
class Atoms:
    """Atoms as arrays, centred on the origin.

    Attributes
    ----------
    element
        (n,) atomic numbers, int64.
    position_angst
        (n, 3) x, y, z, float64.
    occupancy
        (n,) float64.
    bfactor_angst2
        (n,) float64.
    """

    element: Tensor
    position_angst: Tensor
    occupancy: Tensor
    bfactor_angst2: Tensor

    def __len__(self) -> int:
        return len(self.element)

    def take(self, rows: Tensor) -> "Atoms":
        """Some of the atoms, by number or by truth."""
        return Atoms(self.element[rows], self.position_angst[rows], self.occupancy[rows], self.bfactor_angst2[rows])

    @property
    def radius_angst(self) -> float:
        """Distance of the farthest atom from the centre."""
        return float(self.position_angst.norm(dim=1).max())


@dataclass(frozen=True)
class Names:
    """What each atom of a model belongs to; equal-length arrays.

    Attributes
    ----------
    chain, residue_name
        (n,) str.
    residue
        (n,) int64, residue numbers.
    """

    chain: NDArray[np.str_]
    residue: NDArray[np.int64]
    residue_name: NDArray[np.str_]


@dataclass(frozen=True)
class Frame:
    """How a model is moved: x -> copies of Q (x - center), and all of them by minus `middle_angst`."""

    rotation: Tensor
    center_angst: Tensor
    middle_angst: Tensor


@dataclass(frozen=True)
class Unit:
    """A model in the frame of its symmetry, to be put into every copy's place.

    Attributes
    ----------
    atoms
        Before `frame.middle_angst` is subtracted.
    rotations
        (o, 3, 3), the identity first.
    averaged
        Whether the copies share the occupancy.
    """

    path: Path
    atoms: Atoms
    names: Names
    frame: Frame
    rotations: Tensor
    averaged: bool

    def placed(self, position_angst: Tensor) -> Tensor:
        """Positions (n, 3) of the model in the place of every copy, (o n, 3), centred."""
        copies = torch.einsum("oij,nj->oni", self.rotations, position_angst).reshape(-1, 3)
        return copies - self.frame.middle_angst


def read_atoms(specimen: Specimen) -> Atoms:
    """Read the model of a specimen: heavy atoms without water, B-factors in range, centred, made symmetric.

    Raises
    ------
    BlushError
        Where the file is unreadable or empty, or lacks the assembly, a chain or the symmetry asked for.
    """
    unit = read_unit(specimen)
    count = len(unit.rotations)
    occupancy = unit.atoms.occupancy.repeat(count) / (count if unit.averaged else 1)
    bfactor = unit.atoms.bfactor_angst2.repeat(count)
    return Atoms(unit.atoms.element.repeat(count), unit.placed(unit.atoms.position_angst), occupancy, bfactor)


def read_unit(specimen: Specimen, like: Frame | None = None) -> Unit:
    """Read the model of a specimen as it is before symmetry copies it, moved as another one where asked.

    Raises
    ------
    BlushError
        As `read_atoms`.
    """
    path = DEMO_MODEL if specimen.model == "demo" else Path(specimen.model)
    model = _read_model(path, specimen)
    atoms, names = _arrays(model, specimen, path)
    identity, origin = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    group = identity[None] if specimen.copies == "none" else operators(specimen.symmetry)
    if like is not None:
        frame = like
    elif specimen.copies == "none":
        mass = torch.tensor([gemmi.Element(int(z)).weight for z in atoms.element], dtype=torch.float64)
        frame = Frame(identity, _mean(atoms.position_angst, mass), origin)
    else:
        rotation, center = (identity, origin) if specimen.copies == "expand" else _frame(model, specimen.symmetry, path)
        # The operators fix a point, or an axis along which the particle is still to be centred.
        moved = (atoms.position_angst - center) @ rotation.T
        frame = Frame(rotation, center, torch.einsum("oij,nj->oni", group, moved).reshape(-1, 3).mean(0))
    position = (atoms.position_angst - frame.center_angst) @ frame.rotation.T
    atoms = Atoms(atoms.element, position, atoms.occupancy, atoms.bfactor_angst2)
    rotations = identity[None] if specimen.copies == "align" else group
    return Unit(path, atoms, names, frame, rotations, averaged=specimen.copies == "average")


def _read_model(path: Path, specimen: Specimen) -> gemmi.Model:
    """First model of the file, as the assembly and with the chains asked for, without water and hydrogen."""

    def refuse(message: str, remedy: str, value: str | None = None) -> BlushError:
        return BlushError("cannot use an atomic model", [Problem(message, remedy, file=str(path), value=value)])

    if (problem := unreadable(path)) is not None:
        raise BlushError("cannot use an atomic model", [problem])
    try:
        structure = gemmi.read_structure(str(path))
    except (ValueError, RuntimeError, OSError, IndexError) as error:
        raise refuse(f"is not a readable model: {error}", "give a PDB or mmCIF file") from None
    if len(structure) == 0:
        raise refuse("holds no model", "give a PDB or mmCIF file with coordinates")
    structure.setup_entities()
    structure.remove_hydrogens()
    structure.remove_waters()
    model = structure[0]
    if specimen.assembly is not None:
        names = [assembly.name for assembly in structure.assemblies]
        if specimen.assembly not in names:
            raise refuse(f"has assemblies {names}", "name one of them, or none", specimen.assembly)
        assembly = structure.assemblies[names.index(specimen.assembly)]
        model = gemmi.make_assembly(assembly, model, gemmi.HowToNameCopiedChain.AddNumber)
    if specimen.chains is not None:
        missing = set(specimen.chains) - {chain.name for chain in model}
        if missing:
            raise refuse(f"has chains {[c.name for c in model]}", "name some of them", " ".join(sorted(missing)))
        for name in {chain.name for chain in model} - set(specimen.chains):
            model.remove_chain(name)
    if model.count_atom_sites() == 0:
        raise refuse("holds no atom but water and hydrogen", "give a model with coordinates")
    return model


def _arrays(model: gemmi.Model, specimen: Specimen, path: Path) -> tuple[Atoms, Names]:
    """Arrays of a model, B-factors set or put in range."""
    found = list(model.all())
    rows = [(a.element.atomic_number, *a.pos.tolist(), a.occ, a.b_iso) for a in (cra.atom for cra in found)]
    names = _names(found, path)
    table = torch.tensor(rows, dtype=torch.float64)
    if n_odd := int((~(table.abs() < _LARGEST)).any(1).sum()):
        message = "has coordinates, occupancies or B-factors that are no numbers"
        problem = Problem(message, "correct these atoms, or take them out", str(path), value=f"{n_odd} atoms")
        raise BlushError("cannot use an atomic model", [problem])
    bfactor = table[:, 5].clamp(specimen.bfactor_min_angst2, specimen.bfactor_max_angst2)
    if specimen.bfactor_angst2 is not None:
        bfactor = torch.full_like(bfactor, specimen.bfactor_angst2)
    return Atoms(table[:, 0].long(), table[:, 1:4], table[:, 4], bfactor), names


def _names(found: list[gemmi.CRA], path: Path) -> Names:
    """Chain and residue of every atom.

    Raises
    ------
    BlushError
        Where a name is no text, or a residue has no number.
    """
    try:
        return Names(
            chain=np.array([cra.chain.name for cra in found]),
            residue=np.array([cra.residue.seqid.num for cra in found], dtype=np.int64),
            residue_name=np.array([cra.residue.name for cra in found]),
        )
    except (UnicodeDecodeError, TypeError) as error:
        message = f"has chains or residues whose names are no text, or residues without a number: {error}"
        problem = Problem(message, "correct these atoms, or take them out", str(path))
        raise BlushError("cannot use an atomic model", [problem]) from None


def _mean(position: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean position."""
    return (position * weight[:, None]).sum(0) / weight.sum()


def _frame(model: gemmi.Model, symmetry: str, path: Path) -> tuple[Tensor, Tensor]:
    """Rotation and centre that put the model's axes where the point group has them."""
    traces = [_trace(chain) for chain in model]
    try:
        rotation, center = symmetry_frame([t for t in traces if len(t) >= 10], operators(symmetry).numpy())
    except ValueError as error:
        problem = Problem(str(error), "set copies: none, or name the symmetry it has", str(path), value=symmetry)
        raise BlushError("cannot align an atomic model", [problem]) from None
    return torch.from_numpy(rotation), torch.from_numpy(center)


def _trace(chain: gemmi.Chain) -> dict[str, np.ndarray]:
    """One atom per residue of the polymer, by residue number and name."""
    atoms = {}
    for residue in chain:
        atom = residue.find_atom("CA", "*", gemmi.Element("C")) or residue.find_atom("C1'", "*")
        if atom:
            atoms[f"{residue.seqid}{residue.name}"] = np.array(atom.pos.tolist())
    return atoms
