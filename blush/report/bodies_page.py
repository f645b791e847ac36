"""The page about a run of several bodies: what each resolves and how far it moves; each body has a page of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import blush
from blush.io.files import read_record
from blush.jobs.body_motions import FOLDER
from blush.jobs.progress import read_progress
from blush.report import bodies_figures as figures
from blush.report import map_figures, tables
from blush.report.bodies_data import BodyData, read_bodies_of
from blush.report.bodies_view import bodies_view
from blush.report.closing import near
from blush.report.motion_sections import motion_sections
from blush.report.run_data import RunData
from blush.report.run_sections import inputs_section, time_section
from blush.report.sheet import document, figure, pictures, section, warned, write_text
from blush.report.timing import closed, compact, spent

_FSC = (
    "Fourier shell correlation (no unit) of the half-maps of each body over resolution in Å, in its own mask, "
    "corrected for what the mask alone makes agree. Dashed: the half-maps of the consensus in the same mask."
)
_ITERATIONS = (
    "Resolution in Å that each body was compared to; standard deviation of its motions along their widest axis, "
    "rotation in degrees and displacement in Å, as learned after each iteration. Iteration 0 is where learning began. "
    "Widths that still change have not been learned yet."
)
_TABLE = (
    "Resolution: FSC 0.143 between the halves in the body's mask, corrected for the mask; consensus: the same of the "
    "map that the run started from. Motion: standard deviations of the learned prior along its three axes, from the "
    "widest; the uncertainty of poses is taken off. Accuracy: the turn that the noise lets one tell. Change: of poses "
    "in the last iteration. At the end: images beyond 99 % of that prior; many more than 1 % is motion that the prior "
    "does not know, as two states, or images in which the body is missing."
)
_SLICES = "Central slices about the body's own centre, along z, y and x; orange: outline of its mask, at 1/2."
_ENDINGS = {"converged": "converged", "max_iterations": "not converged", "": "not finished"}
_MOST_AT_THE_END = 0.05
_NUMBERS = "Numbers: summary.json, motions.npz."


def write_bodies_page(target: Path, run: RunData) -> Path:
    """Write the page of a run of several bodies from what its folder holds so far."""
    bodies = read_bodies_of(run.root)
    progress = (record for body in bodies for record in read_progress(body.run.root / "progress.jsonl"))
    run = replace(run, progress=tuple(sorted((*run.progress, *progress), key=lambda record: float(record["time"]))))
    motions = motion_sections(run.root / FOLDER)
    body = (
        f'<p class="verdict">{escape(verdict(run, bodies))}</p>\n<p class="note">{escape(_facts(run, bodies))}</p>\n',
        warned(_warnings(run, bodies)),
        tables.tiled(_tiles(run, bodies)) + "\n",
        bodies_view(run.root, [one.name for one in bodies]),
        section("Bodies", _table(bodies), f'<p class="note">{_TABLE}</p>') if bodies else "",
        motions or _how_to_see_motions(run),
        section("Fourier shell correlation", figure(figures.fsc(bodies), _FSC)),
        section("Iterations", figure(figures.iterations(bodies), _ITERATIONS)),
        _slices(bodies),
        time_section(run),
        inputs_section(run),
    )
    written = f'<p class="note">Written by Blush {escape(blush.__version__)}. {_NUMBERS}</p>\n'
    text = document(run.name, _at_work(run, bodies), "".join(body) + written, reloads=run.at_work)
    return write_text(target, text)


def verdict(run: RunData, bodies: Sequence[BodyData]) -> str:
    """What was found, in a sentence or two."""
    refined = [body for body in bodies if body.refined and body.run.iterated]
    if not refined:
        return "No body has made an iteration yet."
    found = "; ".join(f"{body.name} {_against(body)}" for body in refined)
    widest = max(refined, key=lambda body: float(body.widths[-1][0][0]))
    degrees, angst = (float(width[0]) for width in widest.widths[-1])
    begin = "" if run.summary else "So far: "
    told = run.root / FOLDER / "motions.json"
    if run.summary and told.exists():
        return f"{found}. {read_record(told, members=('verdict',))['verdict']}"
    return f"{begin}{found}. {widest.name} moves most: {degrees:.1f}° and {angst:.1f} Å (standard deviation)."


def _against(body: BodyData) -> str:
    """Resolution of a body, against the consensus in the same mask."""
    before, after = body.consensus_angst, body.resolution_angst
    if not body.run.summary or before is None or after is None:
        return tables.angst(after)
    if abs(before - after) < 0.005 * after:
        return f"{tables.angst(after)}, as the consensus"
    return (
        f"{tables.angst(after)}, {'better' if after < before else 'worse'} than the consensus ({tables.angst(before)})"
    )


def _facts(run: RunData, bodies: Sequence[BodyData]) -> str:
    last = next((body.run.last for body in bodies if body.run.last is not None), None)
    if last is None:
        return ""
    count = next((len(one) for body in bodies for one in body.run.poses.values()), 0)
    parts = [f"{count:,} images".replace(",", " "), f"box {last.facts.box_px} px at {last.facts.pixel_size_angst:g} Å"]
    if "regulariser" in run.config:
        parts.append(f"regulariser {run.config['regulariser']['name']}")
    return " · ".join(parts)


def _warnings(run: RunData, bodies: Sequence[BodyData]) -> list[str]:
    found = tables.warnings(run)
    for body in bodies:
        share = body.share_at_the_end if body.refined else None
        if share is not None and share > _MOST_AT_THE_END:
            found.append(f"{100 * share:.0f} % of the images of {body.name} lie near the end of what is plausible.")
        if body.run.last is not None and body.run.last.stop_reason == "max_iterations":
            found.append(f"Body {body.name} reached the largest number of iterations before it converged.")
    return found


def _tiles(run: RunData, bodies: Sequence[BodyData]) -> Iterable[tuple[str, ...]]:
    for body in bodies:
        if body.refined and body.run.iterated:
            degrees, angst = body.widths[-1]
            remark = f"{'in its mask' if body.run.summary else 'so far'}; moves {degrees[0]:.1f}°, {angst[0]:.1f} Å"
            yield body.name, tables.angst(body.resolution_angst), remark, "main"
    if run.progress:
        total = spent(closed(run.progress))
        yield "Time", compact(total.wall), f"{compact(total.cpu)} of processors"


def _table(bodies: Sequence[BodyData]) -> str:
    """One row per body, with a link to its page."""
    head = (
        "Body", "Resolution", "Consensus", "Rotation, °", "Displacement, Å", "Accuracy", "Change", "At the end",
        "Iterations",
    )  # fmt: skip
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _row(body))}</tr>" for body in bodies)
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f'<div class="scroll"><table class="wide"><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'


def _row(body: BodyData) -> list[str]:
    """Cells as HTML."""
    last, name = body.run.last, escape(body.name)
    if not body.refined:
        return [name, "subtracted, not refined", *[""] * 7]
    if last is None:
        return [name, "not started", *[""] * 7]
    rotation, shift = (", ".join(f"{width:.1f}" for width in widths) for widths in body.widths[-1])
    share, known = body.share_at_the_end, last.references
    page = body.run.root / "report.html"
    cells = [
        tables.angst(body.resolution_angst),
        tables.angst(body.consensus_angst),
        rotation,
        shift,
        tables.pair(known.best_accuracy_rotation_deg, known.best_accuracy_offset_angst),
        tables.pair(last.change_rotation_deg, last.change_offset_angst),
        "–" if share is None else f"{100 * share:.1f} %",
        f"{last.iteration}, {_ENDINGS[last.stop_reason]}",
    ]
    linked = f'<a href="{escape(body.run.root.name)}/report.html">{name}</a>' if page.exists() else name
    return [linked, *map(escape, cells)]


def _how_to_see_motions(run: RunData) -> str:
    if not run.summary:
        return ""
    command = f"blush motions {near(run.root)}"
    words = f"<code>{escape(command)}</code> tells what of it is motion beyond the uncertainty of poses, with maps "
    return section(
        "Motions", f"<p>{words}along it; <code>blush report {escape(str(run.root))}</code> shows it here.</p>"
    )


def _slices(bodies: Sequence[BodyData]) -> str:
    parts = []
    for body in bodies:
        images = map_figures.map_images(body.run)
        if images:
            rows = [(f"slice {axis}", one) for axis, one in zip(map_figures.AXES, images["slices"], strict=True)]
            rows += [(f"sum {axis}", one) for axis, one in zip(map_figures.AXES, images["projections"], strict=True)]
            parts += [f"<h3>{escape(body.name)}</h3>", pictures(rows)]
    return section("Slices and projections", *parts, f'<p class="note">{_SLICES}</p>') if parts else ""


def _at_work(run: RunData, bodies: Sequence[BodyData]) -> str:
    """What the reader of a page must know while the run goes on; nothing afterwards."""
    if not run.at_work:
        return ""
    done = ", ".join(f"{body.name} {body.run.last.iteration}" for body in bodies if body.refined and body.run.last)
    text = f"At work; iterations done: {done or 'none'}. "
    return f'<p class="note">{escape(text)}This page is written anew as the run goes on, and reloads itself.</p>\n'
