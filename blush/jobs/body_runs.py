"""The bodies of a run that refines several: a folder for each, which is a run of its own, and what they all know.

No torch here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from blush.config import RunConfig
from blush.io.bodies import read_bodies as read_list
from blush.io.files import read_record
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import checked
from blush.refine.subset import HALVES, Subset

BODIES = "bodies.json"
"""In the import of the whole run: what is known of every body."""
_FOLDER = re.compile(r"body\d{3}")


@dataclass(frozen=True)
class BodyFacts:
    """What never changes of a body.

    Attributes
    ----------
    centre_px
        x, y, z of its centre, in whole voxels from the centre of the box: the centroid of its mask or its fulcrum.
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


def whole_of(root: Path) -> Path:
    """Folder of the run that a body belongs to; that of any other run is its own."""
    return root.parent if _FOLDER.fullmatch(root.name) and (root.parent / "import").is_dir() else root


def holding(folder: RunFolder, path: Path) -> RunFolder:
    """Of a run with its bodies, the folder to which a file belongs that a step of one of them met."""
    whole = whole_of(folder.root)
    first = path.relative_to(whole).parts[0]
    return RunFolder(whole / first if _FOLDER.fullmatch(first) else whole)


def body_folders(run: Path) -> list[RunFolder]:
    """Folders of all bodies that are there, in their order; none of a run of another job."""
    return [RunFolder(path) for path in sorted(run.glob("body[0-9][0-9][0-9]")) if _FOLDER.fullmatch(path.name)]


def which_are_refined(config: RunConfig) -> tuple[bool, ...]:
    """Of each body that a configuration names, itself or by a list of RELION's, whether its poses are searched.

    Raises
    ------
    BlushError
        With every mistake of that list.
    """
    if config.job != "multibody":
        return ()
    star = config.multibody.body_file
    rest = config.multibody.rest
    listed = config.multibody.bodies if star is None else read_list(star, 1.0, rest=rest)[0]  # of any widths
    return (*(body.refine for body in listed), *[False] * rest)


def body_config(config: RunConfig, run: Path, index: int, diameter_angst: float) -> RunConfig:
    """Settings of one body's run: those of the whole, for a small particle about its own centre."""
    root = body_root(run, index)
    refinement = config.refinement.model_copy(
        update={
            "norm_correction": False,
            "scale_correction": False,
            "reference_is_greyscale": True,
            "start_from": "poses",
            "solvent_correct_fsc": True,
            "keep_iterations": max(2, config.refinement.keep_iterations),  # the others end by the last but one
        }
    )
    mask = root / "import" / "mask.mrc"
    return config.model_copy(
        update={
            "job": "body",
            "name": root.name,
            "output": run,
            "mask": mask,
            "particle_diameter_angst": diameter_angst,
            "refinement": refinement,
            "postprocess": config.postprocess.model_copy(update={"mask": mask}),
            "truth": None,
        }
    )


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
