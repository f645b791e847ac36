"""Whatever the system has against an input is told in one line with the file's name, by every command."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from blush.cli.main import main
from blush.io.mrc import write_stack, write_volume

BOX = 16
PARTICLES = """data_optics
loop_
_rlnOpticsGroup
_rlnVoltage
_rlnSphericalAberration
_rlnAmplitudeContrast
_rlnImagePixelSize
_rlnMtfFileName
1 300 2.7 0.1 3 mtf.star

data_particles
loop_
_rlnImageName
_rlnOpticsGroup
_rlnDefocusU
"""
CONFIG = """name: run
particles: particles.star
reference: reference.mrc
mask: mask.mrc
particle_diameter_angst: 30
postprocess: {mask: final_mask.mrc}
truth: {particles: truth.star, map: true_map.mrc, mask: true_mask.mrc}
compute: {device: cpu}
"""
OPTIMISER = """data_optimiser_general
_rlnExperimentalDataStarFile posed.star
_rlnModelStarFile run_model.star
"""
MODEL = """data_model_general
_rlnNormCorrectionAverage 1
data_model_classes
loop_
_rlnReferenceImage
half1.mrc
data_model_groups
loop_
_rlnGroupNumber
_rlnGroupScaleCorrection
1 1
"""
CALL = "run_it003_half1_class001_external_reconstruct.star"
HALVES = ["half1.mrc", "half2.mrc"]
COMMANDS: dict[str, tuple[list[str], list[str]]] = {
    "import": (["import", "run.yaml"], ["run.yaml", "particles.star", "reference.mrc", "mask.mrc", "stack.mrcs"]),
    "check": (
        ["import", "--check-only", "run.yaml"],
        ["final_mask.mrc", "truth.star", "true_map.mrc", "true_mask.mrc", "mtf.star"],
    ),
    "check-weights": (["import", "--check-only", "weights.yaml"], ["net.safetensors"]),
    "refine-weights": (["refine", "weights.yaml", "--quiet"], ["net.safetensors"]),
    "check-star": (["import", "--check-only", "particles.star"], ["particles.star", "stack.mrcs"]),
    "refine": (["refine", "run.yaml", "--quiet"], ["run.yaml", "particles.star"]),
    "compare": (["compare-regularisers", "run.yaml", "--regularisers", "wiener"], ["run.yaml", "reference.mrc"]),
    "check-regulariser": (["check-regulariser", "--config", "weights.yaml", "--maps"], ["weights.yaml"]),
    "fsc": (["fsc", *HALVES, "--mask", "mask.mrc"], [*HALVES, "mask.mrc"]),
    "postprocess": (
        ["postprocess", "--half1", "half1.mrc", "--half2", "half2.mrc", "--mask", "mask.mrc", "--mtf", "mtf.star",
         "--mtf-pixel-size", "3"],
        [*HALVES, "mask.mrc", "mtf.star"],
    ),
    "denoise": (
        ["denoise", *HALVES, "--out", "out", "--method", "blush", "--weights", "net.safetensors", "--mask", "mask.mrc"],
        [*HALVES, "mask.mrc", "net.safetensors"],
    ),
    "subtract": (
        ["subtract", "posed.star", "--map", "half1.mrc", "--mask", "mask.mrc", "--output", "out"],
        ["posed.star", "stack.mrcs", "half1.mrc", "mask.mrc", "mtf.star"],
    ),
    "subtract-optimiser": (
        ["subtract", "run_optimiser.star", "--mask", "mask.mrc", "--output", "out"],
        ["run_optimiser.star", "run_model.star"],
    ),
    "select": (["select", "classes.star", "--classes", "1"], ["classes.star", "stack.mrcs"]),
    "revert": (["subtract", "--revert", "subtracted.star", "--output", "out"], ["subtracted.star"]),
    "lafter": (["lafter", *HALVES, "--out", "out.mrc", "--mask", "mask.mrc"], [*HALVES, "mask.mrc"]),
    "external": (["external-reconstruct", CALL, "--config", "call.yaml"], [CALL, "call.yaml"]),
    "import-weights": (["import-weights", "bundle.gz", "out.safetensors"], ["bundle.gz"]),
    "simulate": (["simulate", "simulate.yaml", "--out", "set", "--model", "model.pdb"], ["simulate.yaml", "model.pdb"]),
    "train": (["train", "train.yaml"], ["train.yaml"]),
}  # fmt: skip
CASES = [(name, file) for name, (_, files) in COMMANDS.items() for file in files]
RUN_COMMANDS = {
    "start": ["start", "RUN", "--here"],
    "start in a pool": ["start", "RUN"],
    "expectation": ["expectation", "RUN", "--iteration", "1", "--subset", "half1", "--here"],
    "reduce": ["reduce", "RUN", "--iteration", "1", "--subset", "half1", "--here"],
    "denoise-and-trail": ["denoise-and-trail", "RUN", "--iteration", "1", "--here"],
    "converge": ["converge", "RUN", "--iteration", "1"],
    "postprocess": ["postprocess", "RUN"],
    "report": ["report", "RUN"],
    "watch": ["watch", "RUN", "--once"],
}


def as_folder(path: Path) -> None:
    path.mkdir()


def as_pipe(path: Path) -> None:
    os.mkfifo(path)


def as_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def as_loop(path: Path) -> None:
    path.symlink_to(path.name)


def as_empty(path: Path) -> None:
    path.touch()


def as_failing(path: Path) -> None:
    path.symlink_to("/proc/self/mem")  # opens, and says EIO or ESRCH when it is read


def as_secret(path: Path) -> None:
    path.touch(0o000)


FAULTS = [as_folder, as_pipe, as_dangling_link, as_loop, as_empty, as_failing]
if os.geteuid() != 0:  # root may read everything
    FAULTS.append(as_secret)


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good inputs of every command; what is made of them does not matter."""
    root, generator = tmp_path_factory.mktemp("good"), np.random.default_rng(0)
    for name in ("reference", "true_map", "half1", "half2", "mask", "final_mask", "true_mask"):
        write_volume(root / f"{name}.mrc", generator.random((BOX,) * 3), 3.0)
    write_stack(root / "stack.mrcs", generator.standard_normal((4, BOX, BOX)).astype(np.float32), 3.0)
    mtf = "data_\nloop_\n_rlnResolutionInversePixel\n_rlnMtfValue\n0.0 1.0\n0.5 0.2\n"
    (root / "mtf.star").write_text(mtf)
    rows = "".join(f"{i + 1}@stack.mrcs 1 10000\n" for i in range(4))
    for name in ("particles", "truth"):
        (root / f"{name}.star").write_text(PARTICLES + rows)
    angles = "_rlnAngleRot\n_rlnAngleTilt\n_rlnAnglePsi\n_rlnGroupNumber\n"
    posed = "".join(f"{i + 1}@stack.mrcs 1 10000 {i} 20 30 1\n" for i in range(4))
    (root / "posed.star").write_text(PARTICLES + angles + posed)
    (root / "classes.star").write_text(f"{PARTICLES}_rlnClassNumber\n1@stack.mrcs 1 10000 1\n")
    (root / "subtracted.star").write_text(f"{PARTICLES}_rlnImageOriginalName\n1@x.mrcs 1 10000 1@stack.mrcs\n")
    (root / "run_optimiser.star").write_text(OPTIMISER)
    (root / "run_model.star").write_text(MODEL)
    weights = "regulariser: {name: blush, blush: {weights: net.safetensors}}\n"
    (root / "run.yaml").write_text(CONFIG)
    (root / "weights.yaml").write_text(CONFIG + weights)
    (root / "simulate.yaml").write_text("imaging: {n_particles: 4, box_px: 16}\n")
    (root / "call.yaml").write_text("regulariser: {name: wiener}\n")
    return root


