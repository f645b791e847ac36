"""One self-contained page about a run: all that it shows is in it, no network; it can be written at any time."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

import blush
from blush.report import fsc_figures, iteration_figures, map_figures, pose_figures, regulariser_figures, tables
from blush.report.class_page import write_class_page
from blush.report.map_view import map_view
from blush.report.run_data import RunData, read_run
from blush.report.run_sections import inputs_section, time_section
from blush.report.sheet import document, figure, lead, section, warned, write_text


def write_report(run: Path) -> Path:
    """Write RUN/report.html from what the run folder holds so far.

    Raises
    ------
    BlushError
        The folder is not that of a run.
    """
    target, data = run / "report.html", read_run(run)
    if data.config.get("job") == "classify":
        return write_class_page(target, data)
    return write_text(target, page(data))


def page(run: RunData) -> str:
    """The whole page."""
    sections: tuple[Callable[[RunData], str], ...] = (
        map_view, _resolution, _slices, _iterations, _particles, _regulariser, time_section,
    )  # fmt: skip
    body = "".join(make(run) for make in sections)
    body += inputs_section(run, f'<p class="note">Written by Blush {escape(blush.__version__)}.</p>')
    return document(run.name, lead(tables.lead(run)), tables.tiles(run) + "\n" + warned(tables.warnings(run)) + body)


def _pair(*parts: str) -> str:
    content = "\n".join(part for part in parts if part)
    return f'<div class="pair">\n{content}\n</div>' if content else ""


def _resolution(run: RunData) -> str:
    final = (
        "Correlation of the two halves, refined apart. Corrected: what is left inside the mask of what the mask itself "
        "correlates, measured on halves of random phases. The resolution is where the corrected curve first falls "
        "below 0.143."
    )
    if run.truth:
        final += " With the truth: the final map against the map that the data were simulated from; 0.5 is its limit."
    plot = "Amplitudes against the square of the resolution; a straight line is the decay that sharpening undoes."
    drove = "The FSC that drove each iteration. Image size, sampling and the references follow from it."
    return section(
        "Resolution",
        figure(fsc_figures.final_fsc(run), final),
        _pair(figure(fsc_figures.iteration_fsc(run), drove), figure(fsc_figures.guinier(run), plot)),
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
    source = f'<p class="note">{escape(path.name)}: central slices and projections.</p>' if path else ""
    local = "Resolution by place, from the corrected FSC in small spheres; inside the mask."
    return section(
        "Slices and projections",
        f'<div class="maps">{pictures}</div>',
        source,
        figure(map_figures.local_resolution(run), local),
    )


def _iterations(run: RunData) -> str:
    if len(run.states) < 2:
        return ""
    caption = (
        "Resolution by the driving FSC (0.5 between the halves; 0.143 in the last iteration, which joins them). "
        "Expected accuracy is the turn that the noise still lets one tell."
    )
    rows = f"<details open><summary>All iterations</summary>{tables.iteration_table(run)}</details>"
    return section("Iterations", figure(iteration_figures.convergence(run), caption), rows)


def _particles(run: RunData) -> str:
    views = (
        "Viewing directions after the last iteration, one asymmetric unit, in an equal-area map of the sphere: "
        "rot runs across, tilt down from 0° at the top."
    )
    certain = "Certainty of the poses, and the offsets of particles from the centres of their boxes."
    return section(
        "Particles",
        figure(pose_figures.orientations(run), views, "narrow"),
        figure(pose_figures.particles(run), certain),
    )


def _regulariser(run: RunData) -> str:
    caption = (
        "What the references of the next alignment keep of the unregularised halves. Weighting directions by how well "
        "they were seen changes the FSC a little; a regulariser that raises it beyond its cut-off gives both halves "
        "something that the particles did not. Shells that it empties hold only what the borders of the map leak "
        "into them, and both halves share that."
    )
    course = (
        "How far the references went in each iteration: cut behind the measured resolution (trailing), or handed over "
        "to the Wiener filter where the method itself ends (cross-over)."
    )
    return section(
        "Regulariser",
        figure(regulariser_figures.shells(run), caption),
        figure(regulariser_figures.course(run), course),
        tables.regulariser_table(run),
    )
