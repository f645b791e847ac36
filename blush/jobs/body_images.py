"""What the expectation step of one body needs beside its own map: the other bodies, and where it is expected itself."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.expectation.background import Background
from blush.fourier.transform import transform
from blush.io.files import load_npz
from blush.io.mrc import read_volume
from blush.io.particles import POSE, ParticleSet
from blush.jobs.body_import import moved
from blush.jobs.body_runs import body_index, body_mask, read_bodies
from blush.jobs.layout import RunFolder
from blush.jobs.other_bodies import others_of
from blush.jobs.sealed import checked
from blush.refine.control import BodyControl
from blush.refine.state import State, load_state
from blush.refine.subset import Subset


def background(
    folder: RunFolder, state: State, subset: Subset, particles: ParticleSet, like: Tensor
) -> list[Background]:
    """What predicts the images of each other body, less what lies in this one's own mask.

    Parameters
    ----------
    particles
        All particles of the run, with their optics.
    like
        A tensor of the device and type of maps.
    """
    run, own = folder.root.parent, body_index(folder.root) if isinstance(state.control, BodyControl) else 0
    found = []
    for other in others_of(folder, state):
        volume = torch.from_numpy(read_volume(checked(other.folder, other.reference(subset)))[0])
        centre = read_bodies(run)[other.index].centre_px
        left = moved(share_of_other(RunFolder(run), own, other.index), centre)
        radius = load_state(other.state).search.current_size_px // 2
        found.append(Background(transform((volume * left).to(like), radius), particles))
    return found


def share_of_other(whole: RunFolder, own: int, other: int) -> Tensor:
    """What of another body's density is taken away from the images of one: all but what their masks share.

    Where several others overlap, each gives its part of what is there. In the frame of the consensus, (N, N, N).
    """
    own_mask, total = _mask(whole, own), torch.zeros(())
    for index in range(len(read_bodies(whole.root))):
        if index != own:
            total = total + _mask(whole, index)
    return (1 - own_mask) / total.clamp_min(1)


def _mask(whole: RunFolder, index: int) -> Tensor:
    return torch.from_numpy(read_volume(checked(whole, body_mask(whole.root, index)))[0])


def with_others(
    particles: ParticleSet, frozen: ParticleSet, folder: RunFolder, state: State, rows: NDArray[np.int64]
) -> ParticleSet:
    """Particles at `rows` that know the pose about which their motion is expected, and those of the other bodies."""
    if not isinstance(state.control, BodyControl):
        return particles
    anchor = np.stack([getattr(frozen, name)[rows] for name in POSE], 1)
    poses = [_poses(other.folder, other.poses)[rows] for other in others_of(folder, state)]
    seen = np.stack(poses, 1) if poses else None
    return replace(particles, anchor=anchor, background=seen)


def _poses(folder: RunFolder, path: Path) -> NDArray[np.float64]:
    return _read_poses(path, checked(folder, path).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _read_poses(path: Path, _time: int) -> NDArray[np.float64]:
    columns = load_npz(path)
    return np.stack([columns[name] for name in POSE], 1)
