"""Curation and preparation of pairs: what is rejected and why, what is prepared and how, and which side it is on."""

import gzip
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "emdb"))

from standin import PIXEL_ANGST, Entry, StandIn, example_entries, mrc_bytes, noisy, structure, write_archive

from blush.config.training import TrainingConfig
from blush.emdb.client import Client
from blush.emdb.fetch import fetch
from blush.errors import BlushError
from blush.fourier.fsc import fsc
from blush.report.curation import write_page
from blush.training.curate import COLUMNS, curate, similarity
from blush.training.pairs import Pair, read_map, read_maps, read_table
from blush.training.prepare import kept_rows, prepare_pairs, prepared, split_of
from blush.training.store import Entry as StoreEntry
from blush.training.store import add_entry, leaks, open_store, write_index


def quiet(_: str) -> None:
    """Say nothing."""


def config(tmp_path: Path, **changes: object) -> TrainingConfig:
    content = {
        "name": "t",
        "network": {"voxel_size_angst": 2.0},
        "sources": {"folder": {"pairs": tmp_path / "pairs.tsv"}},
        "curate": {"strict": False},
        "output": tmp_path / "out",
    }
    return TrainingConfig.model_validate(content | changes)


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, str]], Path]:
    """The stand-in's example archive, fetched and curated: rows by name, and the folder."""
    folder = tmp_path_factory.mktemp("emdb")
    with StandIn(folder / "archive", example_entries()) as server:
        emdb = {"enabled": True, "api_url": f"{server.url}/api", "files_url": f"{server.url}/files", "interval_s": 0}
        settings = config(folder, sources={"emdb": emdb})
        fetch(settings.sources.emdb, folder / "download", folder / "download" / "manifest.tsv", quiet, Client(0, 1, 5))
    rows = curate(settings, folder / "download" / "manifest.tsv", folder / "curation", quiet)
    return {row["name"]: row for row in rows}, folder


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("EMD-200", "at Nyquist: the halves are filtered, or one map"),
        ("EMD-201", "the same structure as EMD-101, which is better"),
        ("EMD-202", "is a map of 40 px, the entry's has 48"),
        ("EMD-203", "is not a whole gzip file"),
        ("EMD-204", "the halves are masked"),
    ],
)
def test_bad_pairs_are_dropped_with_their_reason(curated, entry: str, reason: str) -> None:
    row = curated[0][entry]
    assert row["verdict"] == "drop"
    assert reason in row["reasons"]


def test_good_pairs_are_kept(curated) -> None:
    kept = sorted(name for name, row in curated[0].items() if row["verdict"] == "keep")
    assert kept == [f"EMD-{number}" for number in range(100, 106)]
    assert all(float(curated[0][name]["fsc_at_nyquist"]) < 0.2 for name in kept)


def test_the_page_shows_every_pair(curated) -> None:
    rows, folder = curated
    page = write_page(folder / "curation" / "curation.json", folder / "curation" / "curation.html").read_text()
    assert all(f"<h2>{name}</h2>" in page for name in rows)
    assert "the halves are masked" in page
    assert page.count("data:image/png") == 3 * sum(row["box_px"] != "0" for row in rows.values())


def test_prepared_maps_are_those_that_were_kept(curated) -> None:
    _, folder = curated
    settings = config(folder, evaluate={"share": 0.3})
    entries = prepare_pairs(settings, folder / "curation" / "curated.tsv", folder / "maps", quiet)
    store = write_index(folder / "maps", 2.0, entries)
    assert [e.name for e in store.entries] == [f"EMD-{n}" for n in range(100, 106)]
    assert sum(e.split == "test" for e in entries) == 2  # of six, at least 0.3
    symmetric = next(e for e in entries if e.name == "EMD-101")
    assert (symmetric.weight, symmetric.group) == (0.5, "P00001/C2")
    maps = {name: torch.from_numpy(np.array(v)).float() for name, v in store.maps(entries[0]).items()}
    curve = fsc(maps["half1"] * maps["mask"], maps["half2"] * maps["mask"])
    assert curve[3:8].min() > 0.8
    inside = maps["mask"] > 0.5
    shared = float((maps["half1"][inside] * maps["half2"][inside]).mean() - maps["half1"][inside].mean() ** 2)
    assert shared == pytest.approx(1, abs=0.15)  # the signal has unit variance inside the mask


def write_table(tmp_path: Path, rows: list[str], head: str = "name\thalf1\thalf2") -> None:
    (tmp_path / "pairs.tsv").write_text("\n".join([head, *rows]) + "\n")


def write_pairs(tmp_path: Path, count: int = 3) -> None:
    rows = []
    for number in range(count):
        for half, volume in enumerate(noisy(number, 32, 9), start=1):
            (tmp_path / f"p{number}_{half}.mrc").write_bytes(mrc_bytes(volume))
        rows.append(f"p{number}\tp{number}_1.mrc\tp{number}_2.mrc")
    write_table(tmp_path, rows)


