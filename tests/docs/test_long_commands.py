"""Commands of pages that take half an hour and more as they are written, on as little as they take."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from page_commands import ROOT, command_lines, text_of

MODELS = ROOT.parent / "shared/data/models"
pytestmark = [pytest.mark.slow, pytest.mark.thorough]


def run_in_a_clone(line, **changes):
    """A line of a page where it is meant to run, with other words for some of its own."""
    for old, new in changes.items():
        assert old in line, line
        line = line.replace(old, str(new))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PATH": path}
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.shared
@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared data folder is not there")
@pytest.mark.skipif(shutil.which("relion_refine") is None, reason="no RELION on this machine")
def test_the_amyloids_of_the_benchmark(tmp_path):
    make, paired, peer = (line for line in command_lines(text_of("docs/helical.md")) if "benchmarks/" in line)
    code, said = run_in_a_clone(f"{make} --particles 48", TARGET=tmp_path, MODELS=MODELS)
    assert code == 0, said
    few = ["refinement.max_iterations=2"]
    code, said = run_in_a_clone(f"{paired} --set {' '.join(few)}", TARGET=tmp_path)
    assert code == 0, said
    assert "blush" in said
    code, said = run_in_a_clone(peer, **{"TARGET": tmp_path, "25": 1})
    assert code == 0, said


def test_pairs_from_refinements(tmp_path):
    [line] = (line for line in command_lines(text_of("docs/training.md")) if "refined_pairs" in line)
    code, said = run_in_a_clone(line, **{"training/refined_pairs": tmp_path, "--sets 60": "--sets 1"})
    assert code == 0, said
    header, *rows = (tmp_path / "pairs.tsv").read_text().splitlines()
    assert header.split("\t")[:2] == ["name", "half1"]
    assert rows
    assert all(Path(tmp_path, row.split("\t")[1]).is_file() for row in rows)


def test_a_device_is_checked(tmp_path):
    first, second = command_lines(text_of("docs/gpu.md"))[:2]
    code, said = run_in_a_clone(f"{first} --minutes 1 --out {tmp_path / 'first'}")
    assert code == 0, said
    code, said = run_in_a_clone(second, **{"cuda:1": "cpu", "--minutes 6": "--minutes 1", "results": tmp_path})
    assert code == 0, said
    assert json.loads((tmp_path / "check/device.json").read_text())
