"""Runs that share a pool: each has its own work done, though they name it alike."""

from concurrent.futures import ThreadPoolExecutor

from cluster_helpers import compute, task, until

from blush.cluster.client import run_tasks


def test_two_runs_that_ask_at_once_for_work_of_one_name_both_get_it(shared_folder, tmp_path):
    """A task of the same run is joined; one of another run is not."""
    runs = [tmp_path / "first", tmp_path / "second"]
    for run in runs:
        run.mkdir()

    def ask(run):
        return run_tasks(shared_folder, compute(), [task(run, "it001 half1 shard0", "count", "calls")], lambda _: None)

    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(ask, [runs[0], runs[0], runs[1], runs[1]]))
    assert [(run / "calls").read_text() for run in runs] == ["x", "x"]
    assert [answer["it001 half1 shard0"]["result"] for answer in answers] == ["1"] * 4


def test_work_that_a_dead_client_of_one_run_left_is_no_answer_for_another(shared_folder, tmp_path):
    """A shard under way for one run, and the same shard wanted by the next run: two results."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with ThreadPoolExecutor(1) as clients:
        begun = clients.submit(
            run_tasks, shared_folder, compute(), [task(first, "shard", "wait", "begun", 2.0)], lambda _: None
        )
        until(lambda: (first / "begun").exists(), 60)
        run_tasks(shared_folder, compute(), [task(second, "shard", "wait", "begun", 0.0)], lambda _: None)
        assert not begun.done()
        assert (second / "begun").exists()
        begun.result()
