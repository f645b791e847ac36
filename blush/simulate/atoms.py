"""Atoms of a particle: read from a PDB or mmCIF file, cleaned, centred and made symmetric."""

from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
import torch
from torch import Tensor

from blush.config.input_file import unreadable
from blush.errors import BlushError, Problem
from blush.geometry.symmetry import operators
from blush.simulate.settings import Specimen
from blush.simulate.symmetry_frame import symmetry_frame

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

    @property
    def radius_angst(self) -> float:
        """Distance of the farthest atom from the centre."""
        return float(self.position_angst.norm(dim=1).max())


def read_atoms(specimen: Specimen) -> Atoms:
    """Read the model of a specimen: heavy atoms without water, B-factors in range, centred, made symmetric.

    Raises
    ------
    BlushError
        Where the file is unreadable or empty, or lacks the assembly, a chain or the symmetry asked for.
    """
    path = DEMO_MODEL if specimen.model == "demo" else Path(specimen.model)
    model = _read_model(path, specimen)
    atoms = _arrays(model, specimen, path)
    if specimen.copies == "none":
        mass = torch.tensor([gemmi.Element(int(z)).weight for z in atoms.element], dtype=torch.float64)
        return _moved(atoms, torch.eye(3, dtype=torch.float64), _mean(atoms.position_angst, mass))
    if specimen.copies == "average":
        rotation, center = _frame(model, specimen.symmetry, path)
        atoms = _moved(atoms, rotation, center)
    copies = _copies(atoms, operators(specimen.symmetry), averaged=specimen.copies == "average")
    # The operators fix a point, or an axis along which the particle is still to be centred.
    middle = copies.position_angst.mean(0)
    return _moved(copies, torch.eye(3, dtype=torch.float64), middle)


def _read_model(path: Path, specimen: Specimen) -> gemmi.Model:
    """First model of the file, as the assembly and with the chains asked for, without water and hydrogen."""

    def refuse(message: str, remedy: str, value: str | None = None) -> BlushError:
        return BlushError("cannot use an atomic model", [Problem(message, remedy, file=str(path), value=value)])

    if (problem := unreadable(path)) is not None:
        raise BlushError("cannot use an atomic model", [problem])
    try:
        structure = gemmi.read_structure(str(path))
    except (ValueError, RuntimeError, OSError) as error:
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


def _arrays(model: gemmi.Model, specimen: Specimen, path: Path) -> Atoms:
    """Arrays of a model, B-factors set or put in range."""
    rows = [(a.element.atomic_number, *a.pos.tolist(), a.occ, a.b_iso) for a in (cra.atom for cra in model.all())]
    table = torch.tensor(rows, dtype=torch.float64)
    if n_odd := int((~table.isfinite()).any(1).sum()):
        message = "has coordinates, occupancies or B-factors that are no numbers"
        problem = Problem(message, "correct these atoms, or take them out", str(path), value=f"{n_odd} atoms")
        raise BlushError("cannot use an atomic model", [problem])
    bfactor = table[:, 5].clamp(specimen.bfactor_min_angst2, specimen.bfactor_max_angst2)
    if specimen.bfactor_angst2 is not None:
        bfactor = torch.full_like(bfactor, specimen.bfactor_angst2)
    return Atoms(table[:, 0].long(), table[:, 1:4], table[:, 4], bfactor)


def _mean(position: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean position."""
    return (position * weight[:, None]).sum(0) / weight.sum()


def _moved(atoms: Atoms, rotation: Tensor, center: Tensor) -> Atoms:
    """Atoms with `center` at the origin, then rotated."""
    position = (atoms.position_angst - center) @ rotation.T
    return Atoms(atoms.element, position, atoms.occupancy, atoms.bfactor_angst2)


def _copies(atoms: Atoms, rotations: Tensor, averaged: bool) -> Atoms:
    """All atoms under every rotation; averaged copies share the occupancy."""
    count = len(rotations)
    position = torch.einsum("oij,nj->oni", rotations, atoms.position_angst).reshape(-1, 3)
    occupancy = atoms.occupancy.repeat(count) / (count if averaged else 1)
    return Atoms(atoms.element.repeat(count), position, occupancy, atoms.bfactor_angst2.repeat(count))


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