@pytest.fixture
def blush(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a command in a copy of the folder: its status, and what it printed."""
    shutil.copytree(good, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def run(words: list[str]) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["blush", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.out + printed.err

    return run


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize(("command", "name"), CASES, ids=[f"{command}-{name}" for command, name in CASES])
def test_an_input_that_cannot_be_read_is_named(blush, tmp_path, command, name, fault: Callable[[Path], None]):
    (tmp_path / name).unlink(missing_ok=True)
    fault(tmp_path / name)
    status, printed = blush(COMMANDS[command][0])
    assert status == 2, printed
    about = [line for line in printed.splitlines() if name in line]
    assert about
    if fault is as_pipe:
        assert "is not a file but a pipe" in printed
    if fault is as_folder:
        assert "is not a file but a folder" in printed
    if fault is as_dangling_link:
        assert "is a link to a file that does not exist (found nowhere)" in printed


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("command", [name for name in RUN_COMMANDS if name != "watch"])
def test_a_folder_that_is_no_run_is_named(blush, tmp_path, command, fault):
    fault(tmp_path / "RUN")
    status, printed = blush(RUN_COMMANDS[command])
    assert status == 2, printed
    assert "RUN" in printed


def test_nothing_but_a_run_is_watched(blush, tmp_path):
    as_folder(tmp_path / "RUN")
    status, printed = blush(RUN_COMMANDS["watch"])
    assert (status, "RUN: holds no run" in printed) == (2, True)
    as_empty(tmp_path / "FILE")
    status, printed = blush(["watch", "FILE", "--once"])
    assert (status, "FILE: is not a folder" in printed) == (2, True)
