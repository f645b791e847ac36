"""Atomic models of a few atoms, and digests of folders."""

import gzip
import hashlib
from pathlib import Path

import gemmi
import numpy as np


def chain_positions(seed: int = 0, count: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 8, (count, 3)) + np.array([25.0, 12.0, 9.0])


def write_model(path: Path, chains: dict[str, np.ndarray], water: bool = True) -> Path:
    structure, model = gemmi.Structure(), gemmi.Model(1)
    for name, positions in chains.items():
        chain = gemmi.Chain(name)
        for number, position in enumerate(positions, start=1):
            residue = gemmi.Residue()
            residue.name, residue.seqid = "ALA", gemmi.SeqId(number, " ")
            for atom_name, element, bfactor in (("CA", "C", 5.0 * number), ("HA", "H", 10.0)):
                atom = gemmi.Atom()
                atom.name, atom.element, atom.b_iso = atom_name, gemmi.Element(element), bfactor
                atom.pos = gemmi.Position(*(position + (0.5 if element == "H" else 0)))
                residue.add_atom(atom)
            chain.add_residue(residue)
        if water:
            residue = gemmi.Residue()
            residue.name, residue.seqid = "HOH", gemmi.SeqId(900, " ")
            atom = gemmi.Atom()
            atom.name, atom.element, atom.pos = "O", gemmi.Element("O"), gemmi.Position(90, 90, 90)
            residue.add_atom(atom)
            chain.add_residue(residue)
        model.add_chain(chain)
    structure.add_model(model)
    path.write_bytes(gzip.compress(structure.make_pdb_string().encode()))
    return path


def digest(folder: Path) -> str:
    """Of the names and bytes of all files below a folder."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.update(str(path.relative_to(folder)).encode())
            found.update(path.read_bytes())
    return found.hexdigest()
