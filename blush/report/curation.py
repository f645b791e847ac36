"""One page to look at before a training: every pair of half-maps with its slices, FSC, figures and verdict."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from blush.fourier.thresholds import HALF_MAPS
from blush.io.files import read_record
from blush.report.map_figures import png
from blush.report.sheet import figure, pictures, rows, section, write_sheet
from blush.report.style import GRID, MUTED, SERIES, drawing, svg

FIGURES = ("resolution_found_angst", "resolution_angst", "pixel_size_angst", "box_px", "fsc_at_nyquist", "outside",
           "symmetry", "group", "source")  # fmt: skip
Record = dict[str, Any]


def write_page(curation_json: Path, out: Path) -> Path:
    """Write the page from what `curate` found; rejected pairs come first, with their reasons."""
    content: Record = read_record(curation_json, "curate again: blush train-curate", ("name", "pairs"))
    pairs: list[Record] = sorted(content["pairs"], key=lambda pair: (pair["verdict"] == "keep", pair["name"]))
    kept = sum(pair["verdict"] == "keep" for pair in pairs)
    lead = f"{len(pairs)} pairs of half-maps: {kept} kept, {len(pairs) - kept} dropped"
    how = (
        "<p>To overrule a verdict, write a tab-separated table of <code>name</code>, <code>keep</code> or "
        "<code>drop</code>, and the reason, name it in <code>curate.decisions</code>, and run the same command "
        "again. What to look for: halves that are smooth outside the particle (filtered), black outside it (masked), "
        "shells or rays (overfitted), an FSC that does not fall to zero.</p>"
    )
    table = rows(
        ["pair", "verdict", "resolution", "why"],
        [[p["name"], p["verdict"], _resolution(p), p["reasons"] or p["remarks"]] for p in pairs],
    )
    body = section("Verdicts", table, how) + "".join(_pair(pair, index) for index, pair in enumerate(pairs))
    return write_sheet(out, f"{content['name']}: half-maps", lead, body, "The figures are in curated.tsv.")


def _resolution(pair: Record) -> str:
    text = pair["resolution_found_angst"]
    return "–" if text == "nan" else f"{float(text):.2f} Å"


def _pair(pair: Record, index: int) -> str:
    """Section of one pair."""
    said = pair["reasons"] or "kept"
    words = f"<p><strong>{escape(pair['verdict'])}</strong>: {escape(said)}</p>"
    if pair["remarks"]:
        words += f'<p class="note">{escape(pair["remarks"])}</p>'
    names = ("along z", "along y", "along x")
    images = [(name, png(np.asarray(image))) for name, image in zip(names, pair["slices"], strict=False)]
    drawn = _curve(pair, index) if len(pair["fsc"]) else ""
    return section(
        pair["name"],
        words,
        pictures(images),
        figure(drawn, "FSC (no unit) between the halves inside the mask, over frequency in 1/Å."),
        rows(["figure", "value"], [[key, str(pair[key])] for key in FIGURES if pair.get(key)]),
    )


def _curve(pair: Record, index: int) -> str:
    curve = np.asarray(pair["fsc"])
    width = float(pair["box_px"]) * float(pair["pixel_size_angst"])
    with drawing(6.4, 2.2) as (page, axes):
        axes.axhline(0, color=GRID, linewidth=1.2)
        axes.axhline(HALF_MAPS, color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
        axes.plot(np.arange(len(curve)) / max(width, 1e-9), curve, color=SERIES[0], linewidth=1.5)
        axes.set_ylim(-0.15, 1.03)
        axes.set_xlabel("Frequency (1/Å)")
        axes.set_ylabel("FSC")
        return svg(page, f"curation-{index}")
