"""The page of a comparison: self-contained, in the style of the page about a run."""

from __future__ import annotations

from html import escape
from pathlib import Path

import blush
from blush.jobs.progress import Record
from blush.report import comparison_figures as figures
from blush.report.comparison_table import table_rows
from blush.report.comparison_verdict import HALF_MAP_NOTE, TRUE, known_truth
from blush.report.sheet import document, figure, lead, section, warned, write_text
from blush.report.tables import angst, table
from blush.report.timing import duration


def write_page(target: Path, content: Record, pictures: str = "") -> Path:
    """Write the page from what `comparison.json` holds, and HTML that shows the maps."""
    return write_text(target, page(content, pictures))


def page(content: Record, pictures: str = "") -> str:
    """The whole page."""
    maps = _maps(content, pictures)
    body = "".join((_results(content), maps, _doing(content), _time(content), _runs(content)))
    written = f'<p class="note">Written by Blush {escape(blush.__version__)}. The numbers are in comparison.json.</p>\n'
    return document(content["name"], lead(_lead(content)), warned(_warnings(content)) + body + written)


def _lead(content: Record) -> str:
    seeds = ", ".join(map(str, content["seeds"]))
    truth = "truth known" if known_truth(content["members"]) else "no truth known"
    names = ", ".join(content["regularisers"])
    return f"The same particles, mask and stopping rule · {names} · seeds {seeds} · {truth}"


def _warnings(content: Record) -> list[str]:
    """What the reader must not miss about single runs."""
    found = [f"{name} did not finish: {text}" for name, text in content["failures"].items()]
    said: dict[str, list[str]] = {}
    for name, member in content["members"].items():
        if member["fell_back"]:
            listed = ", ".join(map(str, member["fell_back"]))
            found.append(f"{name}: Wiener took the regulariser's place in iteration {listed}.")
        if member["stop_reason"] == "max_iterations":
            said.setdefault("the largest number of iterations was reached before convergence", []).append(name)
        for text in member["warnings"]:
            said.setdefault(text, []).append(name)
    every = len(content["members"])
    return found + [f"{'all runs' if len(of) == every else ', '.join(of)}: {text}" for text, of in said.items()]


def _pair(*parts: str) -> str:
    return f'<div class="pair">\n{"".join(parts)}\n</div>' if any(parts) else ""


def _results(content: Record) -> str:
    first, *others = content["verdict"]["sentences"]
    more = "".join(f"<p>{escape(text)}</p>" for text in others)
    note = (
        "± is the standard deviation over seeds. Resolutions are read between shells: where the curve first crosses "
        "0.5 with the truth, 0.143 between the halves. Times are means per run; "
        "its share is that of the regulariser itself."
    )
    return section(
        "Which one",
        f"<p><strong>{escape(first)}</strong></p>",
        more,
        table(*table_rows(content)),
        f'<p class="note">{escape(note)}</p>',
        _pair(
            figure(
                figures.seeds(content, content["verdict"]["figure"], _axis(content)),
                "Every seed, and the mean, in Å.",
            ),
            figure(
                figures.seeds(content, "angle_median_deg", "Median angular error (°)"),
                (
                    "Poses against the true ones, median error in degrees, after the turn and shift that a whole map "
                    "is free to take."
                ),
            )
            or figure(
                figures.seeds(content, "average_pmax", "Mean largest posterior probability"),
                "Certainty of the poses, 0 to 1: not their correctness.",
            ),
        ),
    )


def _axis(content: Record) -> str:
    return "True resolution (Å)" if content["verdict"]["figure"] == TRUE.key else "Half-map resolution (Å)"


def _maps(content: Record, pictures: str) -> str:
    caption = "FSC (no unit) over resolution in Å. Thick: mean over seeds; thin: each seed. " + (
        "The true map is compared with the final, Wiener-filtered map of both halves, the same for every regulariser. "
        if content["known_truth"]
        else ""
    )
    caption += "Between the halves: corrected for the mask, on unregularised half-maps."
    note, seed = f'<p class="note">{escape(HALF_MAP_NOTE)}</p>', content["seeds"][:1]
    shown = (
        f"Sharpened, masked maps of seed {', '.join(map(str, seed))}: central slices and projections, one grey scale "
        "for all of a kind. Each is sharpened by its own B-factor, so contrast is no measure of quality."
    )
    seen = f'{pictures}<p class="note">{shown}</p>' if pictures else ""
    return section("Maps", figure(figures.fsc(content), caption), note, seen)


def _doing(content: Record) -> str:
    shells = (
        "What references keep of the amplitudes of the unregularised half-maps they were made from (no unit, 1 is "
        "all), in the last iteration that made "
        "references; the mean of both halves. Gaps are shells of which too little is left. Curves of different "
        "regularisers come from refinements that took different ways, so they compare what each did, not how well."
    )
    over = "Resolution in Å by the FSC that drives the iterations (0.5; 0.143 in the last one, which joins the halves)."
    return section(
        "What each did",
        figure(figures.shells(content), shells),
        _pair(figure(figures.iterations(content), over), _couplings(content)),
    )


def _couplings(content: Record) -> str:
    rows = []
    for name in content["regularisers"]:
        mine = [member["last_regularised"] for member in figures.members_of(content, name)]
        known = [record for record in mine if record]
        if known:
            cut = known[0]["trailing_shell"]
            first = f"{content_box(content) / cut:.2f} Å" if cut else "not cut"
            rows.append([name, known[0]["couples"], first])
    return table(("Regulariser", "Shared between halves", "Last cut, first seed"), rows) if rows else ""


def content_box(content: Record) -> float:
    """Side of the box in Å."""
    return float(next(iter(content["members"].values()))["box_angst"])


def _time(content: Record) -> str:
    caption = (
        "Seconds of all workers, mean over seeds. The regulariser's own part is what it adds to an iteration; "
        "reconstruction and FSC are in other steps."
    )
    return section("Time", figure(figures.timing(content), caption))


def _runs(content: Record) -> str:
    """One row for each run, with the way to its own page."""
    rows = []
    for name, member in content["members"].items():
        timing = content["timing"][name]
        true = angst(member["true_resolution_angst"]) if "true_resolution_angst" in member else "–"
        rows.append([
            name, angst(member["reported_resolution_angst"]), true, str(member["iterations"]), member["stop_reason"],
            duration(timing["wall_seconds"]), duration(timing["cpu_seconds"]),
        ])  # fmt: skip
    if not rows:
        return ""
    links = ", ".join(
        f'<a style="color: var(--series1)" href="{escape(name)}/report.html">{escape(name)}</a>'
        for name in content["members"]
    )
    head = ("Run", "Reported", "True", "Iterations", "Ended", "Wall", "Processors")
    return section("Runs", table(head, rows), f'<p class="note">Pages of the runs: {links}</p>')
