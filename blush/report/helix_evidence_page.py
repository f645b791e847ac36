"""The page of the evidence for a helical symmetry."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from blush.report.sheet import figure, rows, section, write_sheet
from blush.report.style import INK, MUTED, SERIES, drawing, svg

NO_BREAK = "\N{NO-BREAK SPACE}"
_TOLD = (
    "Every half of the filaments is told by the map of the other half, which has not seen them. A difference is the "
    "natural logarithm of how many times more probable a candidate makes all filaments than the symmetry of the first "
    "line does, with its standard error by how much filaments differ. A candidate is better or worse where that is "
    "three errors or more and the same in both halves; another run has to differ by 1 for each segment, too, since two "
    "refinements with one symmetry differ by chance. The FSC is that of the halves with the candidate's symmetry: a "
    "wrong one may have the finest, as an FSC refutes no symmetry."
)
_FILAMENTS = (
    "Differences in nats, filament by filament (points) and their mean with three standard errors: left of 0 the "
    "filament is "
    "told better by the symmetry of the first line. The axis is linear near 0, and logarithmic farther away."
)


def write_evidence_page(folder: Path, record: dict[str, Any]) -> Path:
    """Write FOLDER/helix_evidence.html.

    Parameters
    ----------
    record
        What `blush.jobs.helix_evidence.weigh_symmetries` tells.
    """
    body = section("What the data say", "".join(f"<p>{escape(text)}</p>" for text in record["conclusions"]))
    body += _candidates(record)
    title = "Evidence for the symmetry"
    note = f"Numbers: helix_evidence.json; docs/helical.md. Segments were placed anew {record['rounds']} times."
    return write_sheet(folder / "helix_evidence.html", title, " ".join(record["runs"]), body, note)


def _candidates(record: dict[str, Any]) -> str:
    """The table and the figure."""
    several = len(record["runs"]) > 1
    figures = ("FSC 0.143", "Per segment", "Difference", "Filaments for it", "Verdict", "Note")
    head = ("Tried", "Symmetry", *(("Run",) if several else ()), *figures)
    lines = [_cells(one, record, several) for one in record["candidates"]]
    return section(
        "Candidates", rows(head, lines), figure(_differences(record), _FILAMENTS), f'<p class="note">{_TOLD}</p>'
    )


def _cells(one: dict[str, Any], record: dict[str, Any], several: bool) -> list[str]:
    name = one["name"].replace(" ", NO_BREAK).replace("-", "−")
    begin = [one["kind"], name, *([Path(one["run"]).name] if several else [])]
    if one["left_out"]:
        return [*begin, "", "", "", "", "left out", one["left_out"]]
    told = [f"{one['resolution_angst']:.1f}{NO_BREAK}Å", f"{one['log_gain_per_segment']:.2f}"]
    if one is record["candidates"][0]:
        return [*begin, *told, "", "", "", "what the others are held against"]
    error = "" if one["difference_error"] is None else f" ± {one['difference_error']:.0f}"
    return [
        *begin,
        *told,
        f"{one['difference']:.0f}{error}".replace(" ", NO_BREAK).replace("-", "−"),
        f"{one['filaments_for_it']} of {record['filaments']}",
        one["verdict"],
        one["note"] or "",
    ]


def _differences(record: dict[str, Any]) -> str | None:
    shown = [one for one in record["candidates"][1:] if not one["left_out"]]
    if not shown:
        return None
    with drawing(6.4, 0.9 + 0.34 * len(shown)) as (drawn, axes):
        for place, one in enumerate(reversed(shown)):
            values = np.asarray(one["per_filament"])
            axes.plot(values, np.full(len(values), place), ".", color=MUTED, markersize=4)
            error = 3 * (one["difference_error"] or 0.0) / len(values)
            axes.errorbar(values.mean(), place, xerr=error, fmt="o", color=SERIES[1], capsize=3, markersize=4)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xscale("symlog", linthresh=max(1.0, float(np.median(np.abs(shown[0]["per_filament"])))))
        names = [f"{one['name']} ({Path(one['run']).name})" for one in reversed(shown)]
        axes.set_yticks(
            range(len(shown)), names if len(record["runs"]) > 1 else [one["name"] for one in reversed(shown)]
        )
        axes.set(xlabel="difference of log evidence of a filament")
        return svg(drawn, "differences")
