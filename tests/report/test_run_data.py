"""Reading a run folder."""

import json

import pytest

from blush.errors import BlushError
from blush.report.run_data import read_run


def test_everything_a_finished_run_holds_is_read(finished_run):
    run = read_run(finished_run)
    assert run.name == "fake"
    assert [state.iteration for state in run.states] == [0, 1, 2, 3]
    assert sorted(run.diagnostics) == [1, 2, 3]
    assert run.box_angst == 72.0
    assert run.truth["resolution_angst"] == 12.3456
    assert len(run.poses["rot_deg"]) == 40


def test_what_is_not_there_is_empty(running):
    run = read_run(running)
    assert (run.postprocess, run.truth, run.poses, run.progress) == ({}, {}, {}, ())


def test_a_run_of_another_version_is_refused_by_the_file_that_says_so(running):
    path = running / "it001/state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"algorithm_version": 8}))
    with pytest.raises(BlushError, match=r"(?s)it001/state.json.*algorithm version 8"):
        read_run(running)
