"""Fed with what RELION 3.1.3 measured in its own refinements, the control of the iterations decides as it did.

`relion_decisions.json` says how it was recorded. Accuracies of an iteration are those that the next one printed:
RELION measures them at the start of an iteration, before it decides.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blush.maximization.resolution import resolutions_angst
from blush.refine.changes import PoseChange
from blush.refine.control import ControlSettings
from blush.refine.convergence import IterationResult, next_state
from blush.refine.start import FirstSampling, ParticleGeometry, first_state
from blush.refine.state import State

RUNS = json.loads((Path(__file__).parent / "relion_decisions.json").read_text())["runs"]
DECISIONS = ("healpix_order", "local", "offset_range_angst", "offset_step_angst", "current_size_px")
COUNTERS = ("no_resolution_gain", "no_large_changes")


def start(run: dict[str, Any]) -> State:
    box, pixel = run["box_px"], run["pixel_size_angst"]
    sampling = FirstSampling(run["healpix_order"], run["offset_range_px"] * pixel, run["offset_step_px"] * pixel)
    settings = ControlSettings(run["initial_lowpass_angst"], max_iterations=998)
    geometry = ParticleGeometry(box, pixel, run["particle_diameter_angst"], "C1", 1)
    return first_state(geometry, sampling, settings, np.ones((2, 1, box // 2 + 1)), 1, True)


def result(state: State, recorded: dict[str, Any], following: dict[str, Any]) -> IterationResult:
    ssnr, extent_angst = np.array([recorded["ssnr"]]), state.facts.box_px * state.facts.pixel_size_angst
    references = replace(
        state.references,
        fsc=np.array([recorded["fsc"]]),
        ssnr=ssnr,
        resolution_angst=resolutions_angst(ssnr, extent_angst, over_gaps=not state.final),
        accuracy_rotation_deg=(following["accuracy_rotation_deg"],),
        accuracy_offset_angst=(following["accuracy_offset_angst"],),
    )
    return IterationResult(
        images=state.images,
        references=references,
        average_pmax=recorded["average_pmax"],
        log_likelihood=0.0,
        change=PoseChange(recorded["change_rotation_deg"], recorded["change_offset_angst"]),
    )


def replay(run: dict[str, Any]) -> list[State]:
    """States 0, 1, ...: each ready for the iteration after it."""
    states, recorded = [start(run)], run["iterations"]
    for now, following in zip(recorded, [*recorded[1:], recorded[-1]], strict=True):
        states.append(next_state(states[-1], result(states[-1], now, following)))
    return states


@pytest.mark.parametrize("name", sorted(RUNS))
def test_sampling_and_image_size_of_every_iteration_are_relions(name):
    recorded = RUNS[name]["iterations"]
    for state, iteration in zip(replay(RUNS[name]), recorded, strict=False):
        for field in DECISIONS:
            assert getattr(state.search, field) == pytest.approx(iteration[field], abs=1e-5), (
                iteration["iteration"],
                field,
            )


@pytest.mark.parametrize("name", sorted(RUNS))
def test_resolution_flags_and_counters_are_relions(name):
    states = replay(RUNS[name])
    for before, after, iteration in zip(states, states[1:], RUNS[name]["iterations"], strict=False):
        assert after.resolution_angst == pytest.approx(iteration["resolution_angst"], abs=1e-5)
        assert after.control.high_fsc_at_limit == iteration["high_fsc_at_limit"]
        assert after.control.increment_shells == iteration["increment_shells"]
        if (
            after.search.healpix_order == before.search.healpix_order
        ):  # RELION writes its counters before a step resets them
            assert [getattr(after.control, field) for field in COUNTERS] == [iteration[field] for field in COUNTERS]


def test_the_last_iteration_starts_where_relions_did():
    run = RUNS["noisier_to_convergence"]
    finals = [state.iteration for state in replay(run) if state.final]
    assert finals == [run["converged_after"]]
    assert replay(run)[-1].stop_reason == "converged"


def test_the_recorded_refinements_take_every_kind_of_decision():
    orders = {i["healpix_order"] for run in RUNS.values() for i in run["iterations"]}
    assert orders == {1, 2}
    assert any(i["high_fsc_at_limit"] for run in RUNS.values() for i in run["iterations"])
    assert any(run["converged_after"] for run in RUNS.values())
