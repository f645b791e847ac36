"""Readers with a fault each, to show that the harness sees them."""

import os
import time
from pathlib import Path

import numpy as np
from fuzzing.mutate import BYTES
from fuzzing.reader import Reader

from blush.errors import BlushError, Problem

ODD = 0
"""A case is given to the fault where its first byte is this one."""


def examples(folder: Path) -> list[bytes]:
    return [bytes([7]) * 16]


def _faulty(path: Path) -> bool:
    content = path.read_bytes()
    if len(content) > 20:
        raise BlushError("cannot read it", [Problem("is too long", "cut it", str(path))])
    return content[:1] == bytes([ODD])


def sound(path: Path) -> None:
    _faulty(path)


def crash(path: Path) -> None:
    if _faulty(path):
        raise KeyError("planted")


def wrong(path: Path) -> None:
    assert not _faulty(path), "a value that is none"


def nameless(path: Path) -> None:
    if _faulty(path):
        raise BlushError("cannot read it")


def hang(path: Path) -> None:
    while _faulty(path):
        time.sleep(0.01)


def hog(path: Path) -> None:
    if _faulty(path):
        np.ones(30_000_000, dtype=np.uint8)


def death(path: Path) -> None:
    if _faulty(path):
        os.kill(os.getpid(), 11)


READERS = {
    call.__name__: Reader(call.__name__, "case.bin", examples, call, BYTES)
    for call in (sound, crash, wrong, nameless, hang, hog, death)
}
