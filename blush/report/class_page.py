"""The page about a classification: its verdict first, then what the classes are and where they come from."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

import blush
from blush.fourier.limits import limit_note
from blush.report import class_figures as figures
from blush.report import tables
from blush.report.class_data import FOLLOWS, MOST_SHOWN, ClassData, read_classes
from blush.report.class_maps import ClassPictures, class_pictures
from blush.report.class_tables import class_table, confusion_table, flow_table, iteration_table, origin_table
from blush.report.run_data import RunData
from blush.report.run_sections import at_work, inputs_section, time_section
from blush.report.sheet import document, figure, pictures, section, warned, write_text
from blush.report.timing import closed, compact, spent

_NUMBERS = "Numbers: classes.json, class_posteriors.npz, summary.json."


def write_class_page(target: Path, run: RunData) -> Path:
    """Write the page of a classification from what its folder holds so far."""
    data = read_classes(run)
    drawn = class_pictures(data)
    warnings = [*tables.warnings(run), *(text[0].upper() + text[1:] for text in data.notes)]
    body = (
        f'<p class="verdict">{escape(data.verdict)}</p>\n<p class="note">{escape(_facts(data))}</p>\n',
        warned(warnings),
        tables.tiled(_tiles(data)) + "\n",
        _classes(data),
        _truth(data),
        _maps(data, drawn),
        _differences(drawn),
        _sizes(data),
        _resolution(data),
        _images(data),
        time_section(run),
        inputs_section(run),
    )
    written = f'<p class="note">Written by Blush {escape(blush.__version__)}. {_NUMBERS}</p>\n'
    text = document(run.name, at_work(run), "".join(body) + written, reloads=run.at_work)
    return write_text(target, text)


def _facts(data: ClassData) -> str:
    """What was classified, and how."""
    if data.run.last is None:
        return ""
    facts, search = data.run.last.facts, data.run.last.search
    poses = "given poses" if search.fixed else "local searches" if search.local else "global searches"
    parts = [
        f"{len(data.last_labels):,} images".replace(",", " ") if data.labels else "",
        f"{data.n_classes} classes",
        poses,
        f"symmetry {facts.symmetry}",
        f"box {facts.box_px} px at {facts.pixel_size_angst:g} Å",
        f"diameter {facts.particle_diameter_angst:g} Å",
        f"prior {data.run.config['classification']['prior']}" if "classification" in data.run.config else "",
    ]
    return " · ".join(part for part in parts if part)


def _tiles(data: ClassData) -> Iterable[tuple[str, ...]]:
    last = data.run.last
    if last is None:
        return
    used = int((data.counts > 0).sum())
    yield "Classes", str(data.n_classes), f"{used} with images" if data.labels else "", "main"
    limit = limit_note(last.resolution_angst, last.facts.box_px, last.facts.pixel_size_angst)
    yield "Resolution", tables.angst(last.resolution_angst), f"that images were compared to{limit and '; '}{limit}"
    if last.change_class is not None:
        yield "Changed class", f"{100 * last.change_class:.1f} %", "in the last iteration"
    if data.posterior is not None:
        yield "Posterior", f"{data.posterior.max(1).mean():.2f}", "mean, of an image's class"
    if data.truth is not None:
        right = f"adjusted, with the truth; {100 * data.truth.accuracy:.1f} % right"
        yield "Rand index", f"{data.truth.adjusted_rand:.3f}", right, "truth"
    yield "Iterations", str(last.iteration), tables.ending(last)
    if data.run.progress:
        total = spent(closed(data.run.progress))
        yield "Time", compact(total.wall), f"{compact(total.cpu)} of processors"


def _classes(data: ClassData) -> str:
    if not data.labels:
        return ""
    words = (
        '<p class="note">Hard: images whose most probable class it is. Soft: sum of posteriors. Resolution: where '
        "signal and noise of the class map are equal. Both resolutions are too good where labels are noise, as the "
        "halves they come from share what decided the labels. Refine a class to know its resolution: "
        "<code>blush select</code> writes its images.</p>"
    )
    figures_of_test = {name: value for name, value in data.verified.items() if not isinstance(value, list)}
    tested = f"<details><summary>The test in numbers</summary>{tables.keys(figures_of_test)}</details>"
    return section("Classes", class_table(data), words, tested if figures_of_test else "")


def _truth(data: ClassData) -> str:
    if data.truth is None:
        return ""
    found = data.truth
    words = (
        f'<p class="note">Adjusted Rand index {found.adjusted_rand:.3f}; permuted labels exceed {found.chance:.3f} in '
        f"5 of 100 cases. {100 * found.accuracy:.1f} % of the images are in the class that is matched to their true "
        f"one. Calibration error {found.calibration.error:.3f}: mean difference between stated posterior and the "
        "fraction that is right.</p>"
    )
    return section("Against the truth", confusion_table(found), words)


def _maps(data: ClassData, drawn: ClassPictures | None) -> str:
    if drawn is None:
        return ""
    parts = []
    for of_class, row in drawn.by_class.items():
        parts += [f"<h3>Class {of_class}: {data.counts[of_class - 1]:,} images</h3>".replace(",", " "), pictures(row)]
    few = f" The {MOST_SHOWN} largest classes are shown." if data.n_classes > MOST_SHOWN else ""
    words = (
        '<p class="note">Central slices and projections; density in arbitrary units, one grey scale for all classes.'
        f"{few}</p>"
    )
    surfaces = [picture for row in drawn.surfaces.values() for picture in row]
    marked = " Orange: where two halves of the images confirm that classes differ." if drawn.confirmed else ""
    seen = f'<p class="note">Surfaces at one density for all classes, seen along the axes.{marked}</p>'
    return section("Maps", *parts, words, pictures(surfaces), seen)


def _differences(drawn: ClassPictures | None) -> str:
    if drawn is None or len(drawn.differences) < 2:
        return ""
    z, y, x = drawn.place
    images = [picture for row in drawn.differences.values() for picture in row]
    words = (
        f'<p class="note">Slices through the place where classes differ most (x {x}, y {y}, z {z} px). Red: more '
        "density than the mean of all classes; blue: less; one scale for all. Confirmed, from black (0) to white (1): "
        "share of the differences that two halves of the images agree on.</p>"
    )
    return section("Differences", pictures(images), pictures([*drawn.mean, *drawn.confirmed]), words)


def _sizes(data: ClassData) -> str:
    if not data.run.iterated:
        return ""
    flow = (
        "Share of the images by class after each of the last iterations. Pale bands stayed; strong bands changed "
        "class, in the colour of the class that they left."
    )
    rows = f"<details><summary>All iterations</summary>{iteration_table(data)}</details>"
    stable = (
        "Left: share of the images in each class after every iteration; right: of those that changed class. Classes "
        "that are still growing or shrinking have not been found yet."
    )
    return section(
        "Sizes and changes",
        figure(figures.sizes(data), stable),
        figure(figures.flow(data), flow),
        flow_table(data),
        rows,
    )


def _resolution(data: ClassData) -> str:
    caption = (
        "Fourier shell correlation (no unit) of two halves of each class's images over resolution in Å, unregularised "
        "and without a mask; the table gives the last shell before it first falls below 0.143. Labels shared: the "
        "halves are not independent, as what put an image into a class came from all images."
    )
    return section("Fourier shell correlation", figure(figures.fsc(data), caption))


def _images(data: ClassData) -> str:
    if data.origin is None:
        return ""
    probable = (
        "Posterior probability of each image's class, 0 to 1. Posteriors near 1 do not prove a class: images prefer "
        "a map that holds their noise. Images left: those of a "
        "class that are at least as probable, as blush select --least-posterior keeps them."
    )
    views = (
        "Viewing directions of each class in an equal-area map of the sphere: rot runs across, tilt down, in "
        "degrees. Classes that "
        "are views, not structures, have directions of their own."
    )
    told = {
        "micrograph": data.origin.by_group,
        "defocus": data.origin.by_defocus,
        "optics group": data.origin.by_optics,
    }
    shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in told.items())
    origin = (
        f"What tells of the classes beyond chance (mutual information over their entropy, in %): {shares}. Above "
        f"{100 * FOLLOWS:.0f} % the page warns: such a class may be one of places or settings of the microscope."
    )
    if data.truth is not None:
        probable += " Right class: the fraction that is right, against the posterior; larger dots are more images."
    return section(
        "Images",
        figure(figures.posteriors(data), probable),
        figure(figures.views(data), views),
        figure(figures.origins(data), origin),
        origin_table(data),
    )
