"""State of a training on disk, from which it goes on with the same numbers."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from blush.config.training import TrainingConfig
from blush.errors import BlushError, Problem
from blush.io.files import atomic_write, read_json, write_json

FILE, LOSSES, MACHINES = "checkpoint.pt", "losses.tsv", "machines.json"
COLUMNS = ("step", "block_px", "batch", "loss", "mse", "mask_loss", "learning_rate", "gradient_norm", "seconds")
FREE = ("device", "checkpoint_minutes", "loaders", "gpus")
"""Settings of `fit` that may change between a start and a restart."""


@dataclass
class State:
    """What a training has come to.

    Attributes
    ----------
    step
        Steps that are done.
    average
        Averaged weights.
    records
        Rows of `losses.tsv`.
    seconds
        Time spent in steps, all starts together.
    """

    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    records: list[tuple[float, ...]] = field(default_factory=list)
    seconds: float = 0.0


def fingerprint(config: TrainingConfig, store_index: bytes) -> str:
    """Hash of everything that decides the numbers of a training."""
    content = config.model_dump(mode="json", include={"network", "sources", "fit", "seed"})
    content["sources"] = {"simulated_share": config.sources.simulated_share}
    for name in FREE:
        content["fit"].pop(name)
    text = json.dumps(content, sort_keys=True).encode()
    return hashlib.sha256(text + store_index).hexdigest()


def save(folder: Path, state: State, mark: str) -> None:
    """Write the state and the table of losses, each beside and renamed."""
    content: dict[str, Any] = {
        "fingerprint": mark,
        "step": state.step,
        "seconds": state.seconds,
        "network": state.network.state_dict(),
        "average": state.average.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "records": torch.tensor(state.records, dtype=torch.float64).reshape(-1, len(COLUMNS)),
    }
    write_losses(folder / LOSSES, state.records)
    with atomic_write(folder / FILE) as beside:
        torch.save(content, beside)


def restore(folder: Path, state: State, mark: str, device: torch.device) -> bool:
    """Take up the state of a folder; False where there is none.

    Raises
    ------
    BlushError
        Where it belongs to other settings or other maps, or cannot be read.
    """
    path = folder / FILE
    if not path.exists():
        return False
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        problem = Problem(f"cannot be read: {error}", "remove it to start again", str(path))
        raise BlushError("cannot go on with the training", [problem]) from None
    if content["fingerprint"] != mark:
        remedy = "restore the settings, give the training another name, or remove the file to start again"
        problem = Problem("was made with other settings or other maps", remedy, str(path))
        raise BlushError("cannot go on with the training", [problem])
    state.network.load_state_dict(content["network"])
    state.average.load_state_dict(content["average"])
    state.optimiser.load_state_dict(content["optimiser"])
    state.step, state.seconds = content["step"], content["seconds"]
    state.records = [tuple(row) for row in content["records"].tolist()]
    return True


def note_machine(folder: Path, device: torch.device, processes: int) -> None:
    """Add this machine to those that had a part in a training, in `machines.json`."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {platform.machine()}"
    path, here = folder / MACHINES, f"{name}, {processes} process{'es' if processes > 1 else ''}"
    known = machines(folder)
    if here not in known:
        write_json(path, [*known, here])


def machines(folder: Path) -> list[str]:
    """Machines that a training has run on, as far as they were noted."""
    path = folder / MACHINES
    return list(read_json(path)) if path.exists() else []


def write_losses(path: Path, records: list[tuple[float, ...]]) -> None:
    """Table of losses; each row is a mean over the steps since the row before."""
    rows = ["\t".join(COLUMNS)]
    for r in records:
        whole = [f"{int(value)}" for value in r[:3]]
        rows.append("\t".join([*whole, *(f"{value:.9g}" for value in r[3:-1]), f"{r[-1]:.3f}"]))
    with atomic_write(path) as beside:
        beside.write_text("\n".join(rows) + "\n")


def blend(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move averaged weights towards the present ones."""
    with torch.no_grad():
        means: list[Tensor] = list(average.parameters())
        torch._foreach_lerp_(means, list(network.parameters()), 1 - decay)
