"""The columns of `data_particles` that are indices: image, stack, optics group, scale group and half."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from blush.errors import BlushError, Problem, problems_of
from blush.io.columns import ROWS_LISTED, n_rows, numbers, row_problems, row_ranges, shown
from blush.io.mrc import stack_header
from blush.io.optics import IMAGE_SIGN, OpticsGroup, resolve
from blush.io.star import Table

BLOCK = "data_particles"
_KINDS = ("mrc", "mrcs", "map", "st")
"""What may stand behind a colon at the end of an image's name."""
_LONGEST_NUMBER = 18
"""Digits that always fit int64."""
# fmt: off
NUMERIC_COLUMNS = frozenset((
    IMAGE_SIGN,
    "rlnAmplitudeContrast", "rlnAnglePsi", "rlnAngleRot", "rlnAngleTilt", "rlnBeamTiltX", "rlnBeamTiltY",
    "rlnClassNumber", "rlnCtfBfactor", "rlnCtfDataAreCtfPremultiplied", "rlnCtfDataArePhaseFlipped",
    "rlnCtfScalefactor", "rlnDefocusAngle", "rlnDefocusU", "rlnDefocusV", "rlnDetectorPixelSize", "rlnGroupNumber",
    "rlnImageDimensionality", "rlnImagePixelSize", "rlnImageSize", "rlnLogLikeliContribution", "rlnMagMat00",
    "rlnMagMat01", "rlnMagMat10", "rlnMagMat11", "rlnMagnification", "rlnMaxValueProbDistribution",
    "rlnMicrographOriginalPixelSize", "rlnNormCorrection", "rlnNrOfSignificantSamples", "rlnOpticsGroup",
    "rlnOriginX", "rlnOriginXAngst", "rlnOriginY", "rlnOriginYAngst", "rlnPhaseShift", "rlnPixelSize",
    "rlnRandomSubset", "rlnSphericalAberration", "rlnVoltage",
))
# fmt: on
"""What is read or written as numbers; every other column passes through as the text that came in."""

ORIGINAL = "rlnImageOriginalName"
"""The image that a subtracted one was made from."""
POSE_COLUMNS = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")


def optics_index(blocks: dict[str, Table], star: Path, problems: list[Problem]) -> np.ndarray:
    """0-based optics group of each particle; group numbers need be neither contiguous nor sorted."""
    if any("rlnOpticsGroup" not in blocks[name] for name in ("optics", "particles")):
        return np.zeros(n_rows(blocks["particles"]), dtype=np.int32)  # the missing column is reported on its own
    known = numbers(blocks["optics"], "rlnOpticsGroup", 0, "data_optics", star, [])
    wanted = numbers(blocks["particles"], "rlnOpticsGroup", 0, BLOCK, star, problems)
    order = np.argsort(known, kind="stable")
    position = order[np.searchsorted(known[order], wanted).clip(max=len(known) - 1)]
    bad = np.flatnonzero(np.isfinite(wanted) & (known[position] != wanted))
    remedy = "add the group to data_optics or correct rlnOpticsGroup"
    problems += row_problems(bad, wanted[bad], "optics group is not in data_optics", remedy, star, BLOCK)
    return position.astype(np.int32)


def subtomograms(table: Table, optics: Table, star: Path) -> list[Problem]:
    """Refuse rows that are volumes or tilt series, as RELION marks them, where no name has an image number."""
    tomographic = {"rlnTomoName", "rlnTomoParticleName", "rlnCtfImage"} & table.keys()
    has_numbers = any("@" in str(name) for name in table.get("rlnImageName", ()))
    volumes = "rlnImageDimensionality" in optics and bool((optics["rlnImageDimensionality"] == 3).any())
    if has_numbers or not (tomographic or volumes):
        return []
    message = "is a table of sub-tomograms or stacks of tilt images, not of single-particle images"
    remedy = "give a table with one row per image, or average the sub-tomograms in a program for tomography"
    return [Problem(message, remedy, str(star), BLOCK)]


