"""Optics groups: the table `data_optics` of a particle STAR file."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from os.path import isfile, lexists
from pathlib import Path

import numpy as np

from blush.errors import BlushError, Problem, problems_of
from blush.io.columns import n_rows, number, numbers, require, row_problems, shown
from blush.io.files import read_record
from blush.io.star import Table, read_star

_MTF_COLUMNS = {"rlnResolutionInversePixel", "rlnMtfValue"}
_NO_FILE = ("", "None", "none")
_REQUIRED = (
    "rlnOpticsGroup",
    "rlnVoltage",
    "rlnSphericalAberration",
    "rlnAmplitudeContrast",
    "rlnImagePixelSize",
)


IMAGE_SIGN = "blushImageSign"
"""Column of data_optics: what images are multiplied by when they are read, 1 or -1 (of dark particles on bright)."""
NUMERIC_DEFAULTS = {
    "rlnOpticsGroup": 0.0,
    "rlnVoltage": 0.0,
    "rlnSphericalAberration": 0.0,
    "rlnAmplitudeContrast": 0.0,
    "rlnImagePixelSize": 0.0,
    "rlnImageSize": 0.0,  # taken from the stacks
    "rlnImageDimensionality": 2.0,
    "rlnCtfDataAreCtfPremultiplied": 0.0,
    "rlnCtfDataArePhaseFlipped": 0.0,
    "rlnBeamTiltX": 0.0,
    "rlnBeamTiltY": 0.0,
    "rlnMagMat00": 1.0,
    "rlnMagMat01": 0.0,
    "rlnMagMat10": 0.0,
    "rlnMagMat11": 1.0,
    "rlnMicrographOriginalPixelSize": 0.0,  # that of the images
    IMAGE_SIGN: 1.0,
}
"""Columns of data_optics that are numbers, and what stands for one that is missing: RELION's defaults."""
TEXT_DEFAULTS = {"rlnOddZernike": "[]", "rlnEvenZernike": "[]", "rlnMtfFileName": "None"}
"""Those that are text, and what stands for one that is missing."""
_MAGNIFICATION_TOLERANCE = 1e-4
"""A box of 1,000 px changes by a tenth of a pixel at most."""
_LARGEST_VOLTAGE_KV = 3000.0
"""The highest that electron microscopes were built for (3 MV, Osaka); beyond it the unit is V."""
_LARGEST_ABERRATION_MM = 10.0
_LARGEST_TILT_MRAD = 20.0
"""Fits of well aligned microscopes find below 1 mrad; beyond 20 mrad the unit is another, or the fit has failed."""
_MOST_COEFFICIENTS = 100
"""RELION fits 16 at most."""


@dataclass(frozen=True)
class OpticsGroup:
    """What the particles of one microscope session have in common.

    Parameters
    ----------
    odd_zernike, even_zernike
        Coefficients of the phase error, in RELION's order.
    mtf_file
        Absolute path of the detector's transfer function, tabulated in 1/px of `original_pixel_size_angst`.
    image_sign
        What images are multiplied by when they are read: -1 where particles are dark on bright.
    """

    name: str
    voltage_kv: float
    spherical_aberration_mm: float
    amplitude_contrast: float
    pixel_size_angst: float
    box_px: int
    ctf_premultiplied: bool = False
    beam_tilt_x_mrad: float = 0.0
    beam_tilt_y_mrad: float = 0.0
    odd_zernike: tuple[float, ...] = ()
    even_zernike: tuple[float, ...] = ()
    mtf_file: str | None = None
    original_pixel_size_angst: float = 0.0
    image_sign: float = 1.0


def resolve(name: str, star: Path) -> Path | None:
    """Find a file that a STAR file names relative to its project root: the STAR's folder or any folder above it.

    For a link to a STAR file, the folders of the file that it leads to are looked through after the link's own. A table
    in the folder of a run names files as the table did that the run was imported from: that one's folders come last.
    Where no file is found, but a folder, a pipe or a link that leads nowhere, it is that: whoever reads it says so.
    """
    found = _resolved(name, star)
    config = star.absolute().parent / "import/config.json"
    if found is None and not Path(name).is_absolute() and config.exists():
        return _resolved(name, _imported_from(config, config.stat().st_mtime_ns))
    return found


def _resolved(name: str, star: Path) -> Path | None:
    folders = dict.fromkeys((*star.absolute().parents, *star.resolve().parents))
    candidates = [Path(name)] if Path(name).is_absolute() else [folder / name for folder in folders]
    # unlike Path.is_file, these answer for names that no file system can hold
    return next((path for is_there in (isfile, lexists) for path in candidates if is_there(path)), None)


