"""Reading `.cs` files of cryoSPARC: NumPy's structured arrays, checked against the file before memory is taken.

No field may hold Python objects, so nothing of a file is ever executed. The layout is NumPy's .npy
(https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html); cryoSPARC's own words on its files are in
https://discuss.cryosparc.com/t/what-is-the-specific-content-of-the-cs-file-and-how-can-i-understand-it/11384.
"""

import math
from pathlib import Path
from tokenize import TokenError
from typing import BinaryIO

import numpy as np

from blush.config.input_file import cannot_read, unreadable
from blush.errors import BlushError, Problem

TITLE = "cannot read a table of cryoSPARC"
_LARGEST_HEADER = 200_000
"""Characters: 40 fields take 2,000, and the fields of a hundred classes 100,000."""
_LARGEST_ROW_BYTES = 1 << 20
_OTHER_FORMATS = {b"CSDAT": "cryoSPARC's packed format", b"PAR1": "the format Parquet"}
"""First bytes of what cryosparc-tools can write besides arrays; before CSDAT stands one that tells its version."""
_FAULTS = (ValueError, TypeError, OverflowError, MemoryError, RecursionError, SyntaxError, TokenError, EOFError)
"""What NumPy raises of a damaged header."""
_LONGEST_SHOWN = 200


def read_cs_array(path: Path) -> np.ndarray:
    """The rows of a `.cs` file, mapped into memory, not read.

    Returns
    -------
    (n,) structured; fields hold numbers or bytes, alone or in small arrays.

    Raises
    ------
    BlushError
        The file is missing, is no such array, holds objects, or another size than its header says.
    """
    if (problem := unreadable(path)) is not None:
        raise BlushError(TITLE, [problem])
    try:
        with path.open("rb") as stream:
            shape, dtype, offset = _header(stream)
        found = path.stat().st_size - offset
        _check(shape, dtype, found)
        return np.memmap(path, dtype, "r", offset, shape) if shape[0] else np.zeros(shape, dtype)
    except OSError as error:
        raise BlushError(TITLE, [cannot_read(path, error)]) from None
    except _FAULTS as error:
        reason = str(error) or type(error).__name__
        remedy = "give the .cs file as cryoSPARC wrote it, or a STAR file"
        problem = Problem(f"is no table of cryoSPARC: {reason[:_LONGEST_SHOWN]}", remedy, str(path))
        raise BlushError(TITLE, [problem]) from None


def _header(stream: BinaryIO) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type of a row, and where the rows begin.

    Raises
    ------
    ValueError
        It is none, or says of a format of cryoSPARC's that is not read.
    """
    begin = stream.read(8)
    stream.seek(0)
    for magic, name in _OTHER_FORMATS.items():
        if begin.startswith(magic) or begin[1:].startswith(magic):
            raise ValueError(f"it is in {name}; save it with cryosparc-tools as Dataset.save(path, format=1)")
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"it is of version {version} of NumPy's format; 1.0 and 2.0 are read")
    shape, is_fortran, dtype = readers[version](stream, max_header_size=_LARGEST_HEADER)
    if is_fortran:
        raise ValueError("it is in Fortran's order")
    return shape, dtype, stream.tell()


def _check(shape: tuple[int, ...], dtype: np.dtype, found_bytes: int) -> None:
    """Refuse what is no table of numbers and bytes, or of another size than the file.

    Raises
    ------
    ValueError
        With what is wrong.
    """
    if dtype.names is None or dtype.fields is None:
        raise ValueError(f"it holds {dtype}, and no fields")
    if len(shape) != 1 or shape[0] < 0:
        raise ValueError(f"it has the shape {str(shape)[:60]}, and no rows")
    for name in dtype.names:
        field = dtype.fields[name][0]
        if field.base.kind not in "biufS":
            raise ValueError(f"its field {ascii(name)[:60]} holds {str(field)[:60]}, neither numbers nor text")
    if not 0 < dtype.itemsize <= _LARGEST_ROW_BYTES:
        raise ValueError(f"its rows are of {dtype.itemsize} bytes")
    if math.prod((*shape, dtype.itemsize)) != found_bytes:
        raise ValueError(f"it says {shape[0]} rows of {dtype.itemsize} bytes, and holds {found_bytes} bytes")
