"""The table of a comparison's results, for the page and for a terminal."""

from __future__ import annotations

import numpy as np

from blush.jobs.progress import Record
from blush.report.comparison_verdict import FIGURES
from blush.report.timing import compact


def table_rows(content: Record) -> tuple[tuple[str, ...], list[list[str]]]:
    """Heading and rows of the table of results, one row per regulariser."""
    figures = [figure for figure in FIGURES if figure.of_truth <= content["known_truth"]]
    head = ("Regulariser", "Seeds", *(figure.label for figure in figures), "Time", "Its share")
    rows = []
    for name in content["regularisers"]:
        found = content["summary"].get(name)
        if found is None:
            rows.append([name, "0", *["–"] * (len(head) - 2)])
            continue
        mine = [content["timing"][key] for key, m in content["members"].items() if m["regulariser"] == name]
        cells = [figure.shown(found[figure.key]) for figure in figures]
        share = float(np.mean([timing["regulariser_share"] for timing in mine]))
        wall = compact(float(np.mean([timing["wall_seconds"] for timing in mine])))
        rows.append([name, str(found["seeds"]), *cells, wall, f"{100 * share:.1f} %"])
    return head, rows


def text_table(content: Record) -> str:
    """The same table in columns for a terminal, and what it says."""
    head, rows = table_rows(content)
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    return "\n".join([*(line.rstrip() for line in lines), "", *content["verdict"]["sentences"]])