@lru_cache(maxsize=8)
def _imported_from(config: Path, _time: int) -> Path:
    """The table that a run was imported from."""
    return Path(read_record(config, members=("particles",))["particles"])


def parse_optics(table: Table, star: Path, problems: list[Problem]) -> tuple[OpticsGroup, ...]:
    """Read every row of `data_optics`; mistakes are appended to `problems`, and their values are 0."""
    require(table, _REQUIRED, "data_optics", star, problems)
    if not n_rows(table):
        problems.append(Problem("has no rows", "add the optics of the particles", str(star), "data_optics"))
        return ()
    numeric = _numeric_columns(table, star, problems)
    _check_values({name: column for name, column in numeric.items() if name in table}, star, problems)
    columns = {name: np.nan_to_num(column, posinf=0, neginf=0) for name, column in numeric.items()}
    vectors = {key: _vectors(table, key, star, problems) for key in ("rlnOddZernike", "rlnEvenZernike")}
    _check_magnification(columns, star, problems)
    mtf_files = _mtf_files(table, star, problems)
    names = table.get("rlnOpticsGroupName", columns["rlnOpticsGroup"])
    return tuple(
        OpticsGroup(
            name=str(names[row]),
            voltage_kv=float(columns["rlnVoltage"][row]),
            spherical_aberration_mm=float(columns["rlnSphericalAberration"][row]),
            amplitude_contrast=float(columns["rlnAmplitudeContrast"][row]),
            pixel_size_angst=float(columns["rlnImagePixelSize"][row]),
            box_px=int(columns["rlnImageSize"][row]),
            ctf_premultiplied=bool(columns["rlnCtfDataAreCtfPremultiplied"][row]),
            beam_tilt_x_mrad=float(columns["rlnBeamTiltX"][row]),
            beam_tilt_y_mrad=float(columns["rlnBeamTiltY"][row]),
            odd_zernike=vectors["rlnOddZernike"][row],
            even_zernike=vectors["rlnEvenZernike"][row],
            mtf_file=mtf_files[row],
            original_pixel_size_angst=float(columns["rlnMicrographOriginalPixelSize"][row]),
            image_sign=float(columns[IMAGE_SIGN][row]),
        )
        for row in range(n_rows(table))
    )


def _numeric_columns(table: Table, star: Path, problems: list[Problem]) -> dict[str, np.ndarray]:
    """Every numeric column, with RELION's default where it is missing."""
    columns = {
        name: numbers(table, name, value, "data_optics", star, problems) for name, value in NUMERIC_DEFAULTS.items()
    }
    if "rlnMicrographOriginalPixelSize" not in table:
        columns["rlnMicrographOriginalPixelSize"] = columns["rlnImagePixelSize"]
    return columns


def _check_values(columns: dict[str, np.ndarray], star: Path, problems: list[Problem]) -> None:
    """Refuse values that no optics has, and images that are not two-dimensional."""
    checks: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str, str]] = {
        "rlnOpticsGroup": (_is_repeated, "is the number of an earlier row", "number the groups 1, 2, 3"),
        "rlnVoltage": (
            lambda kv: (kv <= 0) | (kv > _LARGEST_VOLTAGE_KV),
            f"must be above 0 kV and at most {_LARGEST_VOLTAGE_KV:g} kV",
            "give it in kV, not V; 200 and 300 are usual",
        ),
        "rlnImagePixelSize": (lambda angst: angst <= 0, "must be above 0 Å", "give that of the images"),
        "rlnAmplitudeContrast": (lambda q: (q < 0) | (q >= 1), "must be in [0, 1)", "correct it; 0.1 is usual"),
        "rlnImageDimensionality": (lambda d: d != 2, "must be 2", "give images, not sub-tomograms"),
        "rlnCtfDataArePhaseFlipped": (
            lambda flipped: flipped != 0,
            "must be 0: phase-flipped images would be refined with the CTF of unflipped ones",
            "extract the particles again without flipping phases",
        ),
        "rlnSphericalAberration": (
            lambda mm: (mm < 0) | (mm > _LARGEST_ABERRATION_MM),
            f"must be from 0 to {_LARGEST_ABERRATION_MM:g} mm",
            "correct it; 2.7 is usual",
        ),
        IMAGE_SIGN: (lambda sign: abs(sign) != 1, "must be 1 or -1", "correct it, or remove the column"),
        "rlnBeamTiltX": (_is_no_tilt, _NO_TILT, "give it in mrad, or fit it again"),
        "rlnBeamTiltY": (_is_no_tilt, _NO_TILT, "give it in mrad, or fit it again"),
    }
    for name in (name for name in checks if name in columns):
        is_bad, message, remedy = checks[name]
        rows = np.flatnonzero(is_bad(columns[name]) & np.isfinite(columns[name]))
        problems += row_problems(rows, columns[name][rows], f"{name} {message}", remedy, star, "data_optics")


