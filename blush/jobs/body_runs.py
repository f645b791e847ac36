"""The bodies of a run that refines several: a folder for each, which is a run of its own, and what they all know.

No torch here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blush.io.files import read_record
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import checked
from blush.refine.subset import HALVES, Subset

BODIES = "bodies.json"
"""In the import of the whole run: what is known of every body."""


@dataclass(frozen=True)
class BodyFacts:
    """What never changes of a body.

    Attributes
    ----------
    centre_px
        x, y, z of its centre, in whole voxels from the centre of the box.
    radius_px
        Largest distance from its centre at which its mask is above 0.05.
    hinge_with
        Index of the body that it turns against; None: no body.
    refine
        Whether its poses are searched; else it is only subtracted.
    """

    name: str
    centre_px: tuple[int, int, int]
    radius_px: float
    hinge_with: int | None
    sigma_rotation_deg: float
    sigma_offset_angst: float
    refine: bool


def body_root(run: Path, index: int) -> Path:
    """Folder of a body, counted from 0."""
    return run / f"body{index + 1:03d}"


def body_index(root: Path) -> int:
    """Number of the body, from 0, whose folder this is."""
    return int(root.name.removeprefix("body")) - 1


def read_bodies(run: Path) -> tuple[BodyFacts, ...]:
    """What a run knows of its bodies."""
    folder = RunFolder(run)
    found = read_record(checked(folder, folder.imported / BODIES), members=("bodies",))["bodies"]
    return tuple(BodyFacts(**{**one, "centre_px": tuple(one["centre_px"])}) for one in found)


def half_map(run: Path, half: Subset) -> Path:
    """Half-map of the consensus, as it was imported."""
    return RunFolder(run).imported / f"{half.infix}.mrc"


def body_mask(run: Path, index: int) -> Path:
    """Mask of a body in the frame of the consensus, as it was imported."""
    return RunFolder(run).imported / f"mask_body{index + 1:03d}.mrc"


def frozen_of_bodies(folder: RunFolder, n_bodies: int) -> tuple[Path, ...]:
    """What the import of a run leaves for its bodies."""
    masks = (body_mask(folder.root, index) for index in range(n_bodies))
    return (folder.imported / BODIES, *(half_map(folder.root, half) for half in HALVES), *masks)
