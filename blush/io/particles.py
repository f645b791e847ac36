"""Particles as a numeric table: which image, which optics, which half, which pose."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from blush.errors import BlushError, Problem
from blush.io.columns import n_rows, numbers, require, row_problems
from blush.io.files import load_npz, save_npz
from blush.io.legacy import modernise
from blush.io.mrc import map_stack, stack_header
from blush.io.optics import OpticsGroup, parse_optics, resolve
from blush.io.star import Table, read_star

_BLOCK = "data_particles"
_REQUIRED = ("rlnImageName", "rlnOpticsGroup", "rlnDefocusU")
_POSE_COLUMNS = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_META = "meta_json"


@dataclass(frozen=True)
class ParticleSet:
    """Particles in the row order of their STAR file; every array is (n,).

    Parameters
    ----------
    image_index
        0-based image in its stack, int64.
    stack_index, optics_index, group_index
        0-based, int32; groups share a scale factor and are numbered in the order of their names.
    half
        1 or 2, int8; 0 as long as none was assigned.
    offset_x_angst, offset_y_angst
        Shift to apply to the image to centre the particle (rlnOriginXAngst).
    stacks
        Absolute paths.
    has_poses
        Whether the STAR file had all three angles.
    """

    image_index: np.ndarray
    stack_index: np.ndarray
    optics_index: np.ndarray
    group_index: np.ndarray
    half: np.ndarray
    defocus_u_angst: np.ndarray
    defocus_v_angst: np.ndarray
    defocus_angle_deg: np.ndarray
    phase_shift_deg: np.ndarray
    ctf_bfactor: np.ndarray
    ctf_scale: np.ndarray
    rot_deg: np.ndarray
    tilt_deg: np.ndarray
    psi_deg: np.ndarray
    offset_x_angst: np.ndarray
    offset_y_angst: np.ndarray
    norm_correction: np.ndarray
    stacks: tuple[str, ...]
    optics: tuple[OpticsGroup, ...]
    has_poses: bool

    def __len__(self) -> int:
        return len(self.image_index)

    def take(self, rows: np.ndarray) -> Self:
        """Particles at these rows (indices or a boolean mask), in that order."""
        rows = np.asarray(rows)
        return dataclasses.replace(self, **{name: array[rows] for name, array in self._arrays().items()})

    def images(self) -> np.ndarray:
        """Read the images of all rows as float32 (n, h, w), stack by stack."""
        box = self.optics[int(self.optics_index[0])].box_px if len(self) else 0
        images = np.empty((len(self), box, box), dtype=np.float32)
        order = np.argsort(self.stack_index, kind="stable")
        stacks, starts = np.unique(self.stack_index[order], return_index=True)
        for stack, rows in zip(stacks, np.split(order, starts[1:]), strict=True):
            images[rows] = map_stack(self.stacks[stack])[self.image_index[rows]]
        return images

    def save(self, path: Path | str) -> None:
        """Write an npz; equal particles give equal bytes."""
        meta = {
            "stacks": self.stacks,
            "optics": [dataclasses.asdict(group) for group in self.optics],
            "has_poses": self.has_poses,
        }
        text = json.dumps(meta, sort_keys=True).encode()
        save_npz(path, {**self._arrays(), _META: np.frombuffer(text, dtype=np.uint8)})

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read what `save` wrote."""
        arrays = load_npz(path)
        meta = json.loads(arrays.pop(_META).tobytes())
        optics = tuple(OpticsGroup(**_with_tuples(group)) for group in meta["optics"])
        return cls(**arrays, stacks=tuple(meta["stacks"]), optics=optics, has_poses=meta["has_poses"])

    def _arrays(self) -> dict[str, np.ndarray]:
        """Columns that have one value per particle."""
        return {
            field.name: value
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), np.ndarray)
        }


def _with_tuples(group: dict[str, Any]) -> dict[str, Any]:
    """Undo what JSON does to tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in group.items()}


def read_particles(star: Path | str) -> tuple[ParticleSet, dict[str, Table]]:
    """Read a particle STAR file of RELION 3.1 or later, or an older one that names its optics per particle.

    Returns
    -------
    The particles, and the blocks `optics` and `particles` with all their columns, known or not, in row order.

    Raises
    ------
    BlushError
        With every mistake in the table, and every stack that is missing or cannot be read.
    """
    problems: list[Problem] = []
    blocks = modernise(read_star(star), Path(star), problems)
    particles = parse_particles(blocks, Path(star), problems)
    if problems or particles is None:
        raise BlushError(f"{star} cannot be used: {len(problems)} problem(s)", problems)
    return particles, blocks


def parse_particles(blocks: dict[str, Table], star: Path, problems: list[Problem]) -> ParticleSet | None:
    """Turn the blocks `optics` and `particles` into numbers; mistakes are appended, None where there is no table."""
    if "optics" not in blocks or "particles" not in blocks:
        return None
    table = blocks["particles"]
    require(table, _REQUIRED, _BLOCK, star, problems)
    optics = parse_optics(blocks["optics"], star, problems)
    if any(name not in table for name in _REQUIRED) or not optics:
        return None
    optics_index = _optics_index(blocks, star, problems)
    stack_index, image_index, stacks = _image_columns(table, star, problems)
    optics = _with_boxes(optics, optics_index, stack_index, stacks)
    return ParticleSet(
        image_index=image_index,
        stack_index=stack_index,
        optics_index=optics_index,
        group_index=_group_index(table, stack_index),
        half=_halves(table, star, problems),
        stacks=stacks,
        optics=optics,
        has_poses=all(name in table for name in _POSE_COLUMNS),
        **_float_columns(table, optics, optics_index, star, problems),
    )


def _float_columns(
    table: Table, optics: tuple[OpticsGroup, ...], optics_index: np.ndarray, star: Path, problems: list[Problem]
) -> dict[str, np.ndarray]:
    """CTF, pose and normalisation of every particle, with RELION's defaults."""

    def column(name: str, default: float | np.ndarray = 0.0) -> np.ndarray:
        return numbers(table, name, default, _BLOCK, star, problems)

    defocus_u = column("rlnDefocusU")
    pixel_size = np.array([group.pixel_size_angst for group in optics])[optics_index]
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
        "offset_x_angst": column("rlnOriginXAngst", column("rlnOriginX") * pixel_size),
        "offset_y_angst": column("rlnOriginYAngst", column("rlnOriginY") * pixel_size),
        "norm_correction": column("rlnNormCorrection", 1.0),
    }


