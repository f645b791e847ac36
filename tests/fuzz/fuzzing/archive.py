"""Readers of what the EMDB answers, and of what a fetch writes down; and of the tables of a training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from blush.config.training import EmdbSource
from blush.emdb.client import NotThere
from blush.emdb.fetch import _kept
from blush.emdb.files import BOX_LIMIT_PX
from blush.emdb.manifest import ENTRY, FILE_NAME, Row, read_manifest, read_row, write_manifest
from blush.emdb.search import describe, search
from blush.errors import BlushError
from blush.io.files import write_json
from blush.simulate.atoms import Atoms, read_atoms
from blush.simulate.settings import Specimen
from blush.training.curate import read_decisions
from blush.training.models import Model, ModelRow, read_models, write_pack
from blush.training.pairs import read_table
from blush.training.store import add_entry, open_store, write_index
from fuzzing.mutate import BYTES, LINES, within_zip
from fuzzing.reader import Reader, finite
from fuzzing.trees import change_tree

_TREES = (*[change_tree] * 10, *LINES, *BYTES)
_TEXTS = (*LINES, *LINES, *BYTES)


class Answers:
    """A client whose archive answers with one file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, url: str, largest_bytes: int = 1 << 26) -> bytes:
        """The file, whatever is asked."""
        return self.path.read_bytes()[:largest_bytes]

    def tell(self, text: str) -> None:
        """What is told has to be one line of some length."""
        assert "\n" not in text
        assert len(text) < 2000


def _descriptions(folder: Path) -> list[bytes]:
    """An entry with everything that is read, and one with little."""
    final = {"resolution": {"valueOf_": "3.5"}, "applied_symmetry": {"point_group": "D2"}}
    molecules = [
        {"sequence": {"external_references": [{"type_": "UNIPROTKB", "valueOf_": code}]}} for code in ("P1", "P2")
    ]
    full: dict[str, Any] = {
        "emdb_id": "EMD-8",
        "sample": {"macromolecule_list": {"macromolecule": molecules}},
        "structure_determination_list": {
            "structure_determination": [{"image_processing": [{"final_reconstruction": final}]}]
        },
        "map": {
            "pixel_spacing": {"x": {"valueOf_": "1.6", "units": "A"}},
            "dimensions": {"col": "24"},
            "contour_list": {"contour": [{"primary": True, "level": 1.0}]},
        },
        "interpretation": {
            "half_map_list": {"half_map": [{"file": f"emd_8_half_map_{half}.map.gz"} for half in (1, 2)]},
            "segmentation_list": {"segmentation": [{"file": "emd_8_msk_1.map"}]},
        },
    }
    return [json.dumps(content).encode() for content in (full, {"emdb_id": "EMD-9", "map": {}})]


def _described(path: Path) -> None:
    found = describe(Answers(path), EmdbSource(), "EMD-8")  # type: ignore[arg-type]
    for number in (found.resolution_angst, found.pixel_size_angst):
        assert number is None or (math.isfinite(number) and number > 0)
    assert found.contour is None or math.isfinite(found.contour)
    assert found.box_px is None or 0 < found.box_px < BOX_LIMIT_PX
    assert all(FILE_NAME.fullmatch(name) for name in (*found.half_maps, *found.masks))
    assert found.symmetry.isprintable()
    assert found.group.isprintable()


def _searches(folder: Path) -> list[bytes]:
    rows = ["emdb_id,resolution,half_map_filename", "EMD-7,3.5,a", "EMD-8,,b", 'EMD-9,2.9,"a,b"', "EMD-10,x,"]
    return ["\n".join(rows).encode(), "\r\n".join([rows[0], *rows[:0:-1]]).encode(), "\n".join(rows[:2]).encode()]


def _searched(path: Path) -> None:
    found = search(Answers(path), EmdbSource())  # type: ignore[arg-type]
    assert len(set(found)) == len(found)
    assert all(ENTRY.fullmatch(entry) for entry in found)


def _rows() -> list[Row]:
    whole = {f"{kind}_bytes": str(1000 + i) for i, kind in enumerate(("half1", "half2"))}
    whole |= {f"{kind}_sha256": str(i) * 64 for i, kind in enumerate(("half1", "half2"), start=1)}
    halves = {f"half{i}": f"EMD-7/emd_7_half_map_{i}.map.gz" for i in (1, 2)}
    return [
        Row("EMD-7", resolution_angst="3.5", pixel_size_angst="1.6", group="P1/C1", contour="0.1", **halves, **whole),
        Row("EMD-8", reason="has 0 half-maps"),
    ]


def _manifests(folder: Path) -> list[bytes]:
    write_manifest(folder / "written.tsv", _rows())
    return [(folder / "written.tsv").read_bytes()]


def _manifest(path: Path) -> None:
    """What is accepted is written and read again as it is."""
    rows = read_manifest(path)
    assert not any(row.faults() for row in rows)
    write_manifest(path.with_name("again.tsv"), rows)
    assert read_manifest(path.with_name("again.tsv")) == rows


def _records(folder: Path) -> list[bytes]:
    found = []
    for row in _rows():
        write_json(folder / "written.json", asdict(row))
        found.append((folder / "written.json").read_bytes())
    return found


def _record(path: Path) -> None:
    assert not read_row(path).faults()


def _results(folder: Path) -> list[bytes]:
    write_json(folder / "written.json", {"asked": {"query": "x", "entries": []}, "found": ["EMD-7", "EMD-8"]})
    return [(folder / "written.json").read_bytes()]


def _result(path: Path) -> None:
    assert all(ENTRY.fullmatch(entry) for entry in _kept(path)["found"])