def test_pairs_on_disk_are_curated_too(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    rows = curate(config(tmp_path), None, tmp_path / "c", quiet)
    assert [row["verdict"] for row in rows] == ["keep"] * 3
    assert (tmp_path / "c" / "curated.tsv").read_text().splitlines()[0] == "\t".join(COLUMNS)


def test_strict_limits_of_resolution(tmp_path: Path) -> None:
    write_pairs(tmp_path, 1)
    settings = {"worst_resolution_angst": 3.0, "largest_pixel_size_angst": 1.0}
    with pytest.raises(BlushError, match="nothing is left"):
        curate(config(tmp_path, curate=settings), None, tmp_path / "c", quiet)
    rows = curate(config(tmp_path, curate=settings | {"strict": False}), None, tmp_path / "c", quiet)
    assert "pixel of 1.60 Å; resolution of" in rows[0]["remarks"]


def test_decisions_have_the_last_word(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    (tmp_path / "d.tsv").write_text("name\tverdict\treason\np0\tdrop\tring artefact\np1\tkeep\t\n")
    settings = {"strict": False, "decisions": tmp_path / "d.tsv", "largest_fsc_at_nyquist": 0.0}
    rows = {r["name"]: r for r in curate(config(tmp_path, curate=settings), None, tmp_path / "c", quiet)}
    assert rows["p0"]["reasons"] == "decided by hand: ring artefact"
    assert rows["p1"]["verdict"] == "keep"
    (tmp_path / "d.tsv").write_text("p0\tmaybe\np9\tdrop\n")
    with pytest.raises(BlushError) as caught:
        curate(config(tmp_path, curate=settings), None, tmp_path / "c", quiet)
    assert "line 1: is neither keep nor drop (found maybe)" in str(caught.value)
    assert "line 2: is no pair of this training (found p9)" in str(caught.value)


def test_mistakes_of_a_table_are_told_together(tmp_path: Path) -> None:
    write_table(tmp_path, ["a\tx.mrc\ty.mrc", "b\t\tz.mrc"])
    with pytest.raises(BlushError) as caught:
        read_table(tmp_path / "pairs.tsv")
    text = str(caught.value)
    assert text.count("file does not exist") == 3
    assert "line 3: lacks half1" in text
    write_table(tmp_path, [], "name\thalf1\tfoo")
    with pytest.raises(BlushError, match=r"half2: column is missing") as caught:
        read_table(tmp_path / "pairs.tsv")
    assert "foo: is not a known column" in str(caught.value)


@pytest.mark.parametrize("value", ["x", "nan", "1e999"])
def test_a_contour_that_is_no_number_is_told(tmp_path: Path, value: str) -> None:
    """It was taken for none, and the mask made at another level."""
    for name in ("x.mrc", "y.mrc"):
        (tmp_path / name).touch()
    write_table(tmp_path, [f"a\tx.mrc\ty.mrc\t{value}"], "name\thalf1\thalf2\tcontour")
    with pytest.raises(BlushError, match=rf"line 2, contour: is not a finite number \(found {value}\)"):
        read_table(tmp_path / "pairs.tsv")


def test_maps_that_do_not_fit_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.mrc").write_bytes(mrc_bytes(np.ones((16,) * 3)))
    (tmp_path / "b.mrc").write_bytes(mrc_bytes(np.ones((18,) * 3)))
    with pytest.raises(BlushError, match=r"b.mrc: does not fit half 1 \(found 18 px of 1.6 Å\); it should have 16 px"):
        read_maps(Pair("x", tmp_path / "a.mrc", tmp_path / "b.mrc", "folder"))
    (tmp_path / "c.mrc").write_bytes(mrc_bytes(np.full((16,) * 3, np.nan)))
    with pytest.raises(BlushError, match="not finite"):
        read_map(tmp_path / "c.mrc")


def test_other_orders_of_axes_are_turned(tmp_path: Path) -> None:
    volume = structure(1, 16, 5).astype(np.float32)
    (tmp_path / "plain.mrc").write_bytes(mrc_bytes(volume))
    block = bytearray(mrc_bytes(volume.transpose(2, 0, 1)))  # sections x, rows z, columns y
    block[64:76] = np.array([2, 3, 1], "<i4").tobytes()
    (tmp_path / "turned.map.gz").write_bytes(gzip.compress(bytes(block)))
    np.testing.assert_array_equal(read_map(tmp_path / "turned.map.gz")[0], read_map(tmp_path / "plain.mrc")[0])
    assert read_map(tmp_path / "plain.mrc")[1] == pytest.approx(PIXEL_ANGST)


def test_groups_are_split_whole_and_do_not_move(tmp_path: Path) -> None:
    rows = [{"name": f"n{i}", "group": f"g{i // 2}"} for i in range(40)]
    settings = config(tmp_path, evaluate={"share": 0.2})
    sides = split_of(settings, rows)
    assert list(sides.values()).count("test") == 4  # a fifth of 20 groups
    assert split_of(settings, rows[::-1]) == sides
    more = split_of(settings, [*rows, {"name": "new", "group": "g99"}])
    assert sum(more[group] != side for group, side in sides.items()) <= 1


def test_what_is_held_out_is_held_out(tmp_path: Path) -> None:
    (tmp_path / "h.tsv").write_text("name\tgroup\nn1\tg0\n")
    rows = [{"name": f"n{i}", "group": f"g{i // 2}"} for i in range(6)]
    sides = split_of(config(tmp_path, held_out=tmp_path / "h.tsv", evaluate={"share": 0.0}), rows)
    assert sides == {"g0": "test", "g1": "train", "g2": "train"}


def test_leaks_are_refused(tmp_path: Path) -> None:
    volume = np.ones((8,) * 3)
    entries = [
        add_entry(tmp_path, name, {"truth": volume, "mask": volume}, group="g", split=split, source="simulated")
        for name, split in (("a", "train"), ("b", "test"))
    ]
    assert len(leaks(entries)) == 1
    with pytest.raises(BlushError, match=r"g: is trained on \(a\) and tested on \(b\)"):
        write_index(tmp_path, 2.0, entries)
    assert leaks(entries[:1]) == []


def test_prepared_pairs_are_not_made_again(tmp_path: Path) -> None:
    write_pairs(tmp_path, 2)
    settings = config(tmp_path)
    curate(settings, None, tmp_path / "c", quiet)
    first = prepare_pairs(settings, tmp_path / "c" / "curated.tsv", tmp_path / "maps", quiet)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "maps").glob("*.npy")}
    second = prepare_pairs(settings, tmp_path / "c" / "curated.tsv", tmp_path / "maps", quiet)
    assert second == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "maps").glob("*.npy")} == times
    (tmp_path / "p0_1.mrc").write_bytes(mrc_bytes(noisy(77, 32, 9)[0]))
    third = prepare_pairs(settings, tmp_path / "c" / "curated.tsv", tmp_path / "maps", quiet)
    assert (third[0].sha256 != first[0].sha256, third[1]) == (True, first[1])


