"""One self-contained page about a run: all that it shows is in it, no network; it can be written at any time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html import escape
from pathlib import Path

import blush
from blush.io.files import read_record
from blush.jobs.body_runs import body_index, read_bodies, whole_of
from blush.refine.control import HelixControl
from blush.report import (
    captions,
    fsc_figures,
    iteration_figures,
    map_figures,
    pose_figures,
    regulariser_figures,
    tables,
)
from blush.report.class_page import write_class_page
from blush.report.direction_sections import direction_section
from blush.report.evidence_page import evidence_section
from blush.report.helix_section import helix_section
from blush.report.iteration_steps import steps
from blush.report.map_view import map_view
from blush.report.reslog_page import reslog_section
from blush.report.run_data import RunData, read_run
from blush.report.run_sections import at_work, inputs_section, time_section
from blush.report.sheet import document, figure, lead, section, warned, write_text


def write_report(run: Path, goes_on: bool = False) -> Path:
    """Write RUN/report.html from what the run folder holds so far.

    Parameters
    ----------
    goes_on
        Whether the run is at work: the page then reloads itself.

    Raises
    ------
    BlushError
        The folder is not that of a run.
    """
    target, data = run / "report.html", read_run(run, goes_on)
    if data.config.get("job") == "classify":
        return write_class_page(target, data)
    if data.config.get("job") == "multibody":
        from blush.report.bodies_page import write_bodies_page  # with torch, which the pages of other runs do without

        return write_bodies_page(target, data)
    return write_text(target, page(_of_whole(data) if data.config.get("job") == "body" else data))


def _of_whole(data: RunData) -> RunData:
    """A body's data, by the names of the body and of the run that it is of."""
    whole = whole_of(data.root.absolute())
    named = read_bodies(whole)[body_index(data.root.absolute())].name
    return replace(data, config=data.config | {"name": f"{named}, a body of {whole.name}"})


def page(run: RunData) -> str:
    """The whole page."""
    sections: tuple[Callable[[RunData], str], ...] = (
        map_view, _resolution, _slices, helix_section, _directions, _subsets, _evidence, _iterations, _particles,
        _regulariser, time_section,
    )  # fmt: skip
    body = "".join(make(run) for make in sections)
    body += inputs_section(run, f'<p class="note">Written by Blush {escape(blush.__version__)}.</p>')
    under = lead(tables.lead(run)) + at_work(run)
    top = tables.tiles(run) + "\n" + warned(tables.warnings(run))
    return document(run.name, under, top + body, reloads=run.at_work)


def _resolution(run: RunData) -> str:
    return section(
        "Resolution",
        figure(fsc_figures.final_fsc(run), captions.final_fsc(run)),
        figure(fsc_figures.guinier(run), captions.guinier(run), "half"),
    )


def _slices(run: RunData) -> str:
    images = map_figures.map_images(run)
    if not images:
        return ""
    names = {"slices": "slice", "projections": "projection"}
    pictures = "".join(
        f'<figure><img src="{address}" alt="{names[kind]} along {axis}">'
        f"<figcaption>{names[kind]} {axis}</figcaption></figure>"
        for kind, row in images.items()
        for axis, address in zip(map_figures.AXES, row, strict=True)
    )
    path = map_figures.best_map(run)
    source = f'<p class="note">{escape(path.name)}: {captions.SLICES}</p>' if path else ""
    return section(
        "Slices and projections",
        f'<div class="maps">{pictures}</div>',
        source,
        figure(map_figures.local_resolution(run), captions.LOCAL_RESOLUTION),
    )


def _directions(run: RunData) -> str:
    """Views and resolution by direction; not of filaments, whose views all lie about the equator as they must."""
    is_helix = run.last is not None and isinstance(run.last.control, HelixControl)
    return "" if is_helix else direction_section(run)


def _subsets(run: RunData) -> str:
    """Resolution of random subsets, where `blush reslog` has measured it."""
    record = run.root / "reslog/reslog.json"
    return reslog_section(read_record(record)) if record.exists() else ""


def _evidence(run: RunData) -> str:
    """What images say of the other half's map, where `blush evidence` has asked them."""
    record = run.root / "evidence/evidence.json"
    return evidence_section(read_record(record)) if record.exists() else ""


def _iterations(run: RunData) -> str:
    if len(run.states) < 2:
        return ""
    rows = f"<details open><summary>All iterations</summary>{tables.iteration_table(run)}</details>"
    return section("Iterations", steps(run), figure(iteration_figures.convergence(run), captions.CONVERGENCE), rows)


def _particles(run: RunData) -> str:
    return section(
        "Particles",
        figure(pose_figures.orientations(run), captions.ORIENTATIONS, "narrow"),
        figure(pose_figures.particles(run), captions.PARTICLES),
    )


def _regulariser(run: RunData) -> str:
    certified = tables.certificate_table(run)
    return section(
        "Regulariser",
        figure(regulariser_figures.shells(run), captions.REGULARISER),
        figure(regulariser_figures.course(run), captions.COURSE),
        tables.regulariser_table(run),
        f'<p class="note">{escape(captions.CERTIFICATE)}</p>{certified}' if certified else "",
    )
