"""How many workers a machine gets, and which GPU each."""

import os

import pytest
from cluster_helpers import compute

from blush.cluster import devices
from blush.cluster.devices import devices_of_workers, free_memory_gb, usable_cores, visible_gpus


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A machine whose nvidia-smi lists what a test wants."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def lists(text, status=0):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {status}\n")
        program.chmod(0o755)

    return lists


def test_gpus_are_counted_and_their_partitions_are_not(nvidia_smi):
    nvidia_smi("GPU 0: H200 (UUID: GPU-a)\n  MIG 1g.18gb Device 0: (UUID: MIG-b)\nGPU 1: H200 (UUID: GPU-c)")
    assert visible_gpus() == ["0", "1"]


def test_a_driver_that_fails_means_no_gpu(nvidia_smi):
    nvidia_smi("GPU 0: but the driver does not answer", status=9)
    assert visible_gpus() == []


@pytest.mark.parametrize(("value", "expected"), [("2,5", ["2", "5"]), ("", []), ("-1", []), ("GPU-a", ["GPU-a"])])
def test_the_environment_limits_the_gpus(monkeypatch, value, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert visible_gpus() == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"workers": "auto", "device": "auto"}, ["0", "3"]),
        ({"workers": 3, "device": "auto"}, ["0", "3", "0"]),
        ({"workers": "auto", "device": "cuda"}, ["0", "3"]),
        ({"workers": "auto", "device": "cuda:1"}, [None]),
        ({"workers": 2, "device": "cpu"}, [None, None]),
    ],
)
def test_each_worker_has_a_gpu_of_its_own_while_they_last(monkeypatch, changes, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert devices_of_workers("local", compute(**changes)) == expected


@pytest.mark.parametrize(
    ("cores", "free_gb", "threads", "expected"), [(8, 100.0, 1, 8), (8, 100.0, 2, 4), (8, 9.0, 1, 2), (2, 1.0, 4, 1)]
)
def test_without_gpus_cores_and_memory_decide(monkeypatch, cores, free_gb, threads, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(devices, "usable_cores", lambda: cores)
    monkeypatch.setattr(devices, "free_memory_gb", lambda: free_gb)
    wanted = compute(workers="auto", device="auto", threads_per_worker=threads, memory_gb=4.0)
    assert devices_of_workers("local", wanted) == [None] * expected


def test_on_slurm_each_job_finds_its_own_device():
    assert devices_of_workers("slurm", compute(workers="auto")) == [None] * 4
    assert devices_of_workers("slurm", compute(workers=7)) == [None] * 7


def test_cores_and_memory_of_this_machine():
    assert 1 <= usable_cores() <= os.cpu_count()
    total_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    assert 0 < free_memory_gb() <= total_gb
