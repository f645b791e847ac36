"""Answers and records that are odd or hostile: nothing is written outside, no answer read without limit."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from standin import PIXEL_ANGST, StandIn, description, mrc_bytes, noisy

from blush.config.address import is_allowed
from blush.config.training import EmdbSource
from blush.emdb.client import Client, NotThere
from blush.emdb.fetch import fetch
from blush.emdb.files import examine, largest_file_bytes
from blush.emdb.manifest import Row, read_manifest, write_manifest
from blush.emdb.search import search
from blush.errors import BlushError


def quick(source: EmdbSource, said: list[str] | None = None) -> Client:
    """A client that hardly waits."""
    tell = (said if said is not None else []).append
    return Client(source.interval_s, source.retries, source.timeout_s, tell, first_wait_s=0.01)


def reasons(source: EmdbSource, folder: Path, said: list[str] | None = None) -> dict[str, str]:
    """Why each entry was not used, by entry; the manifest that was written says the same when it is read."""
    rows = fetch(source, folder, folder / "manifest.tsv", lambda _: None, quick(source, said))
    assert read_manifest(folder / "manifest.tsv") == rows
    return {row.entry: row.reason for row in rows}


def changed(archive: StandIn, **places: Any) -> bytes:
    """The description of EMD-8 with values at dotted places replaced."""
    content = description(archive.entries["EMD-8"])
    for place, value in places.items():
        *keys, last = place.split("__")
        section: Any = content
        for key in keys:
            section = section[int(key) if key.isdecimal() else key]
        section[last] = value
    return json.dumps(content).encode()


RESOLUTION = "structure_determination_list__structure_determination__0__image_processing__0__final_reconstruction"
NAMES = [
    "../../evil.map", "/etc/evil.map", "a/b.map", "a b.map", "..", "a.map\n", "entry.json", "x.map.part", "a\0.map",
    ".a.map", "a" * 300 + ".map", "%2e%2e%2fevil.map", "a\\b.map", "å.map", 7, {"a": 1}, ["a.map"],
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_name_that_leads_elsewhere_costs_its_entry(
    archive: StandIn, source: EmdbSource, tmp_path: Path, name: Any
) -> None:
    halves = [{"file": name}, {"file": "emd_8_half_map_2.map.gz"}]
    archive.faults.answers = {"entry/EMD-8": changed(archive, interpretation={"half_map_list": {"half_map": halves}})}
    found = reasons(source, tmp_path / "box" / "got")
    assert "no name of a map" in found.pop("EMD-8")
    assert found == {"EMD-7": "", "EMD-9": ""}
    assert {path.name for path in (tmp_path / "box").iterdir()} == {"got"}
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("body", [
    b"[]", b"null", b"7", b'"EMD-8"', b"", b"\xff\xfe{}", b"{", b"[" * 100_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b'{"map": ' + b"9" * 6000 + b"}", b'{"map": NaN}', b"<html>busy</html>",
], ids=lambda body: repr(body[:12]))  # fmt: skip
def test_a_description_that_is_none_costs_its_entry(
    archive: StandIn, source: EmdbSource, tmp_path: Path, body: bytes
) -> None:
    archive.faults.answers = {"entry/EMD-8": body}
    found = reasons(source, tmp_path / "got")
    assert found.pop("EMD-8").startswith("its description cannot be read: ")
    assert found == {"EMD-7": "", "EMD-9": ""}


@pytest.mark.parametrize(("place", "value"), [
    ("map__dimensions__col", "inf"), ("map__dimensions__col", "nan"), ("map__dimensions__col", -1),
    ("map__dimensions__col", 24.5), ("map__dimensions__col", 10**5), ("map__dimensions__col", 10**400),
    ("map__dimensions__col", [[]]), ("map__pixel_spacing__x", {"valueOf_": "1e999"}),
    ("map__pixel_spacing__x", {"valueOf_": True}), ("map__contour_list__contour", [{"level": 10**400}]),
    (f"{RESOLUTION}__resolution", {"valueOf_": "three"}), (f"{RESOLUTION}__applied_symmetry", {"point_group": "C1\n"}),
    (f"{RESOLUTION}__applied_symmetry", {"point_group": "\ud800"}),
    ("sample", [{"type_": "UNIPROTKB", "valueOf_": "P1\tx"}]), ("sample", [{"type_": "UNIPROTKB", "valueOf_": [1]}]),
    ("sample", [{"type_": "UNIPROTKB", "valueOf_": f"P{n}"} for n in range(600)]),
])  # fmt: skip
def test_a_senseless_value_costs_its_entry(
    archive: StandIn, source: EmdbSource, tmp_path: Path, place: str, value: Any
) -> None:
    archive.faults.answers = {"entry/EMD-8": changed(archive, **{place: value})}
    found = reasons(source, tmp_path / "got")
    assert found.pop("EMD-8").startswith("its description cannot be read: it")
    assert found == {"EMD-7": "", "EMD-9": ""}


def test_halves_of_one_name_or_with_one_content_are_refused(
    archive: StandIn, source: EmdbSource, tmp_path: Path
) -> None:
    one = [{"file": "emd_8_half_map_1.map.gz"}] * 2
    archive.faults.answers = {"entry/EMD-8": changed(archive, interpretation={"half_map_list": {"half_map": one}})}
    other = archive.folder / "EMD-7" / "other"
    raw = bytearray(gzip.decompress((other / "emd_7_half_map_1.map.gz").read_bytes()))
    raw[224:304] = b"another label".ljust(80)  # the header and the packing differ, the numbers do not
    (other / "emd_7_half_map_2.map.gz").write_bytes(gzip.compress(bytes(raw), 9))
    found = reasons(source, tmp_path / "got")
    assert found["EMD-8"] == "names one file twice: emd_8_half_map_1.map.gz, emd_8_half_map_1.map.gz"
    assert found["EMD-7"] == "emd_7_half_map_2.map.gz holds the same numbers as the other half-map"
    assert found["EMD-9"] == ""


@pytest.mark.parametrize("line", [
    '"' + "x" * 200_000 + '",3,a', '"EMD-77,3,a', "EMD-1\0,3,a", "../../EMD-1,3,a", "EMD-" + "9" * 5000 + ",3,a",
    "EMD-٣,3,a",
], ids=lambda line: line[:9])  # fmt: skip
def test_an_odd_row_of_the_search_costs_itself(archive: StandIn, source: EmdbSource, tmp_path: Path, line: str) -> None:
    rows = ["emdb_id,resolution,half_map_filename", "EMD-7,nan,a", line, "EMD-8,3.0,a", "EMD-9,inf,a"]
    archive.faults.answers = {"/api/search/": "\n".join(rows).encode()}
    said: list[str] = []
    assert search(quick(source, said), source) == ["EMD-8", "EMD-7", "EMD-9"]
    assert any("1 row(s) name no entry and are left out, the first in line 3" in text for text in said)


def test_a_long_answer_is_not_read_to_its_end(archive: StandIn, source: EmdbSource, tmp_path: Path) -> None:
    archive.faults.answers = {"entry/EMD-8": b" " * ((1 << 24) + 1)}
    assert reasons(source, tmp_path / "got")["EMD-8"] == "no description: the answer has more than 16777216 bytes"
    archive.faults.answers = {"nothing": b"x" * 100}
    assert quick(source).get(f"{archive.url}/nothing", 100) == b"x" * 100
    with pytest.raises(NotThere, match="more than 99 bytes"):
        quick(source).get(f"{archive.url}/nothing", 99)


def test_a_file_larger_than_its_map_is_given_up(archive: StandIn, source: EmdbSource, tmp_path: Path) -> None:
    (archive.folder / "EMD-8" / "other" / "emd_8_half_map_1.map.gz").write_bytes(b"x" * (largest_file_bytes(24) + 1))
    assert "more than the" in reasons(source, tmp_path / "got")["EMD-8"]
    assert not list((tmp_path / "got" / "EMD-8").glob("*.map*"))


def test_a_file_that_unpacks_without_end_is_left_early(tmp_path: Path) -> None:
    path = tmp_path / "bomb.map.gz"
    path.write_bytes(gzip.compress(mrc_bytes(noisy(1, 16, 4)[0]) + bytes(50_000_000)))
    assert examine(path, 16, PIXEL_ANGST).fault == "has more than the 17408 bytes that its header says"


@pytest.mark.parametrize(("url", "allowed"), [
    ("https://ftp.ebi.ac.uk/pub", True), ("http://127.0.0.1:80/api", True), ("http://[::1]:80/api", True),
    ("http://localhost/api", True), ("http://ftp.ebi.ac.uk/pub", False), ("file:///etc/passwd", False),
    ("ftp://ftp.ebi.ac.uk/", False), ("data:text/plain,x", False), ("https://", False), ("https://a:b@host/", False),
    ("http://127.0.0.1@host/", False), ("https://host/a b", False), ("https://host:x/", False), ("https://[x/", False),
    ("//host/", False), ("http://127.0.0.1.evil.org/", False), ("https://host/\n", False), ("", False),
])  # fmt: skip
def test_which_addresses_may_be_asked(url: str, allowed: bool) -> None:
    assert is_allowed(url) is allowed
    if not allowed:
        with pytest.raises(ValidationError, match="no address of an archive"):
            EmdbSource(api_url=url)
        with pytest.raises(BlushError, match="is no address of an archive"):
            Client(0, 0, 1).get(url)


@pytest.mark.parametrize("place", ["file:///etc/passwd", "http://192.0.2.1/x", "https://[x/", "ftp://192.0.2.1/"])
def test_redirects_lead_to_such_addresses_alone(
    archive: StandIn, source: EmdbSource, tmp_path: Path, place: str
) -> None:
    archive.faults.redirects = {"entry/EMD-8": place, "emd_7_half_map_1": place}
    found = reasons(source, tmp_path / "got")
    assert "points to" in found["EMD-8"] or "status 302" in found["EMD-8"]
    assert "points to" in found["EMD-7"] or "status 302" in found["EMD-7"]
    archive.faults.redirects = {"/here": f"{archive.url}/api/entry/EMD-8"}
    assert json.loads(quick(source).get(f"{archive.url}/here"))["emdb_id"] == "EMD-8"


@pytest.fixture
def rows(source: EmdbSource, tmp_path: Path) -> list[Row]:
    """Three fine rows, fetched to `got`."""
    folder = tmp_path / "got"
    return fetch(source, folder, folder / "manifest.tsv", lambda _: None, quick(source))


@pytest.mark.parametrize(("old", "new", "message"), [
    ("EMD-8\t", "../../EMD-8\t", "no entry such as"), ("EMD-8\t", "/tmp/EMD-8\t", "no entry such as"),
    ("EMD-8\t", "EMD-7\t", "is there twice"), ("EMD-8/emd_8_half_map_1", "../emd_8_half_map_1", "no map in the folder"),
    ("EMD-8/emd_8_half_map_1", "EMD-8/../../x", "no map in the folder"), ("EMD-8/emd_8_half_map_1", "/x", "no map in"),
    ("EMD-8/emd_8_half_map_2", "EMD-8/emd_8_half_map_1", "the same file as half1"), ("C1", '"C1', "is no table"),
    ("P8/C1", "x" * 200_000, "is no table"), ("P8/C1", "\udcff", "is no table"), ("P8/C1", "P8/C1\tx", "no map in"),
    ("\t1.6\t", "\tinf\t", "is no number"),
])  # fmt: skip
def test_a_manifest_that_leads_elsewhere_is_refused(
    rows: list[Row], tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "got" / "manifest.tsv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new), errors="surrogateescape")
    with pytest.raises(BlushError, match=rf"(?s)cannot read the manifest.*manifest\.tsv.*{message}"):
        read_manifest(path)


def test_a_damaged_record_is_made_again(source: EmdbSource, rows: list[Row], archive: StandIn, tmp_path: Path) -> None:
    record = tmp_path / "got" / "EMD-8" / "entry.json"
    content = json.loads(record.read_text())
    odd = [
        content | {"half1": "../../evil"},
        content | {"zz": "1"},
        content | {"half1_bytes": 7},
        [],
        {"entry": "EMD-8"},
    ]
    for text in (*map(json.dumps, odd), "", "{", "[" * 100_000, "\0"):
        record.write_text(text)
        said: list[str] = []
        assert reasons(source, tmp_path / "got", said) == {"EMD-7": "", "EMD-8": "", "EMD-9": ""}
        assert any("EMD-8/entry.json is made again" in line for line in said)
        assert json.loads(record.read_text()) == content


def test_another_map_in_place_of_a_fetched_one_is_fetched_again(
    source: EmdbSource, rows: list[Row], archive: StandIn, tmp_path: Path
) -> None:
    target = tmp_path / "got" / rows[1].half1
    content = target.read_bytes()
    shutil.copy(tmp_path / "got" / rows[2].half1, target)
    assert not any(reasons(source, tmp_path / "got").values())
    assert target.read_bytes() == content


@pytest.mark.parametrize("text", ["", "[]", '{"asked": 1}', '{"asked": {}, "found": ["../../x"]}', "[" * 100_000])
def test_a_damaged_result_of_the_search_is_named(
    source: EmdbSource, rows: list[Row], tmp_path: Path, text: str
) -> None:
    (tmp_path / "got" / "search.json").write_text(text)
    with pytest.raises(BlushError, match=r"result of the search\n.*search\.json.*remove it"):
        reasons(source, tmp_path / "got")


def test_reasons_are_one_line_and_survive(tmp_path: Path) -> None:
    row = Row("EMD-1", reason="a b", half1="")
    write_manifest(tmp_path / "m.tsv", [row])
    assert read_manifest(tmp_path / "m.tsv") == [row]


def test_a_full_disk_is_told_and_not_tried_again(archive: StandIn, source: EmdbSource) -> None:
    said: list[str] = []
    with pytest.raises(BlushError, match="No space left"):
        _to_full_disk(quick(source, said), f"{archive.url}/files/EMD-7/other/emd_7_half_map_1.map.gz")
    assert not said


def _to_full_disk(client: Client, url: str) -> None:
    target = Path("/dev/shm") / "blush-full-disk.map"
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    part.symlink_to("/dev/full")
    try:
        client.download(url, target, 10**8)
    finally:
        part.unlink(missing_ok=True)
