"""Patches per second of a training step, beside the bare forward and backward pass of the same network.

    python benchmarks/training.py CONFIG.yaml STORE [--steps 20] [--threads 1]

STORE is the folder of prepared maps of that training. For each stage both are timed in turns, `--repeats` times, on the
same device, with the same number of patches at once; the ratio is of the medians. Recursion is left out of both: it is
more passes, not overhead. Maps are read before: a training reads each once, in its first few hundred patches. With
`fit.loaders: 1` a process beside makes the patches, as in the shipped configurations; it needs a core of its own.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch

from blush.config.training import load_training
from blush.denoise.unet import denoise_patches
from blush.training.fit import Training
from blush.training.loading import batches
from blush.training.ranks import Rank, devices


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def read_maps(training: Training) -> None:
    """Fill the memory of maps, which processes that make patches inherit."""
    for library in (training.task.maker.simulated, training.task.maker.pairs):
        for index in range(len(library.entries) if library else 0):
            library[index]


def bare(training: Training, side: int, batch: int, steps: int) -> float:
    """Patches per second of forward and backward on one batch that stays where it is."""
    device = training.rank.device
    inputs = torch.randn(batch, 2, side, side, side, device=device).abs()
    wait(device)
    begun = time.perf_counter()
    for _ in range(steps):
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=training.lowered):
            denoised, logit = denoise_patches(training.called, inputs)
            loss = denoised.square().mean() + logit.square().mean()
        training.state.optimiser.zero_grad()
        loss.backward()
    wait(device)
    return batch * steps / (time.perf_counter() - begun)


def whole(training: Training, config, first: int, steps: int) -> float:
    """Patches per second of training, batches and all."""
    device = training.rank.device
    source = batches(training.task, config, training.rank, first)
    next(source)  # starts the processes that make patches, if there are some
    wait(device)
    begun, patches = time.perf_counter(), 0
    for _ in range(steps):
        step, batch = next(source)
        training.step(step, batch)
        patches += len(batch.target)
    wait(device)
    return patches / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    given = load_training(chosen.config)
    for stage in given.fit.stages:
        alone = stage.model_copy(update={"share": 1.0})
        fit = given.fit.model_copy(update={"stages": (alone,), "recursion": (1.0,), "steps": 10**6})
        config = given.model_copy(update={"fit": fit})
        device = devices(config)[0]
        training = Training(config, chosen.store, Path("/nonexistent"), Rank(0, 1, device), print)
        read_maps(training)
        # What a step passes through the network: both halves of each pair, where the task takes both.
        patches = len(training.task.batch(0, stage.block_px, range(stage.batch)).target)
        bare(training, stage.block_px, patches, 3)
        pairs = []
        for repeat in range(chosen.repeats):
            one = bare(training, stage.block_px, patches, chosen.steps)
            pairs.append((one, whole(training, config, 1000 * repeat, chosen.steps)))
        network, step = (statistics.median(column) for column in zip(*pairs, strict=True))
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {chosen.threads} thread(s)"
        print(
            f"{stage.block_px} px x {patches}: bare {network:.2f}, training {step:.2f} patches/s: "
            f"{step / network:.0%} ({name}, {fit.loaders} loader(s))"
        )


if __name__ == "__main__":
    main()
