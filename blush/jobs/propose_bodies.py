"""Bodies proposed for a consensus map, from files to files: masks, lists of them, and the numbers of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.bodies.check_masks import Consensus, check_masks, kilodaltons
from blush.bodies.domains import stands_out
from blush.bodies.nodes import TITLE, Density, Model, ranges
from blush.bodies.proposal import (
    Blocks,
    NamedParts,
    blocks_by_name,
    blocks_of_map,
    blocks_of_model,
    masks_of,
    neighbours,
)
from blush.config.multibody import Body
from blush.errors import BlushError, Problem
from blush.geometry.bodies import BodyExtent
from blush.io.bodies import bodies_yaml, write_bodies
from blush.io.check_map import check_map
from blush.io.files import atomic_write, write_json
from blush.io.mrc import Map, read_map, write_volume
from blush.io.optics import OpticsGroup

RECORD = "bodies.json"
_FILLED = 0.9
"""Diameter of the particle over the width of the box, where it is not given."""


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes
    ----------
    map
        The consensus map, in its frame.
    output
        Folder of all that is written.
    model
        Atomic model that was fitted into it; None: the map alone is divided.
    named
        Bodies by parts of the model; none: they are found.
    count
        How many are to be found; None: as many as stand out.
    diameter_angst
        Sphere that holds the particle; None: 0.9 of the box.
    overlap_angst
        How deep neighbours reach into each other.
    local_resolution
        Map of local resolution in the box of the map, in Å; None: it is not known.
    """

    map: Path
    output: Path
    model: Path | None = None
    named: tuple[NamedParts, ...] = ()
    count: int | None = None
    diameter_angst: float | None = None
    overlap_angst: float = 16.0
    local_resolution: Path | None = None


def propose_bodies(wish: Wish) -> dict[str, Any]:
    """Write masks, bodies.star, bodies.yaml and bodies.json.

    Returns
    -------
    What is in bodies.json.

    Raises
    ------
    BlushError
        Where the map or the model cannot be used, or a body finds nothing.
    """
    if problems := check_map(wish.map, "consensus map"):
        raise BlushError(TITLE, problems)
    found = read_map(wish.map)
    width = found.pixel_size_angst * found.array.shape[0]
    diameter = wish.diameter_angst or _FILLED * width
    density = Density.of(found, diameter, _local_resolution(wish, found))
    model = Model.read(wish.model, found, density) if wish.model is not None else None
    blocks = _blocks(wish, density, model)
    masks = masks_of(blocks, density, wish.overlap_angst)
    bodies, order = _write_masks(wish, masks, found)
    masks = masks[order]
    write_bodies(wish.output / "bodies.star", bodies)
    with atomic_write(wish.output / "bodies.yaml") as beside:
        beside.write_text(bodies_yaml(bodies, wish.output), encoding="utf-8")
    optics = OpticsGroup("map", 300, 2.7, 0.1, pixel_size_angst=found.pixel_size_angst, box_px=found.array.shape[0])
    consensus = Consensus(optics, diameter, torch.from_numpy(found.array), learned_prior=False)
    warnings = check_masks(bodies, consensus)
    masses = kilodaltons(masks, density.solid, found.pixel_size_angst)
    content: dict[str, Any] = {
        "map": str(wish.map),
        "model": None if wish.model is None else str(wish.model),
        "diameter_angst": diameter,
        "overlap_angst": wish.overlap_angst,
        "flexible_share": blocks.division.flexible_share,
        "flexible_shares": {str(count): share for count, share in blocks.shares.items()},
        "stands_out": bool(wish.named) or stands_out(blocks.shares, len(bodies)),
        "bodies": _entries(bodies, masks, optics, masses),
        "warnings": [str(one) for one in (*warnings.problems, *warnings.warnings)],
    }
    if model is not None:
        for entry, block in zip(content["bodies"], order, strict=True):
            entry["residues"] = ranges(model, blocks.label == block)
    write_json(wish.output / RECORD, content)
    return content


def _local_resolution(wish: Wish, found: Map) -> NDArray[np.float32] | None:
    """Local resolution in the box of the map; None where it is not given.

    Raises
    ------
    BlushError
        If it cannot be read, or has another box.
    """
    if wish.local_resolution is None:
        return None
    local = read_map(wish.local_resolution).array
    if local.shape != found.array.shape:
        remedy = "give that of this map, as `blush postprocess` writes it"
        value = " x ".join(map(str, local.shape[::-1]))
        raise BlushError(
            TITLE, [Problem("has another box than the map", remedy, str(wish.local_resolution), value=value)]
        )
    return local


def _blocks(wish: Wish, density: Density, model: Model | None) -> Blocks:
    """Blocks as they were asked for.

    Raises
    ------
    BlushError
        If bodies are named without a model.
    """
    if wish.named and model is None:
        raise BlushError(TITLE, [Problem("bodies are named by parts of a model, and none is given", "add --model")])
    if model is None:
        return blocks_of_map(density, wish.count)
    if wish.named:
        return blocks_by_name(model, density, wish.named)
    return blocks_of_model(model, density, wish.count)


def _write_masks(wish: Wish, masks: Tensor, found: Map) -> tuple[tuple[Body, ...], list[int]]:
    """Write a mask of each body, the largest first; the bodies, and the block of each."""
    wish.output.mkdir(parents=True, exist_ok=True)
    order = torch.argsort(masks.sum((1, 2, 3)), descending=True, stable=True).tolist()
    names = [body.name for body in wish.named] or [""] * len(masks)
    named = [names[block] or f"body{number}" for number, block in enumerate(order, 1)]
    partner = neighbours(masks[order])
    bodies = []
    for name, block, other in zip(named, order, partner, strict=True):
        path = wish.output / f"mask_{name}.mrc"
        write_volume(path, masks[block].numpy(), found.pixel_size_angst, found.placement)
        bodies.append(Body(name=name, mask=path, hinge_with=None if other is None else named[other]))
    return tuple(bodies), order


def _entries(bodies: Sequence[Body], masks: Tensor, like: OpticsGroup, masses_kda: list[float]) -> list[dict[str, Any]]:
    """What each body is, in numbers."""
    entries = []
    for body, mask, kilodalton in zip(bodies, masks, masses_kda, strict=True):
        extent = BodyExtent.of(mask)
        entries.append(
            {
                "name": body.name,
                "mask": body.mask.name,
                "hinge_with": body.hinge_with,
                "kilodalton": kilodalton,
                "centre_angst": (like.pixel_size_angst * extent.centre_px).tolist(),
                "radius_angst": like.pixel_size_angst * extent.radius_px,
            }
        )
    return entries
