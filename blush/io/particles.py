"""Particles as a numeric table: which image, which optics, which half, which pose."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from blush.errors import BlushError, Problem
from blush.io.columns import require
from blush.io.cs_fields import AS_IT_IS, CsOptions
from blush.io.cs_table import in_cs_words, is_cs
from blush.io.files import as_written, load_npz, parse_json, save_npz
from blush.io.image_digests import image_digests
from blush.io.mrc import map_stack
from blush.io.optics import OpticsGroup, parse_optics
from blush.io.particle_columns import (
    BLOCK,
    POSE_COLUMNS,
    float_columns,
    group_index,
    halves,
    image_columns,
    optics_index,
    subtomograms,
    with_boxes,
)
from blush.io.physics import check_physics
from blush.io.star import Table
from blush.io.table import read_table

_REQUIRED = ("rlnImageName", "rlnOpticsGroup", "rlnDefocusU")
_META = "meta_json"
POSE = ("rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst")
"""Columns of a pose, in the order of arrays that hold poses."""


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
    image_digest
        What was in each image when it was imported, uint64; None where nothing is known to compare with.
    confined_to
        The one reference, from 0, that each image is compared with, int64; None: with all of them.
    anchor
        (n, 5) rot, tilt and psi in degrees, x and y of the offset in Å: the pose about which a prior is centred; None:
        there is none.
    background
        (n, parts, 5) pose of each other part of the particle that the image shows; None: it shows nothing else.
    filament
        0-based, int32, numbered by their first rows; None, as the columns after it: images are no segments.
    track_angst, track_psi_deg, track_tilt_deg, psi_flip_ratio
        Distance of the segment from the start of its filament, at least 0; direction of the track in the image, tilt
        of the axis, and probability that the structure runs against the track.
    filament_prior
        (n, 3) psi and tilt in degrees and offset across the filament in Å, as they are expected of polarity 0, whose
        psi is that of the track; None: not segments of filaments.
    rot_log_prior
        (n, 2, bins) log density of polarity and reduced rot, whose mean over all of them is 1 before the logarithm.
    polarity_pose
        (n, 2, 5) best pose of each polarity, as `POSE` orders it; NaN where none is known.
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
    image_digest: np.ndarray | None = None
    confined_to: np.ndarray | None = None
    anchor: np.ndarray | None = None
    background: np.ndarray | None = None
    filament: np.ndarray | None = None
    track_angst: np.ndarray | None = None
    track_psi_deg: np.ndarray | None = None
    track_tilt_deg: np.ndarray | None = None
    psi_flip_ratio: np.ndarray | None = None
    filament_prior: np.ndarray | None = None
    rot_log_prior: np.ndarray | None = None
    polarity_pose: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.image_index)

    def take(self, rows: np.ndarray) -> Self:
        """Particles at these rows (indices or a boolean mask), in that order."""
        rows = np.asarray(rows)
        return dataclasses.replace(self, **{name: array[rows] for name, array in self._arrays().items()})

    @property
    def image_sign(self) -> np.ndarray:
        """What each image is multiplied by when it is read, float32 (n,)."""
        signs = np.array([group.image_sign for group in self.optics], dtype=np.float32)
        return signs[self.optics_index]

    def images(self) -> np.ndarray:
        """Read the images of all rows as float32 (n, h, w), stack by stack, bright on dark.

        Raises
        ------
        BlushError
            With every stack that holds other images than `image_digest` says: a name and a size prove nothing.
        """
        box = self.optics[int(self.optics_index[0]) if len(self) else 0].box_px
        images = np.empty((len(self), box, box), dtype=np.float32)
        if not len(self):
            return images
        order = np.argsort(self.stack_index, kind="stable")
        stacks, starts = np.unique(self.stack_index[order], return_index=True)
        changed: list[Problem] = []
        for stack, rows in zip(stacks, np.split(order, starts[1:]), strict=True):
            stored = map_stack(self.stacks[stack])[self.image_index[rows]]
            if self.image_digest is not None:
                others = int(np.count_nonzero(image_digests(stored) != self.image_digest[rows]))
                changed += [_changed(self.stacks[stack], others, len(rows))] if others else []
            images[rows] = stored
        if any(group.image_sign < 0 for group in self.optics):
            images *= self.image_sign[:, None, None]
        if changed:
            raise BlushError("the images of this refinement have changed since its import", changed)
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
        """Read what `save` wrote.

        Raises
        ------
        BlushError
            Where it is something else.
        """
        arrays = load_npz(path)
        with as_written(path):
            meta = parse_json(arrays.pop(_META).tobytes())
            optics = tuple(OpticsGroup(**_with_tuples(group)) for group in meta["optics"])
            found = cls(**arrays, stacks=tuple(meta["stacks"]), optics=optics, has_poses=meta["has_poses"])
            found._check()
        return found

    def _check(self) -> None:
        """Refuse columns of other lengths or kinds, and indices of what is not there.

        Raises
        ------
        ValueError
            Where there are some.
        """
        for name, array in self._arrays().items():
            if array.shape != (len(self),) or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
                raise ValueError(f"column {name} is not of {len(self)} finite numbers")
        if not all(isinstance(stack, str) for stack in self.stacks) or not isinstance(self.has_poses, bool):
            raise ValueError("stacks or poses are of another kind")
        ends = {"image_index": np.inf, "stack_index": len(self.stacks), "optics_index": len(self.optics), "half": 3}
        for name, end in ends.items():
            column: np.ndarray = getattr(self, name)
            if column.dtype.kind not in "iu" or (len(self) and (column.min() < 0 or column.max() >= end)):
                raise ValueError(f"column {name} points to what is not there")
        for group in self.optics:
            numbers = [value for value in vars(group).values() if isinstance(value, int | float)]
            vectors = (*group.odd_zernike, *group.even_zernike)
            is_finite = np.isfinite(np.array([*numbers, *vectors], dtype=np.float64)).all()
            if not is_finite or not (group.voltage_kv > 0 and group.pixel_size_angst > 0):
                raise ValueError(f"optics group {str(group)[:100]} is none")

    def _arrays(self) -> dict[str, np.ndarray]:
        """Columns that have one value per particle."""
        return {
            field.name: value
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), np.ndarray)
        }


def _changed(stack: str, others: int, read: int) -> Problem:
    """Images that are not those of the import."""
    remedy = "put the stack back as it was, or refine these images under another `name`"
    return Problem("its images are not those that were imported", remedy, stack, value=f"{others} of {read} others")


def _with_tuples(group: dict[str, Any]) -> dict[str, Any]:
    """Undo what JSON does to tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in group.items()}


