"""`blush classes verify`: the verdict on classes of a table, as JSON, with maps of their differences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.classes.given_poses import ClassSettings
from blush.classes.halves import Progress
from blush.classes.verified import Verified
from blush.classes.verify import verify_classes
from blush.errors import BlushError, Problem
from blush.expectation.prepare import MASK_EDGE_PX
from blush.fourier.mask import soft_sphere
from blush.io.check_map import check_map
from blush.io.files import write_json
from blush.io.mrc import read_volume, write_volume
from blush.io.particle_columns import BLOCK
from blush.jobs.classified_source import CLASS, TITLE, Classified, open_classified

LEAST_GROUPS = 80
"""Images from which there are ten in each of the four folds of a half."""
MOST_CLASSES = 64


@dataclass(frozen=True)
class Verification:
    """What the user asks for; None: as the table, or the run or RELION's tables that it belongs to, say.

    Attributes
    ----------
    classes
        K, whatever the table has.
    mask
        Solvent mask; None: the sphere of the particle.
    images
        At most so many are used, drawn by the seed.
    """

    output: Path | None = None
    classes: int | None = None
    mask: Path | None = None
    particle_diameter_angst: float | None = None
    symmetry: str | None = None
    images: int | None = None
    resolution_limit_angst: float | None = None
    seed: int = 1
    device: str = "cpu"
    memory_gb: float = 4.0


def verify(
    place: Path, wanted: Verification, progress: Progress = lambda stage, done, total: None
) -> tuple[Verified, Path]:
    """Verify the classes of a run, of RELION's tables, or of a particle table.

    Writes classes_verified.json and difference_classAAA_classBBB.mrc.

    Returns
    -------
    What was found, and the folder that it was written to.

    Raises
    ------
    BlushError
        With every mistake in the input, before anything is done.
    """
    source = open_classified(place)
    settings = _settings(source, wanted)
    mask = _mask(source, wanted, settings)
    labels = np.ones(len(source.particles), dtype=np.int64) if source.labels is None else source.labels
    rows = _chosen(source, wanted)
    found = verify_classes(source.particles.take(rows), labels[rows], settings, mask, source.together[rows], progress)
    output = source.folder / "classes_verified" if wanted.output is None else wanted.output
    write_verified(found, output, source.particles.optics[0].pixel_size_angst)
    return found, output


def write_verified(found: Verified, output: Path, pixel_size_angst: float) -> None:
    """Write the verdict as JSON, and a map of each difference."""
    output.mkdir(parents=True, exist_ok=True)
    for one in found.differences:
        a, b = (k + 1 for k in one.classes)
        write_volume(output / f"difference_class{a:03d}_class{b:03d}.mrc", one.volume.numpy(), pixel_size_angst)
    write_json(output / "classes_verified.json", found.content())


def _settings(source: Classified, wanted: Verification) -> ClassSettings:
    """How images are divided, once all that is needed is known.

    Raises
    ------
    BlushError
        Where something is missing or out of range.
    """
    problems: list[Problem] = []
    star = str(source.star)
    known = 0 if source.labels is None else len(np.unique(source.labels))
    n_classes = known if wanted.classes is None else wanted.classes
    if not 2 <= n_classes <= MOST_CLASSES:
        remedy = f"give the number of classes to look for, --classes 2 to {MOST_CLASSES}"
        problems.append(Problem("has no classes to verify", remedy, star, f"{BLOCK}, {CLASS}", f"{n_classes}"))
    diameter, symmetry = source.shape(wanted.particle_diameter_angst, wanted.symmetry, wanted.device, problems)
    groups = len(np.unique(source.together))
    if min(groups, wanted.images or groups) < LEAST_GROUPS:
        remedy = f"verify classes of {LEAST_GROUPS} images at least"
        problems.append(Problem("too few images for halves and folds", remedy, star, BLOCK, str(groups)))
    if problems or diameter is None:
        raise BlushError(TITLE, problems)
    return ClassSettings(
        n_classes,
        diameter,
        symmetry,
        resolution_limit_angst=wanted.resolution_limit_angst,
        seed=wanted.seed,
        memory_bytes=1e9 * wanted.memory_gb,
        device=wanted.device,
    )


def _mask(source: Classified, wanted: Verification, settings: ClassSettings) -> Tensor:
    """(N, N, N) solvent mask."""
    optics = source.particles.optics[0]
    if wanted.mask is None:
        radius_px = settings.particle_diameter_angst / (2 * optics.pixel_size_angst)
        return soft_sphere(optics.box_px, radius_px, MASK_EDGE_PX)
    if problems := check_map(wanted.mask, "mask", like=optics, is_mask=True):
        raise BlushError(TITLE, problems)
    return torch.from_numpy(read_volume(wanted.mask)[0]).clamp(0, 1)


def _chosen(source: Classified, wanted: Verification) -> NDArray[np.int64]:
    """Ascending rows of the images that are used; rows of one group are, or none of them."""
    groups = np.unique(source.together)
    if wanted.images is not None and wanted.images < len(groups):
        groups = np.random.default_rng(wanted.seed).choice(groups, wanted.images, replace=False)
    return np.flatnonzero(np.isin(source.together, groups))
