"""The part of a page that a refinement of filaments has beside that of single particles."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import Any

import numpy as np

from blush.helix.along import Along
from blush.io.files import read_record
from blush.io.mrc import read_volume
from blush.jobs.inputs import POSE_COLUMNS, read_frozen_particles
from blush.jobs.layout import RunFolder
from blush.refine.control import HelixControl
from blush.refine.subset import Subset
from blush.report import helix_figures, tables
from blush.report.run_data import RunData, unchanged
from blush.report.sheet import figure, section

SYMMETRY = (
    "Twist in degrees and rise in Å after each iteration; both halves have the same. Right: by how much rot strays "
    "from the slow twist over 100 Å of a filament, in degrees (standard deviation), as each half learned it."
)
FILAMENTS = (
    "The longest filaments: rot in degrees less what the slow twist makes of the distance along the track in Å, about "
    "the filament's mean; what lies beyond the axis is drawn at its end. An ideal helix lies on 0; a slope is a twist "
    "that is not this one, jumps are segments that were not told apart. Arrow: which way the filament looks along its "
    "track. Crosses: segments that look the other way than most of theirs."
)
UNASKED = (
    "Whether filaments support this symmetry was not asked: `blush helix-evidence` with this run weighs it "
    "against others. An FSC refutes none, as both halves share it."
)
LAYER_LINES = (
    "Mean power (arbitrary units, logarithmic) of the map of all particles over frequency in 1/Å, across the axis and "
    "along it; the line is at "
    "one over the rise. Power there on the axis itself is a rung that repeats without a screw of half a rung."
)


def helix_section(run: RunData) -> str:
    """Rise and twist, filaments, layer lines; nothing where the run is of single particles."""
    last = run.last
    if last is None or not isinstance(last.control, HelixControl):
        return ""
    return section(
        "Filaments",
        tables.tiled(_tiles(run, last.control)),
        figure(helix_figures.symmetry(run.states), SYMMETRY),
        figure(_filaments(run, last.control), FILAMENTS),
        figure(_layer_lines(run, last.control), LAYER_LINES, "half"),
        _evidence(run),
    )


def _evidence(run: RunData) -> str:
    """What the filaments say of the symmetry, once somebody has asked."""
    path = RunFolder(run.root).evidence
    if not path.exists():
        has_ended = run.last is not None and run.last.converged
        return f'<p class="note">{escape(UNASKED)}</p>' if has_ended else ""
    conclusions = read_record(path, members=("conclusions",))["conclusions"]
    told = "".join(f"<li>{escape(text)}</li>" for text in conclusions)
    return f"<p>What filaments say of the symmetry (helix_evidence/helix_evidence.html):</p><ul>{told}</ul>"


def _tiles(run: RunData, control: HelixControl) -> list[tuple[str, ...]]:
    helix = control.helix
    found: list[tuple[str, ...]] = [
        ("Twist", f"{control.twist_deg:.3f}°", _limit("twist", control)),
        ("Rise", f"{control.rise_angst:.3f} Å", _limit("rise", control)),
    ]
    if np.isfinite(helix.crossover_angst):
        found.append(("Cross-over", f"{helix.crossover_angst:.0f} Å", "half a turn of the slow twist"))
    along = _along(run, control)
    if along is not None:
        wrong = int(along.against_most.sum())
        found += [
            ("Filaments", str(len(along.count)), f"{int(along.is_reversed.sum())} look against their track"),
            ("Against their filament", str(wrong), f"of {len(along.filament)} segments"),
            ("Spread of rot", f"{along.phase_spread_deg:.1f}°", "about the slow twist"),
        ]
    return found


def _limit(name: str, control: HelixControl) -> str:
    return "at the limit of its range" if name in control.at_limit else ""


def _along(run: RunData, control: HelixControl) -> Along | None:
    """Segments by their last poses; None before there are any."""
    if not run.iterated or "rot_deg" not in run.poses:
        return None
    columns: dict[str, Any] = {name: run.poses[name] for name in POSE_COLUMNS}
    return Along.of(replace(read_frozen_particles(run.root.absolute()), **columns), control.helix)


def _filaments(run: RunData, control: HelixControl) -> str | None:
    along = _along(run, control)
    if along is None:
        return None
    names = [str(k + 1) for k in range(len(along.count))]
    return helix_figures.filaments(along, control.helix.chain_period_deg, names)


def _layer_lines(run: RunData, control: HelixControl) -> str | None:
    path = RunFolder(run.root).map(None, Subset.ALL, "final")
    if not path.exists():
        return None
    from blush.helix.layer_lines import layer_lines

    volume, pixel = read_volume(unchanged(path))
    finest = 2 * pixel
    return helix_figures.layer_lines(layer_lines(volume), len(volume) * pixel, control.rise_angst, finest)
