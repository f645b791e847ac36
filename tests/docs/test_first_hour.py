"""The tutorial's refinement of real particles, to the letter: from a wheel and pip to the page."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from page_commands import ROOT, command_lines, configurations, text_of

from blush.config import load_config

REAL = ROOT.parent / "shared/data/particles/betagal-empiar10204"
SECTION = text_of("docs/tutorial.md").split("\n## 2. ")[1].split("\n## 3. ")[0]
FILES = ("particles_clean.star", "initial_reference_50A.mrc", "mtf_k2_200kV.star")
NOT_HERE = ("blush run betagal.yaml --slurm", "blush compare-regularisers")
"""What needs a cluster, and nine refinements more."""
NYQUIST_ANGST = 2 * 3.54


def wheel_of(folder: Path) -> Path:
    """What `make wheel` makes of this tree."""
    rule = (ROOT / "Makefile").read_text().split("\nwheel: setup\n")[1].splitlines()[0].strip()
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    line = rule.replace("$(BIN)/python", "python3")
    subprocess.run(line, shell=True, check=True, cwd=clone, capture_output=True)
    [wheel] = (clone / "dist").glob("*.whl")
    kept = shutil.move(wheel, folder)
    shutil.rmtree(clone)  # nothing of it may be needed any more
    return Path(kept)


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.shared
@pytest.mark.skipif(not REAL.is_dir(), reason="the shared data folder is not there")
def test_the_first_hour(tmp_path):
    """Versions of pip's are the tested ones, as of the newest it would fetch gigabytes for a GPU."""
    place = tmp_path / "my particles"
    place.mkdir()
    shutil.move(wheel_of(tmp_path), place)
    for name in FILES:
        shutil.copy(REAL / name, place)
    (place / "stacks").symlink_to(REAL / "stacks")
    lines = [line for line in command_lines(SECTION) if not line.startswith(NOT_HERE)]
    assert len(lines) <= 10
    clean = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    clean |= {"PATH": os.defpath, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    script = "set -e\n" + "\n".join(f"echo '$ {line}'\n{line}" for line in lines)
    done = subprocess.run(["bash", "-c", script], cwd=place, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    said = dict(part.split("\n", 1) for part in done.stdout.split("$ ")[1:] if "\n" in part)
    check_results(place, said)


def check_results(place: Path, said: dict[str, str]) -> None:
    """What the text says of the files that come out, and of what the commands print."""
    written = load_config(place / "betagal.yaml")
    configurations(SECTION, place)  # overwrites it by the one that is shown
    assert load_config(place / "betagal.yaml", {"initial_lowpass_angst": written.initial_lowpass_angst}) == written
    named = re.findall(r"`(results/betagal/[^`]+)`", SECTION)
    assert named
    for name in named:
        assert (place / name).is_file(), name
    assert "page        results/betagal/report.html" in said["blush run betagal.yaml"].splitlines()
    resolution = json.loads((place / "results/betagal/summary.json").read_text())["resolution_angst"]
    assert resolution == pytest.approx(NYQUIST_ANGST, abs=0.005)
    assert "limited by the pixel size" in (place / "results/betagal/report.html").read_text(encoding="utf-8")
