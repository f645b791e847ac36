"""Commands that the pages print, and running them as a shell has them, on tiny data."""

import contextlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import yaml
from typer.testing import CliRunner

from blush.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "config/README.md",
    *(f"docs/{p.name}" for p in sorted(ROOT.glob("docs/*.md"))),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:\A|\n\n)((?:    .+\n)+)(?=\n|\Z)")
_INLINE = re.compile(r"(?<!`)`blush ([^`]+)`(?!`)")
_PROGRAM = re.compile(r"(?:[A-Z_]+=\S+ )*(blush|snakemake|make|pip|python3?|mpirun|source|export)( |$)")
HOLDING = {"classify", "multibody", "refine", "run"}
"""Commands that hold a run's folder as long as their process lives."""


def text_of(page: str) -> str:
    """What a page says."""
    return (ROOT / page).read_text(encoding="utf-8")


def command_lines(text: str) -> list[str]:
    """Lines of a text's blocks that call a program, with their variables and without their comments."""
    blocks = [code for language, code in FENCE.findall(text) if language in ("", "bash", "sh")]
    blocks += _INDENTED.findall(FENCE.sub("\n", text))
    lines = (line.strip() for code in blocks for line in code.splitlines() if line.strip())
    return [re.split(r" +#", line)[0].strip() for line in lines if _PROGRAM.match(line)]


def commands(text: str) -> list[str]:
    """Lines of a text's blocks that call blush, without their variables."""
    found = [re.match(r"(?:[A-Z_]+=\S+ )*(blush .*)", line) for line in command_lines(text)]
    return [each[1] for each in found if each]


def inline(text: str) -> list[str]:
    """Commands within sentences, without their `blush`."""
    return [" ".join(words.split()) for words in _INLINE.findall(FENCE.sub("", text))]


def configurations(text: str, folder: Path, **changes: object) -> None:
    """Save the configurations that a text shows, each under its name, with some settings changed."""
    for language, code in FENCE.findall(text):
        content = yaml.safe_load(code) if language == "yaml" else {}
        if "name" in content and "particles" in content:
            changed = yaml.safe_dump(content | changes) if changes else code
            (folder / f"{content['name']}.yaml").write_text(changed)


def run(line: str, folder: Path) -> None:
    """A command line as a shell has it; in this process where that need not end."""
    words = shlex.split(line)
    if words[1] in HOLDING:
        done = subprocess.run([sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return
    with contextlib.chdir(folder):
        told = CliRunner().invoke(app, words[1:])
    assert told.exit_code == 0, f"{line}\n{told.output}\n{told.exception!r}"


def tiny_configurations(folder: Path, box_px: int = 32) -> None:
    """The configurations of the clone that the tutorial names, with fewer and smaller images."""
    (folder / "config").mkdir()
    for name, images, side in (("demo", 48, 168), ("mixture", 120, 168), ("bodies", 60, 192)):
        content = yaml.safe_load((ROOT / f"config/simulate_{name}.yaml").read_text())
        content["imaging"] |= {"n_particles": images, "box_px": box_px, "pixel_size_angst": side / box_px}
        content["noise"]["snr"] = 1.0
        (folder / f"config/simulate_{name}.yaml").write_text(yaml.safe_dump(content))
    demo = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    (folder / "config/demo.yaml").write_text(yaml.safe_dump(demo | {"refinement": {"max_iterations": 2}}))
