"""Memory of the pretend GPU: bytes of the tensors that live, the most there were, and an end of it."""

from __future__ import annotations

import contextlib
import math
import sys
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

import blush

_ROOM = Path(blush.__file__).parent
GRAIN = 512
"""Bytes that CUDA's allocator of torch rounds up to."""
WHOLE = 2**40
"""What a device without an end says that it has."""


class Memory:
    """Bytes alive on a device, by storages: views share theirs.

    What lives inside an operation or kernel, as workspaces of transforms and sorts, is not seen.

    Attributes
    ----------
    alive, peak
        Bytes now, and the most since the last `mark`.
    refused
        How often there was no room.
    """

    def __init__(self, capacity: float = math.inf) -> None:
        self.capacity = capacity
        self.alive = self.peak = self.refused = 0
        self._owners: Counter[int] = Counter()
        self._bytes: dict[int, int] = {}
        self._in_kernel = False
        self.at_peak: list[str] = []
        self._places: dict[int, str] | None = None

    def mark(self, *, places: bool = False) -> None:
        """Begin to count the peak anew; with `places` note where what lives at the peak was made."""
        self.peak, self._places = self.alive, {} if places else None

    def free_and_all(self) -> tuple[int, int]:
        """As torch.cuda.mem_get_info says it."""
        whole = WHOLE if math.isinf(self.capacity) else int(self.capacity)
        return whole - self.alive, whole

    @contextlib.contextmanager
    def of_kernel(self) -> Iterator[None]:
        """Inside an operator of Blush: what its reference in torch holds, its kernels on a GPU do not."""
        before, self._in_kernel = self._in_kernel, True
        try:
            yield
        finally:
            self._in_kernel = before

    def holds(self, tensor: Tensor, held: Tensor) -> None:
        """Count a tensor's storage until nothing holds it.

        Raises
        ------
        torch.OutOfMemoryError
            If there is no room for it.
        """
        if self._in_kernel:
            return
        storage = held.untyped_storage()
        key, size = storage._cdata, -(-storage.nbytes() // GRAIN) * GRAIN
        if not self._owners[key]:
            if self.alive + size > self.capacity:
                self.refused += 1
                del self._owners[key]
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes")
            self._bytes[key] = size
            self.alive += size
            if self._places is not None:
                self._places[key] = _place(size)
            if self.alive > self.peak:
                self.peak = self.alive
                if self._places is not None:
                    self.at_peak = sorted(self._places.values())
        self._owners[key] += 1
        weakref.finalize(tensor, self._release, key).atexit = False

    def _release(self, key: int) -> None:
        self._owners[key] -= 1
        if self._owners[key] == 0:
            del self._owners[key]
            self.alive -= self._bytes.pop(key)
            if self._places is not None:
                self._places.pop(key, None)


def _place(size: int) -> str:
    frame, places = sys._getframe(2), []
    while frame is not None and len(places) < 3:
        if Path(frame.f_code.co_filename).is_relative_to(_ROOM):
            places.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    return f"{size:12d} {' < '.join(places)}"
