"""Running the command line and the workflow as a user does."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from blush.cluster.resident import announced

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
RESULTS = (
    "*.mrc",
    "*.star",
    "*.bild",
    "it*/state.json",
    "it*/poses.npz",
    "it*/maps.npz",
    "postprocess/*.*",
    "class*.*",
    "motions.npz",
)
"""Files of a run folder that do not depend on who computed them, or when."""


def blush(*arguments, cwd=ROOT):
    return run([sys.executable, "-m", "blush", *map(str, arguments)], cwd)


def run(command, cwd=ROOT):
    """Run a command; what it printed is shown if the test fails."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def snakemake(config, *options, profile="local"):
    """The command line of a refinement, with Snakemake's own files beside the configuration."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        ROOT / "workflow" / "Snakefile",
        "--profile",
        ROOT / "profiles" / profile,
    ]
    return [*map(str, command), "--directory", str(config.parent), "--configfile", str(config), *options]


def refused(command):
    """What a command says that is expected to fail."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


def digests(folder):
    """SHA-256 of a run's results by name, without the summary's times and the folder's own name."""
    places = (folder, *folder.glob("body[0-9][0-9][0-9]"))
    found = (path for place in places for pattern in RESULTS for path in place.glob(pattern))
    paths = sorted(path for path in found if path.name != ".seals.json")
    assert paths, folder
    summary = json.loads((folder / "summary.json").read_text())
    del summary["timing"]
    contents = {str(path.relative_to(folder)): path.read_bytes().replace(bytes(folder), b"RUN") for path in paths}
    contents["summary.json"] = json.dumps(summary).encode()
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def until(condition, seconds=120.0):
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return value


def kill_pool(folder):
    """Kill a run's pool, if it has one; its workers die with it."""
    if found := announced(folder / ".pool"):
        os.kill(found["pid"], signal.SIGKILL)
