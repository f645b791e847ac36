"""Optics groups: the table `data_optics` of a particle STAR file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blush.errors import Problem
from blush.io.columns import numbers, require
from blush.io.star import Table

_REQUIRED = (
    "rlnOpticsGroup",
    "rlnVoltage",
    "rlnSphericalAberration",
    "rlnAmplitudeContrast",
    "rlnImagePixelSize",
)


@dataclass(frozen=True)
class OpticsGroup:
    """What the particles of one microscope session have in common.

    Parameters
    ----------
    odd_zernike, even_zernike
        Coefficients of the phase error, in RELION's order.
    mag_matrix
        Anisotropic magnification: M00, M01, M10, M11.
    mtf_file
        Absolute path of the detector's transfer function, tabulated in 1/px of `original_pixel_size_angst`.
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
    mag_matrix: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 1.0)
    mtf_file: str | None = None
    original_pixel_size_angst: float = 0.0


def resolve(name: str, star: Path) -> Path | None:
    """Find a file that a STAR file names relative to its project root: the STAR's folder or any folder above it."""
    if Path(name).is_absolute():
        return Path(name) if Path(name).is_file() else None
    candidates = (folder / name for folder in star.absolute().parents)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def parse_optics(table: Table, star: Path, problems: list[Problem]) -> tuple[OpticsGroup, ...]:
    """Read every row of `data_optics`; mistakes are appended to `problems`, and then the result is empty."""
    before = len(problems)
    require(table, _REQUIRED, "data_optics", star, problems)
    if len(problems) > before:
        return ()
    columns = _numeric_columns(table, star, problems)
    matrices = {key: _vectors(table, key, star, problems) for key in ("rlnOddZernike", "rlnEvenZernike")}
    mtf_files = _mtf_files(table, star, problems)
    _check_positive(columns, star, problems)
    if len(problems) > before:
        return ()
    names = table.get("rlnOpticsGroupName", table["rlnOpticsGroup"])
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
            odd_zernike=matrices["rlnOddZernike"][row],
            even_zernike=matrices["rlnEvenZernike"][row],
            mag_matrix=_mag_matrix(columns, row),
            mtf_file=mtf_files[row],
            original_pixel_size_angst=float(columns["rlnMicrographOriginalPixelSize"][row]),
        )
        for row in range(len(names))
    )


def _numeric_columns(table: Table, star: Path, problems: list[Problem]) -> dict[str, np.ndarray]:
    """Every numeric column, with RELION's default where it is missing."""
    pixel_size = numbers(table, "rlnImagePixelSize", 0.0, "data_optics", star, problems)
    defaults: dict[str, float | np.ndarray] = {
        "rlnVoltage": 0.0,
        "rlnSphericalAberration": 0.0,
        "rlnAmplitudeContrast": 0.0,
        "rlnImageSize": 0.0,  # taken from the stacks
        "rlnCtfDataAreCtfPremultiplied": 0.0,
        "rlnBeamTiltX": 0.0,
        "rlnBeamTiltY": 0.0,
        "rlnMagMat00": 1.0,
        "rlnMagMat01": 0.0,
        "rlnMagMat10": 0.0,
        "rlnMagMat11": 1.0,
        "rlnMicrographOriginalPixelSize": pixel_size,
    }
    columns = {name: numbers(table, name, value, "data_optics", star, problems) for name, value in defaults.items()}
    return columns | {"rlnImagePixelSize": pixel_size}


def _check_positive(columns: dict[str, np.ndarray], star: Path, problems: list[Problem]) -> None:
    """Refuse voltages and pixel sizes that are not above zero, and amplitude contrasts outside [0, 1)."""
    for name in ("rlnVoltage", "rlnImagePixelSize"):
        rows = np.flatnonzero(columns[name] <= 0)
        problems += [
            Problem(f"{name} must be above 0", "correct it", str(star), f"data_optics row {row + 1}", str(value))
            for row, value in zip(rows, columns[name][rows], strict=True)
        ]
    contrast = columns["rlnAmplitudeContrast"]
    problems += [
        Problem(
            "rlnAmplitudeContrast must be in [0, 1)",
            "0.1 is usual, 0.07 for some programs",
            str(star),
            f"data_optics row {row + 1}",
            str(contrast[row]),
        )
        for row in np.flatnonzero((contrast < 0) | (contrast >= 1))
    ]


def _mag_matrix(columns: dict[str, np.ndarray], row: int) -> tuple[float, float, float, float]:
    """Anisotropic magnification of one group."""
    first, second, third, fourth = (float(columns[f"rlnMagMat{key}"][row]) for key in ("00", "01", "10", "11"))
    return first, second, third, fourth


def _vectors(table: Table, name: str, star: Path, problems: list[Problem]) -> list[tuple[float, ...]]:
    """Read a column of vectors written `[a,b,c]`."""
    if name not in table:
        return [()] * len(table["rlnOpticsGroup"])
    vectors: list[tuple[float, ...]] = []
    for row, text in enumerate(table[name], start=1):
        try:
            vectors.append(tuple(float(part) for part in str(text).strip("[]").split(",") if part))
        except ValueError:
            where = f"data_optics row {row}, {name}"
            problems.append(Problem("is not a vector of numbers", "write [a,b,c]", str(star), where, str(text)))
    return vectors


def _mtf_files(table: Table, star: Path, problems: list[Problem]) -> list[str | None]:
    """Absolute path of each group's MTF, None where it has none."""
    if "rlnMtfFileName" not in table:
        return [None] * len(table["rlnOpticsGroup"])
    found: list[str | None] = []
    for row, name in enumerate(table["rlnMtfFileName"], start=1):
        path = resolve(str(name), star) if str(name) not in ("", "None", "none") else None
        found.append(str(path) if path else None)
        if path is None and str(name) not in ("", "None", "none"):
            where = f"data_optics row {row}, rlnMtfFileName"
            remedy = "restore the file or remove the column"
            problems.append(Problem("file does not exist", remedy, str(star), where, str(name)))
    return found
