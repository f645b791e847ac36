"""The glossary names settings that are there, and options of RELION that are."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from blush.cli.main import app, name_of
from blush.config.run import RunConfig

PAGE = Path(__file__).resolve().parents[2] / "docs/glossary.md"
OURS = {"Words": 2}
"""Column of our setting, where it is not the second."""


def rows():
    """Cells of every row with the title of its section."""
    title = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            title = line[3:]
        elif line.startswith("| ") and not line.startswith("| RELION |") and not line.startswith("| cryoSPARC |"):
            yield title, [cell.strip() for cell in line.strip("|").split("|")]


def is_setting(name: str) -> bool:
    fields = RunConfig.model_fields
    for part in name.split("."):
        if part not in fields:
            return False
        fields = getattr(fields[part].annotation, "model_fields", {})
    return True


def test_our_settings_exist():
    named = {
        word for title, cells in rows() for word in re.findall(r"`([a-z_.]+)(?::[^`]*)?`", cells[OURS.get(title, 1)])
    }
    files = {"report.html", "summary.json", "auto", "true"}
    assert len(named) > 30
    assert {name for name in named - files if not is_setting(name)} == set()


def test_our_commands_exist():
    known = {name_of(info) for info in (*app.registered_commands, *app.registered_groups)}
    assert set(re.findall(r"`blush ([a-z-]+)", PAGE.read_text(encoding="utf-8"))) - known == set()


@pytest.mark.relion
@pytest.mark.parametrize(
    ("program", "titles"),
    [
        ("relion_refine", ("Refinement: RELION", "Classification: RELION")),
        ("relion_postprocess", ("Sharpening: `relion_postprocess`",)),
    ],
)
def test_their_options_exist(program, titles):
    if shutil.which(program) is None:
        pytest.skip(f"no {program} on PATH")
    told = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    known = set(re.findall(r"^ +(--\w+) \(", told.stdout + told.stderr, re.MULTILINE))
    named = {word for title, cells in rows() if title in titles for word in re.findall(r"`(--\w+)", cells[0])}
    assert len(named) >= 5
    assert named - known == set()