_NO_TILT = f"is more than {_LARGEST_TILT_MRAD:g} mrad"


def _is_no_tilt(mrad: np.ndarray) -> np.ndarray:
    """Mark what no beam is tilted by."""
    return abs(mrad) > _LARGEST_TILT_MRAD


def _is_repeated(numbers_of_groups: np.ndarray) -> np.ndarray:
    """Mark values that occur in an earlier row."""
    repeated = np.ones(len(numbers_of_groups), dtype=bool)
    repeated[np.unique(numbers_of_groups, return_index=True)[1]] = False
    return repeated


def _check_magnification(columns: dict[str, np.ndarray], star: Path, problems: list[Problem]) -> None:
    """Refuse anisotropic magnification, which the expectation step does not have; rounding of the identity is none."""
    keys = ("00", "01", "10", "11")
    matrices = np.stack([columns[f"rlnMagMat{key}"] for key in keys], axis=1)
    rows = np.flatnonzero((abs(matrices - (1.0, 0.0, 0.0, 1.0)) >= _MAGNIFICATION_TOLERANCE).any(axis=1))
    message = "anisotropic magnification (rlnMagMat00 to rlnMagMat11) cannot be refined"
    remedy = "give images corrected for it, and remove the columns"
    values = [str(tuple(matrix)) for matrix in matrices[rows].tolist()]
    problems += row_problems(rows, values, message, remedy, star, "data_optics")


def _vectors(table: Table, name: str, star: Path, problems: list[Problem]) -> list[tuple[float, ...]]:
    """Read a column of vectors written `[a,b,c]`."""
    if name not in table:
        return [()] * n_rows(table)
    vectors = [vector(text) for text in table[name]]
    for row, found in enumerate(vectors):
        if found is None:
            where, value = f"data_optics row {row + 1}, {name}", shown(table[name][row])
            remedy = f"write [a,b,c], of {_MOST_COEFFICIENTS} at most"
            problems.append(Problem("is not a vector of numbers", remedy, str(star), where, value))
    return [found or () for found in vectors]


def vector(text: object) -> tuple[float, ...] | None:
    """Numbers written `[a,b,c]`; None where they are none, or too many."""
    parts = [part for part in str(text).strip("[]").split(",") if part]
    values = tuple(number(part) for part in parts[: _MOST_COEFFICIENTS + 1])
    return values if len(values) <= _MOST_COEFFICIENTS and np.isfinite(values).all() else None


def _mtf_files(table: Table, star: Path, problems: list[Problem]) -> list[str | None]:
    """Absolute path of each group's MTF, None where it has none."""
    if "rlnMtfFileName" not in table:
        return [None] * n_rows(table)
    found: list[str | None] = []
    for row, name in enumerate(table["rlnMtfFileName"], start=1):
        path = resolve(str(name), star) if str(name) not in _NO_FILE else None
        found.append(str(path) if path else None)
        if path is None and str(name) not in _NO_FILE:
            where = f"data_optics row {row}, rlnMtfFileName"
            remedy = "restore the file or remove the column"
            problems.append(Problem("file does not exist", remedy, str(star), where, str(name)))
        elif path is not None:
            problems += _mtf_problems(path)
    return found


def read_mtf(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in cycles per pixel and values of a detector's transfer function, (n,) each.

    Raises
    ------
    BlushError
        The file is no STAR file, has no such columns, or values that are no transfer function's.
    """
    remedy = "give the detector's MTF with rlnResolutionInversePixel and rlnMtfValue, or remove rlnMtfFileName"
    tables = read_star(path)
    table = next((found for found in tables.values() if found.keys() >= _MTF_COLUMNS), None)
    if table is None:
        raise BlushError("no MTF", [Problem(f"has no columns {' and '.join(sorted(_MTF_COLUMNS))}", remedy, str(path))])
    frequency, value = (
        numbers(table, name, 0, "MTF", Path(path), []) for name in ("rlnResolutionInversePixel", "rlnMtfValue")
    )
    are_numbers = len(value) > 1 and np.isfinite([frequency, value]).all()
    if not are_numbers or not (value > 0).all() or (np.diff(frequency) <= 0).any():
        message = "is no transfer function: it needs two rows or more, ascending frequencies and values above 0"
        raise BlushError("no MTF", [Problem(message, remedy, str(path))])
    return frequency, value


def _mtf_problems(path: Path) -> list[Problem]:
    """What keeps a table of the detector from being used."""
    try:
        read_mtf(path)
    except BlushError as error:
        return problems_of(error)
    return []
