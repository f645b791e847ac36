"""Fetching: what comes is whole and known; what goes wrong is waited for, gone on with, or told."""

import gzip
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from standin import PIXEL_ANGST, Entry, StandIn, example_entries, mrc_bytes, noisy

from blush.config.training import EmdbSource
from blush.emdb.client import Client, NotThere
from blush.emdb.fetch import fetch
from blush.emdb.files import examine, parse_header
from blush.emdb.manifest import COLUMNS, Row, read_manifest, write_manifest
from blush.emdb.search import describe, search
from blush.errors import BlushError


def quick(source: EmdbSource, said: list[str] | None = None) -> Client:
    """A client that hardly waits."""
    tell = (said if said is not None else []).append
    return Client(source.interval_s, source.retries, source.timeout_s, tell, first_wait_s=0.01)


def fetched(source: EmdbSource, folder: Path, said: list[str] | None = None) -> list[Row]:
    return fetch(source, folder, folder / "manifest.tsv", lambda _: None, quick(source, said))


def test_all_is_fetched_and_listed(archive: StandIn, source: EmdbSource, tmp_path: Path) -> None:
    rows = fetched(source, tmp_path / "got")
    assert [row.entry for row in rows] == ["EMD-9", "EMD-7", "EMD-8"]  # by resolution, then number
    assert rows == read_manifest(tmp_path / "got" / "manifest.tsv")
    best = rows[0]
    assert (best.resolution_angst, best.symmetry, best.group, best.contour) == ("3.2", "D2", "P9/D2", "1")
    assert best.mask == "EMD-9/emd_9_msk_1.map"
    assert not any(row.reason for row in rows)
    for name in (best.half1, best.half2, best.mask):
        original = next(archive.folder.rglob(Path(name).name))
        assert (tmp_path / "got" / name).read_bytes() == original.read_bytes()


def test_a_second_run_fetches_nothing(archive: StandIn, source: EmdbSource, tmp_path: Path) -> None:
    fetched(source, tmp_path / "got")
    manifest = (tmp_path / "got" / "manifest.tsv").read_bytes()
    asked = len(archive.requests)
    fetched(source, tmp_path / "got")
    assert len(archive.requests) == asked
    assert (tmp_path / "got" / "manifest.tsv").read_bytes() == manifest


def test_a_changed_file_is_fetched_again(archive: StandIn, source: EmdbSource, tmp_path: Path) -> None:
    rows = fetched(source, tmp_path / "got")
    path = tmp_path / "got" / rows[1].half1
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    fetched(source, tmp_path / "got")
    assert path.read_bytes() == content


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_waited_for(archive: StandIn, source: EmdbSource, tmp_path: Path, status: int) -> None:
    archive.faults.status = {"search": [status, 2], "half_map_1": [status, 1], "entry/EMD-8": [status, 1]}
    said: list[str] = []
    assert not any(row.reason for row in fetched(source, tmp_path / "got", said))
    assert sum(f"status {status}" in text for text in said) == 4


def test_retry_after_is_kept(archive: StandIn, source: EmdbSource) -> None:
    archive.faults.status, archive.faults.retry_after = {"entry": [429, 1]}, "1"
    begun = time.monotonic()
    describe(quick(source), source, "EMD-7")
    assert time.monotonic() - begun >= 1


def test_waiting_doubles_and_ends_with_an_error(archive: StandIn, source: EmdbSource) -> None:
    archive.faults.status = {"search": [500, 99]}
    said: list[str] = []
    with pytest.raises(BlushError, match=r"archive does not answer\n.*search.*: status 500; the same command goes on"):
        search(Client(source.interval_s, source.retries, source.timeout_s, said.append, first_wait_s=0.1), source)
    times = [time_ for time_, _ in archive.requests]
    gaps = [b - a for a, b in pairwise(times)]
    assert len(times) == source.retries + 1
    assert gaps[2] > 1.5 * gaps[0]