def _pairs(folder: Path) -> list[bytes]:
    for name in ("a1.mrc", "a2.mrc", "m.mrc"):
        (folder / name).write_bytes(b"map")
    head = "name\thalf1\thalf2\tmask\tgroup\tsymmetry\tcontour\tresolution_angst"
    rows = ["a\ta1.mrc\ta2.mrc\tm.mrc\tg\tC2\t0.1\t3.5", "b\ta1.mrc\ta2.mrc\t\t\t\t\t"]
    return ["\n".join([head, *rows]).encode() + b"\n"]


def _table_of_pairs(path: Path) -> None:
    for pair in read_table(path):
        assert pair.name
        assert pair.half1.is_file()
        assert pair.half2.is_file()
        for number in (pair.contour, pair.resolution_angst):
            assert number is None or math.isfinite(number)


def _decisions(folder: Path) -> list[bytes]:
    return [b"name\tverdict\twhy\na\tkeep\t\nb\tdrop\tit is blurred\n", b"a\tKeep\n\nb\t drop \tx\ty\n"]


def _decided(path: Path) -> None:
    found = read_decisions(path, ("a", "b"))
    assert set(found) <= {"a", "b"}
    assert {word for word, _ in found.values()} <= {"keep", "drop"}


def _atoms(n: int = 8) -> Atoms:
    import torch

    random = np.random.default_rng(3)
    position = torch.from_numpy(10 * random.standard_normal((n, 3)))
    one = torch.ones(n, dtype=torch.float64)
    return Atoms(torch.full((n,), 6), position - position.mean(0), one, 40 * one)


def _packs(folder: Path) -> list[bytes]:
    """A pack of two models."""
    models = [
        Model(ModelRow(name, "soluble", 50.0, 8, 40.0, "1", f"g{name}", split, "", "https://x", "0" * 64), _atoms())
        for name, split in (("1abc", "train"), ("2abc", "test"))
    ]
    write_pack(folder / "written.npz", models)
    return [(folder / "written.npz").read_bytes()]


def _pack(path: Path) -> None:
    for model in read_models(path):
        atoms = model.atoms
        assert len(atoms) == model.row.n_atoms
        assert finite(*(column.numpy() for column in vars(atoms).values()))


def _stores(folder: Path) -> list[bytes]:
    """The index of a store of one entry."""
    random = np.random.default_rng(4)
    maps = {name: random.random((4, 4, 4)) for name in ("half1", "half2", "mask")}
    entry = add_entry(folder, "a", maps, group="g", split="train", source="folder", resolution_angst=4.0)
    write_index(folder, 2.0, [entry])
    return [(folder / "index.json").read_bytes()]


def _store(path: Path) -> None:
    store = open_store(path.parent)
    assert math.isfinite(store.voxel_size_angst)
    assert store.voxel_size_angst > 0
    for entry in store.entries:
        assert isinstance(entry.name, str)
        assert entry.split in ("train", "test")
        assert math.isfinite(entry.weight)
        assert (store.folder / entry.file).parent == store.folder, "a file of another folder"
        assert all(isinstance(channel, str) for channel in entry.channels)


def _models(folder: Path) -> list[bytes]:
    """A model in each of the two formats."""
    import gemmi

    structure = gemmi.Structure()
    structure.name = "1abc"
    chain = gemmi.Chain("A")
    for number in range(1, 5):
        residue = gemmi.Residue()
        residue.name, residue.seqid = "ALA", gemmi.SeqId(number, " ")
        for name, element in (("N", "N"), ("CA", "C"), ("C", "C"), ("O", "O")):
            atom = gemmi.Atom()
            atom.name, atom.element = name, gemmi.Element(element)
            atom.pos, atom.b_iso, atom.occ = gemmi.Position(number, len(name), ord(name[0]) % 7), 30.0, 1.0
            residue.add_atom(atom)
        chain.add_residue(residue)
    model = gemmi.Model(1)
    model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    return [structure.make_pdb_string().encode(), structure.make_mmcif_document().as_string().encode()]


def _model(ending: str) -> Callable[[Path], None]:
    def call(path: Path) -> None:
        atoms = read_atoms(Specimen(model=path))
        assert len(atoms) > 0
        assert finite(*(column.numpy() for column in vars(atoms).values()))

    return call


READERS = (
    Reader(
        "emdb_description", "case.json", _descriptions, _described, _TREES, 50,
        (BlushError, NotThere, ValueError), ("emdbentry",), names_file=False,
    ),
    Reader(
        "emdb_search", "case.csv", _searches, _searched, _TEXTS, 70, hostile=("emdbsearch",), names_file=False,
    ),
    Reader("emdb_manifest", "case.tsv", _manifests, _manifest, _TEXTS, 45, hostile=("manifest",)),
    Reader("emdb_record", "case.json", _records, _record, _TREES, 50, hostile=("entryjson",)),
    Reader("emdb_search_kept", "case.json", _results, _result, _TREES, 46),
    Reader("training_pairs", "case.tsv", _pairs, _table_of_pairs, _TEXTS, 15),
    Reader("training_decisions", "case.tsv", _decisions, _decided, _TEXTS, 40),
    Reader("training_models", "case.npz", _packs, _pack, (within_zip(*BYTES, change_tree), *BYTES), 4),
    Reader("training_store", "index.json", _stores, _store, _TREES, 10),
    Reader("atomic_model_pdb", "case.pdb", lambda folder: _models(folder)[:1], _model("pdb"), _TEXTS, 5),
    Reader("atomic_model_cif", "case.cif", lambda folder: _models(folder)[1:], _model("cif"), _TEXTS, 5),
)  # fmt: skip