def _optics_index(blocks: dict[str, Table], star: Path, problems: list[Problem]) -> np.ndarray:
    """0-based optics group of each particle; group numbers need be neither contiguous nor sorted."""
    known = numbers(blocks["optics"], "rlnOpticsGroup", 0, "data_optics", star, [])
    wanted = numbers(blocks["particles"], "rlnOpticsGroup", 0, _BLOCK, star, problems)
    order = np.argsort(known, kind="stable")
    position = order[np.searchsorted(known[order], wanted).clip(max=len(known) - 1)]
    bad = np.flatnonzero(np.isfinite(wanted) & (known[position] != wanted))
    remedy = "add the group to data_optics or correct rlnOpticsGroup"
    problems += row_problems(bad, wanted[bad], "optics group is not in data_optics", remedy, star, _BLOCK)
    return position.astype(np.int32)


def _image_columns(table: Table, star: Path, problems: list[Problem]) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Stack and 0-based image of each particle, and the stacks' absolute paths in order of first use."""
    parts = [str(name).partition("@") for name in table["rlnImageName"]]
    image_index = np.array([int(number) if number.isdecimal() else 0 for number, _, _ in parts], dtype=np.int64) - 1
    bad = np.flatnonzero(image_index < 0)
    problems += row_problems(
        bad,
        table["rlnImageName"][bad],
        "rlnImageName does not start with an image number from 1 on",
        "write 000001@stack.mrcs, one row per image",
        star,
        _BLOCK,
    )
    names = [name if at else number for number, at, name in parts]
    first_rows: dict[str, int] = {}
    for row, name in enumerate(names):
        first_rows.setdefault(name, row)
    numbering = {name: index for index, name in enumerate(first_rows)}
    stack_index = np.array([numbering[name] for name in names], dtype=np.int32)
    stacks = tuple(_find_stack(name, row, star, problems) for name, row in first_rows.items())
    return stack_index, image_index, stacks


def _find_stack(name: str, row: int, star: Path, problems: list[Problem]) -> str:
    """Absolute path of a stack, checked for a readable header and its full length."""
    path = resolve(name, star)
    if path is None:
        remedy = "restore the stack, or move the STAR file to its project's root"
        problems.append(Problem("stack file does not exist", remedy, str(star), f"{_BLOCK} row {row + 1}", name))
        return str(star.absolute().parent / name)
    try:
        stack_header(path)
    except BlushError as error:
        problems += [problem for problem in error.problems if isinstance(problem, Problem)]
    return str(path)


def _with_boxes(
    optics: tuple[OpticsGroup, ...], optics_index: np.ndarray, stack_index: np.ndarray, stacks: tuple[str, ...]
) -> tuple[OpticsGroup, ...]:
    """Take a box that data_optics does not give from the first stack of the group."""
    return tuple(
        group if group.box_px else dataclasses.replace(group, box_px=_box_of(index, optics_index, stack_index, stacks))
        for index, group in enumerate(optics)
    )


def _box_of(index: int, optics_index: np.ndarray, stack_index: np.ndarray, stacks: tuple[str, ...]) -> int:
    """Width of the first image of an optics group; 0 where it has none that can be read."""
    rows = np.flatnonzero(optics_index == index)
    try:
        return stack_header(stacks[stack_index[rows[0]]]).shape[2] if len(rows) else 0
    except BlushError:
        return 0  # already reported by _find_stack


def _group_index(table: Table, stack_index: np.ndarray) -> np.ndarray:
    """0-based group for scale correction: named groups, else micrographs, else stacks."""
    names = table.get("rlnGroupName", table.get("rlnMicrographName"))
    if names is None:
        return stack_index.copy()
    numbering = {name: index for index, name in enumerate(sorted({str(name) for name in names}))}
    return np.array([numbering[str(name)] for name in names], dtype=np.int32)


def _halves(table: Table, star: Path, problems: list[Problem]) -> np.ndarray:
    """Half-set of each particle; 0 where the file has no such column."""
    if "rlnRandomSubset" not in table:
        return np.zeros(n_rows(table), dtype=np.int8)
    values = numbers(table, "rlnRandomSubset", 0, _BLOCK, star, problems)
    bad = np.flatnonzero(np.isfinite(values) & (values != 1) & (values != 2))
    remedy = "assign every row to 1 or 2, or remove the column to have halves drawn"
    problems += row_problems(bad, table["rlnRandomSubset"][bad], "rlnRandomSubset is not 1 or 2", remedy, star, _BLOCK)
    return np.nan_to_num(values).clip(0, 2).astype(np.int8)
