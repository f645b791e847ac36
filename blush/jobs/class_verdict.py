"""At the end of a classification: are its classes real?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from blush.config import RunConfig
from blush.errors import BlushError, Problem
from blush.io.seal import DamagedFile
from blush.jobs.layout import RunFolder
from blush.jobs.verify_classes import Verification, verify

MOST_IMAGES = 20_000
"""Images that are divided again: what they do not support, more of them need not refute."""
FOLDER = "classes_verified"


def verdict_on(folder: RunFolder, config: RunConfig, device: str, iteration: int) -> dict[str, Any]:
    """Divide halves of the images anew and say whether the classes of a run are supported.

    Returns
    -------
    `verdict` in words, and `verified` with its figures where images could be divided.
    """
    chosen = config.classification
    if not chosen.verify or chosen.n_classes == 1:
        return {"verdict": "Not verified: classification.verify is off." if chosen.n_classes > 1 else "One class."}
    wanted = Verification(
        output=folder.root / FOLDER,
        classes=chosen.n_classes,
        mask=folder.imported / "mask.mrc" if isinstance(config.mask, Path) else None,
        particle_diameter_angst=config.particle_diameter_angst,
        symmetry=config.symmetry,
        images=MOST_IMAGES,
        resolution_limit_angst=chosen.resolution_limit_angst,
        seed=config.seed,
        device=device,
        memory_gb=config.compute.memory_gb,
    )

    def progress(stage: str, done: int, total: int) -> None:
        folder.log(iteration=iteration, stage="verify", what=stage, done=done, total=total)

    try:
        found, _ = verify(folder.root, wanted, progress)
    except DamagedFile:
        raise  # it is made again, and the images are divided then
    except BlushError as error:
        return {"verdict": f"Not verified: {_reason(error)}."}
    return {"verdict": found.verdict, "verified": found.content()}


def _reason(error: BlushError) -> str:
    """Why images could not be divided, without the place of a run's folder: equal runs have equal results."""
    stated = [problem for problem in error.problems if isinstance(problem, Problem)]
    said = [f"{one.message} ({one.value})" if one.value else one.message for one in stated]
    return "; ".join(said) or error.title