def read_particles(
    star: Path | str, find_stacks: bool = True, cs: CsOptions = AS_IT_IS
) -> tuple[ParticleSet, dict[str, Table]]:
    """Read a particle STAR file of any RELION since 3.0, or a table of cryoSPARC.

    Parameters
    ----------
    cs
        How a table of cryoSPARC is read.
    find_stacks
        Whether the images are wanted; without them only the table is read, and the stacks need not be there.

    Returns
    -------
    The particles, and the blocks `optics` and `particles` with all their columns, known or not, in row order.

    Raises
    ------
    BlushError
        With every mistake in the table, and every stack that is wanted and missing or cannot be read.
    """
    problems: list[Problem] = []
    blocks = read_table(Path(star), cs, problems)
    particles = parse_particles(blocks, Path(star), problems, find_stacks)
    if is_cs(star):
        problems = in_cs_words(problems)
    if problems or particles is None:
        raise BlushError(f"{star} cannot be used: {len(problems)} problem(s)", problems)
    return particles, blocks


def parse_particles(
    blocks: dict[str, Table], star: Path, problems: list[Problem], find_stacks: bool = True
) -> ParticleSet | None:
    """Turn the blocks `optics` and `particles` into numbers.

    Mistakes are appended to `problems`; None where the table has too many of them to go on.
    """
    if "optics" not in blocks or "particles" not in blocks:
        return None
    table = blocks["particles"]
    if found := subtomograms(table, blocks["optics"], star):
        problems += found
        return None
    require(table, _REQUIRED, BLOCK, star, problems)
    optics = parse_optics(blocks["optics"], star, problems)
    images = image_columns(table, star, problems, find_stacks) if "rlnImageName" in table else None
    if not optics or images is None:
        return None
    index = optics_index(blocks, star, problems)
    problems += check_physics(blocks, index, star)
    stack_index, image_index, stacks = images
    optics = with_boxes(optics, index, stack_index, stacks)
    pixel_size = np.array([group.pixel_size_angst for group in optics])[index]
    return ParticleSet(
        image_index=image_index,
        stack_index=stack_index,
        optics_index=index,
        group_index=group_index(table, stack_index),
        half=halves(table, star, problems),
        stacks=stacks,
        optics=optics,
        has_poses=all(name in table for name in POSE_COLUMNS),
        **float_columns(table, pixel_size, star, problems),
    )
