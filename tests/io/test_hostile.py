"""Damaged and hostile inputs of every reader: one error that names the file, soon, and without taking memory for it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from hostile_examples import EXAMPLES, write_examples

FEED = Path(__file__).with_name("hostile_feed.py")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "hostile"
FILES = sorted(path.name for path in SHARED.glob("*.bin"))
LONGEST_SECONDS = 10.0
HANGING_SECONDS = 900.0
"""For all files together, on a machine that is busy; without other work it takes 10 s."""
NAMED_AS = {
    "checkpoint": "checkpoint.pt",
    "cryosparc": "p.cs",
    "extcall": "external_reconstruct.star",
    "losses": "losses.tsv",
    "poolfile": "pool.json",
    "store": "index.json",
    "weights_index": "w.safetensors",
    "weights": "w.safetensors",
}
"""What a file has to be called for its reader."""
READABLE = {"emdbsearch-0-Error.bin", "emdbsearch-1-ValueError.bin"}
"""Odd rows of a table of the archive cost themselves, and the others are read."""


def fed(*folders: Path) -> dict[str, dict[str, Any]]:
    """What came of every file of the folders, each fed to its reader in one process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(FEED), *map(str, folders)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=HANGING_SECONDS)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("hostile")
    write_examples(folder)
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    folders = (folder, SHARED) if FILES else (folder,)
    sizes |= {path.name: path.stat().st_size for path in SHARED.glob("*.bin")}
    return {name: found | {"size": sizes[name]} for name, found in fed(*folders).items()}


def check(found: dict[str, Any], is_readable: bool = False) -> None:
    assert found["outcome"] == ("read" if is_readable else "BlushError"), found["told"]
    assert found["seconds"] < LONGEST_SECONDS
    assert found["bytes"] < 10 * found["size"] + 200_000_000
    assert len(found["told"]) < 4000


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_hostile_file_is_told(outcomes: dict[str, dict[str, Any]], name: str) -> None:
    check(outcomes[name])
    assert EXAMPLES[name].told in outcomes[name]["told"]
    named = EXAMPLES[name].file or NAMED_AS.get(name.split("-")[0], name)
    assert named in outcomes[name]["told"]


@pytest.mark.shared
@pytest.mark.skipif(not FILES, reason="the hostile examples of shared/data are not there")
@pytest.mark.parametrize("name", FILES)
def test_every_file_that_was_once_answered_with_a_traceback_is_told(
    outcomes: dict[str, dict[str, Any]], name: str
) -> None:
    check(outcomes[name], name in READABLE)
