"""A training through Snakemake, from a stand-in of EMDB to weights: whole, and killed and resumed."""

import json
import logging
import os
import platform
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "emdb"))
sys.path.insert(0, str(Path(__file__).parent))

from standin import StandIn, example_entries
from workflow_helpers import ROOT, run, until

from blush.denoise.weights import load_weights

LOG = logging.getLogger(__name__)
TRAINING = {
    "name": "tiny",
    "network": {"width": 2, "depth": 2, "voxel_size_angst": 3.2, "dropout": 0.1},
    "curate": {"strict": False},
    "evaluate": {"share": 0.3, "maps": 1, "tested": 1, "bootstrap": 20, "rivals": ["wiener"]},
    "fit": {"steps": 30, "stages": [{"share": 1, "block_px": 16, "batch": 2}], "device": "cpu", "warmup_steps": 3,
            "checkpoint_minutes": 0.002},
}  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with StandIn(tmp_path_factory.mktemp("archive"), example_entries()) as server:
        yield server


def configure(folder: Path, server: StandIn) -> Path:
    """Configuration of a training on the stand-in, whose results go below the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    emdb = {"enabled": True, "api_url": f"{server.url}/api", "files_url": f"{server.url}/files", "interval_s": 0}
    content = TRAINING | {"sources": {"emdb": emdb}, "output": str(folder / "training")}
    (folder / "train.yaml").write_text(yaml.safe_dump(content))
    return folder / "train.yaml"


def start(config: Path) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "train",
        "--profile",
        str(ROOT / "profiles" / "local"),
        "--cores",
        "2",
    ]
    command += ["--snakefile", str(ROOT / "workflow" / "Snakefile"), "--configfile", str(config)]
    with (config.parent / "log.txt").open("a") as log:
        return subprocess.Popen(command, cwd=config.parent, stdout=log, stderr=log, start_new_session=True)


def finish(config: Path) -> Path:
    """Run to the end; the folder of the training."""
    assert start(config).wait(600) == 0, (config.parent / "log.txt").read_text()[-4000:]
    return config.parent / "training" / "tiny"


def results(folder: Path) -> dict[str, object]:
    """What must be the same, however often it was killed."""
    losses = [line.rsplit("\t", 1)[0] for line in (folder / "fit" / "losses.tsv").read_text().splitlines()]
    evaluation = json.loads((folder / "evaluation" / "evaluation.json").read_text())
    evaluation.pop("seconds_per_map")
    return {
        "manifest": (folder / "download" / "manifest.tsv").read_bytes(),
        "index": (folder / "maps" / "index.json").read_bytes(),
        "losses": losses,
        "weights": (folder / "export" / "tiny.safetensors").read_bytes(),
        "evaluation": evaluation,
    }


@pytest.fixture(scope="module")
def whole(archive: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish(configure(tmp_path_factory.mktemp("whole"), archive))


def test_from_query_to_weights(whole: Path) -> None:
    weights = load_weights(whole / "export" / "tiny.safetensors")
    assert (weights.card.width, weights.card.voxel_size_angst, weights.card.licence) == (2, 3.2, "CC0-1.0")
    manifest = json.loads((whole / "export" / "manifest.json").read_text())
    assert manifest["machines"] == [f"CPU, {platform.machine()}, 1 process"]
    assert (whole / "export" / "emdb_manifest.tsv").read_bytes() == (whole / "download" / "manifest.tsv").read_bytes()
    assert manifest["weights_sha256"] == weights.sha256
    assert {entry["name"] for entry in manifest["entries"]} == {f"EMD-{n}" for n in range(100, 106)}
    assert (manifest["steps"], manifest["patches"]) == (30, 60)
    card = (whole / "export" / "MODEL_CARD.md").read_text()
    assert weights.sha256 in card
    assert "FAILED" in card  # a network of 30 steps does not help, and the card says so
    for page in ("curation/curation.html", "fit/fit.html", "evaluation/evaluation.html"):
        assert "<svg" in (whole / page).read_text()
    assert ">learning rate</text>" in (whole / "fit" / "fit.html").read_text()


def test_the_same_command_has_nothing_left_to_do(whole: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file() and path.name != ".lock"}
    finish(whole.parents[1] / "train.yaml")
    changed = [path.name for path, time_ in times.items() if path.stat().st_mtime_ns != time_]
    assert set(changed) <= {"settings.json"}


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[StandIn]:
    """The same archive, slow and out of order: busy, broken, and closing connections in the middle of a file."""
    with StandIn(tmp_path / "archive", example_entries()) as server:
        server.faults.retry_after, server.faults.delay_s = "0", 0.002
        server.faults.status = {"EMD-10[02]/.*_half_map_1": [429, 2], "api/entry/EMD-103": [500, 1]}
        server.faults.cut = {"EMD-10[14]/.*_half_map_2": [100_000, 2]}
        yield server


def test_ctrl_c_stops_it_with_a_word_of_how_to_go_on(archive: StandIn, tmp_path: Path) -> None:
    config = configure(tmp_path, archive)
    process = start(config)
    until((tmp_path / "training/tiny/logs/fetch.log").exists)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 1
    said = (tmp_path / "log.txt").read_text()
    assert said.splitlines()[-1].startswith("blush: stopped; the same command continues this training; logs: ")
    assert "Error" not in said
    assert "Traceback" not in said


def step_under_way(folder: Path) -> str:
    """The step that wrote the latest log."""
    logs = sorted((folder / "logs").glob("*.log"), key=lambda path: path.stat().st_mtime)
    return logs[-1].stem if logs else "no step yet"


def was_killed(config: Path, moment_s: float) -> bool:
    """Start, and SIGKILL Snakemake with all its steps after a time; False where all was done before."""
    process = start(config)
    try:
        code = process.wait(moment_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        LOG.info("killed after %.1f s: %s", moment_s, step_under_way(config.parent / "training" / "tiny"))
        return True
    assert code == 0, (config.parent / "log.txt").read_text()[-4000:]
    return False


def test_killed_and_resumed_it_ends_the_same(faulty: StandIn, whole: Path, tmp_path: Path) -> None:
    """As often as asked, over as many trainings as that takes: one that is done cannot be killed.

    scripts/train_kill_test.sh asks for more.
    """
    wanted, moments = int(os.environ.get("BLUSH_KILLS", "2")), random.Random(os.environ.get("BLUSH_KILL_SEED", "1"))
    expected, kills, trainings = results(whole), 0, 0
    while kills < wanted:
        trainings += 1
        config = configure(tmp_path / f"training{trainings}", faulty)
        while kills < wanted and was_killed(config, moments.uniform(2, 16)):
            kills += 1
        assert results(finish(config)) == expected
    LOG.info("%d kills of %d training(s)", kills, trainings)
    assert not any(left for _, left in [*faulty.faults.status.values(), *faulty.faults.cut.values()]), "a fault unmet"


def test_snakemake_finds_nothing_to_complain_about_in_a_training(archive: StandIn, tmp_path: Path) -> None:
    run([sys.executable, "-m", "snakemake", "--lint", "--snakefile", str(ROOT / "workflow" / "Snakefile"),
         "--configfile", str(configure(tmp_path, archive))], tmp_path)  # fmt: skip


def test_without_a_target_the_whole_training_is_planned(archive: StandIn, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "workflow" / "Snakefile"),
        "--cores",
        "1",
        "--dry-run",
    ]
    command += ["--configfile", str(configure(tmp_path, archive))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    planned = {line.split()[0] for line in (done.stdout + done.stderr).splitlines() if line.strip()}
    assert {"fetch", "curate", "prepare", "fit", "evaluate", "export", "train"} <= planned


def test_a_mixed_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({"sources": {}, "particles": "x.star"}))
    process = start(tmp_path / "train.yaml")
    assert process.wait(60) != 0
    text = (tmp_path / "log.txt").read_text()
    assert "has sources, as a training, and particles, as a refinement; keep one of them" in text


def test_mistakes_of_a_training_are_told_before_any_job(tmp_path: Path) -> None:
    content = {"name": "x", "sources": {"simulated": {"models": "m.npz"}}, "fit": {"steps": 0}, "foo": 1}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(content))
    process = start(tmp_path / "train.yaml")
    assert process.wait(60) != 0
    text = (tmp_path / "log.txt").read_text()
    assert "fit.steps" in text
    assert "foo" in text
