"""Writing a stack of images piece by piece: one that is too large for the memory, never half-written under its name."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from blush.io.files import atomic_write
from blush.io.mrc import write_stack

_HEADER_BYTES, _SECTIONS, _STATISTICS, _DEVIATION = 1024, 8, 76, 216
"""Size of the header, and where NZ, DMIN to DMEAN and RMS stand in it."""


@contextmanager
def stack_in_pieces(path: Path, n_images: int, box_px: int, pixel_size_angst: float) -> Iterator[Callable[..., None]]:
    """Yield a function that appends (b, N, N) float32 images; the file gets its name once all of them are there.

    Raises
    ------
    ValueError
        Where other images than announced were appended.
    """
    with atomic_write(path) as beside:
        write_stack(beside, np.zeros((1, box_px, box_px), dtype=np.float32), pixel_size_angst)
        tally = _Tally()
        with beside.open("r+b") as stream:
            stream.seek(_HEADER_BYTES)

            def append(images: np.ndarray) -> None:
                if images.shape[1:] != (box_px, box_px):
                    raise ValueError(f"images of {images.shape[1:]} px in a stack of {box_px} px")
                stream.write(np.ascontiguousarray(images, dtype=np.float32).tobytes())
                tally.add(images)

            yield append
            stream.flush()
            os.fsync(stream.fileno())
        if tally.count != n_images * box_px**2:
            raise ValueError(f"{tally.count // box_px**2} of {n_images} images were written")
        _complete_header(beside, n_images, tally)


class _Tally:
    """Running statistics of all pixels, for the header."""

    def __init__(self) -> None:
        self.count, self.lowest, self.highest, self.total, self.square = 0, np.inf, -np.inf, 0.0, 0.0

    def add(self, images: np.ndarray) -> None:
        """Take in some images."""
        self.count += images.size
        self.lowest, self.highest = min(self.lowest, float(images.min())), max(self.highest, float(images.max()))
        self.total += float(images.sum(dtype=np.float64))
        self.square += float(np.square(images, dtype=np.float64).sum())


def _complete_header(path: Path, n_images: int, tally: _Tally) -> None:
    """State how many images there are, and their statistics."""
    mean = tally.total / tally.count
    deviation = max(tally.square / tally.count - mean**2, 0.0) ** 0.5
    with path.open("r+b") as stream:
        for place, kind, values in (
            (_SECTIONS, "=i", (n_images,)),
            (_STATISTICS, "=fff", (tally.lowest, tally.highest, mean)),
            (_DEVIATION, "=f", (deviation,)),
        ):
            stream.seek(place)
            stream.write(struct.pack(kind, *values))
