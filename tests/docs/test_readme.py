"""What the README says of a user's own particles, done to the letter in a folder of theirs."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from blush.config import load_config

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared/data/particles/betagal-empiar10204"
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").split("## Your own particles")[1].split("\n## ")[0]
NAMES = ("particles_clean.star", "initial_reference_50A.mrc")
SIMULATION = {
    "specimen": {"model": "demo", "symmetry": "D4", "copies": "expand"},
    "imaging": {"n_particles": 48, "box_px": 40, "pixel_size_angst": 5.5, "particles_per_micrograph": 16},
    "noise": {"snr": 0.3},
    "particle_diameter_angst": 200,
}


def real_particles(folder):
    for name in (*NAMES, "mtf_k2_200kV.star"):
        shutil.copy(REAL / name, folder)
    (folder / "stacks").symlink_to(REAL / "stacks")


def simulated_particles(folder):
    (folder / "simulate.yaml").write_text(yaml.safe_dump(SIMULATION | {"output": str(folder / "made")}))
    subprocess.run([sys.executable, "-m", "blush", "simulate", folder / "simulate.yaml"], check=True, cwd=folder)
    for name, made in zip(NAMES, ("particles.star", "reference.mrc"), strict=True):
        (folder / "made" / made).rename(folder / name)
    for stack in [*(folder / "made").glob("*.mrcs"), *(folder / "made").glob("*/*.mrcs")]:
        target = folder / stack.relative_to(folder / "made")
        target.parent.mkdir(exist_ok=True)
        stack.rename(target)
    shutil.rmtree(folder / "made")


def blocks(language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
    return [text for named, text in found if named == language]


def answered(command, answers, folder):
    """Run a command on a terminal, and type; its status."""
    master, terminal = pty.openpty()
    process = subprocess.Popen(["bash", "-c", command], cwd=folder, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    os.write(master, "".join(f"{answer}\n" for answer in answers).encode())
    try:
        while os.read(master, 65536):
            pass
    except OSError:  # the other end is closed
        pass
    os.close(master)
    return process.wait()


@pytest.mark.slow
def test_the_readme_leads_from_particles_to_a_page(tmp_path):
    """Every command of the block, in its order; what `init` asks for is answered as the settings shown above it are.

    With the particles that it speaks of, where the shared folder lies beside the repository, or with simulated ones.
    """
    particles = real_particles if REAL.is_dir() else simulated_particles
    particles(tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)  # where `make setup` puts it
    [settings], [commands] = blocks("yaml"), blocks("")
    shown = yaml.safe_load(settings)
    first, *rest = [line.split("#")[0].strip() for line in commands.splitlines() if "blush init" not in line]
    assert "blush init" in commands
    asked = ("particles", "reference", "particle_diameter_angst", "symmetry", "name")
    assert answered(f"{first} && blush init", [shown[key] for key in asked], tmp_path) == 0
    written = load_config(tmp_path / "my.yaml")
    (tmp_path / "my.yaml").write_text(settings)
    assert load_config(tmp_path / "my.yaml", {"initial_lowpass_angst": written.initial_lowpass_angst}) == written
    said = {}
    for command in rest:
        if "--slurm" in command and shutil.which("sbatch") is None:
            continue
        done = subprocess.run(["bash", "-c", f"{first} && {command}"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        said[command] = done.stdout
    named = re.findall(r"`([^`]+)`", SECTION.split("Results are in")[1].split("RELION")[0])
    results = tmp_path / named[0]
    for name in named[2:]:
        for each in name.replace("{1,2}", "1"), name.replace("{1,2}", "2"):
            assert (results / each).exists(), each
    assert "page        results/betagal/report.html" in said["blush run my.yaml"].splitlines()
    assert "results/betagal\trefine\tfinished" in said["blush status"]
    if particles is real_particles:
        resolution = json.loads((results / "summary.json").read_text())["resolution_angst"]
        assert f"refine to {resolution:.1f} Å" in " ".join(SECTION.split())