def test_a_truth_sets_the_scale(tmp_path: Path) -> None:
    truth = structure(3, 32, 9)
    halves = [5 * (truth + 0.5 * np.random.default_rng(i).standard_normal(truth.shape)) for i in (1, 2)]
    for name, volume in (("h1", halves[0]), ("h2", halves[1]), ("t", 5 * truth)):
        (tmp_path / f"{name}.mrc").write_bytes(mrc_bytes(volume))
    pair = Pair("x", tmp_path / "h1.mrc", tmp_path / "h2.mrc", "folder", truth=tmp_path / "t.mrc")
    made = prepared(pair, PIXEL_ANGST, 5.0)
    inside = made["mask"] > 0.5
    assert float(made["truth"][inside].std()) == pytest.approx(1, rel=1e-5)
    highest = np.unravel_index(truth.argmax(), truth.shape)
    level = 5 * truth[highest] / float(made["truth"][highest])
    assert float((made["half1"] - made["truth"]).std()) == pytest.approx(2.5 / level, rel=0.05)


def test_an_index_needs_its_files(tmp_path: Path) -> None:
    entry = StoreEntry("a", "a.npy", ("truth", "mask"), 8, "g", "train", "simulated", "")
    write_index(tmp_path, 2.0, [entry])
    with pytest.raises(BlushError, match=r"index.json, a: names a file that does not exist \(found a.npy\)"):
        open_store(tmp_path)
    with pytest.raises(BlushError, match="prepare the maps first"):
        open_store(tmp_path / "none")


def test_identity_of_sequences() -> None:
    assert similarity("MKTAYIAK" * 5, "MKTAYIAK" * 5) == 1
    assert similarity("MKTAYIAK" * 5, "MKTAYIAR" * 5) == pytest.approx(7 / 8)
    assert math.isclose(similarity("AAAA", "CCCC"), 0)


def test_only_kept_rows_are_prepared(tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_text("\t".join(COLUMNS) + "\na\tkeep\nb\tdrop\n")
    assert [row["name"] for row in kept_rows(tmp_path / "c.tsv")] == ["a"]
    (tmp_path / "c.tsv").write_text("name\na\n")
    with pytest.raises(BlushError, match=r"c\.tsv, verdict: column is missing"):
        kept_rows(tmp_path / "c.tsv")
    with pytest.raises(BlushError, match="curate first"):
        kept_rows(tmp_path / "none.tsv")


def test_example_archive_is_the_same_each_time(tmp_path: Path) -> None:
    write_archive(tmp_path / "a", [Entry(1, noisy(1, 16, 4))])
    write_archive(tmp_path / "b", [Entry(1, noisy(1, 16, 4))])
    one, two = ((tmp_path / n / "EMD-1" / "other" / "emd_1_half_map_1.map.gz").read_bytes() for n in "ab")
    assert one == two
    shutil.rmtree(tmp_path / "a")
