"""Cut the demo model out of PDB entry 1BXN: one large and one small subunit of Rubisco, in the frame of D4.

    python benchmarks/make_demo_model.py 1bxn.cif.gz blush/simulate/data/rubisco_unit.cif.gz

The file is wwPDB data (CC0). Only the columns that the simulation reads are kept, and coordinates to 0.01 Å.
"""

import argparse
import gzip
from pathlib import Path

import numpy as np

from blush.geometry.symmetry import operators
from blush.simulate.atoms import _frame, _read_model
from blush.simulate.settings import Specimen

CHAINS = ("A", "I")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    chosen = parser.parse_args()
    whole = _read_model(chosen.source, Specimen(model=chosen.source, assembly="1"))
    rotation, center = _frame(whole, "D4", chosen.source)
    unit = _read_model(chosen.source, Specimen(model=chosen.source, chains=CHAINS))
    rows = []
    for cra in unit.all():
        x, y, z = rotation.numpy() @ (np.array(cra.atom.pos.tolist()) - center.numpy())
        name = cra.atom.name if "'" not in cra.atom.name else f'"{cra.atom.name}"'
        rows.append(
            f"ATOM {len(rows) + 1} {cra.atom.element.name.upper()} {name} . {cra.residue.name} {cra.chain.name} 1 "
            f"{cra.residue.seqid.num} {x:.2f} {y:.2f} {z:.2f} {cra.atom.occ:g} {cra.atom.b_iso:.0f} "
            f"{cra.chain.name} {cra.residue.seqid.num}"
        )
    items = (
        "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id label_entity_id label_seq_id "
    )
    items += "Cartn_x Cartn_y Cartn_z occupancy B_iso_or_equiv "
    items += "auth_asym_id auth_seq_id"
    head = ["data_1BXN_unit", "#", "loop_", *(f"_atom_site.{item}" for item in items.split())]
    text = "\n".join([*head, *rows, "#"]) + "\n"
    chosen.target.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(len(rows), "atoms,", len(operators("D4")), "copies,", chosen.target.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
