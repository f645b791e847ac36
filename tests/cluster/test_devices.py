"""How many workers a machine gets, and which GPU each."""

import os

import pytest
from cluster_helpers import compute

from blush.cluster import devices
from blush.cluster.devices import devices_of_workers, free_memory_gb, gpu_memory, usable_cores, visible_gpus


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


def test_the_memory_of_a_gpu_is_what_its_driver_says(nvidia_smi, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    nvidia_smi("NVIDIA A10G, 22500, 23028")
    (found,) = gpu_memory()
    assert (found.name, found.free_bytes, found.total_bytes) == ("GPU 2 (NVIDIA A10G)", 22500 * 2**20, 23028 * 2**20)
    nvidia_smi("No devices were found")
    assert gpu_memory() == []


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


def groups(monkeypatch, tmp_path, own, files):
    """Control groups as the kernel shows them, in a folder."""
    monkeypatch.setattr(devices, "OWN_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(devices, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(64)))
    (tmp_path / "cgroup").write_text(own)
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


JOB = "slurm/job_7/step_0"
VERSION_1 = {
    f"cpu/{JOB}/cpu.cfs_quota_us": "-1", f"cpu/{JOB}/cpu.cfs_period_us": "100000",
    "cpu/slurm/job_7/cpu.cfs_quota_us": "300000", "cpu/slurm/job_7/cpu.cfs_period_us": "100000",
    "cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000",
    f"memory/{JOB}/memory.limit_in_bytes": "9223372036854771712", f"memory/{JOB}/memory.usage_in_bytes": "100000",
    "memory/slurm/job_7/memory.limit_in_bytes": "400000000", "memory/slurm/job_7/memory.usage_in_bytes": "350000000",
    "memory/slurm/job_7/memory.stat": "cache 300000000\ntotal_inactive_file 200000000",
}  # fmt: skip
VERSION_2 = {
    f"{JOB}/cpu.max": "max 100000", f"{JOB}/memory.max": "max", f"{JOB}/memory.current": "100000",
    "slurm/job_7/cpu.max": "300000 100000", "slurm/job_7/memory.max": "400000000",
    "slurm/job_7/memory.current": "350000000", "slurm/job_7/memory.stat": "anon 1\ninactive_file 200000000",
}  # fmt: skip


@pytest.mark.parametrize(
    ("own", "files"),
    [
        (f"9:name=systemd:/{JOB}\n4:memory:/{JOB}\n1:cpu,cpuacct:/{JOB}\n", VERSION_1),
        (f"0::/{JOB}\n", VERSION_2),
        (f"2:cpu:/\n0::/{JOB}\n", {f"unified/{name}": text for name, text in VERSION_2.items()}),
    ],
    ids=["version 1", "version 2", "version 2 beside 1"],
)
def test_the_limits_of_a_job_count_wherever_in_the_tree_they_are(monkeypatch, tmp_path, own, files):
    """Here they are those of the group above this process's own; what it keeps of files counts as free."""
    groups(monkeypatch, tmp_path, own, files)
    assert usable_cores() == 3
    assert free_memory_gb() == pytest.approx(0.25)


def test_inside_a_container_the_limits_at_the_root_count(monkeypatch, tmp_path):
    """The path is one of the host's, which is not there."""
    files = {"memory.max": "400000000", "memory.current": "150000000", "cpu.max": "50000 100000"}
    groups(monkeypatch, tmp_path, "0::/docker/4f\n", files)
    assert usable_cores() == 1
    assert free_memory_gb() == pytest.approx(0.25)


def test_without_limits_or_control_groups_the_machine_counts(monkeypatch, tmp_path):
    groups(monkeypatch, tmp_path, f"0::/{JOB}\n", {f"{JOB}/cpu.max": "max 100000", f"{JOB}/memory.max": "max"})
    assert usable_cores() == 64
    assert free_memory_gb() > 0
    monkeypatch.setattr(devices, "OWN_GROUPS", tmp_path / "nothing")
    assert usable_cores() == 64
