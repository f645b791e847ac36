"""Pack atomic models to train on, in groups of similar sequence, and hold whole groups out.

    python scripts/pack_models.py MODELS OUT

MODELS is a folder of mmCIF files with `index.csv` (columns id, file, kind, mass_kda, n_nt, assembly_mass_kda). OUT gets
`models.npz` and `models.tsv`. Chains are alike where 5 % of their words of 4 residues (15 % of 10 nucleotides) are the
same, which of unrelated chains hardly 1 % are; groups are what such pairs connect. Held out: groups with a model that
demos, tests or benchmarks refine, protein-nucleic complexes below 60 kDa, and further groups drawn until 15 % are.
"""

import argparse
import csv
import hashlib
import itertools
from pathlib import Path

import gemmi
import torch

from blush.errors import BlushError
from blush.simulate.atoms import Atoms, read_atoms
from blush.simulate.settings import Specimen
from blush.training.models import Model, ModelRow, write_pack, write_table

REFINED = (
    "8uv2", "8eow", "1e9g", "1k4c", "1bxn", "2src", "1ake", "1u19",  # demo, tests, benchmarks
    "4lw4", "3bep", "1fdo",  # benchmarks of denoisers in the loop
)  # fmt: skip
LARGEST_DIAMETER_ANGST, MOST_ATOMS, SMALLEST_KDA = 163.0, 25_000, 14.0
SHARE = 0.15


def atoms_of(path: Path, row: dict[str, str]) -> tuple[Atoms, str, float]:
    """One compact unit: the first assembly where it is one, or else what is deposited."""
    deposited, assembly = float(row["mass_kda"]), float(row["assembly_mass_kda"] or row["mass_kda"])
    if assembly <= 350:
        try:
            return read_atoms(Specimen(model=path, assembly="1")), "1", assembly
        except BlushError:
            pass
    return read_atoms(Specimen(model=path)), "", deposited


def sequences(path: Path) -> dict[str, bool]:
    """One-letter sequences of the chains, and whether they are nucleic."""
    structure = gemmi.read_structure(str(path))
    structure.setup_entities()
    found = {}
    for chain in structure[0]:
        polymer = chain.get_polymer()
        kind = polymer.check_polymer_type()
        nucleic = kind in (gemmi.PolymerType.Rna, gemmi.PolymerType.Dna, gemmi.PolymerType.DnaRnaHybrid)
        text = gemmi.one_letter_code([residue.name for residue in polymer]).upper()
        if len(text) >= 30:
            found[text] = nucleic
    return found


def alike(first: str, second: str, nucleic: bool) -> bool:
    """Whether two chains have so many words in common as only relatives have."""
    length, share = (10, 0.15) if nucleic else (4, 0.05)
    one, two = ({text[i : i + length] for i in range(len(text) - length + 1)} for text in (first, second))
    return len(one & two) >= max(6, share * min(len(one), len(two)))


def groups(chains: dict[str, dict[str, bool]]) -> dict[str, str]:
    """Name of the group of each model: that of its first model."""
    parent = {name: name for name in chains}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    listed = [(name, text) for name, found in sorted(chains.items()) for text in sorted(found)]
    for (name, text), (other, second) in itertools.combinations(listed, 2):
        nucleic = chains[name][text]
        if root(name) != root(other) and nucleic == chains[other][second] and alike(text, second, nucleic):
            kept, joined = sorted((root(name), root(other)))
            parent[joined] = kept
    return {name: root(name) for name in chains}


def split(rows: dict[str, dict[str, str]], group: dict[str, str]) -> dict[str, str]:
    """Reason to hold each model out; empty for those to train on."""
    reasons = {}
    for name, row in rows.items():
        if name in REFINED:
            reasons[group[name]] = f"{name} is refined in demos, tests or benchmarks"
        elif row["kind"] == "protein-nucleic" and float(row["mass_kda"]) < 60:
            reasons.setdefault(group[name], f"{name}: protein-nucleic below 60 kDa")
    drawn = sorted(set(group.values()), key=lambda name: hashlib.sha256(f"split {name}".encode()).hexdigest())
    for candidate in drawn:
        if sum(group[name] in reasons for name in rows) >= SHARE * len(rows) + 4:
            break
        reasons.setdefault(candidate, "drawn")
    return {name: reasons.get(group[name], "") for name in rows}


def main() -> None:
    """Read, group, split, pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("out", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = {r["file"].split(".")[0]: r for r in csv.DictReader((chosen.models / "index.csv").open())}
    group = groups({name: sequences(chosen.models / row["file"]) for name, row in rows.items()})
    reasons = split(rows, group)
    models = []
    for name, row in sorted(rows.items()):
        path = chosen.models / row["file"]
        atoms, assembly, mass = atoms_of(path, row)
        diameter = 2 * atoms.radius_angst
        if diameter > LARGEST_DIAMETER_ANGST or len(atoms) > MOST_ATOMS or mass < SMALLEST_KDA:
            print("left out", name, f"{diameter:.0f} Å, {len(atoms)} atoms, {mass:g} kDa")
            continue
        models.append(
            Model(
                ModelRow(
                    name=name,
                    kind=row["kind"],
                    mass_kda=mass,
                    n_atoms=len(atoms),
                    diameter_angst=round(diameter, 1),
                    assembly=assembly,
                    group=group[name],
                    split="test" if reasons[name] else "train",
                    reason=reasons[name],
                    url=f"https://files.rcsb.org/download/{name[:4]}.cif.gz",
                    sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                ),
                atoms,
            )
        )
    chosen.out.mkdir(parents=True, exist_ok=True)
    write_pack(chosen.out / "models.npz", models)
    write_table(chosen.out / "models.tsv", [model.row for model in models])
    held = [model for model in models if model.row.split == "test"]
    size = (chosen.out / "models.npz").stat().st_size / 1e6
    for model in held:
        print("held out", model.row.name, model.row.kind, model.row.mass_kda, model.row.group, model.row.reason)
    count = len({model.row.group for model in models})
    print(f"{len(models)} models, {len(held)} of them held out, {count} groups, {size:.1f} MB")


if __name__ == "__main__":
    main()
