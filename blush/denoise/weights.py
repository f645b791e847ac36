"""Files of weights: safetensors, the network's card and a hash of the numbers as metadata; no code, checked on loading.

One file, or several beside an index (JSON) that names them. The hash is SHA-256 over names, types, shapes and values of
all tensors in the order of their names; it does not depend on how they are spread over files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from blush.config.input_file import unreadable
from blush.denoise.card import ARCHITECTURES, BLUSH, IMPORT_REMEDY, LOCAL_WIENER, Card
from blush.denoise.cref_unet import CrefUNet
from blush.denoise.local_wiener import GainNet
from blush.denoise.unet import UNet3d
from blush.errors import BlushError, Problem
from blush.io.files import atomic_write, read_record, write_json

SHA256 = "sha256"
INDEX_SUFFIX = ".index.json"
TITLE = "cannot use these weights"
DAMAGED_REMEDY = "the file is damaged or was changed: get it again, or import the weights again"
LARGEST_HEADER_BYTES = 16 << 20
_SAFETENSORS_FAULTS = (
    SafetensorError, OSError, ValueError, RuntimeError, TypeError, AttributeError, KeyError, OverflowError,
)  # fmt: skip
"""What safetensors and torch raise of damaged files, and of types and shapes that torch has not."""
_MOST_LISTED = 20


@dataclass(frozen=True)
class Weights:
    """A network ready to be used: in eval mode, on the CPU, float32.

    Attributes
    ----------
    sha256
        Hash of the numbers as they are stored.
    file
        Where they were read from.
    """

    network: nn.Module
    card: Card
    sha256: str
    file: Path

    @property
    def n_parameters(self) -> int:
        """Numbers in the network."""
        return sum(parameter.numel() for parameter in self.network.parameters())


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256, in hexadecimal, of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_weights(
    path: Path | str, tensors: Mapping[str, Tensor], card: Card, *, largest_shard_bytes: int | None = None
) -> str:
    """Write weights in the type they have; equal numbers give equal bytes.

    Parameters
    ----------
    path
        Ends in .safetensors. Sharded weights are written as `name-00001-of-0000n.safetensors` and the index
        `name.safetensors.index.json`, which is the file to load.
    largest_shard_bytes
        None: one file.

    Returns
    -------
    The hash of the numbers.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"weights are written to a .safetensors file, not {path.name}")
    sha256 = content_hash(tensors)
    metadata = card.to_metadata() | {SHA256: sha256}
    if largest_shard_bytes is None:
        _write(path, tensors, metadata)
        return sha256
    shards = _sharded(tensors, largest_shard_bytes)
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"{path.stem}-{number:05d}-of-{len(shards):05d}.safetensors"
        _write(path.with_name(name), shard, {SHA256: content_hash(shard)})
        places |= dict.fromkeys(shard, name)
    write_json(path.with_name(path.name + INDEX_SUFFIX), {"metadata": metadata, "weight_map": places})
    return sha256


