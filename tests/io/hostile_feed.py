"""Feeds files to the readers that their names say, one after the other, and says what came of each.

Run as `python hostile_feed.py FOLDER...`; prints one JSON object by file: what was told, the memory, and the
seconds of CPU, which do not depend on what else the machine does.
"""

import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from training_problem import training_config

from blush.cli.main import app
from blush.cluster.client import stop_pool
from blush.config.training import EmdbSource, load_training
from blush.denoise.weights import load_weights
from blush.emdb.manifest import read_manifest, read_row
from blush.emdb.search import describe, search
from blush.errors import BlushError
from blush.io.files import load_npz
from blush.io.mrc import map_stack, read_volume, write_stack, write_volume
from blush.io.particles import ParticleSet
from blush.io.star import read_star, write_star
from blush.jobs import importing  # noqa: F401  # what the commands import, so that it counts for no file
from blush.jobs.external_reconstruct import external_reconstruct  # noqa: F401
from blush.refine.state import load_state
from blush.regularise.protocol import read_returned
from blush.report.training_page import write_page
from blush.training.checkpoint import State, restore
from blush.training.curate import read_decisions
from blush.training.fit import build_network
from blush.training.models import read_models
from blush.training.pairs import read_table
from blush.training.prepare import kept_rows
from blush.training.store import open_store

MEMORY_BYTES = 6 << 30
CALL = "run_it003_half1_class001_external_reconstruct.star"
CONFIG = training_config()
NETWORK, AVERAGE = build_network(CONFIG), build_network(CONFIG)
OPTIMISER = torch.optim.AdamW(NETWORK.parameters(), 1e-3, betas=(0.9, 0.99))  # which imports for seconds, once


def command(*arguments: object) -> None:
    """What a user types, without the last step that turns a `BlushError` into status 2."""
    app([*map(str, arguments)], standalone_mode=False)


def particles(path: Path) -> None:
    stack = np.random.default_rng(0).standard_normal((6, 8, 8)).astype(np.float32)
    write_stack("m.mrcs", stack, 3.0)
    command("import", "--check-only", path.rename("p.star"))


def cryosparc(path: Path) -> None:
    command("import", "--check-only", path.rename("p.cs"))


def starround(path: Path) -> None:
    write_star("again.star", read_star(path))


def mrc(path: Path) -> None:
    try:
        map_stack(path)
    except BlushError:
        read_volume(path)
        raise
    read_volume(path)


def checkpoint(path: Path) -> None:
    path.rename("checkpoint.pt")
    restore(Path(), State(NETWORK, AVERAGE, OPTIMISER), "mark")


def extcall(path: Path) -> None:
    for name in "abc":
        write_volume(f"{name}.mrc", np.ones((16, 16, 9), np.float32), 3.0)
    command("external-reconstruct", path.rename(CALL))


def poolfile(path: Path) -> None:
    path.rename("pool.json")
    stop_pool(Path())


def answering(path: Path) -> Any:
    """A client of the archive whose every answer is this file."""
    return SimpleNamespace(get=lambda *_: path.read_bytes(), tell=lambda _: None)


def weights_index(path: Path) -> None:
    load_weights(path.rename("w.safetensors.index.json"))


def weights(path: Path) -> None:
    load_weights(path.rename("w.safetensors"))


def published(path: Path) -> None:
    command("import-weights", path, "out.safetensors")


def losses(path: Path) -> None:
    path.rename("losses.tsv")
    write_page(Path(), Path("page.html"), "name")


def store(path: Path) -> None:
    path.rename("index.json")
    open_store(Path())


READERS: dict[str, Callable[[Path], Any]] = {
    "particles": particles,
    "cryosparc": cryosparc,
    "starround": starround,
    "mrc": mrc,
    "npz": load_npz,
    "state": load_state,
    "yaml_config": lambda path: command("import", "--check-only", path),
    "train_config": load_training,
    "weights_index": weights_index,
    "weights": weights,
    "published": published,
    "checkpoint": checkpoint,
    "emdbentry": lambda path: describe(answering(path), EmdbSource(), "EMD-1"),
    "emdbsearch": lambda path: search(answering(path), EmdbSource()),
    "entryjson": read_row,
    "manifest": read_manifest,
    "extcall": extcall,
    "extreturned": lambda path: read_returned(path, 5),
    "poolfile": poolfile,
    "pairs": read_table,
    "curated": kept_rows,
    "decisions": lambda path: read_decisions(path, ["a"]),
    "losses": losses,
    "store": store,
    "models": read_models,
    "particleset": ParticleSet.load,
}
ANSWERS = ("emdbentry", "emdbsearch")
"""A `ValueError` of these costs the entry, whose row in the manifest says it; nothing has to end."""


def memory_bytes(name: str) -> int:
    """VmRSS or VmHWM of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def fed(path: Path) -> dict[str, Any]:
    """What came of one file; a copy is fed, in a folder of its own."""
    kind = path.name.split("-")[0]
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        copy = Path(shutil.copytree(path, path.name) if path.is_dir() else shutil.copy(path, path.name))
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
        before, begun = memory_bytes("VmRSS"), time.process_time()
        try:
            READERS[kind](copy)
            told, outcome = "", "read"
        except BlushError as error:
            told, outcome = str(error), "BlushError"
        except Exception as error:
            told, outcome = f"{type(error).__name__}: {error}", type(error).__name__
            if kind in ANSWERS and type(error) is ValueError:
                outcome = "BlushError"
        seconds, taken = time.process_time() - begun, memory_bytes("VmHWM") - before
        os.chdir("/")
    return {"outcome": outcome, "told": told, "seconds": seconds, "bytes": taken}


def main() -> None:
    """Feed every file of the folders that are given."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    paths = [path for folder in sys.argv[1:] for path in sorted(Path(folder).resolve().iterdir())]
    found = {path.name: fed(path) for path in paths if path.name.split("-")[0] in READERS}
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
