"""Following a run by its files."""

import json

import pytest
from class_run_files import write_class_iterations

from blush.errors import BlushError
from blush.io.files import write_json
from blush.report.watch import Watcher, state_line, status_line


def log(root, *records, tail=""):
    with (root / "progress.jsonl").open("a") as stream:
        stream.write("".join(json.dumps(record) + "\n" for record in records) + tail)


def record(stage, time, half=1, done=0, **more):
    place = {"iteration": 2, "subset": f"half{half}", "shard": 0, "total": 20}
    return {"stage": stage, "time": time, "done": done, "seconds": time - 100.0} | place | more


def test_before_anything_is_logged_the_next_iteration_waits(running):
    status = Watcher(running).look(100.0)
    assert (status.iteration, status.stage, status.done, status.total) == (2, "waiting", 0, 40)
    assert status.seconds_left is None


def test_progress_of_shards_adds_up_and_gives_a_pace(running):
    watcher = Watcher(running)
    log(running, record("expectation", 105.0, 1, 5), record("expectation", 110.0, 1, 10))
    assert watcher.look(110.0).done == 10
    assert watcher.look(110.0).seconds_left == pytest.approx(30)  # 10 of 40 in 10 s
    log(running, record("shard", 120.0, 1, 20), record("expectation", 120.0, 2, 10))
    status = watcher.look(121.0)
    assert (status.stage, status.done) == ("expectation", 30)
    assert status.seconds_left == pytest.approx(20 / 3)
    line = status_line(status)
    assert "it 002" in line
    assert "30/40 particles" in line
    assert "6.7 s left" in line


def test_a_shard_that_starts_again_counts_from_its_new_start(running):
    log(running, record("expectation", 110.0, 1, 18), record("expectation", 115.0, 1, 2))
    assert Watcher(running).look(115.0).done == 2


def test_a_line_being_written_is_read_when_it_is_whole(running):
    watcher = Watcher(running)
    whole = json.dumps(record("expectation", 110.0, 1, 10)) + "\n"
    log(running, tail=whole[:25])
    assert watcher.look(110.0).done == 0
    log(running, tail=whole[25:])
    assert watcher.look(110.0).done == 10


def test_records_of_an_earlier_iteration_do_not_count(running):
    log(running, record("shard", 90.0, 1, 20, iteration=1))
    assert Watcher(running).look(110.0).done == 0


def test_silence_is_told(running):
    log(running, record("expectation", 110.0, 1, 10))
    assert "nothing logged" not in status_line(Watcher(running).look(200.0))
    assert "nothing logged for 10 min" in status_line(Watcher(running).look(710.0))


def test_a_finished_run_says_so(finished_run):
    watcher = Watcher(finished_run)
    status = watcher.look(2000.0)
    assert status.finished
    assert status_line(status) == "finished after iteration 3"
    line = state_line(watcher.states[2], watcher.states[3])
    assert "7.50 Å" in line
    assert "final" in line
    assert "accuracy 1.33° 0.67 Å" in line


def test_a_refined_run_without_summary_is_not_finished(running):
    path = running / "it001/state.json"
    write_json(path, json.loads(path.read_text()) | {"converged": True})
    status = Watcher(running).look(0.0)
    assert status.refined
    assert not status.finished
    assert "postprocess to come" in status_line(status)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(BlushError, match="is not a folder"):
        Watcher(tmp_path / "nothing")


def test_a_classification_shows_sizes_and_how_many_images_changed_class(tmp_path):
    write_class_iterations(tmp_path)
    watcher = Watcher(tmp_path)
    status = watcher.look(2000.0)
    assert "classified in 4 iterations" in status_line(status)
    line = state_line(watcher.states[3], watcher.states[4])
    assert "given poses" in line
    assert "classes 50.0 33.3 16.7 %" in line
    assert "changed 10.0 %" in line


def test_maps_are_a_stage_of_a_classification(tmp_path):
    write_class_iterations(tmp_path, last=1)
    log(tmp_path, {"stage": "maps", "time": 1020.0, "iteration": 2, "seconds": 1.0, "done": 1, "total": 1})
    assert "it 002 maps" in status_line(Watcher(tmp_path).look(1021.0))
