"""Modules import each other in one direction, be it at the top of a file, in a function or for types alone."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def module_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_within(root: Path, package: str) -> dict[str, set[str]]:
    """Modules of a package, each with those of the package that its text imports anywhere."""
    files = {module_of(path, root): path for path in (root / package).rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for name, path in files.items():
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {each if each in files else node.module for each in names}
        graph[name] = (found & set(files)) - {name}
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of a graph, [] where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle():
    graph = imports_within(ROOT, "blush")
    assert len(graph) > 100
    assert circle(graph) == []


@pytest.mark.parametrize("line", ["import p.b", "from p import b", "def f():\n    from p.b import x"])
def test_a_circle_is_found_wherever_it_is_imported(tmp_path, line):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/a.py").write_text(line)
    (tmp_path / "p/b.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import f\n")
    assert set(circle(imports_within(tmp_path, "p"))) == {"p.a", "p.b"}
