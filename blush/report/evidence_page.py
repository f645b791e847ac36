"""What images say of the map of the half that they are not in: the verdict, and what each band adds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from blush.io.files import read_record
from blush.report.sheet import figure, rows, section, write_sheet
from blush.report.style import MUTED, SERIES, drawing, svg

_CAPTION = (
    "What each band of resolutions (Å) of the map of one half adds to the log evidence of an image of the other half "
    "(natural logarithm, mean of all images; line: three standard errors). Above 0 the band is in images that it has "
    "not seen; below, it is not. An FSC cannot tell this: noise aligned to a common reference, or an invention in both "
    "halves, correlates, but makes no unseen image more probable."
)


def write_evidence_page(folder: Path) -> Path:
    """Write FOLDER/evidence.html from evidence.json beside it."""
    body = evidence_section(read_record(folder / "evidence.json"))
    return write_sheet(folder / "evidence.html", "Images and the other half's map", "", body, "Numbers: evidence.json.")


def evidence_section(record: dict[str, Any]) -> str:
    """The section of a page."""
    words = "".join(f"<p>{text}</p>" for text in record["words"])
    table = rows(("Band (Å)", "Gain of an image (ln)", "Standard error", "Verdict"), band_lines(record))
    return section("Images and the other half's map", words, figure(_bars(record), _CAPTION, "half"), table)


def band_lines(record: dict[str, Any]) -> list[list[str]]:
    """Every band as it is shown: ends in Å, gain and error of an image, verdict."""
    lines = []
    for band in record["bands"]:
        error = "" if band["error"] is None else f"{band['error']:.3f}"
        lines.append([_ends(band), f"{band['gain_per_image']:+.3f}", error, band["verdict"]])
    return lines


def _ends(band: dict[str, Any]) -> str:
    start = "" if band["from_angst"] is None else f"{band['from_angst']:.1f} "
    return f"{start}to {band['to_angst']:.1f} Å"


def _bars(record: dict[str, Any]) -> str:
    bands = record["bands"]
    places = range(len(bands))
    with drawing(4.7, 3.0) as (drawn, axes):
        errors = [3 * (band["error"] or 0) for band in bands]
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.errorbar(places, [band["gain_per_image"] for band in bands], errors, fmt="o", color=SERIES[0], capsize=3)
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_xticks(list(places), [f"{band['to_angst']:.1f}" for band in bands], fontsize=8)
        axes.set_xlabel("End of the band (Å)")
        axes.set_ylabel("Gain of an image (ln)")
        return svg(drawn, "evidence")
