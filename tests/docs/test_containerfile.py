"""What the Containerfile runs: its files are there, and pip takes this tree with the constraints that it names."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Containerfile").read_text(encoding="utf-8")


def steps():
    """Instructions with their arguments, without comments."""
    lines = [line for line in TEXT.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(" ", 1)) for line in lines]


def test_only_instructions_that_every_builder_knows():
    assert {name for name, _ in steps()} == {"FROM", "ARG", "RUN", "COPY", "WORKDIR", "ENTRYPOINT", "CMD"}
    assert steps()[0][0] == "FROM"


def test_its_python_is_one_that_the_package_takes():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [version] = re.findall(r"python:3\.(\d+)-slim", TEXT)
    assert int(version) >= int(settings["requires-python"].removeprefix(">=3."))
    assert 'ENTRYPOINT ["blush"]' in TEXT
    assert "blush" in settings["scripts"]


def test_its_pip_command_takes_this_tree(tmp_path):
    """To the letter but for the place of the sources; dependencies are resolved where an image is built."""
    [line] = [text for name, text in steps() if name == "RUN" and " pip " in text]
    words = [word for word in shlex.split(line.replace("/src", str(ROOT))) if word != "${PIP_FLAGS}"]
    assert words[0] == "python"
    more = ["--no-deps", "--dry-run", "--ignore-installed", "--no-build-isolation"]
    done = subprocess.run([sys.executable, *words[1:], *more], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Would install blush-cryoem-" in done.stdout


def test_what_is_left_out_of_the_image_is_nothing_that_git_keeps():
    ignored = (ROOT / ".containerignore").read_text(encoding="utf-8").split()
    tracked = subprocess.run(["git", "ls-files", "--", *ignored], cwd=ROOT, capture_output=True, text=True, check=True)
    assert tracked.stdout == ""
