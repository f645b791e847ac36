"""Maps along components of motion, and the half-maps of all bodies in one: from the folders of a run to files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blush.bodies.combine import Combined, Part, combine
from blush.bodies.found import REACH_SHOWN, MotionsFound
from blush.bodies.motions import BodyMotions
from blush.bodies.placing import blended, placed
from blush.bodies.poses import poses_at
from blush.errors import BlushError, Problem
from blush.fourier.fsc import resolution_at
from blush.fourier.thresholds import HALF_MAPS
from blush.io.files import atomic_write, save_npz
from blush.io.half_maps import read_half_maps
from blush.io.mrc import read_volume, write_volume
from blush.jobs.body_runs import body_root, half_map
from blush.jobs.layout import RunFolder
from blush.refine.subset import HALVES, Subset
from blush.validate.local_resolution import local_resolution

FRAMES = 9
"""Maps along a component."""


@dataclass(frozen=True)
class BodyFiles:
    """Maps of one body about its own centre; `half1` and `half2` are None where it was not refined."""

    shown: Path
    mask: Path
    half1: Path | None
    half2: Path | None


def frame_name(k: int, number: int) -> str:
    """Name of a map along component k, both counted from 0."""
    return f"component{k + 1}_frame{number + 1}.mrc"


def body_files(run: Path, motions: BodyMotions) -> list[BodyFiles]:
    """Maps of every body of a finished run.

    Raises
    ------
    BlushError
        With every one that is missing.
    """
    found, problems = [], []
    for index, refined in enumerate(motions.refined):
        folder = RunFolder(root := body_root(run, index))
        sharpened = root / "postprocess/postprocess.mrc"
        final = sharpened if sharpened.exists() else folder.map(None, Subset.ALL, "final")
        halves = [folder.map(None, half, "unfiltered") if refined else None for half in HALVES]
        files = BodyFiles(final if refined else folder.first_map(), folder.imported / "mask.mrc", *halves)
        wanted = (files.shown, files.mask, *(half for half in halves if half is not None))
        missing = [path for path in wanted if not path.exists()]
        problems += [Problem("is missing", "finish the run, or add --no-maps", str(path)) for path in missing]
        found.append(files)
    if problems:
        raise BlushError("maps along components cannot be made", problems)
    return found


def write_frames(folder: Path, motions: BodyMotions, found: MotionsFound, files: list[BodyFiles], k: int) -> list[Path]:
    """Write maps along component k, counted from 0, and the ChimeraX session that plays them.

    Returns
    -------
    The maps, from -2 to 2 standard deviations, then the session.
    """
    maps = [read_volume(one.shown) for one in files]
    pixel = maps[0][1]
    volumes = [torch.from_numpy(volume) for volume, _ in maps]
    masks = [torch.from_numpy(read_volume(one.mask)[0]) for one in files]
    written = []
    for number, sds in enumerate(np.linspace(-REACH_SHOWN, REACH_SHOWN, FRAMES)):
        poses = poses_at(motions, found, float(sds * found.components[k].sd_angst), k)
        at, cut = (
            [placed(one, pose, pixel) for one, pose in zip(what, poses, strict=True)] for what in (volumes, masks)
        )
        target = folder / frame_name(k, number)
        write_volume(target, blended(at, [one.clamp(0, 1) for one in cut]).numpy(), pixel)
        written.append(target)
    session = folder / f"component{k + 1}.cxc"
    names = " ".join(path.name for path in written)
    text = (
        f"# component {k + 1} of the motions, -2 to 2 standard deviations: open this file in ChimeraX\n"
        f"open {names} vseries true\nvolume #1 style surface sdLevel 3 color cornflowerblue\nview\n"
        "vseries play #1 direction oscillate loop true maxFrameRate 8\n"
    )
    with atomic_write(session) as beside:
        beside.write_text(text, encoding="utf-8")
    return [*written, session]


def write_combined(
    folder: Path, run: Path, motions: BodyMotions, found: MotionsFound, files: list[BodyFiles], seed: int
) -> dict[str, Any]:
    """Write half-maps of all refined bodies at their mean, their average, its mask, FSC and local resolution.

    Returns
    -------
    Plain numbers for a summary.
    """
    parts, pixel = [], 0.0
    poses = poses_at(motions, found)
    for b in found.frame.bodies:
        half1, half2 = files[b].half1, files[b].half2
        if half1 is None or half2 is None:
            raise ValueError("a body that was refined has half-maps")
        read = read_half_maps(half1, half2, files[b].mask, even=False)
        parts.append(Part(read.halves, _mask_of(read.mask), poses[b]))
        pixel = read.pixel_size_angst
    first, second = (half_map(run, half) for half in HALVES)
    consensus = read_half_maps(first, second, even=False)
    made = combine(parts, consensus.halves, pixel, seed)
    local = local_resolution(*made.halves, pixel, seed, made.mask)
    maps = {
        "combined_half1": made.halves[0], "combined_half2": made.halves[1], "combined": sum(made.halves) / 2,
        "combined_mask": made.mask, "combined_locres": local.resolution_angst,
    }  # fmt: skip
    for name, volume in maps.items():
        write_volume(folder / f"{name}.mrc", torch.as_tensor(volume).numpy(), pixel, consensus.placement)
    _write_curves(folder / "combined_fsc.npz", made, pixel)
    box = made.mask.shape[-1]
    inside = local.resolution_angst[made.mask > 0.5].double()
    low, middle, high = torch.quantile(
        inside[:: max(1, len(inside) // 1_000_000)], torch.tensor([0.05, 0.5, 0.95]).double()
    )
    return {
        "resolution_angst": _finite(resolution_at(made.curves.corrected, HALF_MAPS, box, pixel)),
        "masked_resolution_angst": _finite(resolution_at(made.curves.masked, HALF_MAPS, box, pixel)),
        "local_resolution_angst": {"low": float(low), "median": float(middle), "high": float(high)},
    }


def _mask_of(mask: Tensor | None) -> Tensor:
    if mask is None:
        raise ValueError("a body has a mask")
    return mask


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _write_curves(path: Path, made: Combined, pixel_size_angst: float) -> None:
    """FSC of the combination over frequency, for figures."""
    box, curves = made.mask.shape[-1], made.curves
    names = ("unmasked", "masked", "randomised", "corrected")
    frequency = np.arange(box // 2 + 1) / (box * pixel_size_angst)
    save_npz(path, {"frequency": frequency} | {name: getattr(curves, name).numpy() for name in names})
