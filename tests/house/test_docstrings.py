"""Docstrings are sentences, and what has one is used."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "blush").rglob("*.py"))
CALLERS = [*(path for room in ("workflow", "scripts", "benchmarks") for path in (ROOT / room).rglob("*.*")), *SOURCES]
CALLED_BY_LIBRARIES = {"find_class", "persistent_load", "start_http_server"}
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def documented(path: Path) -> list[tuple[str, str]]:
    """Names and docstrings of a file, its classes and functions."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, Documented)]
    named = [(getattr(node, "name", path.stem), ast.get_docstring(node)) for node in nodes]
    return [(name, text) for name, text in named if text]


def is_fragment(docstring: str) -> bool:
    """Whether the summary has no end, or a description begins within its sentence."""
    summary = docstring.split("\n\n")[0].strip()
    return not summary.endswith((".", "?", ":")) or re.search(r"^ {4}Of ", docstring, re.MULTILINE) is not None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_are_sentences(path):
    assert [name for name, text in documented(path) if is_fragment(text)] == []


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [("Do it.", False), ("Do it", True), ("Do.\n\nParameters\n----------\nweights\n    Of a network.", True)],
)
def test_fragments_are_found(docstring, expected):
    assert is_fragment(docstring) == expected


def test_every_public_name_is_used_by_more_than_tests():
    words: Counter[str] = Counter()
    for path in CALLERS:
        if path.suffix in (".py", ".smk", ".sh", ".yaml"):
            words.update(re.findall(r"\w+", path.read_text(encoding="utf-8")))
    defined = [
        (str(path.relative_to(ROOT)), node.name)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(defined) > 1000
    unused = [(path, name) for path, name in defined if words[name] == 1 and not name.startswith("_")]
    assert [(path, name) for path, name in unused if name not in CALLED_BY_LIBRARIES] == []
