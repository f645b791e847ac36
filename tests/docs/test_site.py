"""The pages of docs/ make a site in which every link leads somewhere."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("material", reason="mkdocs-material is not installed: pip install .[docs]")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = [path.stem for path in (ROOT / "docs").glob("*.md")] + ["contributing", "changelog", "w8d4"]
    assert [name for name in pages if not (tmp_path / name / "index.html").is_file()] == []
    start = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'href="tutorial/"' in start
    assert 'src="figures/demo.png"' in start
    assert "fonts.googleapis.com" not in start
    reference = (tmp_path / "api/index.html").read_text(encoding="utf-8")
    assert [name for name in functions() if f'id="{name}"' not in reference] == []


def functions() -> list[str]:
    """Full names on the page of functions."""
    return re.findall(r"^::: ([\w.]+)$", (ROOT / "docs/api.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_what_the_python_page_uses_is_on_the_page_of_functions():
    told = {(name.rpartition(".")[2], name.split(".")[-2]) for name in functions()}
    known = {name for name, _ in told}
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    used = [
        (module, name.strip())
        for module, names in re.findall(r"^from (blush[\w.]*) import ([\w, ]+)", page, re.MULTILINE)
        for name in names.split(",")
    ]
    assert len(used) > 30
    assert [name for _, name in used if name not in known | {"steps"}] == []
    assert {f"steps.{name}" for name in re.findall(r"steps\.(\w+)\(", page)} - {
        f"steps.{name}" for name, module in told if module == "steps"
    } == set()


def test_every_function_has_a_docstring():
    for name in functions():
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(module), attribute).__doc__, name