def test_requests_keep_their_distance(archive: StandIn, source: EmdbSource) -> None:
    client = Client(0.15, 0, 5)
    for _ in range(3):
        describe(client, source, "EMD-7")
    times = [time_ for time_, _ in archive.requests]
    assert min(b - a for a, b in pairwise(times)) > 0.13


def test_what_is_not_there_is_not_asked_for_again(archive: StandIn, source: EmdbSource) -> None:
    with pytest.raises(NotThere, match="404"):
        quick(source).get(f"{archive.url}/files/nothing")
    assert len(archive.requests) == 1


def test_a_cut_connection_goes_on_where_it_stopped(archive: StandIn, source: EmdbSource, tmp_path: Path) -> None:
    archive.faults.cut = {"emd_7_half_map_1": [20_000, 2]}
    rows = fetched(source, tmp_path / "got")
    row = next(row for row in rows if row.entry == "EMD-7")
    assert not row.reason
    assert archive.sent["/files/EMD-7/other/emd_7_half_map_1.map.gz"] == int(row.half1_bytes)


def test_a_server_that_ignores_range_is_started_over(archive: StandIn, source: EmdbSource, tmp_path: Path) -> None:
    archive.faults.cut, archive.faults.ignore_range = {"emd_7_half_map_1": [20_000, 1]}, True
    row = next(row for row in fetched(source, tmp_path / "got") if row.entry == "EMD-7")
    assert not row.reason
    assert archive.sent["/files/EMD-7/other/emd_7_half_map_1.map.gz"] == int(row.half1_bytes) + 20_000


def test_a_part_of_another_file_is_given_up(archive: StandIn, source: EmdbSource, tmp_path: Path) -> None:
    target = tmp_path / "x.map.gz"
    (tmp_path / "x.map.gz.part").write_bytes(b"0" * 10_000_000)
    quick(source).download(f"{archive.url}/files/EMD-7/other/emd_7_half_map_1.map.gz", target, 10**8)
    assert examine(target, 24, PIXEL_ANGST).fault == ""


def test_bad_files_are_rejected_with_their_reason(source: EmdbSource, tmp_path: Path) -> None:
    with StandIn(tmp_path / "bad", [e for e in example_entries() if e.number in (100, 202, 203)]) as server:
        settings = source.model_copy(update={"api_url": f"{server.url}/api", "files_url": f"{server.url}/files"})
        reasons = {row.entry: row.reason for row in fetched(settings, tmp_path / "got")}
        truncated = "/files/EMD-203/other/emd_203_half_map_2.map.gz"
        assert sum(path == truncated for _, path in server.requests) == 2  # fetched a second time, then given up
    assert reasons["EMD-100"] == ""
    assert reasons["EMD-202"] == "emd_202_half_map_2.map.gz is a map of 40 px, the entry's has 48"
    assert reasons["EMD-203"].startswith("emd_203_half_map_2.map.gz is not a whole gzip file: ")


def test_a_missing_half_is_told(archive: StandIn, source: EmdbSource, tmp_path: Path) -> None:
    (archive.folder / "EMD-8" / "other" / "emd_8_half_map_2.map.gz").unlink()
    reasons = {row.entry: row.reason for row in fetched(source, tmp_path / "got")}
    assert reasons["EMD-8"] == "emd_8_half_map_2.map.gz is not there: status 404"


def test_it_stops_at_the_largest_number(source: EmdbSource, tmp_path: Path) -> None:
    rows = fetched(source.model_copy(update={"largest_number": 1}), tmp_path / "got")
    assert len(rows) == 1


