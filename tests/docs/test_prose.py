"""Prose is wrapped: no line over 120 characters but in tables, code, and where a word is as long."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 120
PAGES = subprocess.run(
    ["git", "ls-files", "README.md", "CHANGELOG.md", "docs/*.md"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.split()


def too_long(text: str) -> list[int]:
    """Numbers of the lines that should be wrapped."""
    found, is_code = [], False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        is_one_word = len(line.split()) == 1
        if len(line) > WIDTH and not (is_code or is_one_word or line.lstrip().startswith("|")):
            found.append(number)
    return found


def test_prose_is_wrapped():
    assert len(PAGES) > 10
    lines = {page: too_long((ROOT / page).read_text(encoding="utf-8")) for page in PAGES}
    assert {page: numbers for page, numbers in lines.items() if numbers} == {}


def test_what_may_be_long():
    long = "word " * 30
    assert too_long(f"{long}\nshort\n- {long}") == [1, 3]
    assert too_long(f"| {long} |\n```\n{long}\n```\nhttps://{'x' * 130}") == []
