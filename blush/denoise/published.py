"""Weights as their authors published them, turned into ours; nothing in such a file is ever executed.

Blush (Zenodo 10072731) is a gzipped pickle of a dictionary: `model_state_dict`, and `model_definition`, which is
Python source that the original program runs. Here the pickle may build tensors, arrays and containers and nothing else,
the source stays an unread text, and the network is our own. crefDenoiser is read from its tensors in safetensors.
"""

from __future__ import annotations

import gzip
import io
import math
import pickle
import re
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blush.config.input_file import unreadable
from blush.denoise.card import BLUSH, CREF, Card
from blush.denoise.weights import build, fill, read_tensors
from blush.errors import BlushError, Problem

TITLE = "cannot import these weights"
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
LARGEST_BYTES = 1 << 30
"""Of the unpacked bundle; the published one has 52 MB."""


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
    tensors = {_our_name(str(name)): _tensor(path, str(name), v) for name, v in bundle["model_state_dict"].items()}
    first = tensors.get("inc.double_conv.conv1.weight")
    if first is None or first.ndim == 0:
        raise _refusal(
            path, "holds another network", "give the bundle of the Blush U-net", ", ".join(sorted(tensors)[:3])
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
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 < number < math.inf:
        raise _refusal(path, f"{key} is not a positive number", "give the bundle as it was published", repr(value)[:60])
    return float(number)


def _tensor(path: Path, name: str, value: object) -> Tensor:
    """A tensor or array as a contiguous tensor of its own."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        value = torch.from_numpy(value.astype(value.dtype.newbyteorder("="), copy=True))
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise _refusal(path, f"{name} is not a tensor of real numbers", "give the bundle as it was published")
    return value.detach().clone().contiguous()


def _unpickled(path: Path) -> Any:
    """Content of a gzipped pickle, or of what torch.save wrote into a gzip file."""
    try:
        with gzip.open(path, "rb") as stream:
            blob = stream.read(LARGEST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _refusal(path, f"is not a whole gzip file: {error}", "get the file again") from None
    if len(blob) > LARGEST_BYTES:
        raise _refusal(path, f"unpacks to more than {LARGEST_BYTES >> 20} MB", "give the bundle as it was published")
    try:
        if blob.startswith(ZIP):
            return _load_tensors(blob)
        content = _TensorsOnly(io.BytesIO(blob)).load()
        if isinstance(content, int) and content == torch.serialization.MAGIC_NUMBER:  # torch.save before version 1.6
            return _load_tensors(blob)
        return content
    except _Forbidden as error:
        remedy = "only tensors and arrays are read; get the file from where it was published"
        raise _refusal(path, "asks for something to be executed, which is refused", remedy, str(error)) from None
    except Exception as error:  # a pickle can be damaged in any way
        text = " ".join(str(error).split())[:200]
        raise _refusal(path, f"is not a pickle of tensors: {text}", "get the file again") from None


def _load_tensors(blob: bytes) -> Any:
    """What torch.save wrote, by torch's own reader of tensors alone."""
    try:
        return torch.load(io.BytesIO(blob), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named is None:
            raise
        raise _Forbidden(named[1]) from None


class _Forbidden(pickle.UnpicklingError):
    """A pickle names what it may not use."""


class _TensorsOnly(pickle.Unpickler):
    """Builds tensors, arrays, dictionaries, lists, numbers and texts; every other name is refused."""

    def find_class(self, module: str, name: str) -> Any:
        """What a name of the pickle stands for: one of a few functions of this class, or of three classes of data."""
        module = module.replace("numpy.core", "numpy._core")
        allowed: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("numpy._core.multiarray", "_reconstruct"): self._array,
            ("numpy._core.multiarray", "scalar"): self._scalar,
            ("numpy._core.numeric", "_frombuffer"): self._array_of_bytes,
            ("_codecs", "encode"): self._bytes,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
            ("torch.storage", "_load_from_bytes"): self._storage,
        }
        if (module, name) not in allowed:
            raise _Forbidden(f"{module}.{name}")
        return allowed[module, name]

    # Bound methods, unlike functions, can be given no other content by a pickle.

    def _array(self, kind: type, shape: tuple[int, ...], code: bytes | str) -> np.ndarray:
        """An empty array, which the pickle fills by `__setstate__`."""
        if kind is not np.ndarray or tuple(shape) != (0,):
            raise _Forbidden(f"an array of {kind!r} and shape {shape!r}")
        return np.ndarray(shape, code if isinstance(code, str) else code.decode("ascii"))

    def _scalar(self, dtype: np.dtype[Any], content: bytes) -> Any:
        if dtype.hasobject:
            raise _Forbidden("a scalar that is a Python object")
        return np.frombuffer(content, dtype)[0]

    def _array_of_bytes(self, content: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], order: str) -> np.ndarray:
        if dtype.hasobject or order not in ("C", "F"):
            raise _Forbidden("an array of Python objects")
        flat = np.frombuffer(content, dtype)
        return flat.reshape(shape) if order == "C" else flat.reshape(shape[::-1]).T

    def _bytes(self, text: str, encoding: str) -> bytes:
        """How old protocols write bytes."""
        if encoding != "latin1":
            raise _Forbidden(f"an encoding {encoding!r}")
        return text.encode("latin1")

    def _storage(self, content: bytes) -> Any:
        """The numbers of a tensor, which torch.save wrote."""
        return _load_tensors(content)

    def _tensor(self, storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
        """A tensor that lies within its storage."""
        if not isinstance(storage, torch.storage.TypedStorage):
            raise _Forbidden(f"a tensor made of {type(storage).__name__}")
        untyped = storage._untyped_storage
        n = untyped.nbytes() // storage.dtype.itemsize
        last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
        if min((*size, *stride, offset)) < 0 or last >= n:
            raise ValueError("a tensor reaches beyond its numbers")
        numbers = torch.empty(0, dtype=storage.dtype).set_(untyped, 0, (n,), (1,))
        return numbers.as_strided(tuple(size), tuple(stride), offset)

    def _parameter(self, data: Tensor, *_: object) -> Tensor:
        return data


def _refusal(path: Path, message: str, remedy: str, value: str | None = None) -> BlushError:
    return BlushError(TITLE, [Problem(message, remedy, str(path), value=value)])
