"""Every caption of a figure says in which units it is drawn."""

import ast
import re
from pathlib import Path

import pytest

PAGES = Path(__file__).resolve().parents[2] / "blush/report"
UNITS = re.compile(
    r"\bÅ|degrees|no unit|[Ww]ithout unit|arbitrary units|\bnats\b|0 to 1|[Ss]hare of|[Ss]econds|in %|\bNumber of"
)
TOLD_BESIDE = {"The same, both inside the true mask."}
"""Captions that point to the one before."""


def texts(node: ast.expr) -> str:
    """The literal parts of a text, wherever they stand in an expression."""
    return "".join(
        part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )


def captions_of(path: Path) -> list[str]:
    """Captions that a page gives its figures, with what is assigned to a name before it is used."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    used = [named.get(one.id, "") for one in ast.walk(node.value) if isinstance(one, ast.Name)]
                    named[target.id] = "".join((named.get(target.id, ""), *used, texts(node.value)))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "figure":
            given = node.args[1]
            is_elsewhere = isinstance(given, ast.Attribute | ast.Call)  # a constant of `captions`, or made there
            if not is_elsewhere:
                found.append(named[given.id] if isinstance(given, ast.Name) else texts(given))
    return found


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.py")), ids=lambda path: path.stem)
def test_captions_name_their_units(path):
    assert [text for text in captions_of(path) if not UNITS.search(text) and text not in TOLD_BESIDE] == []


def test_the_captions_of_a_refinement_name_their_units():
    tree = ast.parse((PAGES / "captions.py").read_text(encoding="utf-8"))
    constants = [texts(node.value) for node in tree.body if isinstance(node, ast.Assign)]
    made = [texts(node) for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    assert len(constants) >= 8
    assert [text for text in (*constants, *made) if not UNITS.search(text)] == []
