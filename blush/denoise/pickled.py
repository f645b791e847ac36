"""Tensors out of pickles: nothing in them is executed, and none takes more memory than its file can fill.

Three containers are read: a bare pickle; what torch.save writes, a zip of a pickle and a record for each storage; and
what it wrote before version 1.6, pickles with the storages behind them. While a pickle is read, it holds stand-ins of
this module alone; tensors and arrays are made of them afterwards, when nothing in the pickle has a say any more.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from blush.denoise.stand_ins import (
    Forbidden,
    StandInArray,
    StandInDictionary,
    StandInDtype,
    StandInKind,
    StandInStorage,
    StandInTensor,
    is_count,
)

ZIP = b"PK\x03\x04"
_LARGEST_RATIO, _FREE_BYTES = 3, 1 << 20
"""What a pickle may build of numbers, over its own size."""
_MOST_OPERATIONS = 300_000
_ITEM_BYTES = 100
_STORAGES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
}  # fmt: skip


def unpickled(stream: BinaryIO, size: int) -> Any:
    """Dictionaries, lists, tuples, numbers, texts, tensors and arrays of a pickle.

    Parameters
    ----------
    stream
        At its beginning; it can be sought in.
    size
        Bytes of it.

    Raises
    ------
    Forbidden
        Where it names what it may not use.
    ValueError
        Where it is damaged, or asks for more memory than its size accounts for.
    """
    reader = _Reader(size)
    try:
        is_zip = stream.read(len(ZIP)) == ZIP
        stream.seek(0)
        return _resolved(reader.from_zip(stream) if is_zip else reader.from_stream(stream), {})
    except Forbidden:
        raise
    except Exception as error:  # a pickle can be damaged in any way
        text = " ".join(str(error).split())[:200]
        raise ValueError(text or type(error).__name__) from error


class _Reader:
    """One file, and what it may still ask for."""

    def __init__(self, size: int) -> None:
        self.bytes_left = _LARGEST_RATIO * size + _FREE_BYTES
        self.operations_left = _MOST_OPERATIONS

    def charge(self, n_bytes: int) -> None:
        """Count what is about to be built.

        Raises
        ------
        ValueError
            Where it is more than the file accounts for.
        """
        self.bytes_left -= n_bytes
        if self.bytes_left < 0:
            raise ValueError("it asks for far more memory than its size accounts for")

    def load(self, stream: BinaryIO, storage: Callable[[StandInKind, str, int], StandInStorage] | None) -> Any:
        """The next pickle of a stream, after its operations have been looked at."""
        begin, first = stream.tell(), self.operations_left
        for operation, argument, _ in pickletools.genops(stream):
            self.operations_left -= 1
            if self.operations_left < 0:
                raise ValueError(f"it has more than {_MOST_OPERATIONS} operations")
            # the memo is an array: a place in it takes memory for all places before
            if "PUT" in operation.name and int(argument or 0) > first - self.operations_left:
                raise ValueError(f"it stores an object at place {argument} without as many before it")
        stream.seek(begin)
        return _Unpickler(stream, self, storage).load()

    def from_stream(self, stream: BinaryIO, nested: bool = False) -> Any:
        """A bare pickle, or the older container of torch.save."""
        content = self.load(stream, None)
        is_number = isinstance(content, int) and content == torch.serialization.MAGIC_NUMBER
        if not is_number:
            if nested:
                raise Forbidden("a pickle inside a pickle")
            return content
        version, system = self.load(stream, None), self.load(stream, None)
        if version != torch.serialization.PROTOCOL_VERSION or not system["little_endian"]:
            raise ValueError(f"it is of version {str(version)[:20]} or of another byte order")
        waiting: dict[str, StandInStorage] = {}

        def storage(kind: StandInKind, key: str, count: int) -> StandInStorage:
            if key not in waiting:
                self.charge(count * kind.dtype.itemsize)
                waiting[key] = StandInStorage(kind.dtype, count)
            return waiting[key]

        content = self.load(stream, storage)
        for key in self.load(stream, None):
            found = waiting.pop(key)
            if int.from_bytes(stream.read(8), "little") != found.count:
                raise ValueError("a storage has another size than its tensors say")
            found.fill(stream.read(found.count * found.dtype.itemsize))
        if waiting:
            raise ValueError("it lacks the numbers of some tensors")
        return content

    def from_zip(self, stream: BinaryIO) -> Any:
        """The container of torch.save; zipfile holds each record that is read against its check sum."""
        with zipfile.ZipFile(stream) as archive:
            members = {member.filename: member for member in archive.infolist()}
            if len(members) < len(archive.infolist()):
                raise ValueError("it holds a record twice")
            if any(m.compress_type != zipfile.ZIP_STORED or m.file_size != m.compress_size for m in members.values()):
                raise ValueError("it holds packed records")
            root = next((name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")), "")
            if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
                raise ValueError("it is of another byte order")
            made: dict[str, StandInStorage] = {}

            def storage(kind: StandInKind, key: str, count: int) -> StandInStorage:
                name = f"{root}data/{key}"
                if key not in made:
                    if members[name].file_size != count * kind.dtype.itemsize:
                        raise ValueError(f"record {key} has another size than its tensors say")
                    self.charge(members[name].file_size)
                    made[key] = StandInStorage(kind.dtype, count)
                    made[key].fill(archive.read(name))
                return made[key]

            return self.load(io.BytesIO(archive.read(f"{root}data.pkl")), storage)


class _Unpickler(pickle.Unpickler):
    """Builds stand-ins, dictionaries, lists, numbers and texts; every other name is refused."""

    def __init__(
        self,
        stream: BinaryIO,
        reader: _Reader,
        storage: Callable[[StandInKind, str, int], StandInStorage] | None,
    ) -> None:
        super().__init__(stream)
        self._reader, self._stored = reader, storage

    def find_class(self, module: str, name: str) -> Any:
        """What a name of the pickle stands for: one of a few functions of this class, or a mark without content."""
        module = module.replace("numpy.core", "numpy._core")
        if module == "torch" and name in _STORAGES:
            return StandInKind(_STORAGES[name])
        allowed: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): self._dictionary,
            ("numpy", "ndarray"): StandInKind(torch.uint8),
            ("numpy", "dtype"): self._dtype,
            ("numpy._core.multiarray", "_reconstruct"): self._array,
            ("numpy._core.multiarray", "scalar"): self._scalar,
            ("numpy._core.numeric", "_frombuffer"): self._array_of_bytes,
            ("_codecs", "encode"): self._bytes,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
            ("torch.storage", "_load_from_bytes"): self._storage,
        }
        if (module, name) not in allowed:
            raise Forbidden(f"{module}.{name}")
        return allowed[module, name]

    def persistent_load(self, mark: Any) -> StandInStorage:
        """The numbers of a tensor, which torch.save keeps outside of the pickle."""
        kind, key, _, count = mark[1:5]
        if self._stored is None or mark[0] != "storage" or not isinstance(kind, StandInKind):
            raise Forbidden("numbers that torch.save did not write")
        if not (isinstance(key, str) and is_count(count)):
            raise ValueError("its marks of numbers make no sense")
        found = self._stored(kind, key, count)
        if (found.dtype, found.count) != (kind.dtype, count):
            raise ValueError("it takes the same numbers for two types")
        return found

    # Bound methods, unlike functions and classes, can be given no other content by a pickle.

    def _dictionary(self, items: Iterable[Any] = ()) -> StandInDictionary:
        made = StandInDictionary(items)
        self._reader.charge(_ITEM_BYTES * len(made))
        return made

    def _dtype(self, code: str, *_: object) -> StandInDtype:
        return StandInDtype(code)

    def _array(self, _: StandInKind, shape: tuple[int, ...], __: bytes | str) -> StandInArray:
        """An empty array, which the pickle fills by `__setstate__`."""
        if tuple(shape) != (0,):
            raise Forbidden(f"an array of shape {str(shape)[:40]}")
        return StandInArray(self._reader.charge)

    def _scalar(self, dtype: StandInDtype, content: bytes) -> Any:
        return np.frombuffer(content, dtype.numpy)[0].item()

    def _array_of_bytes(self, content: bytes, dtype: StandInDtype, shape: tuple[int, ...], order: str) -> StandInArray:
        if order not in ("C", "F"):
            raise Forbidden("an array in no order")
        made = StandInArray(self._reader.charge)
        made.__setstate__((1, shape, dtype, order == "F", content))
        return made

    def _bytes(self, text: str, encoding: str) -> bytes:
        """How old protocols write bytes."""
        if encoding != "latin1":
            raise Forbidden(f"an encoding {str(encoding)[:40]!r}")
        self._reader.charge(len(text))
        return text.encode("latin1")

    def _storage(self, content: bytes) -> StandInStorage:
        """The numbers of a tensor, which torch.save wrote."""
        found = self._reader.from_stream(io.BytesIO(content), nested=True)
        if not isinstance(found, StandInStorage):
            raise Forbidden("a pickle inside a pickle")
        return found

    def _tensor(
        self, storage: StandInStorage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
    ) -> StandInTensor:
        """A tensor that lies within its storage, no larger than it."""
        if not isinstance(storage, StandInStorage):
            raise Forbidden(f"a tensor made of {type(storage).__name__}")
        made = StandInTensor(storage, offset, size, stride)
        self._reader.charge(math.prod(size) * storage.dtype.itemsize)
        return made

    def _parameter(self, data: StandInTensor, *_: object) -> StandInTensor:
        if not isinstance(data, StandInTensor):
            raise Forbidden(f"a parameter made of {type(data).__name__}")
        return data


def _resolved(content: Any, known: dict[int, Any]) -> Any:
    """The same content with tensors and arrays for their stand-ins; what is shared stays shared."""
    if id(content) in known:
        return known[id(content)]
    made: Tensor | np.ndarray | list[Any] | dict[Any, Any] | tuple[Any, ...]
    if isinstance(content, StandInTensor | StandInArray):
        made = known[id(content)] = content.made()
    elif isinstance(content, dict):
        made = known[id(content)] = {}
        made |= {key: _resolved(value, known) for key, value in content.items()}
    elif isinstance(content, list):
        made = known[id(content)] = []
        made += [_resolved(value, known) for value in content]
    elif isinstance(content, tuple):
        made = known[id(content)] = tuple(_resolved(value, known) for value in content)
    elif content is None or isinstance(content, bool | int | float | str | bytes):
        return content
    else:
        raise Forbidden(f"an object of {type(content).__name__}")
    return made
