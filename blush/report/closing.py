"""What a terminal says of a run at its beginning and at its end."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from blush.fourier.limits import told
from blush.io.files import read_record
from blush.report.tell import tell

_COLUMN = 12
_MEMBERS = ("warnings", "stop_reason", "iterations", "particles", "box_px", "pixel_size_angst")


def following(run: Path) -> str:
    """How to follow a run from another terminal."""
    return f"follow this run from another terminal: blush watch {shlex.quote(near(run))}"


def tell_results(run: Path) -> None:
    """Write what a finished run found and where that is.

    Raises
    ------
    BlushError
        Where the summary cannot be read.
    """
    for line in _closing_lines(run):
        tell(line, _COLUMN)


def _closing_lines(run: Path) -> list[str]:
    """What a finished run found and where that is: warnings, resolution or verdict, maps, page.

    Raises
    ------
    BlushError
        Where the summary cannot be read.
    """
    summary = read_record(run / "summary.json", members=_MEMBERS)
    lines = [f"warning: {text}" for text in summary["warnings"]]
    lines += [_titled("verdict", summary["verdict"])] if "verdict" in summary else []
    parts = [*summary.get("classes", ()), *summary.get("bodies", ())]
    lines += _of_bodies(summary) or [_titled("resolution", _found(summary))]
    maps = [each["map"] for each in parts] or ["postprocess/postprocess.mrc"]
    lines += [_titled("" if n else "map", near(run / name)) for n, name in enumerate(maps)]
    return [*lines, _titled("page", near(run / "report.html")), *_ending(summary)]


def _of_bodies(summary: dict[str, Any]) -> list[str]:
    """A line about each body: its resolution in its mask, and how widely it moves; none of another job."""
    box, pixel, lines = int(summary["box_px"]), float(summary["pixel_size_angst"]), []
    for one in summary.get("bodies", ()):
        if not one["refined"]:
            lines.append(_titled("body", f"{one['name']}: subtracted, not refined"))
            continue
        resolution = one["resolution_angst"]
        found = "none: its halves share nothing" if resolution is None else told(resolution, box, pixel)
        width = f"motion {one['motion_rotation_deg'][0]:.1f}° and {one['motion_offset_angst'][0]:.1f} Å wide"
        lines.append(_titled("body", f"{one['name']}: {found}, {width}, {one['iterations']} iterations"))
    return lines


def _titled(title: str, text: str) -> str:
    return f"{title:<{_COLUMN}}{text}"


def _found(summary: dict[str, Any]) -> str:
    """Resolution, and how it was come by."""
    resolution = summary.get("resolution_angst")
    box, pixel = int(summary["box_px"]), float(summary["pixel_size_angst"])
    found = "none: the halves share nothing" if resolution is None else told(resolution, box, pixel)
    found += f", {summary['particles']['total']} particles, {summary['iterations']} iterations"
    return found


def _ending(summary: dict[str, Any]) -> list[str]:
    """The last line of a run that stopped before it converged."""
    if summary["stop_reason"] != "max_iterations":
        return []
    section = "classification" if summary.get("job") == "classify" else "refinement"
    remedy = f"stopped after {summary['iterations']} iterations; raise {section}.max_iterations, same command again"
    return [f"not converged: {remedy}"]


def near(path: Path) -> str:
    """A path as it is written in the working folder."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
