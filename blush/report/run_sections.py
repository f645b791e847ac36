"""Sections that the pages of all jobs have: where the time went, inputs and versions."""

from __future__ import annotations

from typing import Any

from blush.report import iteration_figures, tables
from blush.report.run_data import RunData
from blush.report.sheet import figure, section


def at_work(run: RunData) -> str:
    """What the reader of a page must know while the run goes on; nothing afterwards."""
    if not run.at_work:
        return ""
    done = 0 if run.last is None else run.last.iteration
    text = f"At work: {done} iteration{'' if done == 1 else 's'} done. "
    return f'<p class="note">{text}This page is written anew as the run goes on, and reloads itself.</p>\n'


def time_section(run: RunData) -> str:
    """Time by stage and by iteration; nothing before anything was logged."""
    if not run.progress:
        return ""
    caption = "In seconds. Wall time counts work that ran side by side once; pauses between runs do not count."
    details = f"<details><summary>Stages in numbers</summary>{tables.stage_table(run)}</details>"
    return section("Time", figure(iteration_figures.timings(run), caption), details)


def inputs_section(run: RunData, *more: str) -> str:
    """Seed, versions, inputs by their content, configuration.

    Parameters
    ----------
    more
        HTML at the end.
    """
    shown: dict[str, Any] = {
        name: run.summary[name] for name in ("seed", "algorithm", "versions", "timing") if name in run.summary
    }
    if "timing" in shown:
        shown["timing"] = {name: value for name, value in shown["timing"].items() if name != "stages"}
    parts = [tables.keys(shown)] if shown else []
    for title, values in (("Inputs by content", run.summary.get("inputs")), ("Configuration", run.config)):
        if values:
            parts.append(f"<details><summary>{title}</summary>{tables.keys(values)}</details>")
    return section("Inputs and versions", *parts, *more)
