"""One page on a trained network: verdicts first, then gains, errors, invented detail, pictures and speed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from blush.io.files import as_written, load_npz, read_record
from blush.report.map_figures import png
from blush.report.sheet import figure, pictures, rows, section, write_sheet
from blush.report.style import GRID, SERIES, drawing, svg

NETWORK = "network"
Record = dict[str, Any]
MEMBERS = ("name", "parameters", "pairs", "weights_sha256", "verdicts", "methods", "bins", "voxels", "invented",
           "seconds_per_map")  # fmt: skip


def write_page(evaluation_json: Path, out: Path) -> Path:
    """Write the page beside what `evaluate` measured.

    Parameters
    ----------
    evaluation_json
        Its folder also holds `slices.npz`.
    """
    content: Record = read_record(evaluation_json, "evaluate again: blush train-evaluate", MEMBERS)
    slices = evaluation_json.with_name("slices.npz")
    failed = [f"{v['what']}: {number(v['figure'])}, limit {limit(v['limit'])}" for v in content["verdicts"]
              if not v["passed"]]  # fmt: skip
    lead = (
        f"{content['parameters']:,} parameters · {len(content['pairs'])} pairs of half-maps of structures that it was "
        f"not trained on · weights {content['weights_sha256'][:12]}"
    )
    body = _verdicts(content) + _gains(content) + _errors(content) + _slices(slices, content) + _invented(content)
    body += _speed(content)
    return write_sheet(out, f"{content['name']}: evaluation", lead, body, "The numbers are in evaluation.json.", failed)


def number(value: float | None) -> str:
    """A figure of three decimals."""
    return "–" if value is None else f"{value:.3f}"


def limit(value: Any) -> str:
    """A limit, or the range a figure has to lie in."""
    return f"{value[0]:g} to {value[1]:g}" if isinstance(value, list) else f"{value:g}"


def _verdicts(content: Record) -> str:
    rivals = [name for name in content["methods"] if name != NETWORK]
    lines = [
        [
            "passed" if v["passed"] else "FAILED",
            v["what"],
            number(v["figure"]),
            limit(v["limit"]),
            *(number(v["rivals"].get(name)) for name in rivals),
        ]
        for v in content["verdicts"]
    ]
    text = "<p>The figures of the rivals say how hard a limit is: a Wiener filter, for one, invents nothing.</p>"
    return section("Verdicts", rows(["", "what", "figure", "limit", *rivals], lines), text)


def _gains(content: Record) -> str:
    text = (
        "FSC (no unit) with the noise-free signal, less that of the Wiener-filtered half in the true mask, by the "
        "FSC that the "
        "halves had in that shell. Means over structures, 95 % intervals by bootstrap. Classical methods are given the "
        "true mask, the network is not. No method is cut behind the resolution here."
    )
    names = bin_names(content)
    voxel = [
        [f"{ratio} × the network's", *(f"{number(b['mean'])} [{number(b['low'])}, {number(b['high'])}]" for b in bins)]
        for ratio, bins in content["voxels"].items()
        if bins
    ]
    return section(
        "Gain over Wiener and mask",
        figure(_gain_figure(content, "gain"), text),
        figure(_gain_figure(content, "gain_masked"), "The same, both inside the true mask."),
        "<p>Maps given at other voxel sizes:</p>" if voxel else "",
        rows(["voxel size", *names], voxel, ""),
    )


def bin_names(content: Record) -> list[str]:
    """Ranges of the input's FSC."""
    edges = content["bins"]
    return [f"{low:g}–{high:g}" for low, high in pairwise(edges)]


def _gain_figure(content: Record, key: str) -> str:
    names = bin_names(content)
    methods = [name for name in content["methods"] if name != "wiener"]
    with drawing(9.6, 3.2) as (page, axes):
        axes.axhline(0, color=GRID, linewidth=1.2)
        for place, name in enumerate(methods):
            bins = content["methods"][name][key]
            x = [i + 0.12 * (place - (len(methods) - 1) / 2) for i, b in enumerate(bins) if b["n"]]
            y = [b["mean"] for b in bins if b["n"]]
            error = [[b["mean"] - b["low"] for b in bins if b["n"]], [b["high"] - b["mean"] for b in bins if b["n"]]]
            color = SERIES[place % len(SERIES)]
            axes.errorbar(x, y, yerr=error, fmt="o", color=color, label=name, capsize=3, markersize=5)
        axes.set_xticks(range(len(names)), names)
        axes.set_xlabel("FSC of the input halves")
        axes.set_ylabel("Gain of FSC with the signal")
        axes.legend(loc="best")
        return svg(page, f"evaluation-{key}")


def _errors(content: Record) -> str:
    lines = []
    for name, found in content["methods"].items():
        inside, outside = found["error_inside"], found["error_outside"]
        slopes = [number(b["mean"]) for b in found["slope"]]
        lines.append([name, number(inside["mean"]), number(outside["mean"]), *slopes])
    head = ["method", "error inside", "error in solvent", *(f"slope {name}" for name in bin_names(content))]
    text = (
        "Squared error over that of Wiener and mask, inside the true mask and out of it; amplitude of the signal in "
        "the map (1: kept, less: damped) by the input's FSC."
    )
    return section("Errors and amplitudes", rows(head, lines, ""), f'<p class="note">{text}</p>')


def _slices(path: Path, content: Record) -> str:
    if not path.exists():
        return ""
    stored = load_npz(path)
    count = sum(name.endswith("_name") for name in stored)
    with as_written(path, "evaluate again: blush train-evaluate"):
        names = [str(stored[f"{index}_name"]) for index in range(count)]
    parts = []
    for index, title in enumerate(names):
        shown = ["input", *content["methods"], "signal"]
        images = [(name, png(np.asarray(stored[f"{index}_{name}"]))) for name in shown if f"{index}_{name}" in stored]
        parts.append(f'<p class="note">{title}</p>' + pictures(images))
    return section("Central slices", *parts)


def _invented(content: Record) -> str:
    lines = [
        ["passed" if f["passed"] else "FAILED", f["test"], f["pair"], number(f["figure"]), limit(f["limit"])]
        for f in content["invented"]
    ]
    return section("Invented detail", rows(["", "test", "pair", "figure", "limit"], lines))


def _speed(content: Record) -> str:
    lines = [[name, f"{seconds:.2f}"] for name, seconds in content["seconds_per_map"].items()]
    return section("Seconds per half-map", rows(["method", "seconds"], lines))
