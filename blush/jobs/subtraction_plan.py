"""What a signal subtraction is asked for, and everything that can be said of it before an image is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from torch import Tensor

from blush.errors import BlushError, Problem
from blush.expectation.background import recentred
from blush.expectation.memory import PROCESS_BYTES, sphere_cells
from blush.fourier.transform import PADDING
from blush.io.check_map import check_map
from blush.io.files import read_record, write_json
from blush.io.mrc import read_volume
from blush.io.noted import noted_digest
from blush.io.particle_columns import BLOCK
from blush.jobs.subtracted_table import CENTRE
from blush.jobs.subtraction_source import TITLE, ImageSet, Source

IMAGES_PER_STACK = 10_000
_LARGEST_BLOCK = 256
_BYTES_PER_PIXEL = 50
_VERSION = 1
_RECIPE = "subtraction.json"


@dataclass(frozen=True)
class Subtraction:
    """What is kept, and how the images are to be written.

    Parameters
    ----------
    mask
        1 on what stays, in the box of the images.
    output
        Folder of the new stacks and table.
    maps
        One map, or those of half 1 and half 2; a run's own half-maps where there are none.
    recentre
        The mask's centre of mass, or a point of the map in pixels from its centre voxel, becomes the images' centre.
    box_px
        Side of the new images; None keeps it.
    scale
        "fit" measures one amplitude per half, "given" takes the maps as they are, None fits those that are not the
        run's own.
    ignore_class
        Whether one map serves rows of several classes.
    memory_gb
        What the work may take; `peak_bytes` states the formula.
    """

    mask: Path
    output: Path
    maps: tuple[Path, ...] = ()
    recentre: Literal["mask"] | tuple[float, float, float] | None = None
    box_px: int | None = None
    scale: Literal["fit", "given"] | None = None
    ignore_class: bool = False
    device: str = "cpu"
    memory_gb: float = 4.0
    images_per_stack: int = IMAGES_PER_STACK


@dataclass(frozen=True)
class Part:
    """A stack to be written: its name, and rows of the table."""

    name: str
    rows: NDArray[np.int64]


def divided(images: ImageSet, size: int) -> Iterator[Part]:
    """Stacks of at most `size` images."""
    infix = f"{images.label}_" if images.label else ""
    for number, begin in enumerate(range(0, len(images.rows), size), start=1):
        yield Part(f"subtracted_{infix}{number:04d}.mrcs", images.rows[begin : begin + size])


def peak_bytes(box_px: int, block: int) -> int:
    """Peak memory: 0.29 GB + 20 N^3 (map, mask, what is kept, products) + the larger of transform and work.

    With N = box, the transform of the padded map takes 9 (2N)^3; the work 8 c for the sphere of c = (2 R + 1)^2 (R + 1)
    cells, R = N + 3, and 50 N^2 for every image of a block: the image, its slice, CTF and phases in double precision.
    """
    return _fixed_bytes(box_px) + max(9 * (PADDING * box_px) ** 3, _work_bytes(box_px, block))


def _fixed_bytes(box_px: int) -> int:
    return PROCESS_BYTES + 20 * box_px**3


def _work_bytes(box_px: int, block: int) -> int:
    return 8 * sphere_cells(box_px // 2) + _BYTES_PER_PIXEL * box_px**2 * block


def block_size(box_px: int, memory_gb: float) -> int:
    """Images at once.

    Raises
    ------
    BlushError
        Where one is too many.
    """
    least = peak_bytes(box_px, 1)
    if least > memory_gb * 1e9:
        remedy = f"give --memory-gb {least / 1e9:.1f} or more"
        problem = Problem(f"box of {box_px} px needs more memory than given", remedy, value=f"{memory_gb:g} GB")
        raise BlushError(TITLE, [problem])
    room = memory_gb * 1e9 - _fixed_bytes(box_px) - _work_bytes(box_px, 0)
    return max(1, min(_LARGEST_BLOCK, int(room / (_BYTES_PER_PIXEL * box_px**2))))


def read_mask(source: Source, wanted: Subtraction) -> Tensor:
    """The mask, (N, N, N) in [0, 1], once everything that was asked for has been found possible."""
    optics = source.particles.optics[0]
    problems = check_map(wanted.mask, "mask", like=optics, is_mask=True)
    if wanted.box_px is not None and not (2 <= wanted.box_px <= optics.box_px and wanted.box_px % 2 == 0):
        remedy = f"give an even number up to {optics.box_px}"
        problems.append(Problem("the new box does not fit", remedy, where="--box", value=f"{wanted.box_px} px"))
    if isinstance(wanted.recentre, tuple) and not all(abs(x) < optics.box_px / 2 for x in wanted.recentre):
        remedy = "give x, y, z in pixels, counted from the centre of the box"
        value = ", ".join(f"{x:g}" for x in wanted.recentre)
        problems.append(Problem("the new centre lies outside the map", remedy, where="--recentre", value=value))
    if set(CENTRE) & source.blocks["particles"].keys():
        remedy = "revert it first (blush subtract --revert), and subtract with one mask for both"
        problems.append(Problem("images were subtracted and recentred already", remedy, str(source.star), BLOCK))
    if wanted.device.startswith("cuda") and not torch.cuda.is_available():
        problems.append(Problem("there is no such device here", "give --device cpu", value=wanted.device))
    if problems:
        raise BlushError(TITLE, problems)
    return torch.from_numpy(read_volume(wanted.mask)[0]).clamp(0, 1)


def new_centre(mask: Tensor, recentre: Literal["mask"] | tuple[float, float, float] | None) -> Tensor | None:
    """The new centre in whole pixels x, y, z from the old one, (3,) float64: the map itself can be moved exactly."""
    if recentre is None:
        return None
    if recentre != "mask":
        return torch.tensor(recentre, dtype=torch.float64).round()
    axis = torch.arange(len(mask), dtype=torch.float64) - len(mask) // 2
    sums = [mask.double().sum(axes) for axes in ((0, 1), (0, 2), (1, 2))]
    return torch.stack([axis @ along / along.sum() for along in sums]).round()


def claim(source: Source, wanted: Subtraction, parts: list[Part], box_px: int) -> None:
    """Write down what makes these stacks what they are; refuse a folder of another subtraction, or a full disk."""
    files = [noted_digest(path) for path in (wanted.mask, *source.maps, *source.digested)]
    choices = [_VERSION, box_px, wanted.recentre, wanted.scale, wanted.images_per_stack, source.own]
    recipe = xxhash.xxh3_128_hexdigest(json.dumps([files, choices]).encode())
    path = wanted.output / _RECIPE
    present = [part for part in parts if (wanted.output / part.name).exists()]
    if (path.exists() or present) and not (path.exists() and _recipe_in(path) == recipe):
        remedy = "name another folder, or delete this one"
        raise BlushError(TITLE, [Problem("holds the results of other inputs or options", remedy, str(wanted.output))])
    missing = sum(len(part.rows) for part in parts) - sum(len(part.rows) for part in present)
    above = next(folder for folder in (wanted.output, *wanted.output.absolute().parents) if folder.exists())
    free, needed = shutil.disk_usage(above).free, 4 * missing * box_px**2
    if needed > free:
        value = f"{free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB needed"
        raise BlushError(TITLE, [Problem("the disk is too small", "make room", str(wanted.output), value=value)])
    write_json(path, {"recipe": recipe, "maps": [str(one) for one in source.maps], "mask": str(wanted.mask)})


def _recipe_in(path: Path) -> str:
    """What the stacks of a folder were made from."""
    return str(read_record(path, members=("recipe",))["recipe"])


def doubts(source: Source, mask: Tensor, centre_px: Tensor | None, box_px: int) -> Iterator[str]:
    """What is possible, but seldom meant."""
    of_map = [(images.map, half) for images in source.sets for half in np.unique(source.particles.half[images.rows])]
    if len(set(of_map)) > len(source.maps):
        yield (
            "one map for both half-sets: what is subtracted from an image was made with the other half's images, too; "
            "give both half-maps where an FSC between the halves is to follow"
        )
    region = torch.nonzero(mask > 0.5).flip(1).double() - len(mask) // 2
    reach_px = float((region - (0 if centre_px is None else centre_px)).norm(dim=1).max())
    if reach_px >= box_px / 2 and (centre_px is not None or box_px < len(mask)):
        yield f"the mask reaches {reach_px:.0f} px from the centre, beyond a box of {box_px} px"
    if centre_px is not None:
        whole_px = recentred(source.particles, centre_px)[0]
        lost = int((whole_px.abs().amax(1) + reach_px > len(mask) / 2).sum())
        if lost:
            yield f"in {lost} of {len(whole_px)} images the region may reach over the edge of the original image"
