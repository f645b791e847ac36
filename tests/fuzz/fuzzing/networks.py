"""Readers of weights: our own files and their index, published bundles, checkpoints of a training."""

from __future__ import annotations

import gzip
import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from blush.denoise.card import LOCAL_WIENER, Card
from blush.denoise.local_wiener import GainNet
from blush.denoise.published import import_weights
from blush.denoise.unet import UNet3d
from blush.denoise.weights import load_weights, save_weights
from blush.training.checkpoint import FILE, State, machines, restore, save
from fuzzing.mutate import BYTES, LINES, within_gzip, within_zip
from fuzzing.reader import Reader
from fuzzing.trees import change_tree

_TREES = (*[change_tree] * 10, *LINES, *BYTES)
_CARD = Card(LOCAL_WIENER, 2, 1, norm="none", voxel_size_angst=None, block_px=0, stride_px=0, source="s", licence="l")


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {name: torch.rand(t.shape, generator=generator) for name, t in network.state_dict().items()}


def _weights(folder: Path) -> list[bytes]:
    """Weights of a very small network in one file."""
    save_weights(folder / "written.safetensors", _tensors(GainNet(2)), _CARD)
    return [(folder / "written.safetensors").read_bytes()]


def _index(folder: Path) -> list[bytes]:
    """The index of the same in several files."""
    save_weights(folder / "w.safetensors", _tensors(GainNet(2)), _CARD, largest_shard_bytes=4000)
    return [(folder / "w.safetensors.index.json").read_bytes()]


def _loaded(path: Path) -> None:
    found = load_weights(path)
    assert found.n_parameters > 0
    assert len(found.sha256) == 64
    assert all(bool(torch.isfinite(parameter).all()) for parameter in found.network.parameters())


def _bundles(folder: Path) -> list[bytes]:
    """Published bundles of a very small network: pickles of arrays and of tensors, and both formats of torch.save."""
    tensors = _tensors(UNet3d(1, 1))
    content = {"model_definition": "raise SystemExit", "voxel_size": 1.5, "block_size": 64}
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    plain = [pickle.dumps(content | {"model_state_dict": arrays}, protocol) for protocol in (2, 4)]
    plain.append(pickle.dumps(content | {"model_state_dict": tensors}))
    for new in (True, False):
        stream = io.BytesIO()
        held = tensors if new else _of_one_storage(tensors)
        torch.save(content | {"model_state_dict": held}, stream, _use_new_zipfile_serialization=new)
        plain.append(stream.getvalue())
    return [gzip.compress(_without_addresses(each), 1, mtime=0) for each in plain]


def _of_one_storage(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same as views of one tensor: the oldest format lists storages in the order of their addresses."""
    whole = torch.cat([tensor.flatten() for tensor in tensors.values()])
    parts = whole.split([tensor.numel() for tensor in tensors.values()])
    return {name: part.view_as(tensors[name]) for name, part in zip(tensors, parts, strict=True)}


def _without_addresses(content: bytes) -> bytes:
    """Old formats call numbers by their address in memory, which is another in every process: count them instead."""
    found = dict.fromkeys(re.findall(rb"(?<![0-9])[0-9]{14,15}(?![0-9])", content))
    for number, address in enumerate(found):
        content = content.replace(address, b"%015d" % number if len(address) == 15 else b"%014d" % number)
    return content


def _imported(path: Path) -> None:
    tensors, card = import_weights(path)
    assert card.arch
    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())


def _training() -> State:
    network, average = nn.Linear(2, 2), nn.Linear(2, 2)
    return State(network, average, torch.optim.AdamW(network.parameters()), 3, [(1.0,) * 9, (2.0,) * 9], 4.0)


def _checkpoints(folder: Path) -> list[bytes]:
    torch.manual_seed(3)
    trained = _training()
    trained.network(torch.ones(1, 2)).sum().backward()
    trained.optimiser.step()
    save(folder, trained, _MARK)
    # saved anew, as the folder inside a checkpoint has the random name of the file that it was written as
    torch.save(torch.load(folder / FILE, weights_only=True), stream := io.BytesIO())
    return [stream.getvalue()]


def _restored(path: Path) -> None:
    taken_up = _training()
    assert restore(path.parent, taken_up, _MARK)
    assert isinstance(taken_up.step, int)
    assert taken_up.step >= 0
    assert np.isfinite(taken_up.seconds)
    for network in (taken_up.network, taken_up.average):
        assert all(bool(torch.isfinite(tensor).all()) for tensor in network.parameters())
    assert all(len(row) == 9 for row in taken_up.records)


def _machines(path: Path) -> None:
    assert all(isinstance(name, str) for name in machines(path.parent))


def _known_machines(folder: Path) -> list[bytes]:
    return [b'["CPU, x86_64, 1 process", "GPU, 2 processes"]']


def _within_safetensors() -> Callable[..., bytes]:
    """A change of the header of a safetensors file, with a fitting length before it."""

    def change(random: Any, content: bytes, others: Any) -> bytes:
        length = int.from_bytes(content[:8], "little")
        header = change_tree(random, content[8 : 8 + length][:20_000], others)
        return len(header).to_bytes(8, "little") + header + content[8 + length :]

    return change


_MARK = "0123456789abcdef" * 4
_INSIDE = within_zip(*BYTES)
READERS = (
    Reader(
        "weights", "case.safetensors", _weights, _loaded,
        (*[_within_safetensors()] * len(BYTES), *BYTES), 4,
    ),
    Reader(
        "weights_index", "w.safetensors.index.json", _index, _loaded, _TREES, 4,
        hostile=("weights_index",), names_file=False,
    ),
    Reader(
        "import_weights", "case.pkl.gz", _bundles, _imported, (*[within_gzip(*BYTES, _INSIDE)] * len(BYTES), *BYTES), 4,
        hostile=("published",),
    ),
    Reader("checkpoint", FILE, _checkpoints, _restored, (*[_INSIDE] * len(BYTES), *BYTES), 3, hostile=("checkpoint",)),
    Reader("machines", "machines.json", _known_machines, _machines, _TREES, 5),
)  # fmt: skip
