"""Packed models: what was put in comes out, the shipped pack holds out what it must, and maps are as they should be."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from blush.config.training import TrainingConfig
from blush.errors import BlushError
from blush.simulate.atoms import Atoms
from blush.training.models import Model, ModelRow, read_models, write_pack, write_table
from blush.training.store import open_store, write_index
from blush.training.truths import add_truths, disordered

ROOT = Path(__file__).parents[2]
PACK = ROOT / "config" / "training" / "models.npz"


def model(name: str = "1abc", split: str = "train", group: str = "g", n: int = 200) -> Model:
    random = torch.Generator().manual_seed(len(name) + n)
    position = 8 * torch.randn(n, 3, generator=random, dtype=torch.float64)
    atoms = Atoms(
        torch.full((n,), 6),
        position - position.mean(0),
        torch.ones(n, dtype=torch.float64),
        30 * torch.ones(n).double(),
    )
    row = ModelRow(name, "soluble", 20.0, n, 60.0, "1", group, split, "", "url", "sha")  # type: ignore[arg-type]
    return Model(row, atoms)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines(), dialect="excel-tab"))


def test_a_pack_gives_back_its_models(tmp_path: Path) -> None:
    given = [model("2xyz", n=150), model("1abc")]
    write_pack(tmp_path / "m.npz", given)
    found = read_models(tmp_path / "m.npz")
    assert [m.row for m in found] == [given[1].row, given[0].row]
    for one, two in zip(found, given[::-1], strict=True):
        torch.testing.assert_close(one.atoms.position_angst, two.atoms.position_angst, atol=0.0101, rtol=0)
        assert torch.equal(one.atoms.element, two.atoms.element)
        torch.testing.assert_close(one.atoms.bfactor_angst2, two.atoms.bfactor_angst2, atol=1, rtol=0)
        torch.testing.assert_close(one.atoms.occupancy, two.atoms.occupancy, atol=0.0026, rtol=0)
    write_pack(tmp_path / "again.npz", given[::-1])
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "m.npz").read_bytes()
    write_table(tmp_path / "m.tsv", [m.row for m in found])
    assert rows_of(tmp_path / "m.tsv")[0]["name"] == "1abc"


def test_a_group_on_both_sides_is_refused(tmp_path: Path) -> None:
    write_pack(tmp_path / "m.npz", [model("1aaa"), model("2bbb", split="test")])
    with pytest.raises(BlushError, match="g: is on both sides of the split"):
        read_models(tmp_path / "m.npz")
    with pytest.raises(BlushError, match="file does not exist"):
        read_models(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(BlushError, match=r"bad\.npz: cannot be read as arrays.*scripts/pack_models\.py"):
        read_models(tmp_path / "bad.npz")
    np.savez(tmp_path / "other.npz", table=np.array("[]"))
    with pytest.raises(BlushError, match=r"other\.npz: is not a pack of models: 'steps'"):
        read_models(tmp_path / "other.npz")


def test_the_shipped_pack_holds_out_what_is_refined_elsewhere() -> None:
    rows = {m.row.name: m.row for m in read_models(PACK)}
    listed = {r["name"]: r for r in rows_of(PACK.with_suffix(".tsv"))}
    assert {name: row.split for name, row in rows.items()} == {name: r["split"] for name, r in listed.items()}
    refined = set()
    for path in [*ROOT.glob("benchmarks/*.py"), *ROOT.glob("config/*.yaml"), *ROOT.glob("tests/**/*.py")]:
        refined |= set(re.findall(r"\b(\d[a-z0-9]{3})\.cif", path.read_text(encoding="utf-8")))
    assert refined & rows.keys()
    assert {name: rows[name].split for name in refined & rows.keys()} == dict.fromkeys(refined & rows.keys(), "test")
    nucleic = [r for r in rows.values() if r.kind == "protein-nucleic" and r.mass_kda < 60]
    assert nucleic
    assert all(r.split == "test" for r in nucleic)
    assert sum(r.split == "test" for r in rows.values()) >= 0.15 * len(rows)


def test_maps_of_models(tmp_path: Path) -> None:
    write_pack(tmp_path / "m.npz", [model("1aaa"), model("2bbb", split="test", group="h")])
    content = {
        "name": "t",
        "network": {"voxel_size_angst": 4.0},
        "sources": {"simulated": {"models": tmp_path / "m.npz", "variants": 2, "box_px": 24}},
    }
    config = TrainingConfig.model_validate(content)
    entries = add_truths(config, tmp_path / "maps", lambda _: None)
    store = write_index(tmp_path / "maps", 4.0, entries)
    assert [e.name for e in store.entries] == ["1aaa_0", "1aaa_1", "2bbb_0", "2bbb_1"]
    assert [e.split for e in store.entries] == ["train", "train", "test", "test"]
    maps = [store.maps(e) for e in open_store(tmp_path / "maps").entries]
    for found in maps:
        inside = np.array(found["mask"]) > 0.5
        assert np.array(found["truth"], dtype=np.float64)[inside].std() == pytest.approx(1, abs=0.01)
    assert not np.array_equal(maps[0]["truth"], maps[1]["truth"])
    again = add_truths(config, tmp_path / "again", lambda _: None)
    assert [e.sha256 for e in again] == [e.sha256 for e in entries]
    small = content["sources"]["simulated"] | {"box_px": 8}
    with pytest.raises(BlushError, match="no model that fits the box"):
        add_truths(TrainingConfig.model_validate(content | {"sources": {"simulated": small}}), tmp_path, lambda _: None)


def test_disorder_keeps_the_mass_or_loses_a_mobile_part() -> None:
    atoms = model(n=400).atoms
    totals = []
    for seed in range(40):
        made = disordered(atoms, np.random.default_rng(seed))
        assert (made.bfactor_angst2 >= 10).all()
        totals.append(float(made.occupancy.sum()) / len(atoms))
    assert totals.count(1.0) > 15
    assert min(totals) < 0.95
    assert max(totals) <= 1 + 1e-9
    assert replace(atoms).occupancy is atoms.occupancy
