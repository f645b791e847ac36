"""A GPU that is not there: tensors that say they are on it, carry CPU data, and tell what is done with them.

A program that runs under it takes the paths that it takes on a GPU. What would fail there fails here: operations on
tensors of two devices, `numpy()` of a tensor on the device, operations without a deterministic implementation. What
would stop the host is counted: reading a number, `nonzero`, boolean masks, copies between host and device that wait.

    with Pretend() as device:
        step(torch.device("cuda"))
    print(device.launches, device.synchronisations)

It counts one launch for each operation that is not a view, a lower bound: a sort takes several.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import hashlib
import math
import os
import subprocess
import sys
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import pytest
import torch
from pretend_memory import Memory
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

import blush
from blush.kernels.native import cache_folder

CUDA = torch.device("cuda", 0)
_ROOM = Path(blush.__file__).parent
_READS_A_SIZE = ("nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount", "equal")
"""Operations that need a number from the device before they can go on."""
_READS_A_NUMBER = ("_local_scalar_dense", "is_nonzero", "_linalg_check_errors")
_NO_DETERMINISTIC_FORM = ("histc", "median.dim", "kthvalue", "grid_sampler_3d_backward", "put_")
"""Of those that torch.use_deterministic_algorithms refuses on a GPU, those that a step could call; beside these cumsum
of floating numbers, and bincount with weights. See its documentation."""
_CROSSES = ("_to_copy", "copy_")
_AT_ONCE = {"_conj": torch.ops.aten.conj_physical.default, "_neg_view": torch.ops.aten.neg.default}
_TAKES_HOST_INDICES = ("index.Tensor", "index_put_.default", "index_put.default", "_index_put_impl_.default")


class MixedDevices(RuntimeError):
    """An operation on tensors of the host and of the device, which a GPU refuses."""


class NotDeterministic(RuntimeError):
    """An operation that torch refuses on a GPU where results must be reproducible."""


class OnDevice(Tensor):
    """A tensor of the pretend GPU, which carries its data on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnDevice:
        """A tensor that looks as `held` does, but for its device."""
        made: OnDevice = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=CUDA
        )
        made.held = held
        Pretend.now().memory.holds(made, held)
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Outside of its device nothing can be done with it."""
        raise MixedDevices(f"{func} on a tensor whose pretend device is closed")

    def tolist(self) -> Any:
        """Numbers on the host, which waits for them."""
        Pretend.now().synchronise("tolist")
        return self.held.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """Refused, as it is on a GPU."""
        raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu() to copy it first")

    def __array__(self, dtype: Any = None) -> Any:
        return self.numpy()

    def __repr__(self, **_: Any) -> str:
        return f"OnDevice({tuple(self.shape)}, {self.dtype})"


class Pretend(TorchDispatchMode):
    """The pretend GPU while it is open, and what was done on it.

    Attributes
    ----------
    launches
        Operations on the device by name.
    synchronisations
        Times that the host waited for the device, by what it wanted and the place in this package.
    moved_bytes
        Bytes of the operands and results of operations, views left out.
    flops
        Of matrix products.
    memory
        Bytes alive; without an allocation where they would be more than `capacity`.
    """

    _open: ClassVar[list[Pretend]] = []

    def __init__(self, *, deterministic: bool = True, capacity: float = math.inf) -> None:
        super().__init__()
        self.memory = Memory(capacity)
        self.deterministic = deterministic
        self.launches: Counter[str] = Counter()
        self.synchronisations: Counter[str] = Counter()
        self.moved_bytes = self.flops = 0
        self._pinned: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()

    @classmethod
    def now(cls) -> Pretend:
        """The one that is open."""
        return cls._open[-1]

    def __enter__(self) -> Self:
        """Open it: factories of CUDA tensors then need no CUDA."""
        self._open.append(self)
        _set_guard()
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        self._patch.setattr(torch.cuda, "is_available", lambda: True)
        self._patch.setattr(torch.cuda, "device_count", lambda: 1)
        self._patch.setattr(torch.cuda, "mem_get_info", lambda *_: self.memory.free_and_all())
        self._patch.setattr(torch.cuda, "memory_reserved", lambda *_: self.memory.alive)
        self._patch.setattr(torch.cuda, "memory_allocated", lambda *_: self.memory.alive)
        self._patch.setattr(torch.cuda, "empty_cache", gc.collect)
        self._patch.setattr(torch, "inference_mode", torch.no_grad)  # which knows nothing of tensors that wrap others
        self._patch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
        self._patch.setattr(torch.Tensor, "pin_memory", lambda tensor: self._pin(tensor))
        self._overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        self._lifts = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        super().__exit__(kind, error, trace)
        torch._C._set_only_lift_cpu_tensors(self._lifts)
        torch.__future__.set_overwrite_module_params_on_conversion(self._overwrites)
        torch.use_deterministic_algorithms(False)
        self._patch.undo()
        self._open.pop()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Do an operation on the CPU data of its operands."""
        kwargs = dict(kwargs or {})
        if func.namespace == "blush" and any(isinstance(one, OnDevice) for one in pytree.tree_leaves((args, kwargs))):
            return self._in_torch(func, args, kwargs)
        name = str(func).removeprefix("aten.")
        operands = [one for one in pytree.tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        here = [one for one in operands if isinstance(one, OnDevice)]
        asked = kwargs.get("device")
        target = (torch.device(asked).type if asked is not None else None) or ("cuda" if here else "cpu")
        if asked is not None:
            kwargs["device"] = "cpu"
        base = name.split(".")[0]
        if base in _CROSSES:
            target = self._copied(base, args, kwargs, target)
        elif here:
            self._refuse(name, func, operands, kwargs)
        if kwargs.get("generator") is not None and target == "cuda":
            raise MixedDevices(f"{name} draws with a generator of the host on the device, at {place()}")
        func = _AT_ONCE.get(base, func)  # a wrapper cannot hold the mark of a conjugate that is to be made
        found = func(*pytree.tree_map(_held, args), **pytree.tree_map(_held, kwargs))
        if target == "cuda":
            self._count(name, base, func, args, operands, found)
        return self._wrapped(func, args, kwargs, found, target == "cuda" and base != "_local_scalar_dense")

    def synchronise(self, wanted: str) -> None:
        """Note that the host waits for the device."""
        self.synchronisations[f"{wanted} at {place()}"] += 1

    def _in_torch(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operator of Blush as its reference in torch does it, step by step."""
        super().__enter__()
        try:
            with self.memory.of_kernel():
                found = func._op_dk(torch._C.DispatchKey.CompositeExplicitAutograd, *args, **kwargs)
        finally:
            super().__exit__(None, None, None)
        for one in pytree.tree_leaves(found):
            if isinstance(one, OnDevice):
                self.memory.holds(one, one.held)
        return found

    def _pin(self, tensor: Tensor) -> Tensor:
        copy = tensor.clone()
        self._pinned[id(copy)] = copy
        return copy

    def _copied(self, base: str, args: tuple[Any, ...], kwargs: dict[str, Any], target: str) -> str:
        """Device of the result of a copy; notes where the host waits for it."""
        source = args[1] if base == "copy_" else args[0]
        if base == "copy_":
            target = "cuda" if isinstance(args[0], OnDevice) else "cpu"
        began = "cuda" if isinstance(source, OnDevice) else "cpu"
        if began == target:
            return target
        waits = not (kwargs.get("non_blocking") or (base == "copy_" and len(args) > 2 and args[2]))
        if target == "cpu":
            self.synchronise("device to host")
        elif waits or id(source) not in self._pinned:
            self.synchronise("host to device")
        return target

    def _refuse(self, name: str, func: Any, operands: list[Tensor], kwargs: dict[str, Any]) -> None:
        """What a GPU refuses: hosts' tensors beside its own, and what is not deterministic."""
        outside = [one for one in operands if not isinstance(one, OnDevice)]
        if name in _TAKES_HOST_INDICES:
            for _ in [one for one in outside if one.dim() or one.dtype == torch.bool]:
                self.synchronise("host indices")
        elif [one for one in outside if one.dim()]:
            raise MixedDevices(f"{name} of tensors on the host and on the device, at {place()}")
        if self.deterministic and _not_deterministic(name, operands):
            raise NotDeterministic(f"{name} has no deterministic form on a GPU, at {place()}")

    def _count(
        self, name: str, base: str, func: Any, args: tuple[Any, ...], operands: list[Tensor], found: Any
    ) -> None:
        if base in _READS_A_NUMBER or base in _READS_A_SIZE:
            self.synchronise(base)
        elif base in ("index", "index_put_", "index_put", "_index_put_impl_"):
            masks = [one for one in pytree.tree_leaves(args[1]) if isinstance(one, Tensor) and one.dtype == torch.bool]
            for _ in masks:
                self.synchronise("boolean index")
        elif base == "repeat_interleave" and name.endswith("Tensor"):
            self.synchronise("repeat_interleave")
        if _is_view(func):
            return
        self.launches[base] += 1
        results = [one for one in pytree.tree_leaves(found) if isinstance(one, Tensor)]
        self.moved_bytes += sum(_bytes(one) for one in [*operands, *results])
        self.flops += _flops(base, [_held(one) for one in operands])

    def _wrapped(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], found: Any, on_device: bool) -> Any:
        """Results on the device; of an operation in place, the tensor that it changed."""
        if func._schema.is_mutable and isinstance(found, Tensor):
            changed = kwargs.get("out", args[0] if args else None)
            if isinstance(changed, Tensor):
                return changed
        if not on_device:
            return found
        return pytree.tree_map(lambda one: OnDevice(one) if isinstance(one, Tensor) else one, found)


@functools.cache
def _set_guard() -> None:
    """Let this process switch to a CUDA device that is not there: builds of torch for CPUs know no such thing."""
    if torch.version.cuda is not None:
        torch._C._ensureCUDADeviceGuardSet()
        return
    source, folder = Path(__file__).with_name("guard.cpp"), Path(torch.__file__).parent
    digest = hashlib.sha256((source.read_text() + torch.__version__).encode()).hexdigest()[:16]
    library = cache_folder() / f"pretend-{digest}.so"
    if not library.exists():
        made = library.with_suffix(f".{os.getpid()}")
        command = ["g++", "-std=c++20", "-shared", "-fPIC", f"-I{folder / 'include'}", source, "-o", made]
        subprocess.run([*command, f"-L{folder / 'lib'}", "-lc10"], check=True)
        made.replace(library)
    ctypes.CDLL(str(library)).set_guard()


def _held(one: Any) -> Any:
    return one.held if isinstance(one, OnDevice) else one


def _is_view(func: Any) -> bool:
    returned = func._schema.returns
    return bool(returned) and all(one.alias_info is not None and not one.alias_info.is_write for one in returned)


def _not_deterministic(name: str, operands: list[Tensor]) -> bool:
    base = name.split(".")[0]
    if base == "cumsum" and operands[0].dtype.is_floating_point:
        return True
    return (
        name in _NO_DETERMINISTIC_FORM or base in _NO_DETERMINISTIC_FORM or (base == "bincount" and len(operands) > 1)
    )


def _bytes(one: Tensor) -> int:
    """Bytes of the different elements of a tensor."""
    count = 1
    for size, stride in zip(one.shape, one.stride(), strict=True):
        count *= size if stride else 1
    return count * one.element_size()


def _flops(base: str, operands: list[Tensor]) -> int:
    """Of a matrix product, complex ones apart."""
    if base not in ("mm", "bmm", "addmm", "baddbmm", "mv", "dot", "addmv"):
        return 0
    first, second = operands[-2:]
    return 2 * first.numel() * (second.shape[-1] if second.dim() > 1 else 1)


def _frames() -> Iterator[tuple[str, int, str]]:
    frame = sys._getframe(2)
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
        frame = frame.f_back  # type: ignore[assignment]


def place() -> str:
    """Innermost line of this package, this file apart, that is under way."""
    for file, line, function in _frames():
        if file != __file__ and Path(file).is_relative_to(_ROOM):
            return f"{Path(file).relative_to(_ROOM)}:{line} {function}"
    return "outside"
