"""Weights as their authors published them, turned into ours; nothing in such a file is ever executed.

Blush (Zenodo 10072731) is a gzipped pickle of a dictionary: `model_state_dict`, and `model_definition`, which is
Python source that the original program runs. Here the pickle may build tensors, arrays and containers and nothing else
(`blush.denoise.pickled`), the source stays an unread text, and the network is our own. crefDenoiser is read from its
tensors in safetensors.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blush.config.input_file import unreadable
from blush.denoise.card import BLUSH, CREF, Card
from blush.denoise.pickled import unpickled
from blush.denoise.stand_ins import Forbidden
from blush.denoise.weights import build, fill, read_tensors
from blush.errors import BlushError, Problem

TITLE = "cannot import these weights"
GZIP = b"\x1f\x8b"
LARGEST_BYTES = 1 << 30
"""Of the unpacked bundle; the published one has 52 MB."""
_LARGEST_RATIO, _FREE_BYTES = 2, 32 << 20
"""Weights hardly pack: what unpacks to more than so many times its size, and so much, holds none."""
_LARGEST_NUMBER = 1e6


def import_weights(path: Path | str) -> tuple[dict[str, Tensor], Card]:
    """Tensors and card of a published file: the Blush bundle, or crefDenoiser's tensors.

    Raises
    ------
    BlushError
        If it is neither, is damaged, asks for anything to be executed, or does not fill the network it should.
    """
    path = Path(path)
    if (problem := unreadable(path)) is not None:
        raise BlushError(TITLE, [problem])
    with path.open("rb") as stream:
        packed = stream.read(2) == GZIP
    tensors, card = _blush(path) if packed else _cref(path)
    problems = fill(build(card), tensors)
    if problems:
        named = [Problem(p.message, "give the file as it was published", str(path), p.where, p.value) for p in problems]
        raise BlushError(f"{TITLE}: {len(named)} tensor(s) do not fit {card.arch}", named)
    return tensors, card


def _cref(path: Path) -> tuple[dict[str, Tensor], Card]:
    """Tensors of crefDenoiser, conv00.weight to conv17.bias."""
    tensors, metadata = read_tensors(path)
    if "arch" in metadata:
        raise _refusal(path, "has been imported already", "use it as it is", metadata["arch"])
    if "conv00.weight" not in tensors:
        raise _refusal(path, "is neither a Blush bundle nor crefDenoiser's tensors", "give one of these")
    card = Card(
        CREF,
        norm="none",
        voxel_size_angst=None,
        block_px=0,
        stride_px=0,
        input_kind="mean of half-maps, standardised",
        source=metadata.get("source", "crefDenoiser"),
        licence=metadata.get("licence", "none stated: not to be redistributed"),
    )
    return tensors, card


def _blush(path: Path) -> tuple[dict[str, Tensor], Card]:
    """The bundle of the Blush network, of whatever width and depth."""
    bundle = _unpickled(path)
    if not isinstance(bundle, Mapping) or not isinstance(bundle.get("model_state_dict"), Mapping):
        raise _refusal(path, "holds no model_state_dict", "give the bundle as it was published")
    given = bundle["model_state_dict"]
    names = {_our_name(str(name)[:200]) for name in given}
    if len(names) < len(given) or len({id(value) for value in given.values()}) < len(given):
        raise _refusal(path, "holds a tensor or a name twice", "give the bundle as it was published")
    tensors = {_our_name(str(name)): _tensor(path, str(name)[:200], value) for name, value in given.items()}
    first = tensors.get("inc.double_conv.conv1.weight")
    if first is None or first.ndim == 0:
        raise _refusal(
            path, "holds another network", "give the bundle of the Blush U-net", ", ".join(sorted(tensors)[:3])[:200]
        )
    depth = len({name.split(".")[1] for name in tensors if name.startswith("down.")})
    card = Card(
        BLUSH,
        width=len(first),
        depth=depth,
        voxel_size_angst=_positive(path, bundle, "voxel_size"),
        block_px=round(_positive(path, bundle, "block_size")),
        source="imported from a published Blush bundle",
    )
    return tensors, Card.from_metadata(card.to_metadata(), path)


def _our_name(name: str) -> str:
    """Name of a tensor without the layers that a wrapper or a class of its own for the last convolution adds."""
    return name.removeprefix("module.").replace("outc.conv.", "outc.")


def _positive(path: Path, bundle: Mapping[str, Any], key: str) -> float:
    value = bundle.get(key)
    number: object = value
    if isinstance(value, np.generic | np.ndarray | Tensor) and math.prod(value.shape) == 1:
        number = value.item()
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < _LARGEST_NUMBER:
        shown = ascii(number)[:60] if isinstance(number, float | str | None) else type(number).__name__
        raise _refusal(path, f"{key} is not a positive number", "give the bundle as it was published", shown)
    return float(number)


def _tensor(path: Path, name: str, value: object) -> Tensor:
    """A tensor or array as a contiguous tensor of its own."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        value = torch.from_numpy(value.astype(value.dtype.newbyteorder("="), copy=True))
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise _refusal(path, f"{name} is not a tensor of real numbers", "give the bundle as it was published")
    return value.contiguous()


def _unpickled(path: Path) -> Any:
    """Content of a gzipped pickle, or of what torch.save wrote into a gzip file."""
    largest = min(LARGEST_BYTES, _LARGEST_RATIO * path.stat().st_size + _FREE_BYTES)
    try:
        with gzip.open(path, "rb") as stream:
            blob = stream.read(largest + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _refusal(path, f"is not a whole gzip file: {error}", "get the file again") from None
    if len(blob) > largest:
        raise _refusal(path, f"unpacks to more than {largest >> 20} MB", "give the bundle as it was published")
    try:
        return unpickled(io.BytesIO(blob), len(blob))
    except Forbidden as error:
        remedy = "only tensors and arrays are read; get the file from where it was published"
        found = ascii(str(error))[1:-1][:200]
        raise _refusal(path, "asks for something to be executed, which is refused", remedy, found) from None
    except ValueError as error:
        raise _refusal(path, f"is not a pickle of tensors: {error}", "get the file again") from None


def _refusal(path: Path, message: str, remedy: str, value: str | None = None) -> BlushError:
    return BlushError(TITLE, [Problem(message, remedy, str(path), value=value)])
