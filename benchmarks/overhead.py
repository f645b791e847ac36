"""What a network of Blush costs a refinement: its share of the CPU seconds of an iteration, set by set.

    python benchmarks/overhead.py OUT SET [SET ...] [--networks 8,4,2.0 16,5,1.5] [--iterations 6]

SETs are what `make_sets.py` writes; runs go to OUT. The networks have weights that find no noise, on whitened Wiener
maps, so every run aligns to the same references as Wiener does, and only the work differs. One process, one thread.
"""

import argparse
import json
from pathlib import Path

import torch
from regularisers import refine

from blush.denoise.card import BLUSH, WHITENED, Card
from blush.denoise.unet import UNet3d
from blush.denoise.weights import save_weights


def idle_network(path: Path, width: int, depth: int, voxel_size_angst: float) -> Path:
    """Weights with which the Wiener map stays as it is."""
    torch.manual_seed(1)
    network = UNet3d(width, depth)
    torch.nn.init.zeros_(network.outc.weight)
    torch.nn.init.zeros_(network.outc.bias)
    card = Card(BLUSH, width, depth, voxel_size_angst=voxel_size_angst, input_kind=WHITENED)
    save_weights(path, network.state_dict(), card)
    return path


def row(folder: Path, out: Path, network: str, chosen: argparse.Namespace) -> str:
    """One refinement of some iterations."""
    width, depth, voxel = network.split(",")
    settings = json.loads((folder / "set.json").read_text())
    weights = idle_network(out / f"w{width}d{depth}.safetensors", int(width), int(depth), float(voxel))
    changes = {
        "regulariser.blush.weights": str(weights),
        "regulariser.blush.stride_px": chosen.stride,
        "refinement.max_iterations": chosen.iterations,
        "compute.workers": 1,
    }
    name = f"{folder.resolve().name}_w{width}d{depth}_{voxel}_{chosen.stride}_{chosen.iterations}"
    result = refine(folder.resolve(), settings, out, name, "blush", 1, changes)
    stages = json.loads((out / name / "summary.json").read_text())["timing"]["stages"]
    spent = {stage: stages[stage]["cpu_seconds"] for stage in ("shard", "reduce", "denoise_and_trail", "converge")}
    total, iterations = sum(spent.values()), result["iterations"]
    imaging = json.loads((folder / "simulation.json").read_text())["settings"]["imaging"]
    return (
        f"{folder.name}: {imaging['n_particles']} particles of {imaging['box_px']} px at "
        f"{imaging['pixel_size_angst']:g} Å; w{width}d{depth} at {float(voxel):g} Å per voxel: "
        f"{spent['denoise_and_trail'] / iterations:.1f} of {total / iterations:.1f} CPU s per iteration, "
        f"{spent['denoise_and_trail'] / total:.0%}"
    )


def main() -> None:
    """Run every network on every set and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--networks", nargs="+", default=["8,4,2.0", "16,5,1.5"], metavar="WIDTH,DEPTH,VOXEL")
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--stride", type=int, default=32)
    chosen = parser.parse_args()
    out = chosen.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for folder in chosen.sets:
        for network in chosen.networks:
            print(row(folder, out, network, chosen), flush=True)


if __name__ == "__main__":
    main()
