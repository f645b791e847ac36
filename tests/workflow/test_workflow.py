"""A whole refinement through Snakemake: the same bytes as in one process, nothing done twice, nothing lost."""

import os
import re
import signal
import subprocess

import pytest
from workflow_helpers import ROOT, blush, digests, kill_pool, refused, run, snakemake, until

from blush.cluster.resident import announced


def jobs(text):
    """Rules of the jobs that Snakemake ran, or would run."""
    return sorted(re.findall(r"^(?:local)?(?:rule|checkpoint) (\w+):", text, re.MULTILINE))


def test_a_dry_run_lists_the_first_iteration_and_writes_nothing(make_config):
    config = make_config()
    listed = jobs(run(snakemake(config, "--dry-run")))
    last = ["import_particles", "postprocess", "reduce", "reduce", "report", "start"]
    assert listed == ["all", "converge", "denoise_and_trail", "expectation", "expectation", *last]
    assert not (config.parent / "results").exists()


def test_mistakes_of_the_configuration_are_all_told_before_any_job(make_config):
    config = make_config(symmetry="X9", particle_diameter_angst=-1, symetry="C1")
    said = refused(snakemake(config))
    assert "has 3 mistake(s)" in said
    for mistake in (
        "symmetry: no such point group",
        "particle_diameter_angst: has to be greater",
        "symetry: is no setting; did you mean symmetry?",
    ):
        assert mistake in said
    assert "Traceback" not in said
    assert not (config.parent / "results").exists()


def test_a_configuration_has_to_be_given(tmp_path):
    command = snakemake(tmp_path / "none.yaml")
    assert "give one configuration: --configfile my.yaml" in refused(command[: command.index("--configfile")])


def test_the_workflow_gives_the_bytes_of_one_process(finished, one_process):
    _, folder, found = finished
    assert found == one_process
    for name in ("report.html", "summary.json", "run_class001.mrc", "postprocess/fsc.xml"):
        assert (folder / name).stat().st_size > 0
    assert announced(folder / ".pool") is None, "the pool ends with the workflow"
    assert not list(folder.glob("it*/half*_shard*")), "results of shards are removed"


def test_only_what_a_setting_decides_is_made_again(finished, make_config):
    config, folder, before = finished
    assert "Nothing to be done" in run(snakemake(config))
    make_config(config.parent, postprocess={"adhoc_bfactor_angst2": -100.0}, compute={"workers": 1})
    assert jobs(run(snakemake(config))) == ["all", "postprocess", "report"]
    after = digests(folder)
    changed = {name for name in before if before[name] != after[name]}
    assert "postprocess/postprocess.mrc" in changed
    assert all(name.startswith("postprocess/") or name == "summary.json" for name in changed)
    make_config(config.parent, seed=2)
    said = refused(snakemake(config))
    assert "holds a refinement of other settings" in said
    assert "seed: was 1, now 2; give this refinement another `name`" in said
    assert digests(folder) == after


def test_a_killed_run_continues_to_the_same_bytes_past_a_truncated_file(make_config, one_process):
    """Killed in the expectation step of iteration 2, which leaves half a file under a declared name.

    The pool is stopped to hold the step; a resumed run that looked for interrupted jobs only in the first iteration
    would take the file for whole.
    """
    config = make_config()
    folder = config.parent / "results" / "tiny"
    with subprocess.Popen(snakemake(config), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as victim:
        until((folder / "it001" / "half1_sums.npz").exists)
        pool = announced(folder / ".pool")["pid"]
        try:
            # Not the maps: their client still waits for the pool's answer when the file is there.
            until((folder / "it001" / "state.json").exists)
            os.kill(pool, signal.SIGSTOP)
            until(lambda: "half1" in read(folder / "logs" / "it002_expectation_half1.log"))
            clients = [int(pid) for pid in children(victim.pid)]
        finally:
            victim.kill()  # or leaving the block would wait for it
        victim.wait()
        victim.stdout.read()
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in clients))
    assert not (folder / "it002" / "half1_shards.json").exists()
    (folder / "it002").mkdir(exist_ok=True)
    (folder / "it002" / "half1_shards.json").write_text('{"subset": "half1", "iter')
    kill_pool(folder)
    said = run(snakemake(config))
    assert re.search(r"expectation:\n(.*\n){0,4}.*it002/half1_shards.json", said), said
    assert digests(folder) == one_process


def read(path):
    return path.read_text() if path.exists() else ""


def children(pid):
    """Processes that a process has started and not yet waited for, and theirs."""
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return listed + [below for child in listed for below in children(child)]


def test_a_second_run_of_a_folder_is_refused_while_the_first_lives(make_config):
    config = make_config()
    folder = config.parent / "results" / "tiny"
    code = (
        f"from pathlib import Path; from blush.cluster.lock import hold_run; hold_run(Path({str(folder)!r})); input()"
    )
    with subprocess.Popen(["python3", "-c", code], stdin=subprocess.PIPE, cwd=ROOT) as holder:
        until(lambda: (folder / ".lock").exists() and (folder / ".lock").read_text())
        said = refused(snakemake(config))
        assert "this refinement is running already" in said
        assert f"process {holder.pid} on " in said
        holder.communicate(b"\n")
    assert jobs(said) == []


def test_input_that_cannot_be_used_is_told_in_the_log_that_snakemake_shows(make_config, tmp_path):
    (tmp_path / "empty.star").write_text("")
    said = refused(snakemake(make_config(particles=str(tmp_path / "empty.star"))))
    assert "blush: " in said
    assert "empty.star" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_without_a_pool_each_job_brings_its_own_workers(make_config, tmp_path):
    places = [tmp_path / name for name in ("rules", "one")]
    for place in places:
        place.mkdir()
    short = {"refinement": {"max_iterations": 1}, "compute": {"pool": "inline"}}
    configs = [make_config(place, **short) for place in places]
    run(snakemake(configs[0]))
    blush("refine", configs[1], "--quiet", cwd=places[1])
    rules, one = (place / "results" / "tiny" for place in places)
    assert digests(rules) == digests(one)
    assert announced(rules / ".pool") is None


def test_no_part_of_a_path_reaches_a_shell(make_config, tmp_path):
    """Blanks, quotes and commands in the name of the output are a name; what `$(...)` says is not done."""
    config = make_config(output="a b'c;$(touch executed)", refinement={"max_iterations": 1})
    run(snakemake(config))
    assert list(config.parent.glob("a b*/*/run_class001.mrc"))
    assert not [path for folder in (ROOT, config.parent, tmp_path) for path in folder.rglob("executed")]


def test_a_path_that_snakemake_cannot_hold_is_told(make_config):
    assert "takes the braces { } of a path for wildcards" in refused(snakemake(make_config(output="set {x}")))
