"""What a step of a run would refuse is refused by its check, before anything is computed."""

import os

import pytest
import torch

from blush.errors import BlushError
from blush.jobs import importing, steps
from blush.jobs.importing import check_run
from blush.kernels import native
from blush.refine.state import load_state


def refusals(config) -> list[str]:
    """What the check says, and that the import says it too."""
    found = [str(problem) for problem in check_run(config).problems]
    if found:
        with pytest.raises(BlushError) as caught:
            steps.import_run(config)
        assert [str(problem) for problem in caught.value.problems] == found
    return found


CPU = {"device": "cpu", "memory_gb": 1, "shards_per_half": 3}


def test_a_good_run_is_not_refused(make_config, tmp_path):
    assert refusals(make_config(tmp_path)) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(("pool", "count"), [("local", 1), ("inline", 1), ("auto", 1), ("attach", 0)])
def test_a_gpu_that_is_not_there_is_refused_where_it_would_be_used(make_config, tmp_path, pool, count):
    scheduler = tmp_path / "scheduler.json"
    scheduler.write_text("{}")
    changes = {"scheduler_file": scheduler} if pool == "attach" else {}
    config = make_config(tmp_path, compute=CPU | {"device": "cuda", "pool": pool} | changes)
    found = [text for text in refusals(config) if "sees no GPU" in text] if count else check_run(config).problems
    assert len(found) == count


def test_a_gpu_beyond_the_last_is_refused(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    config = make_config(tmp_path, compute=CPU | {"device": "cuda:2"})
    assert "compute.device is cuda:2, but there are 2 GPUs here" in refusals(config)[0]
    assert torch.are_deterministic_algorithms_enabled() is False


def test_kernels_without_a_compiler_are_refused(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(native, "library", lambda: None)
    assert "there is no C++ compiler" in refusals(make_config(tmp_path, compute=CPU | {"kernels": "native"}))[0]


def test_a_queue_that_is_not_there_is_refused(make_config, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("BLUSH_POOL", "slurm")
    assert "SLURM's sbatch is not on PATH (found slurm)" in refusals(make_config(tmp_path))[0]


def test_a_scheduler_that_is_not_there_is_refused(make_config, tmp_path):
    config = make_config(tmp_path, compute=CPU | {"pool": "attach", "scheduler_file": tmp_path / "gone.json"})
    assert "gone.json: file does not exist; start the scheduler" in refusals(config)[0]


@pytest.mark.parametrize("name", ["output", "scratch"])
def test_a_place_where_no_folder_can_be_is_refused(make_config, tmp_path, name):
    (tmp_path / "file").touch()
    place = tmp_path / "file/below"
    config = make_config(place) if name == "output" else make_config(tmp_path, compute=CPU | {"scratch": place})
    assert (
        f"{tmp_path / 'file'}, {'' if name == 'output' else 'compute.'}{name}: is not a folder" in refusals(config)[0]
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_another_user_is_refused(make_config, tmp_path):
    (tmp_path / "theirs").mkdir(mode=0o500)
    assert "theirs, output: cannot be written to" in refusals(make_config(tmp_path / "theirs"))[0]


def test_too_little_memory_is_refused(make_config, tmp_path):
    assert "compute.memory_gb" in refusals(make_config(tmp_path, compute=CPU | {"memory_gb": 0.05}))[0]


def test_a_network_that_would_take_too_long_is_refused_unless_it_may_fail(make_config, tmp_path):
    slow = {"name": "blush", "blush": {"cpu_minutes": 1e-6}}
    assert "more than regulariser.blush.cpu_minutes" in refusals(make_config(tmp_path, regulariser=slow))[0]
    assert refusals(make_config(tmp_path, regulariser=slow | {"fallback": "wiener"})) == []


def test_a_folder_of_another_refinement_is_refused(make_config, run):
    config = make_config(run.parent, name=run.name, initial_lowpass_angst=41)
    assert (
        "holds a refinement of other inputs or settings (initial_lowpass_angst: was 40.0, now 41.0"
        in (refusals(config)[0])
    )
    assert load_state(run / "it003/state.json").iteration == 3


def test_the_check_writes_nothing(make_config, tmp_path):
    assert importing.check_run(make_config(tmp_path / "out")).problems == []
    assert list(tmp_path.iterdir()) == []
