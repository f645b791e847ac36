"""State of a training on disk, from which it goes on with the same numbers."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from blush.config.training import TrainingConfig
from blush.denoise.pickled import unpickled
from blush.denoise.stand_ins import Forbidden
from blush.errors import BlushError, Problem
from blush.io import seal
from blush.io.files import atomic_write, read_json, write_json
from blush.io.seal import DamagedFile, Owner

FILE, LOSSES, MACHINES = "checkpoint.pt", "losses.tsv", "machines.json"
PREVIOUS = "checkpoint.previous.pt"
"""The checkpoint before the last: what a training goes on from where the last one was damaged."""
COLUMNS = ("step", "block_px", "batch", "loss", "mse", "mask_loss", "learning_rate", "gradient_norm", "seconds")
FREE = ("device", "checkpoint_minutes", "loaders", "gpus")
"""Settings of `fit` that may change between a start and a restart."""


_MEMBERS: dict[str, Any] = {
    "fingerprint": str, "step": int, "seconds": (int, float), "network": dict, "average": dict, "optimiser": dict,
    "records": Tensor,
}  # fmt: skip
"""Members of a checkpoint."""


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
    """Write the state, under a seal, and the table of losses, each beside and renamed."""
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
    path = folder / FILE
    if path.exists():
        path.replace(folder / PREVIOUS)
    with seal.sealed(path, Owner(mark[:16], FILE)) as beside:
        torch.save(content, beside)


def undo_damage(folder: Path) -> None:
    """Set a damaged checkpoint aside, so that the training goes on from the one before; torch would not notice.

    Raises
    ------
    BlushError
        Where no other is left.
    """
    damaged = []
    for path in (folder / FILE, folder / PREVIOUS):
        try:
            if path.exists():
                seal.verify_content(path)
        except DamagedFile as damage:
            aside = seal.set_aside(path)
            sys.stderr.write(f"blush: warning: {path} {damage.fault}; it is set aside as {aside.name}\n")
            damaged.append(Problem(damage.fault, "the same command starts from the beginning", str(path)))
    if damaged and not ((folder / FILE).exists() or (folder / PREVIOUS).exists()):
        raise BlushError("the training has lost what it came to", damaged)


def restore(folder: Path, state: State, mark: str) -> bool:
    """Take up the state of a folder; False where there is none.

    Raises
    ------
    BlushError
        Where it belongs to other settings or other maps, or cannot be read.
    """
    path = folder / FILE if (folder / FILE).exists() else folder / PREVIOUS
    if not path.exists():
        return False
    try:
        with path.open("rb") as stream:
            content = _members(unpickled(stream, path.stat().st_size))
        if content["fingerprint"] != mark:
            remedy = "restore the settings, give the training another name, or remove the checkpoints to start again"
            problem = Problem("was made with other settings or other maps", remedy, str(path))
            raise BlushError("cannot go on with the training", [problem])
        _check(content, state)
    except (OSError, ValueError, Forbidden) as error:
        asked = "asks for something to be executed, which is refused: " if isinstance(error, Forbidden) else ""
        problem = Problem(
            f"cannot be read: {asked}{error}", "remove it to go on from the one before, or from the start", str(path)
        )
        raise BlushError("cannot go on with the training", [problem]) from None
    state.network.load_state_dict(content["network"])
    state.average.load_state_dict(content["average"])
    state.optimiser.load_state_dict(content["optimiser"])
    state.step, state.seconds = content["step"], content["seconds"]
    state.records = [tuple(row) for row in content["records"].tolist()]
    return True


def _members(content: Any) -> dict[str, Any]:
    """The same content, if it is a checkpoint's.

    Raises
    ------
    ValueError
        Saying what is missing, or of another kind.
    """
    if not isinstance(content, dict) or content.keys() != _MEMBERS.keys():
        raise ValueError("is no checkpoint: it holds other members")
    for name, kind in _MEMBERS.items():
        if not isinstance(content[name], kind) or isinstance(content[name], bool):
            raise ValueError(f"{name} is of another kind: {type(content[name]).__name__}")
    return content


def _check(content: dict[str, Any], state: State) -> None:
    """Refuse what is no state of this training, before any of it is taken up.

    Raises
    ------
    ValueError
        Saying what is of another kind or size.
    """
    records = content["records"]
    if records.dtype != torch.float64 or records.ndim != 2 or records.shape[1] != len(COLUMNS):
        raise ValueError(f"records are no table of {len(COLUMNS)} columns")
    if content["step"] < 0 or not 0 <= content["seconds"] < math.inf or not bool(torch.isfinite(records[:, :4]).all()):
        raise ValueError("step, seconds or records are no numbers that a training can have come to")
    for name, network in (("network", state.network), ("average", state.average)):
        _check_tensors(name, content[name], network.state_dict())
    given, own = content["optimiser"], state.optimiser.state_dict()
    groups, moments = given.get("param_groups"), given.get("state")
    if not (isinstance(moments, dict) and isinstance(groups, list) and len(groups) == len(own["param_groups"])):
        raise ValueError("optimiser has another state than AdamW's")
    for group, wanted in zip(groups, own["param_groups"], strict=True):
        if not isinstance(group, dict) or group.keys() != wanted.keys() or group["params"] != wanted["params"]:
            raise ValueError("optimiser has other groups of parameters")
        if any(type(group[key]) is not type(wanted[key]) for key in wanted):
            raise ValueError("optimiser has settings of another kind")
    parameters = list(state.network.parameters())
    if moments.keys() not in (set(), set(range(len(parameters)))):
        raise ValueError("optimiser lacks parameters, or has others")
    for index, found in moments.items():
        same = dict.fromkeys(("exp_avg", "exp_avg_sq"), parameters[index])
        _check_tensors(f"optimiser of parameter {index}", found, same | {"step": torch.zeros(())})


def _check_tensors(name: str, found: Any, wanted: dict[str, Tensor]) -> None:
    """Refuse tensors of other names, types or sizes, or that are not finite.

    Raises
    ------
    ValueError
        Saying which.
    """
    if not isinstance(found, dict) or found.keys() != wanted.keys():
        raise ValueError(f"{name} holds other tensors")
    for key, tensor in wanted.items():
        given = found[key]
        if not isinstance(given, Tensor) or given.shape != tensor.shape or given.dtype != tensor.dtype:
            raise ValueError(f"{name}: {key} is not {tuple(tensor.shape)} of {tensor.dtype}")
        if not bool(torch.isfinite(given).all()):
            raise ValueError(f"{name}: {key} is not finite")


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
    if not path.exists():
        return []
    found = read_json(path)
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        problem = Problem("is no list of machines", "remove it: it only says where the training ran", str(path))
        raise BlushError("cannot go on with the training", [problem])
    return found


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
