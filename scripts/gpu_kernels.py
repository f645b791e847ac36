"""Compiles the Triton kernels for GPUs that need not be there, and prints what each needs of one.

    python scripts/gpu_kernels.py [--markdown]

Registers and bytes spilled are ptxas's, shared memory triton's; nothing is run. Exits with 1 where a kernel spills.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

from blush.kernels import triton_accumulate, triton_insert, triton_project, triton_score

CAPABILITIES = (80, 90)
NUMBERS = {"n", "radius", "pad", "run", "N_BLOCKS", "children"}
COUNTS = {"kx", "ky", "pair_image", "pair_shift", "pair_row", "order", "edges"}
"""Arguments by type; all others are arrays of float32."""
LISTED = {"HALF": 180, "CHILDREN": 8, "PIXELS": 128}
KERNELS = {
    "project": (triton_project.project_kernel, {"PIXELS": triton_project.PIXELS, "WEIGHTED": False}),
    "project, with weighted sums": (triton_project.project_kernel, {"PIXELS": triton_project.PIXELS, "WEIGHTED": True}),
    "score": (triton_score.score_kernel, LISTED | {"CORRELATE": False, "LEAST": triton_score.LEAST}),
    "accumulate, slices": (triton_accumulate.slice_kernel, LISTED),
    "accumulate, images": (triton_accumulate.image_kernel, LISTED),
    "insert, whole numbers": (triton_insert.insert_kernel, {"PIXELS": triton_insert.PIXELS}),
}
"""As they are launched for images of 360 px and eight children."""


def typed(kernel: triton.JITFunction, constants: dict[str, object]) -> dict[str, str]:
    """What triton wants to know of every argument."""
    whole = "*i64" if kernel is triton_insert.insert_kernel else "*fp32"
    kinds = dict.fromkeys(constants, "constexpr") | dict.fromkeys(NUMBERS, "i32")
    kinds |= dict.fromkeys(COUNTS, "*i64") | {"grid": whole, "per_data": "fp32", "per_weight": "fp32"}
    return {name: kinds.get(name, "*fp32") for name in kernel.arg_names}


def needs(kernel: triton.JITFunction, constants: dict[str, object], capability: int) -> dict[str, int]:
    """Registers of a thread, bytes that it spills, bytes of shared memory, warps of a program."""
    source = ASTSource(kernel, signature=typed(kernel, constants), constexprs=constants)
    found = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"enable_fp_fusion": True})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(found.asm["ptx"])
        (target,) = re.findall(r"^\.target (\w+)", path.read_text(), re.MULTILINE)
        command = [get_ptxas(capability).path, "-v", f"--gpu-name={target}", path, "-o", Path(folder) / "kernel.cubin"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    (registers,) = re.findall(r"Used (\d+) registers", said)
    spilled = re.findall(r"(\d+) bytes spill", said)
    if len(spilled) != 2:
        raise SystemExit(f"ptxas does not say what it spills:\n{said}")
    return {
        "registers": int(registers),
        "spilled": sum(map(int, spilled)),
        "shared": found.metadata.shared,
        "warps": found.metadata.num_warps,
    }


def main() -> None:
    """Print a line for every kernel and GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", action="store_true", help="as docs/gpu.md has it")
    between, ends = (" | ", ("| ", " |")) if parser.parse_args().markdown else ("\t", ("", ""))
    head = ("Kernel", "GPU", "Registers", "Spilled (bytes)", "Shared memory (bytes)", "Warps")
    lines: list[tuple[object, ...]] = [head]
    if between != "\t":
        lines.append(("---",) * len(head))
    spills = 0
    for name, (kernel, constants) in KERNELS.items():
        for capability in CAPABILITIES:
            found = needs(kernel, constants, capability)
            spills += found["spilled"]
            lines.append((name, f"sm_{capability}", *found.values()))
    for line in lines:
        print(ends[0] + between.join(map(str, line)) + ends[1])
    sys.exit(spills > 0)


if __name__ == "__main__":
    main()
