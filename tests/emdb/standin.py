"""An EMDB of a few made-up entries on this machine, which misbehaves as asked.

    python tests/emdb/standin.py FOLDER [--port 0]

makes the example archive in FOLDER, prints the address, and serves until it is killed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np

PIXEL_ANGST = 1.6


def mrc_bytes(volume: np.ndarray, pixel_angst: float = PIXEL_ANGST) -> bytes:
    """A map of mode 2, as the archive has them."""
    n = volume.shape[0]
    side = n * pixel_angst
    head = struct.pack("<10i6f3i3f2i", n, n, n, 2, 0, 0, 0, n, n, n, side, side, side, 90, 90, 90, 1, 2, 3,
                       float(volume.min()), float(volume.max()), float(volume.mean()), 1, 0)  # fmt: skip
    head = head.ljust(208, b"\0") + b"MAP " + bytes([0x44, 0x44, 0, 0])
    return head.ljust(1024, b"\0") + volume.astype("<f4").tobytes()


def structure(seed: int, box: int, radius: float) -> np.ndarray:
    """Blobs inside a sphere, of a variance of about 1."""
    random = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*[np.arange(box) - box // 2] * 3, indexing="ij")
    volume = np.zeros((box,) * 3)
    for _ in range(60):
        place = random.standard_normal(3)
        place *= radius * random.random() ** (1 / 3) / np.linalg.norm(place)
        square = (z - place[0]) ** 2 + (y - place[1]) ** 2 + (x - place[2]) ** 2
        volume += np.exp(-square / (2 * random.uniform(1.0, 1.6) ** 2))
    return volume / volume[z**2 + y**2 + x**2 < radius**2].std()


@dataclass
class Entry:
    """One structure of the stand-in."""

    number: int
    halves: tuple[np.ndarray, np.ndarray]
    resolution: float = 3.5
    proteins: tuple[str, ...] = ()
    symmetry: str = "C1"
    mask: np.ndarray | None = None
    wrong_box: bool = False
    truncated: bool = False

    @property
    def name(self) -> str:
        return f"EMD-{self.number}"


def noisy(seed: int, box: int = 48, radius: float = 13, noise: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """Halves of a structure, with white noise of their own."""
    random = np.random.default_rng(seed + 1000)
    signal = structure(seed, box, radius)
    return tuple(signal + noise * random.standard_normal(signal.shape) for _ in range(2))  # type: ignore[return-value]


def filtered(half: np.ndarray, fraction: float = 0.25) -> np.ndarray:
    """Nothing beyond a fraction of the sampling frequency."""
    k = np.fft.fftfreq(half.shape[0])
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2)
    return np.fft.ifftn(np.fft.fftn(half) * (radius < fraction)).real


def example_entries() -> list[Entry]:
    """Six that are fine; one filtered, one twice the same structure, one wrong file, one truncated, one masked."""
    good = [Entry(100 + i, noisy(i), 3.4 + 0.05 * i, (f"P0000{i}",), "C2" if i == 1 else "C1") for i in range(6)]
    both = noisy(20)
    same = filtered((both[0] + both[1]) / 2)
    box = both[0].shape[0]
    grid = np.indices((box,) * 3) - box // 2
    hard = (np.sqrt((grid**2).sum(0)) < 15).astype(float)
    masked = noisy(23)
    return [
        *good,
        Entry(200, (same + 1e-4 * both[0], same + 1e-4 * both[1]), 3.3, ("P10000",)),
        Entry(201, noisy(1, noise=1.2), 3.9, ("P00001",), "C2"),
        Entry(202, noisy(21), 3.6, ("P20000",), wrong_box=True),
        Entry(203, noisy(22), 3.6, ("P30000",), truncated=True),
        Entry(204, (masked[0] * hard, masked[1] * hard), 3.6, ("P40000",)),
    ]


def write_archive(folder: Path, entries: list[Entry]) -> None:
    """Files of the entries as the archive names them."""
    for entry in entries:
        other = folder / entry.name / "other"
        other.mkdir(parents=True, exist_ok=True)
        for half, volume in enumerate(entry.halves, start=1):
            stored = volume[:-8, :-8, :-8] if entry.wrong_box and half == 2 else volume
            content = gzip.compress(mrc_bytes(stored), 1, mtime=0)
            if entry.truncated and half == 2:
                content = content[: len(content) // 2]
            (other / f"emd_{entry.number}_half_map_{half}.map.gz").write_bytes(content)
        if entry.mask is not None:
            masks = folder / entry.name / "masks"
            masks.mkdir(exist_ok=True)
            (masks / f"emd_{entry.number}_msk_1.map").write_bytes(mrc_bytes(entry.mask))


def description(entry: Entry) -> dict:
    """JSON of an entry, as far as it is read."""
    half_maps = [{"file": f"emd_{entry.number}_half_map_{half}.map.gz"} for half in (1, 2)]
    interpretation: dict = {"half_map_list": {"half_map": half_maps}}
    if entry.mask is not None:
        interpretation["segmentation_list"] = {"segmentation": [{"file": f"emd_{entry.number}_msk_1.map"}]}
    proteins = [{"type_": "UNIPROTKB", "valueOf_": code} for code in entry.proteins]
    final = {"resolution": {"valueOf_": str(entry.resolution)}, "applied_symmetry": {"point_group": entry.symmetry}}
    return {
        "emdb_id": entry.name,
        "sample": {"macromolecule_list": {"macromolecule": [{"sequence": {"external_references": proteins}}]}},
        "structure_determination_list": {
            "structure_determination": [{"image_processing": [{"final_reconstruction": final}]}]
        },
        "map": {
            "pixel_spacing": {"x": {"valueOf_": str(PIXEL_ANGST)}},
            "dimensions": {"col": str(entry.halves[0].shape[0])},
            "contour_list": {"contour": [{"primary": True, "level": 1.0}]},
        },
        "interpretation": interpretation,
    }


@dataclass
class Faults:
    """What goes wrong, and how often; counts fall to 0 as it does.

    Attributes
    ----------
    status
        Regular expression of paths to (status, times).
    cut
        Of paths to (bytes after which the connection is closed, times).
    answers, redirects
        Of paths to the body or the address that they are answered with.
    ignore_range
        Whether a Range is answered with the whole file.
    delay_s
        Between blocks of a file.
    """

    status: dict[str, list[int]] = field(default_factory=dict)
    cut: dict[str, list[int]] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    ignore_range: bool = False
    delay_s: float = 0.0
    retry_after: str | None = None


class StandIn:
    """The server; counts what it was asked and what it sent."""

    def __init__(self, folder: Path, entries: list[Entry], port: int = 0) -> None:
        self.folder, self.entries, self.faults = folder, {e.name: e for e in entries}, Faults()
        self.requests: list[tuple[float, str]] = []
        self.sent: Counter[str] = Counter()
        write_archive(folder, entries)
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> StandIn:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(handler.path).path)
        self.requests.append((time.monotonic(), path))
        for pattern, left in self.faults.status.items():
            if re.search(pattern, path) and left[1] > 0:
                left[1] -= 1
                return self._send(handler, left[0], b"", {"Retry-After": self.faults.retry_after})
        for pattern, body in self.faults.answers.items():
            if re.search(pattern, path):
                return self._send(handler, 200, body, {})
        for pattern, place in self.faults.redirects.items():
            if re.search(pattern, path):
                return self._send(handler, 302, b"", {"Location": place})
        if path.startswith("/api/search/"):
            rows = [f"{e.name},{e.resolution},emd_{e.number}_half_map_1.map.gz" for e in self.entries.values()]
            return self._send(handler, 200, "\n".join(["emdb_id,resolution,half_map_filename", *rows]).encode(), {})
        if path.startswith("/api/entry/"):
            entry = self.entries.get(path.rsplit("/", 1)[1])
            return self._send(
                handler, 200 if entry else 404, json.dumps(description(entry)).encode() if entry else b"", {}
            )
        file = self.folder / path.removeprefix("/files/")
        if not path.startswith("/files/") or not file.is_file():
            return self._send(handler, 404, b"", {})
        return self._file(handler, path, file.read_bytes())

    def _file(self, handler: BaseHTTPRequestHandler, path: str, content: bytes) -> None:
        asked = re.match(r"bytes=(\d+)-$", handler.headers.get("Range") or "")
        first = int(asked[1]) if asked and not self.faults.ignore_range else 0
        if first >= len(content):
            return self._send(handler, 416, b"", {})
        handler.send_response(206 if first else 200)
        handler.send_header("Content-Length", str(len(content) - first))
        if first:
            handler.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        handler.end_headers()
        limit = len(content)
        for pattern, left in self.faults.cut.items():
            if re.search(pattern, path) and left[1] > 0:
                left[1] -= 1
                limit = first + left[0]
        for start in range(first, min(limit, len(content)), 8192):
            block = content[start : min(start + 8192, limit)]
            try:
                handler.wfile.write(block)
            except OSError:
                return
            self.sent[path] += len(block)
            if self.faults.delay_s:
                time.sleep(self.faults.delay_s)
        if limit < len(content):
            handler.close_connection = True

    def _send(self, handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            if value is not None:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0)
    chosen = parser.parse_args()
    with StandIn(chosen.folder, example_entries(), chosen.port) as server:
        server.faults.delay_s = chosen.delay
        print(server.url, flush=True)  # noqa: T201
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
