"""Kernels are compiled for GPUs that need not be there: nothing spills, and the documentation tells what each needs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="needs triton: pip install 'blush-cryoem[gpu]'")

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_no_kernel_spills_and_the_table_of_the_documentation_is_what_the_compiler_says(tmp_path):
    """In a process of its own, where kernels are compiled, not interpreted; exit status 1 where one spills."""
    surroundings = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "gpu_kernels.py", "--markdown"], capture_output=True, text=True,
        check=False, env=surroundings | {"TRITON_CACHE_DIR": str(tmp_path)}, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()[2:]]
    assert len(rows) == 12
    assert {(row[1], row[3]) for row in rows} == {("sm_80", "0"), ("sm_90", "0")}
    assert done.stdout in (ROOT / "docs/gpu.md").read_text(encoding="utf-8")
