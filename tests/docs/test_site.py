"""The pages of docs/ make a site in which every link leads somewhere."""

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