def image_columns(
    table: Table, star: Path, problems: list[Problem], find_stacks: bool = True
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Stack and 0-based image of each particle, and the stacks' absolute paths in order of first use.

    Without `find_stacks`, these are the names as the table has them, of files that need not be there.
    """
    parts = [str(name).partition("@") for name in table["rlnImageName"]]
    image_index = (
        np.array(
            [int(number) if number.isdecimal() and len(number) <= _LONGEST_NUMBER else 0 for number, _, _ in parts],
            dtype=np.int64,
        )
        - 1
    )
    bad = np.flatnonzero(image_index < 0)
    problems += row_problems(
        bad,
        table["rlnImageName"][bad],
        "rlnImageName does not start with an image number from 1 on",
        "write 000001@stack.mrcs, one row per image",
        star,
        BLOCK,
    )
    names = [name if at else number for number, at, name in parts]
    numbering = {name: index for index, name in enumerate(dict.fromkeys(names))}
    stack_index = np.array([numbering[name] for name in names], dtype=np.int32)
    if not find_stacks:
        return stack_index, image_index, tuple(numbering)
    order = np.argsort(stack_index, kind="stable")
    rows = np.split(order, np.flatnonzero(np.diff(stack_index[order])) + 1)
    return stack_index, image_index, tuple(_find_stacks(tuple(numbering), rows, star, problems))


def _find_stacks(names: Sequence[str], rows: Sequence[np.ndarray], star: Path, problems: list[Problem]) -> list[str]:
    """Absolute paths of stacks, each checked for a readable header and its full length.

    Parameters
    ----------
    rows
        Where in the table each name stands.
    """
    found = [find_stack(name, star) for name in names]
    missing = [index for index, path in enumerate(found) if path is None]
    message = "stack file does not exist"
    for index in missing[:ROWS_LISTED]:
        where = f"{BLOCK} row {row_ranges(rows[index])}"
        problems.append(Problem(message, _remedy(names[index], star), str(star), where, shown(names[index])))
    if more := missing[ROWS_LISTED:]:
        others = np.sort(np.concatenate([rows[index] for index in more]))
        where = f"{BLOCK} {len(more)} more stacks, {len(others)} rows: {row_ranges(others)}"
        problems.append(Problem(message, _remedy(names[more[0]], star), str(star), where))
    for path in found:
        try:
            if path is not None:
                stack_header(path)
        except BlushError as error:
            problems += problems_of(error)
    paths = zip(names, found, strict=True)
    return [str(star.absolute().parent / name) if path is None else str(path) for name, path in paths]


def find_stack(name: str, star: Path) -> Path | None:
    """The file that a name means; `stack.mrc:mrcs` says of stack.mrc that it is a stack, as RELION has it."""
    path = resolve(name, star)
    plain, colon, kind = name.rpartition(":")
    return resolve(plain, star) if path is None and colon and kind in _KINDS else path


def _remedy(name: str, star: Path) -> str:
    """What to do about a stack that is not where its name says."""
    if star.suffix in (".cs", ".csg"):
        setting = "cryosparc: {project: ...} in the configuration, or --project of `blush init` and `blush export-star`"
        return f"restore the stack, or give the project's folder: {setting}"
    if (packed := resolve(f"{name}.gz", star)) is not None:
        return f"there is {packed}: unpack it with gunzip, for images are read where they lie"
    elsewhere = resolve(Path(name).name, star)
    if elsewhere is not None:
        return f"there is {elsewhere}: write the path to it into rlnImageName if these are the images"
    if Path(name).is_absolute():
        return "restore the stack, or write the path where it is now into rlnImageName"
    return "restore the stack; or give the STAR file where its program wrote it, or a link to it, instead of a copy"


def group_index(table: Table, stack_index: np.ndarray) -> np.ndarray:
    """0-based group for scale correction: named groups, else micrographs, else stacks."""
    names = table.get("rlnGroupName", table.get("rlnMicrographName"))
    if names is None:
        return stack_index.copy()
    numbering = {name: index for index, name in enumerate(sorted({str(name) for name in names}))}
    return np.array([numbering[str(name)] for name in names], dtype=np.int32)


def filament_index(table: Table, *, coarse: bool = False) -> np.ndarray | None:
    """Filament of each segment, 0-based (n,): micrograph and tube; None where no segments are told.

    Segments of a filament overlap, so in both halves they would make the FSC agree by their noise.

    Parameters
    ----------
    coarse
        Where tubes are not numbered anew in every micrograph, take equal numbers for one filament whatever the
        micrograph: halves that are drawn by these never share a filament.
    """
    if "rlnHelicalTubeID" not in table:
        return None
    tubes = table["rlnHelicalTubeID"]
    places = table.get("rlnMicrographName", np.array([str(name).partition("@")[2] for name in table["rlnImageName"]]))
    numbering: dict[tuple[str, str], int] = {}
    keys = zip(map(str, places), map(str, tubes), strict=True)
    index = np.array([numbering.setdefault(key, len(numbering)) for key in keys], dtype=np.int64)
    number = np.unique(np.array([tube for _, tube in numbering]), return_inverse=True)[1]
    _, per_micrograph = np.unique(np.array([place for place, _ in numbering]), return_counts=True)
    is_numbered_anew = number.max(initial=-1) < per_micrograph.max(initial=0)
    return number[index] if coarse and not is_numbered_anew else index


def halves(table: Table, star: Path, problems: list[Problem]) -> np.ndarray:
    """Half-set of each particle; 0 where the file has no such column."""
    if "rlnRandomSubset" not in table:
        return np.zeros(n_rows(table), dtype=np.int8)
    values = numbers(table, "rlnRandomSubset", 0, BLOCK, star, problems)
    bad = np.flatnonzero(np.isfinite(values) & (values != 1) & (values != 2))
    remedy = "assign every row to 1 or 2, or remove the column to have halves drawn"
    problems += row_problems(bad, table["rlnRandomSubset"][bad], "rlnRandomSubset is not 1 or 2", remedy, star, BLOCK)
    return np.nan_to_num(values).clip(0, 2).astype(np.int8)


def float_columns(
    table: Table, pixel_size_angst: np.ndarray | float, star: Path, problems: list[Problem]
) -> dict[str, np.ndarray]:
    """CTF, pose and normalisation of every particle, with RELION's defaults."""

    def column(name: str, default: float | np.ndarray = 0.0) -> np.ndarray:
        return numbers(table, name, default, BLOCK, star, problems)

    defocus_u = column("rlnDefocusU")
    return {
        "defocus_u_angst": defocus_u,
        "defocus_v_angst": column("rlnDefocusV", defocus_u),
        "defocus_angle_deg": column("rlnDefocusAngle"),
        "phase_shift_deg": column("rlnPhaseShift"),
        "ctf_bfactor": column("rlnCtfBfactor"),
        "ctf_scale": column("rlnCtfScalefactor", 1.0),
        "rot_deg": column("rlnAngleRot"),
        "tilt_deg": column("rlnAngleTilt"),
        "psi_deg": column("rlnAnglePsi"),
        # older programs write origins in pixels
        "offset_x_angst": column("rlnOriginXAngst", column("rlnOriginX") * pixel_size_angst),
        "offset_y_angst": column("rlnOriginYAngst", column("rlnOriginY") * pixel_size_angst),
        "norm_correction": column("rlnNormCorrection", 1.0),
    }


def with_boxes(
    optics: tuple[OpticsGroup, ...], index: np.ndarray, stack_index: np.ndarray, stacks: tuple[str, ...]
) -> tuple[OpticsGroup, ...]:
    """Take a box that data_optics does not give from the first stack of the group."""
    return tuple(
        group if group.box_px else replace(group, box_px=_box_of(np.flatnonzero(index == i), stack_index, stacks))
        for i, group in enumerate(optics)
    )


def _box_of(rows: np.ndarray, stack_index: np.ndarray, stacks: tuple[str, ...]) -> int:
    """Width of the first image among these rows; 0 where there is none that can be read."""
    try:
        return stack_header(stacks[stack_index[rows[0]]]).shape[2] if len(rows) else 0
    except BlushError:
        return 0  # reported where the stack was found
