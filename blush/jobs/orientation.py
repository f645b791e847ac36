"""Directions of a map and of its particles, from files to figures: after a run's last iteration, and on request."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blush.errors import BlushError, Problem
from blush.fourier.fsc import fsc
from blush.geometry.rotation import direction
from blush.geometry.symmetry import operators
from blush.io.files import load_npz, save_npz
from blush.io.half_maps import read_half_maps
from blush.io.particles import read_particles
from blush.jobs.inputs import latest_state, read_config
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import checked
from blush.refine.state import State
from blush.refine.subset import HALVES
from blush.validate.directional_fsc import FEWEST_COEFFICIENTS
from blush.validate.orientation import Orientation, orientation
from blush.validate.particle_number import ByNumber, resolution_by_number
from blush.validate.phase_randomise import masked_fsc
from blush.validate.sampling_factor import view_counts

FILE = "orientation.npz"


@dataclass(frozen=True)
class Measured:
    """What was found, and where the map is uneven in words to warn with."""

    orientation: Orientation
    by_number: ByNumber

    def record(self) -> dict[str, Any]:
        """Plain numbers for a summary."""
        return {"orientation": self.orientation.record(), "by_number": asdict(self.by_number)}

    @property
    def warnings(self) -> list[str]:
        """The verdict, where some directions lack signal."""
        return [self.orientation.verdict()] if self.orientation.is_even is False else []


@dataclass(frozen=True)
class Source:
    """Files and poses to measure.

    Attributes
    ----------
    half1, half2
        Unfiltered half-maps.
    mask
        Solvent mask, or None.
    views
        (n, 3) viewing directions, without symmetry mates.
    pixel_size_angst
        Instead of the headers'; None for theirs.
    """

    half1: Path
    half2: Path
    mask: Path | None
    views: Tensor
    symmetry: str
    seed: int
    pixel_size_angst: float | None = None


def source_of_run(root: Path) -> Source:
    """Halves, mask and last poses of a refinement.

    Raises
    ------
    BlushError
        If it has not finished.
    """
    folder, state = RunFolder(root.absolute()), latest_state(root)
    if state is None or not state.converged or not state.control.JOINS_LAST:
        problem = Problem("is no finished refinement", "finish it, or give half-maps and a table", file=str(root))
        raise BlushError("cannot measure directions", [problem])
    first, second = (checked(folder, folder.map(None, half, "unfiltered")) for half in HALVES)
    mask = root / "postprocess/mask.mrc"
    views = last_views(folder, state)
    return Source(first, second, mask if mask.exists() else None, views, state.facts.symmetry, read_config(root).seed)


def last_views(folder: RunFolder, state: State) -> Tensor:
    """(n, 3) viewing directions of the particles after the last iteration."""
    poses = load_npz(checked(folder, folder.poses(state.iteration)))
    return direction(*(torch.from_numpy(poses[name]).double() for name in ("rot_deg", "tilt_deg")))


def source_of_files(source: Source, particles: Path) -> Source:
    """The same with the views of a table, whose images need not be there.

    Raises
    ------
    BlushError
        If the table holds no poses, or the symmetry is no point group.
    """
    try:
        operators(source.symmetry)
    except ValueError as error:
        raise BlushError("cannot measure directions", [str(error)]) from None
    found, tables = read_particles(particles, find_stacks=False)
    if missing := [name for name in ("rlnAngleRot", "rlnAngleTilt") if name not in tables["particles"]]:
        problem = Problem("holds no poses", "give the table that a refinement wrote", str(particles), "data_particles",
                          f"no {', '.join(missing)}")  # fmt: skip
        raise BlushError("cannot measure directions", [problem])
    views = direction(torch.from_numpy(found.rot_deg).double(), torch.from_numpy(found.tilt_deg).double())
    return replace(source, views=views)


def measure(source: Source, curve: Tensor | None = None) -> Measured:
    """Measure the directions of two half-maps and of the views behind them.

    Parameters
    ----------
    curve
        (s,) FSC of the halves, corrected for the mask; None to compute it.

    Raises
    ------
    BlushError
        Maps that cannot be read, are one map, or differ in size or pixel size.
    """
    files = read_half_maps(source.half1, source.half2, source.mask, source.pixel_size_angst, even=False)
    (first, second), pixel, box = files.halves, files.pixel_size_angst, files.halves[0].shape[0]
    found = orientation((first, second), files.mask, pixel, source.views, source.symmetry, source.seed)
    if curve is None:
        mask = files.mask
        curve = fsc(first, second) if mask is None else masked_fsc(first, second, mask, source.seed).corrected
    return Measured(found, resolution_by_number(curve, len(source.views), box, pixel))


def write_curves(path: Path, found: Orientation, source: Source) -> Path:
    """Write curves, resolution along every axis and counts of views with their mates, for figures."""
    shells = found.cones.fsc.shape[1]
    save_npz(path, {
        "axes": found.cones.axes.numpy(),
        "fsc": found.cones.fsc.numpy(),
        "counted": (found.cones.count >= FEWEST_COEFFICIENTS).numpy(),
        "frequency": np.arange(shells) / found.box_angst,
        "resolution_angst": found.by_axis_angst,
        "isotropic": found.isotropic.numpy(),
        "view_counts": view_counts(source.views, operators(source.symmetry)).numpy(),
    })  # fmt: skip
    return path
