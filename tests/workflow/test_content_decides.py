"""Content decides what Snakemake does, never a file's time; damage is undone before its jobs are planned."""

import json
import os
import random
import shutil
import time

import pytest
from workflow_helpers import digests, refused, run, snakemake

LAST = "it003"
DECADE_S = 3e8


@pytest.fixture
def copied(finished, make_config, tmp_path):
    """Configuration and folder of a copy of a finished run, without what Snakemake knows of the original."""
    _, original, _ = finished
    config = make_config()
    folder = config.parent / "results" / "tiny"
    shutil.copytree(original, folder, ignore=shutil.ignore_patterns(".pool"))
    return config, folder


def files(folder):
    """Every file of a run, in the order of names, but for its lock."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


def interrupt(folder):
    """Take away what a run has not made yet that was stopped in its last iteration."""
    made = [
        "report.html",
        "summary.json",
        "run_class001.mrc",
        "run_half?_class001_unfil.mrc",
        "run_*.star",
        "postprocess",
    ]
    for pattern in [*made, f"{LAST}/state.json", f"{LAST}/poses.npz", f"{LAST}/directions.npz", f"{LAST}/maps.*"]:
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def iterations(folder):
    """Iterations that were brought to their end, one entry each time."""
    lines = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
    return sorted(line["iteration"] for line in lines if line["stage"] == "converge")


def shuffled(folder, now):
    paths = files(folder)
    random.Random(5).shuffle(paths)
    for number, path in enumerate(paths):
        os.utime(path, (now - 5000 + number,) * 2)


def all_in_the_future(folder, now):
    for path in files(folder):
        os.utime(path, (now + DECADE_S,) * 2)


def some_in_the_future(folder, now):
    for path in files(folder)[::3]:
        os.utime(path, (now + DECADE_S,) * 2)


TIMES = (shuffled, all_in_the_future, some_in_the_future)


@pytest.mark.parametrize(
    "change", [pytest.param(each, marks=[] if each is some_in_the_future else pytest.mark.slow) for each in TIMES]
)
def test_times_of_a_run_under_way_decide_nothing(change, copied, one_process):
    """A copy without its times, a restored backup, a clock that was wrong: one call, no iteration twice."""
    config, folder = copied
    before = iterations(folder)
    interrupt(folder)
    change(folder, time.time())
    said = run(snakemake(config))
    assert digests(folder) == one_process
    assert iterations(folder) == [*before, 3]
    assert "import_particles" not in said


def test_times_of_the_input_decide_nothing(finished, particles, make_config, tmp_path, one_process):
    """Dated in the future it removed the import of a run under way; Snakemake failed each job that read it."""
    own = tmp_path / "own"
    shutil.copytree(particles, own)
    for path in own.rglob("*"):
        os.utime(path, (time.time() + DECADE_S,) * 2)
    config = make_config(particles=str(own / "particles.star"), reference=str(own / "reference.mrc"))
    folder = config.parent / "results" / "tiny"
    run(snakemake(config, "--until", "start"))
    frozen = {path: path.stat().st_mtime_ns for path in (folder / "import").iterdir()}
    for path in own.rglob("*"):
        path.touch()
    assert "import_particles" not in run(snakemake(config, "--until", "start"))
    assert {path: path.stat().st_mtime_ns for path in (folder / "import").iterdir()} == frozen


def test_content_of_the_input_decides(particles, make_config, tmp_path):
    """Before the start it is imported anew, whatever its time; later it is refused, and nothing is removed."""
    own = tmp_path / "own"
    shutil.copytree(particles, own)
    star = own / "particles.star"
    config = make_config(particles=str(star), reference=str(own / "reference.mrc"))
    folder = config.parent / "results" / "tiny"
    times = star.stat()
    run(snakemake(config, "--until", "import_particles"))
    before = (folder / ".identity.json").read_bytes()
    star.write_text(star.read_text() + "\n# another\n")
    os.utime(star, ns=(times.st_atime_ns, times.st_mtime_ns))
    shutil.rmtree(config.parent / ".snakemake")
    said = run(snakemake(config, "--until", "start"))
    assert "import_particles" in said
    assert (folder / ".identity.json").read_bytes() != before
    kept = {path: path.read_bytes() for path in (folder / "import").iterdir()}
    star.write_text(star.read_text() + "# a third\n")
    said = refused(snakemake(config))
    assert "holds a refinement of other inputs or settings (particles: was" in said
    assert "give this one another `name`, or remove that folder" in said
    assert "Traceback" not in said
    assert {path: path.read_bytes() for path in (folder / "import").iterdir()} == kept