def _sharded(tensors: Mapping[str, Tensor], largest_bytes: int) -> list[dict[str, Tensor]]:
    """Tensors in the order of their names, as many to a file as fit; one that fits nowhere has a file of its own."""
    shards: list[dict[str, Tensor]] = [{}]
    room = largest_bytes
    for name in sorted(tensors):
        size = tensors[name].numel() * tensors[name].element_size()
        if size > room and shards[-1]:
            shards.append({})
            room = largest_bytes
        shards[-1][name] = tensors[name]
        room -= size
    return shards


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """One safetensors file, the entries of its header sorted: the library leaves their order to chance."""
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    blob = safetensors_bytes(content, metadata=dict(metadata))
    length = int.from_bytes(blob[:8], "little")
    text = json.dumps(json.loads(blob[8 : 8 + length]), sort_keys=True, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with atomic_write(path) as beside:
        beside.write_bytes(len(text).to_bytes(8, "little") + text + blob[8 + length :])


def load_weights(path: Path | str, arch: str | None = None) -> Weights:
    """Read weights, check them, and build their network.

    Parameters
    ----------
    path
        A .safetensors file, or the .index.json of several.
    arch
        Refuse any other architecture.

    Raises
    ------
    BlushError
        If a file is missing, damaged, was changed, is of another architecture, or does not fill the network.
    """
    path = Path(path)
    tensors, metadata = _read_index(path) if path.name.endswith(INDEX_SUFFIX) else read_tensors(path)
    if "arch" not in metadata:
        raise BlushError(TITLE, [Problem("its metadata name no network", IMPORT_REMEDY, str(path), "arch")])
    if metadata["arch"] not in ARCHITECTURES or arch not in (None, metadata["arch"]):
        remedy = f"give weights of {arch or ' or '.join(ARCHITECTURES)}"
        raise BlushError(TITLE, [Problem("are of another network", remedy, str(path), "arch", metadata["arch"])])
    card = Card.from_metadata(metadata, path)
    sha256 = _checked_hash(tensors, metadata, path)
    return Weights(_filled(card, tensors, path), card, sha256, path)


def read_tensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of one safetensors file; metadata are empty where it has none.

    Raises
    ------
    BlushError
        If it is missing or not such a file.
    """
    path = Path(path)
    if (problem := unreadable(path)) is not None:
        raise BlushError(TITLE, [problem])
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
        if length > LARGEST_HEADER_BYTES:
            raise ValueError(f"its header has {length} bytes, more than {LARGEST_HEADER_BYTES}")
        with safe_open(path, framework="pt") as stored:
            return {name: stored.get_tensor(name) for name in stored.keys()}, dict(stored.metadata() or {})  # noqa: SIM118
    except _SAFETENSORS_FAULTS as error:
        problem = Problem(f"is not a whole safetensors file: {str(error)[:300]}", DAMAGED_REMEDY, str(path))
        raise BlushError(TITLE, [problem]) from None


def _read_index(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of an index, and its metadata; each file is held to its own hash, so that a damaged one is named."""
    places, metadata = _parsed_index(path)
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        shard, own = read_tensors(path.with_name(name))
        _checked_hash(shard, own, path.with_name(name))
        tensors |= shard
    lacking = sorted(places.keys() ^ tensors.keys())
    if lacking:
        raise BlushError(
            TITLE, [Problem("and its files differ", DAMAGED_REMEDY, str(path), value=", ".join(lacking[:3]))]
        )
    return tensors, metadata


def _parsed_index(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Which file holds which tensor, and the metadata."""
    if (problem := unreadable(path)) is not None:
        raise BlushError(TITLE, [problem])
    content = read_record(path, DAMAGED_REMEDY)
    places, metadata = content.get("weight_map"), content.get("metadata")
    if not (isinstance(places, dict) and isinstance(metadata, dict)):
        raise BlushError(TITLE, [Problem("is not an index of weights", DAMAGED_REMEDY, str(path))])
    if not all(isinstance(part, str) for entry in (*places.items(), *metadata.items()) for part in entry):
        raise BlushError(TITLE, [Problem("is not an index of weights", DAMAGED_REMEDY, str(path))])
    for name in places.values():
        if Path(name).name != name or not name.endswith(".safetensors") or not _is_name(name):
            message = "names a file of another folder, or no weights"
            problem = Problem(message, "get the weights again", str(path), value=ascii(name[:200])[1:-1])
            raise BlushError(TITLE, [problem])
    return places, metadata


def _is_name(name: str) -> bool:
    """Whether a file of Linux can be called so."""
    return "\0" not in name and len(name.encode()) <= 255


def _checked_hash(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path) -> str:
    """The hash that is stated and right."""
    sha256 = content_hash(tensors)
    stated = metadata.get(SHA256)
    if stated != sha256:
        message = f"its numbers have the SHA-256 {sha256}, not the stated one" if stated else "states no hash"
        raise BlushError(TITLE, [Problem(message, DAMAGED_REMEDY, str(path), SHA256, stated)])
    return sha256


def fill(network: nn.Module, tensors: Mapping[str, Tensor]) -> list[Problem]:
    """Put float32 copies of tensors into a network, or say all that keeps them from fitting."""
    expected = network.state_dict()
    problems = [Problem("tensor is missing", where=name) for name in sorted(expected.keys() - tensors.keys())]
    problems += [Problem("tensor has no place", where=name) for name in sorted(tensors.keys() - expected.keys())]
    if len(problems) > _MOST_LISTED:
        more = Problem(f"and {len(problems) - _MOST_LISTED} more tensors are missing or have no place")
        problems = [*problems[:_MOST_LISTED], more]
    for name in sorted(expected.keys() & tensors.keys()):
        shape, wanted = tuple(tensors[name].shape), tuple(expected[name].shape)
        if shape != wanted:
            problems.append(Problem(f"shape should be {wanted}", where=name, value=str(shape)))
        elif not tensors[name].is_floating_point() or not bool(torch.isfinite(tensors[name]).all()):
            problems.append(Problem("holds values that are not finite numbers", where=name))
    if not problems:
        network.load_state_dict({name: tensor.float().clone() for name, tensor in tensors.items()}, assign=True)
        network.requires_grad_(False).eval()
    return problems


def build(card: Card) -> nn.Module:
    """The network of a card, without numbers: they take no memory, and no random ones are drawn."""
    with torch.device("meta"):
        if card.arch == LOCAL_WIENER:
            return GainNet(card.width)
        return UNet3d(card.width, card.depth) if card.arch == BLUSH else CrefUNet()


def _filled(card: Card, tensors: Mapping[str, Tensor], path: Path) -> nn.Module:
    network = build(card)
    problems = fill(network, tensors)
    if problems:
        remedy = f"the metadata describe {card.arch} of width {card.width} and depth {card.depth}; {DAMAGED_REMEDY}"
        named = [Problem(p.message, remedy, str(path), p.where, p.value) for p in problems]
        raise BlushError(f"{TITLE}: {len(named)} tensor(s) do not fit the network", named)
    return network
