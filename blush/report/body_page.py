"""A page about proposed bodies: where they are, what stands against them, and the settings to go on with."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, zoom

from blush.errors import BlushError, problems_of
from blush.io.files import read_record
from blush.io.mrc import read_volume
from blush.jobs.propose_bodies import RECORD
from blush.report.map_figures import OUTLINED_PX, png
from blush.report.sheet import pictures, rows, section, write_sheet

_COLOURS = np.array(
    [
        [0.12, 0.47, 0.71],
        [1.0, 0.50, 0.05],
        [0.17, 0.63, 0.17],
        [0.84, 0.15, 0.16],
        [0.58, 0.40, 0.74],
        [0.09, 0.75, 0.81],
    ]
)
_NAMES = ("blue", "orange", "green", "red", "purple", "cyan")
_AXES = ("z", "y", "x")
Volume = NDArray[np.float32]
Image = NDArray[np.float32]


def write_body_page(folder: Path) -> Path:
    """Write FOLDER/bodies.html from bodies.json and the masks beside it."""
    content = read_record(folder / RECORD, "propose the bodies again", ("bodies", "map"))
    masks = np.stack([read_volume(folder / entry["mask"])[0] for entry in content["bodies"]])
    warnings = list(content["warnings"])
    try:
        volume = read_volume(Path(content["map"]))[0]
    except BlushError as error:
        volume = masks.max(0)  # the masks are still there to be seen
        warnings += [f"masks are shown instead of the map: {problem}" for problem in problems_of(error)]
    body = section("Where they are", _legend(content), _pictures(volume, masks)) + _table(content) + _modes(content)
    body += section("To go on with", _settings(folder))
    masses = ", ".join(f"{entry['kilodalton']:.0f}" for entry in content["bodies"])
    lead = f"{len(masks)} bodies of about {masses} kDa"
    note = "Numbers: bodies.json. For RELION: bodies.star."
    return write_sheet(folder / "bodies.html", "Proposed bodies", lead, body, note, warnings)


def _legend(content: dict[str, Any]) -> str:
    """Which colour is which body."""
    named = [f"{entry['name']} {_NAMES[b % len(_NAMES)]}" for b, entry in enumerate(content["bodies"])]
    return f"<p>{escape(', '.join(named))}. Masks have to hold all that is solid, and to overlap where bodies meet.</p>"


def _pictures(volume: Volume, masks: Volume) -> str:
    """Projections of the map coloured by body, and slices through its centre with outlines of the masks."""
    shares = masks / np.maximum(masks.sum(0), 1)
    density = np.clip(volume - np.quantile(volume, 0.5), 0, None)
    projected = [
        (f"projection along {name}", png(_projection(density, shares, axis))) for axis, name in enumerate(_AXES)
    ]
    slices = [(f"slice across {name}", png(_slice(volume, masks, axis))) for axis, name in enumerate(_AXES)]
    return f'<div class="bodies">{pictures(projected)}{pictures(slices)}</div>'


def _projection(density: Volume, shares: Volume, axis: int) -> Image:
    """(h, w, 3): the projection of the part of each body in its colour, of what is in none in grey, on white."""
    parts = np.stack([(density * share).sum(axis) for share in (*shares, 1 - shares.sum(0))])
    colours = np.concatenate([_COLOURS[np.arange(len(shares)) % len(_COLOURS)], [[0.5, 0.5, 0.5]]])
    total = parts.sum(0)
    strength = np.clip(total / max(float(np.quantile(total, 0.995)), 1e-30), 0, 1)[..., None]
    hue = np.einsum("bhw,bc->hwc", parts, colours) / np.maximum(total, 1e-30)[..., None]
    picture = 1 - strength * (1 - hue)
    finer = max(1, round(OUTLINED_PX / max(total.shape)))
    return np.repeat(np.repeat(picture, finer, 0), finer, 1).astype(np.float32)


def _slice(volume: Volume, masks: Volume, axis: int) -> Image:
    """(h, w, 3): the central slice in grey, with the outline at half the height of every mask that it cuts."""
    middle = volume.shape[axis] // 2
    cut = np.take(volume, middle, axis)
    finer = max(1, round(OUTLINED_PX / max(cut.shape)))
    low, high = np.quantile(cut, [0.01, 0.998])
    picture = np.repeat(zoom(np.clip((cut - low) / max(high - low, 1e-30), 0, 1), finer, order=0)[..., None], 3, 2)
    for b, mask in enumerate(masks):
        inside = zoom(np.take(mask, middle, axis), finer, order=1) > 0.5
        picture[inside & ~binary_erosion(inside)] = _COLOURS[b % len(_COLOURS)]
    return picture.astype(np.float32)


def _table(content: dict[str, Any]) -> str:
    """The bodies in numbers, and what they are made of."""
    lines = []
    for entry in content["bodies"]:
        centre = ", ".join(f"{value:.0f}" for value in entry["centre_angst"])
        lines.append(
            [
                entry["name"],
                f"{entry['kilodalton']:.0f} kDa",
                f"{centre} Å",
                f"{entry['radius_angst']:.0f} Å",
                entry["hinge_with"] or "the box centre",
                entry.get("residues", "the map alone"),
            ]
        )
    return section(
        "Bodies", rows(("", "Mass, about", "Centre from the box's", "Radius", "Hinges with", "Residues"), lines)
    )


def _modes(content: dict[str, Any]) -> str:
    """How much of the slow modes blocks explain, by their number."""
    shares = sorted((int(count), share) for count, share in content["flexible_shares"].items())
    lines = [[str(count), f"{1 - share:.0%}"] for count, share in shares]
    told = "Part of the slow modes of an elastic network that is rigid motion of so many bodies."
    if not content["stands_out"]:
        told += " No number stands out: the molecule may bend everywhere, or nowhere. Look at its local resolution."
    return section("How rigid they are", f"<p>{escape(told)}</p>", rows(("Bodies", "Rigid"), lines))


def _settings(folder: Path) -> str:
    """The section of a configuration."""
    text = (folder / "bodies.yaml").read_text(encoding="utf-8")
    return (
        f"<p>A configuration with <code>job: multibody</code> in this folder takes this:</p><pre>{escape(text)}</pre>"
    )
