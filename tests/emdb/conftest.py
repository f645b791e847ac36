"""A stand-in of EMDB with the example archive, well-behaved until a test says otherwise."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from standin import Entry, StandIn, noisy

from blush.config.training import EmdbSource


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[StandIn]:
    """Three small entries, one of them with a mask."""
    entries = [Entry(i, noisy(i, 24, 7), 3.5, (f"P{i}",)) for i in (7, 8)]
    entries.append(Entry(9, noisy(9, 24, 7), 3.2, ("P9",), "D2", mask=(noisy(9, 24, 7)[0] > 0).astype(float)))
    with StandIn(tmp_path / "archive", entries) as server:
        yield server


@pytest.fixture
def source(archive: StandIn) -> EmdbSource:
    """Settings that ask the stand-in, without waiting."""
    return EmdbSource(
        enabled=True,
        api_url=f"{archive.url}/api",
        files_url=f"{archive.url}/files",
        interval_s=0,
        retries=3,
        timeout_s=5,
    )
