"""Motions on a page: the verdict in words, components beside noise, where the images are, maps along them."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from blush.io.files import read_record
from blush.report import motion_figures
from blush.report.map_figures import AXES
from blush.report.sheet import figure, pictures, rows, section, warned, write_sheet
from blush.report.tables import angst

_SPREAD = (
    "Standard deviation of each component without the uncertainty of the poses, with its 95 % interval: rms "
    "displacement of the density of all bodies, in Å. Orange: what 99 of 100 molecules without this component show, "
    "drawn with the uncertainty of these images. Grey components are noise."
)
_ALONG = (
    "Number of images along the component. Blue: where they are once their uncertainty is taken off. Grey line: as "
    "measured. Orange: {told}. The 95 % "
    "interval of the standard deviation is {low:.2f} to {high:.2f} Å; the halves give {first:.2f} and {second:.2f} Å."
)
_FILM = "Surfaces at one density, from -2 to 2 standard deviations along component {k}; orange is what moves."
_FSC = (
    "FSC (no unit) of the half-maps of all bodies at their mean, in the mask of all, over resolution in Å. "
    "Randomised: halves whose phases were random for each "
    "body before the bodies were cut and joined, so that masks and seams raise no resolution."
)


def motion_sections(folder: Path) -> str:
    """Sections about motions, from the results of `blush motions` in a folder; empty before there are any."""
    if not (folder / "motions.json").exists():
        return ""
    content = read_record(folder / "motions.json", members=("components", "moving"))
    parts = [
        f'<p class="verdict">{escape(content["verdict"])}</p>',
        f"<p>{escape(content['reason'])}</p>",
        warned([note[0].upper() + note[1:] for note in content["notes"]]),
    ]
    parts += [figure(motion_figures.spread(content["components"]), _SPREAD, "half"), _table(content)]
    parts += [_component(folder, k, content) for k in range(len(content["moving"]))]
    script = files("blush.report").joinpath("motion_steps.js").read_text(encoding="utf-8")
    parts.append(f"<script>\n{script}</script>" if content["moving"] else "")
    return section("Motions", *parts) + _combined(folder, content)


def write_motion_page(folder: Path) -> Path:
    """Write FOLDER/motions.html from the results beside it."""
    note = "Numbers: motions.json, places.npz."
    return write_sheet(folder / "motions.html", "Motions of bodies", "", motion_sections(folder), note)


def _table(content: dict[str, Any]) -> str:
    """Components that were tested, in numbers."""
    head = (
        "Component",
        "rms, Å",
        "95 %",
        "Noise up to",
        "Chance",
        "Margin",
        "Of the motion",
        "Noise share",
        "Modes",
        "Turns most",
    )
    n_beyond = content["components_beyond_noise"]
    lines = []
    for k, one in enumerate(content["components"][: n_beyond + 1]):
        moving = content["moving"][k] if one["beyond_noise"] else None
        against = None if moving is None else moving["against"]
        turn = "" if against is None else f"{' against '.join(against['bodies'])}, {against['rotation_deg']:.1f}°"
        lines.append([
            str(k + 1), f"{one['sd_angst']:.2f}", f"{one['low_angst']:.2f} to {one['high_angst']:.2f}",
            f"{one['floor_angst']:.2f}", f"{one['chance']:.3f}", f"{one['margin']:.2f}", _percent(one["explained"]),
            _percent(one["noise_share"]),
            "" if moving is None else str(moving["modes"]["count"]),
            turn if moving else "doubtful" if one["doubtful"] else "noise",
        ])  # fmt: skip
    words = (
        '<p class="note">Chance: share of molecules without the component that vary as much. Margin: how many times '
        "as uncertain poses would have to be for it to be noise; motion has 1.5 or more. Of the motion: share of the "
        "variance without uncertainty. Noise share: of the variance of the images' measured places.</p>"
    )
    return rows(head, lines, "numbers") + words


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _component(folder: Path, k: int, content: dict[str, Any]) -> str:
    """One component: histogram, what each body does, and its film."""
    one, moving = content["components"][k], content["moving"][k]
    modes = moving["modes"]
    told = "one mode" if modes["count"] == 1 else "two modes of " + " and ".join(map(_percent, modes["share"]))
    first, second = moving["sd_by_half_angst"]
    caption = _ALONG.format(told=told, low=one["low_angst"], high=one["high_angst"], first=first, second=second)
    bodies = [[body["name"], f"{body['rotation_deg']:.1f}°", f"{body['rms_angst']:.2f} Å"] for body in moving["bodies"]]
    table = rows(("Body", "Turns by", "Moves by"), bodies, "numbers")
    words = '<p class="note">Per standard deviation, after all bodies are superposed.</p>'
    beside = f"<div>{table}{words}</div>"
    histogram = figure(motion_figures.along(k, moving, one["sd_angst"]), caption)
    return f'<h3>Component {k + 1}</h3>\n<div class="pair">\n{histogram}\n{beside}</div>\n{_film(folder, k)}'


def _film(folder: Path, k: int) -> str:
    """Surfaces along component k with a slider; nothing where there are no maps."""
    paths = sorted(folder.glob(f"component{k + 1}_frame[0-9].mrc"))
    if not paths:
        return ""
    middle = len(paths) // 2
    steps = "".join(
        f'<div data-frame="{number}"{"" if number == middle else " hidden"}>'
        f"{pictures([(f'from {axis}', picture) for axis, picture in zip(AXES, views, strict=True)])}</div>"
        for number, views in enumerate(motion_figures.frames(paths))
    )
    controls = (
        '<div class="controls"><button type="button">Play</button><label>Place <input type="range" min="0" '
        f'max="{len(paths) - 1}" step="1" value="{middle}" aria-label="Place along component {k + 1}"></label></div>'
    )
    return f'<div class="step" data-film="{k + 1}">{controls}{steps}<p class="note">{_FILM.format(k=k + 1)}</p></div>'


def _combined(folder: Path, content: dict[str, Any]) -> str:
    """The map of all bodies; nothing where it was not made."""
    if "combined" not in content:
        return ""
    made = content["combined"]
    local = made["local_resolution_angst"]
    ends = ", ".join(angst(local[name]) for name in ("low", "median", "high"))
    lines = [
        ["Resolution, corrected", angst(made["resolution_angst"])],
        ["Resolution in the masks, uncorrected", angst(made["masked_resolution_angst"])],
        ["Local resolution: 5 %, median, 95 %", ends],
        ["Maps", "combined_half1.mrc, combined_half2.mrc, combined.mrc, combined_mask.mrc, combined_locres.mrc"],
    ]
    curve = figure(motion_figures.fsc(folder / "combined_fsc.npz"), _FSC)
    return section("All bodies in one map", f'<div class="pair">\n{curve}\n{rows(("", "Found"), lines)}\n</div>')
