"""What can be read from a user's files before there is a configuration: which are particles, which is a map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blush.config import RunConfig
from blush.config.files import checked
from blush.errors import BlushError, Problem
from blush.io.cs_array import read_cs_array
from blush.io.cs_fields import AS_IT_IS, CsOptions
from blush.io.cs_group import is_cs_group, read_cs_group
from blush.io.cs_table import is_cs
from blush.io.filaments import TUBE, track_steps, with_filaments
from blush.io.mrc import map_header
from blush.io.particles import ParticleSet, read_particles
from blush.io.star import Table

_PART_BYTES = 1 << 16
_NO_STARTING_MAP = ("mask", "half", "locres", "_it0")
_EXAMPLE = {"name": "run", "particles": "p.star", "reference": "r.mrc", "particle_diameter_angst": 1.0}


@dataclass(frozen=True)
class Images:
    """What a particle table says.

    Attributes
    ----------
    extent_angst
        Side of the smallest box; a particle is no larger.
    note
        The same in words.
    has_filaments
        Whether the images are segments of filaments.
    segment_step_angst
        Median distance of neighbouring segments along their filaments; None: no filament has two.
    """

    extent_angst: float
    has_poses: bool
    note: str
    has_filaments: bool = False
    segment_step_angst: float | None = None


def particle_tables(folder: Path) -> list[Path]:
    """Tables of particles that lie in a folder, without those of runs, by name; a group stands for its tables."""
    named = sorted(path for kind in ("*.star", "*.cs", "*.csg") for path in folder.glob(kind))
    found = [path for path in named if _names_images(path)]
    grouped = {table for path in found if is_cs_group(path) for table in read_cs_group(path).slots.values()}
    return [path for path in found if path.absolute() not in grouped]


def starting_maps(folder: Path) -> list[Path]:
    """Maps of cubic shape that lie in a folder, without masks and half-maps, by name."""
    paths = sorted(path for kind in ("*.mrc", "*.map", "*.map.gz", "*.mrc.gz") for path in folder.glob(kind))
    return [path for path in paths if not any(part in path.name for part in _NO_STARTING_MAP) and _is_cubic(path)]


def read_images(path: Path, cs: CsOptions = AS_IT_IS) -> Images:
    """What a particle table says of its images.

    Parameters
    ----------
    cs
        How a table of cryoSPARC is read.

    Raises
    ------
    BlushError
        With every mistake that is in it.
    """
    particles, blocks = read_particles(path, cs=cs)
    groups = particles.optics
    sizes = sorted({f"{group.box_px} px at {group.pixel_size_angst:g} Å" for group in groups})
    voltages = sorted({f"{group.voltage_kv:g}" for group in groups})
    poses = "with poses" if particles.has_poses else "no poses"
    halves = "" if not np.any(particles.half) else ", halves kept"
    note = f"{len(particles)} images of {' and '.join(sizes)}, {' and '.join(voltages)} kV, {poses}{halves}"
    extent = min(group.box_px * group.pixel_size_angst for group in groups)
    if TUBE not in blocks["particles"]:
        return Images(extent, particles.has_poses, note)
    step, of_filaments = _segments(particles, blocks, path)
    return Images(extent, particles.has_poses, f"{note}, {of_filaments}", True, step)


def read_map_note(path: Path) -> str:
    """What the header of a map says, in words.

    Raises
    ------
    BlushError
        If it is no map.
    """
    header = map_header(path)
    size = f"{header.shape[0]} px"
    return f"{size} at {header.pixel_size_angst:g} Å" if header.pixel_size_angst > 0 else f"{size}, of no pixel size"


def _segments(particles: ParticleSet, blocks: dict[str, Table], path: Path) -> tuple[float | None, str]:
    """Distance of neighbours on their filaments, None where all have one segment, and in words what there is."""
    problems: list[Problem] = []
    found, _ = with_filaments(particles, blocks, path, problems, [])
    if found.filament is None or found.track_angst is None:
        raise BlushError(f"{path} has filaments that cannot be read", problems)
    segments = np.unique(found.filament, return_counts=True)[1]
    gap, single = track_steps(found), int(np.count_nonzero(segments == 1))
    if not len(gap):
        return None, f"{_counted(len(segments), 'filament')} of a single segment each"
    step = float(np.median(gap))
    alone = f" ({single} of a single segment)" if single else ""
    return step, f"{_counted(len(segments), 'filament')}{alone} with a segment every {step:.4g} Å"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def check_answer(key: str, value: str | float, images: Images | None) -> None:
    """Check one setting by itself, and a diameter against the images.

    Raises
    ------
    BlushError
        If it is no such setting.
    """
    setting = {"helix": {key: value}} if key == "tube_diameter_angst" else {key: value}
    checked(RunConfig, _EXAMPLE | setting, "this answer")
    if (
        key in ("particle_diameter_angst", "tube_diameter_angst")
        and images is not None
        and float(value) > images.extent_angst
    ):
        message = f"is wider than the images, {images.extent_angst:.4g} Å"
        what = "the width of the filament" if key == "tube_diameter_angst" else "the longest extent of the particle"
        problem = Problem(message, f"give {what} in Å", where=key, value=str(value))
        raise BlushError("this answer has 1 mistake(s):", [problem])


def _names_images(path: Path) -> bool:
    """Whether a table has a column of images; what cannot be read has none, and is told when it is named."""
    try:
        if is_cs_group(path):
            return "blob" in read_cs_group(path).slots
        if is_cs(path):
            return "blob/path" in (read_cs_array(path).dtype.names or ())
        with path.open("rb") as stream:
            return b"_rlnImageName" in stream.read(_PART_BYTES)
    except (OSError, BlushError):
        return False


def _is_cubic(path: Path) -> bool:
    """Whether a file is a map of one side; what cannot be read is none."""
    try:
        return len(set(map_header(path).shape)) == 1
    except BlushError:
        return False
