"""Limits on size that no linter knows."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "blush").rglob("*.py"))
LONGEST_FILE = 300
LONGEST_FUNCTION = 60


def body_lines(function: ast.FunctionDef) -> int:
    """Lines of a function without its docstring."""
    start = function.body[0]
    has_docstring = ast.get_docstring(function) is not None
    documented = (start.end_lineno or start.lineno) - start.lineno + 1 if has_docstring else 0
    return (function.end_lineno or function.lineno) - function.lineno + 1 - documented


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    assert {node.name: body_lines(node) for node in functions if body_lines(node) > LONGEST_FUNCTION} == {}


def test_no_file_is_called_after_nothing_in_particular():
    vague = re.compile(r"^(utils?|common|misc|helpers?)$|_(v2|new|old)$")
    assert [path for path in SOURCES if vague.search(path.stem)] == []


@pytest.mark.parametrize(("kind", "pattern"), [("-F", f"{ROOT}/"), ("-E", "/(home|Users)/[A-Za-z]+/")])
def test_tracked_files_name_no_path_of_one_machine(kind, pattern):
    """Neither where this checkout lies nor anybody's home."""
    found = subprocess.run(
        ["git", "grep", "-n", "-I", kind, "-e", pattern],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (1, "")  # 1 is grep's word for nothing found


def test_the_place_of_a_half_set_is_said_once():
    """`half - 1` by hand takes the wrong map or noise as easily as the right one."""
    by_hand = re.compile(r"\b(half|number|subset) - 1\b|\b3 - half\b|half\{half\}")
    rooms = [ROOT / "blush" / room for room in ("jobs", "refine", "report")]
    found = [path for room in rooms for path in room.rglob("*.py") if by_hand.search(path.read_text(encoding="utf-8"))]
    assert [path.name for path in found if path.name not in ("subset.py", "pooled.py")] == []  # names of pool tasks


@pytest.mark.parametrize("path", sorted((ROOT / "blush").rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_every_room_says_what_it_is_for(path):
    caption = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert caption is not None
    assert caption.endswith(".")
