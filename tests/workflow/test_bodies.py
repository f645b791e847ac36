"""Bodies through Snakemake: turns, one pool for all, the bytes of one process, killed and damaged on the way."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from workflow_helpers import blush, digests, kill_pool, refused, run, snakemake, until

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))

from moving_blobs import config_of, make_set

from blush.cluster.resident import announced

COMPUTE = {"device": "cpu", "memory_gb": 1, "shards_per_half": 2, "workers": 2, "pool": "local"}
SHORT = {"max_iterations": 2, "keep_iterations": 9}


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blobs")
    make_set(folder)
    return folder


@pytest.fixture
def make_bodies(blobs, tmp_path):
    """Write the configuration of a run of two bodies, below whose folder its results go."""

    def make(folder=tmp_path, **changes):
        folder.mkdir(exist_ok=True)
        path = folder / "moving.yaml"
        settings = config_of(blobs, folder / "results", compute=COMPUTE, refinement=SHORT, **changes)
        path.write_text(yaml.safe_dump(settings.model_dump(mode="json", exclude_defaults=True)))
        return path

    return make


@pytest.fixture(scope="module")
def one_process(blobs, tmp_path_factory):
    """Digests of the results of `blush multibody`."""
    folder = tmp_path_factory.mktemp("one")
    settings = config_of(blobs, folder / "results", compute=COMPUTE, refinement=SHORT)
    (folder / "moving.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json", exclude_defaults=True)))
    blush("multibody", "moving.yaml", "--quiet", cwd=folder)
    return digests(folder / "results/moving")


def test_a_dry_run_starts_all_bodies_and_makes_the_first_iteration_of_one(make_bodies):
    config = make_bodies()
    said = run(snakemake(config, "--dry-run"))
    listed = sorted(re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):", said, re.MULTILINE))
    assert listed == [
        "all", "converge", "denoise_and_trail", "expectation", "expectation", "finish", "import_particles",
        "postprocess", "postprocess", "reduce", "reduce", "report", "report", "report", "start", "start",
    ]  # fmt: skip
    assert set(re.findall(r"body\d+/it001/state", said)) == {"body001/it001/state"}
    assert not (config.parent / "results").exists()


def test_an_iteration_that_is_asked_for_brings_those_before_its_turn(make_bodies):
    config = make_bodies()
    wanted = config.parent / "results/moving/body001/it002/state.json"
    said = run(snakemake(config, "--dry-run", str(wanted)))
    made = set(re.findall(r"output: \S+/(body\d+/it\d+)/state.json", said))
    assert made == {f"body00{b}/it00{n}" for b, n in ((1, 0), (2, 0), (1, 1), (2, 1), (1, 2))}


def test_the_command_multibody_refuses_another_job(make_bodies):
    config = make_bodies(job="refine")
    said = refused([sys.executable, "-m", "blush", "multibody", str(config)])
    assert "asks for another job (found refine); set job: multibody, or use `blush refine`" in said


@pytest.mark.slow
def test_the_workflow_gives_the_bytes_of_one_process(make_bodies, one_process):
    """With one pool; then there is nothing to do, postprocessing is made again, and other settings are refused."""
    config = make_bodies()
    said = blush("run", config.name, cwd=config.parent)
    folder = config.parent / "results/moving"
    assert digests(folder) == one_process
    assert announced(folder / ".pool") is None
    assert not list(folder.glob("body*/.pool"))
    lines = [line.split()[:3] for line in said.splitlines() if " Å  local " in line]
    assert lines == [[name, "it", f"00{n}"] for n in (1, 2) for name in ("base", "arm")]
    assert "body        base: " in said
    for name in ("report.html", "body001/report.html", "body002/report.html"):
        assert (folder / name).is_file()
    assert "Nothing to be done" in run(snakemake(config))
    make_bodies(postprocess={"adhoc_bfactor_angst2": -100.0})
    assert "rule finish" in run(snakemake(config))
    after = digests(folder)
    changed = {name for name in one_process if one_process[name] != after[name]}
    assert {name.split("/")[0] for name in changed} <= {"body001", "body002", "summary.json"}
    make_bodies(seed=2)
    assert "seed: was 1, now 2" in refused(snakemake(config))


@pytest.mark.slow
def test_a_run_that_is_killed_and_damaged_continues_to_the_same_bytes(make_bodies, one_process):
    config = make_bodies()
    folder = config.parent / "results/moving"
    with subprocess.Popen(
        snakemake(config),
        cwd=config.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as victim:
        until((folder / "body002/it002/half1_sums.npz").exists, 600.0)
        os.killpg(victim.pid, signal.SIGKILL)
    kill_pool(folder)
    state = folder / "body002/it000/state.json"
    state.write_bytes(state.read_bytes()[:-40])
    run(snakemake(config))
    assert list(state.parent.glob("state.json.damaged-1"))
    assert digests(folder) == one_process
