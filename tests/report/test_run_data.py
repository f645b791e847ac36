"""Reading a run folder."""

import dataclasses

from blush.io.files import read_json
from blush.refine.state import RefinementState
from blush.report.run_data import read_run


def test_the_states_of_these_tests_have_the_names_of_real_ones(finished_run):
    names = {field.name for field in dataclasses.fields(RefinementState)}
    assert set(read_json(finished_run / "it001/state.json")) <= names


def test_everything_a_finished_run_holds_is_read(finished_run):
    run = read_run(finished_run)
    assert run.name == "fake"
    assert [state["iteration"] for state in run.states] == [0, 1, 2, 3]
    assert sorted(run.diagnostics) == [1, 2, 3]
    assert run.box_angst == 72.0
    assert run.truth["resolution_angst"] == 12.3456
    assert len(run.poses["rot_deg"]) == 40


def test_what_is_not_there_is_empty(running):
    run = read_run(running)
    assert (run.postprocess, run.truth, run.poses, run.progress) == ({}, {}, {}, ())
