"""A slider over the iterations: slices of each, its sampling in words, its FSC among the others."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from itertools import pairwise

from blush.io.files import load_npz
from blush.jobs.layout import SLICES, RunFolder
from blush.refine.schedule import angular_step_deg
from blush.refine.state import State
from blush.report import captions, fsc_figures
from blush.report.map_figures import AXES, png
from blush.report.run_data import RunData, unchanged
from blush.report.sheet import figure, pictures
from blush.report.tables import angst


def steps(run: RunData) -> str:
    """HTML of the slider and of what it chooses from; without scripts the last iteration is shown."""
    if not run.iterated:
        return ""
    last = run.iterated[-1].iteration
    shown = "".join(_step(run, used, state, state.iteration == last) for used, state in pairwise(run.states))
    script = files("blush.report").joinpath("iteration_steps.js").read_text(encoding="utf-8")
    return (
        '<div class="controls"><label>Iteration <input type="range" id="iteration-chosen" '
        f'min="1" max="{last}" step="1" value="{last}"></label></div>\n'
        f'<div class="pair"><div class="step">{shown}<p class="note">{captions.STEPS}</p></div>\n'
        f"{figure(fsc_figures.iteration_fsc(run), captions.ITERATION_FSC)}</div>\n<script>\n{script}</script>"
    )


def _step(run: RunData, used: State, state: State, is_last: bool) -> str:
    """What one iteration found, and with which sampling."""
    search = used.search
    step_deg = angular_step_deg(search.healpix_order, search.oversampling)
    words = (
        f"Iteration {state.iteration}{', both halves joined' if used.final else ''}: {angst(state.resolution_angst)}; "
        f"{'local' if search.local else 'global'} search, step {step_deg:.2g}°, "
        f"images of {search.current_size_px} px; P max {state.average_pmax:.2f}"
    )
    hidden = "" if is_last else " hidden"
    images = _slices(run, state.iteration)
    return f'<div data-step="{state.iteration}"{hidden}><p><strong>{escape(words)}</strong></p>{images}</div>'


def _slices(run: RunData, iteration: int) -> str:
    """Pictures of the slices that an iteration kept; none of those that were made before any were kept."""
    path = RunFolder(run.root).spectra(iteration)
    found = load_npz(unchanged(path), starts=(SLICES,)) if path.exists() else {}
    if SLICES not in found:
        return ""
    return pictures([(f"slice {axis}", png(cut)) for axis, cut in zip(AXES, found[SLICES], strict=True)])
