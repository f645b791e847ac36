"""A test that takes a number from the code that it checks passes whatever that number is: it writes the number."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NUMERIC_ROOMS = (
    "bodies", "classes", "ctf", "expectation", "fourier", "geometry", "maximization", "refine", "regularise",
    "validate",
)  # fmt: skip


def is_numeric(value: ast.expr) -> bool:
    """Whether a number decides the value: 5, -1.0, 2**16, (1, 0.1), sqrt(2)."""
    if isinstance(value, ast.Tuple | ast.List):
        return any(is_numeric(part) for part in value.elts)
    if isinstance(value, ast.Call):
        return any(is_numeric(part) for part in value.args)
    if isinstance(value, ast.BinOp):
        return is_numeric(value.left) or is_numeric(value.right)
    if isinstance(value, ast.UnaryOp):
        return is_numeric(value.operand)
    return isinstance(value, ast.Constant) and type(value.value) in (int, float)


@cache
def numbers_of(module: Path) -> set[str]:
    """Names to which a module gives numbers."""
    names = set()
    for line in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(line, ast.Assign) and is_numeric(line.value):
            names |= {name.id for target in line.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(line, ast.AnnAssign) and line.value is not None and is_numeric(line.value):
            names |= {name.id for name in ast.walk(line.target) if isinstance(name, ast.Name)}
    return {name for name in names if name.isupper()}


def test_tests_of_numerics_write_the_numbers_they_check():
    found = []
    for room in NUMERIC_ROOMS:
        for path in sorted((ROOT / "tests" / room).glob("*.py")):
            for line in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(line, ast.ImportFrom) and (line.module or "").startswith("blush."):
                    module = ROOT / f"{(line.module or '').replace('.', '/')}.py"
                    numbers = numbers_of(module) if module.exists() else set()
                    found += [f"{path.name}: {name.name}" for name in line.names if name.name in numbers]
    assert not found


def test_numbers_are_told_from_names(tmp_path):
    """Or the test above would pass on anything."""
    module = tmp_path / "module.py"
    module.write_text("A = 1.5\nB, C = 2, 'text'\nD = {'x': 1}\nE: int = 2**16\nF = ('a', 'b')\ng = 3\n")
    assert numbers_of(module) == {"A", "B", "C", "E"}