def test_a_manifest_is_repeated_exactly(archive: StandIn, source: EmdbSource, tmp_path: Path) -> None:
    rows = fetched(source, tmp_path / "one")
    write_manifest(tmp_path / "short.tsv", rows[:2])
    again = source.model_copy(update={"repeat": tmp_path / "short.tsv"})
    assert fetched(again, tmp_path / "two") == rows[:2]
    assert (tmp_path / "two" / "manifest.tsv").read_bytes() == (tmp_path / "short.tsv").read_bytes()
    other = noisy(99, 24, 7)[0]
    (archive.folder / rows[0].entry / "other" / "emd_9_half_map_1.map.gz").write_bytes(gzip.compress(mrc_bytes(other)))
    with pytest.raises(BlushError, match=r"EMD-9: EMD-9/emd_9_half_map_1.map.gz: is not the file of the manifest"):
        fetched(again, tmp_path / "three")


def test_listed_entries_need_no_search(archive: StandIn, source: EmdbSource, tmp_path: Path) -> None:
    rows = fetched(source.model_copy(update={"entries": ("EMD-8", "EMD-77")}), tmp_path / "got")
    assert [row.entry for row in rows] == ["EMD-8", "EMD-77"]
    assert rows[1].reason == "no description: status 404"
    assert not any("search" in path for _, path in archive.requests)
    with pytest.raises(BlushError, match=r"is not an entry \(found 8\); write it as EMD-1234"):
        search(quick(source), source.model_copy(update={"entries": ("8",)}))


def test_a_manifest_without_its_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.tsv"
    path.write_text("entry\thalf1\n")
    with pytest.raises(BlushError, match=f"has no column {COLUMNS[1]}"):
        read_manifest(path)


def test_headers_of_both_byte_orders_are_read() -> None:
    block = mrc_bytes(noisy(1, 16, 4)[0])[:1024]
    header = parse_header(block)
    assert header is not None
    assert (header.box_px, header.mode, header.axes) == ((16, 16, 16), 2, (1, 2, 3))
    assert header.pixel_size_angst == pytest.approx(PIXEL_ANGST)
    words = b"".join(block[i : i + 4][::-1] for i in range(0, 96, 4)) + block[96:]
    assert parse_header(words) == header
    assert parse_header(b"x" * 1024) is None
    assert header.file_bytes == 1024 + 4 * 16**3
    assert replace(header, extended_bytes=80).file_bytes == header.file_bytes + 80


SCRIPT = """
import sys
from pathlib import Path
from blush.config.training import EmdbSource
from blush.emdb.fetch import fetch
folder = Path(sys.argv[2])
source = EmdbSource(enabled=True, api_url=sys.argv[1] + "/api", files_url=sys.argv[1] + "/files", interval_s=0)
fetch(source, folder, folder / "manifest.tsv", print)
"""


def test_a_killed_download_goes_on(tmp_path: Path) -> None:
    """kill -9 in the middle of files: the same manifest, and no file is fetched twice but for the block in flight."""
    entries = [Entry(i, noisy(i, 32, 8), 3.5, (f"P{i}",)) for i in range(1, 4)]
    with StandIn(tmp_path / "archive", entries) as server:
        command = [sys.executable, "-c", SCRIPT, server.url]
        assert subprocess.run([*command, str(tmp_path / "whole")], stdout=subprocess.DEVNULL).returncode == 0
        needed = sum(server.sent.values())
        server.sent.clear()
        server.faults.delay_s = 0.02
        kills = 0
        for _ in range(3):
            before = sum(server.sent.values())
            process = subprocess.Popen([*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL)
            while sum(server.sent.values()) < before + 100_000 and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
        assert kills >= 2
        server.faults.delay_s = 0
        assert subprocess.run([*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL).returncode == 0
        sent = sum(server.sent.values())
    manifest = (tmp_path / "whole" / "manifest.tsv").read_bytes()
    assert (tmp_path / "killed" / "manifest.tsv").read_bytes() == manifest
    # What was on its way, in the pipe or in memory, when each was killed.
    assert needed <= sent < needed + kills * 400_000
    assert not list((tmp_path / "killed").rglob("*.part"))
    assert os.path.getsize(tmp_path / "killed" / "search.json")
