"""Speed of a whole denoised map against the bare network, and seconds per half-map at several boxes.

    python benchmarks/denoiser.py [--device cpu|cuda] [--boxes 64 96 128] [--networks 8,4 16,5] [--batch 4]

The bare figure is the forward pass of the same network on the same number of 64³ patches in the same batches, without
anything around it: no cutting, standardising, blending or resampling. On a CPU one thread is used and its time is
counted; on a GPU wall time. The particle has two thirds of the box; voxels have 1.5 Å before and after.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from blush.denoise.apply import denoise_map, plan_patches
from blush.denoise.unet import UNet3d

BLOCK_PX, VOXEL_ANGST, PARTICLE_SHARE = 64, 1.5, 2 / 3


def timed(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Seconds of the fastest of some runs."""
    best = float("inf")
    for _ in range(repeats):
        if device.type == "cuda":
            torch.cuda.synchronize()
        clock = time.process_time if device.type == "cpu" else time.perf_counter
        begin = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, clock() - begin)
    return best


def compare(network: UNet3d, box: int, chosen: argparse.Namespace) -> dict[str, float]:
    """One row of the table."""
    device = torch.device(chosen.device)
    width_angst = box * VOXEL_ANGST
    plan = plan_patches(
        box, VOXEL_ANGST, PARTICLE_SHARE * width_angst, VOXEL_ANGST, stride_px=chosen.stride, device=device
    )
    volume = torch.randn(box, box, box, generator=torch.Generator().manual_seed(box)).to(device)
    counts = [min(chosen.batch, plan.n_patches - begin) for begin in range(0, plan.n_patches, chosen.batch)]
    patches = torch.randn(chosen.batch, 2, *(BLOCK_PX,) * 3, generator=torch.Generator().manual_seed(1)).to(device)
    lowered = chosen.precision == "bfloat16" or (chosen.precision == "auto" and device.type == "cuda")

    def bare() -> None:
        with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=lowered):
            for count in counts:
                network(patches[:count])

    def whole() -> torch.Tensor:
        return denoise_map(network, volume, plan, batch=chosen.batch, precision=chosen.precision)

    with torch.inference_mode():
        network(patches)  # to warm up
    alone, mapped = timed(bare, device, chosen.repeats), timed(whole, device, chosen.repeats)
    return {
        "patches": plan.n_patches,
        "seconds_per_half": mapped,
        "bare_seconds": alone,
        "patches_per_s": plan.n_patches / mapped,
        "bare_patches_per_s": plan.n_patches / alone,
        "share": alone / mapped,
    }


def main() -> None:
    """Run every network at every box and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--boxes", type=int, nargs="+", default=[64, 96, 128])
    parser.add_argument("--networks", nargs="+", default=["8,4", "16,5"], metavar="WIDTH,DEPTH")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--stride", type=int, default=20)
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'network':>8} {'box':>4} {'patches':>7} {'s/half':>8} {'patches/s':>9} {'bare':>7} {'share':>6}")
    rows = []
    for name in chosen.networks:
        width, depth = map(int, name.split(","))
        network = UNet3d(width, depth).requires_grad_(False).eval().to(chosen.device)
        for box in chosen.boxes:
            row = compare(network, box, chosen)
            print(
                f"{name:>8} {box:>4} {row['patches']:>7} {row['seconds_per_half']:>8.2f} {row['patches_per_s']:>9.2f} "
                f"{row['bare_patches_per_s']:>7.2f} {row['share']:>6.1%}",
                flush=True,
            )
            rows.append({"network": name, "box_px": box} | row)
    if chosen.json:
        machine = {"device": chosen.device, "torch": torch.__version__, "batch": chosen.batch}
        chosen.json.write_text(json.dumps({"machine": machine, "results": rows}, indent=1))


if __name__ == "__main__":
    main()
