"""Some faults of `scripts/faults.py`; `make faults` has the others."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("kill", "twice", "full disk", "late", "settings", "clock", "upgrade")
HAPPENS = {"kill": "continued", "twice": "unharmed", "late": "told", "settings": "told", "upgrade": "told"}


@pytest.mark.slow
def test_a_fault_of_each_kind_ends_in_the_same_bytes(tmp_path):
    out = tmp_path / "faults.json"
    command = [sys.executable, str(ROOT / "scripts/faults.py"), "--count", str(len(KINDS)), "--out", str(out)]
    done = subprocess.run([*command, "--kinds", *KINDS], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(out.read_text())
    assert Counter(row["kind"] for row in rows) == dict.fromkeys(KINDS, 1)
    assert {row["kind"]: row["verdict"] for row in rows if row["kind"] in HAPPENS} == HAPPENS
