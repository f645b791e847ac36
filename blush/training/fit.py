"""Training a network: steps, checkpoints, and what is told and kept of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout3d
from torch.nn.parallel import DistributedDataParallel

from blush.config.training import TrainingConfig
from blush.denoise.card import BLUSH, CREF, LOCAL_WIENER, UNFILTERED, WHITENED, Card
from blush.denoise.cref_unet import CrefUNet
from blush.denoise.local_wiener import GainNet
from blush.denoise.unet import UNet3d
from blush.denoise.weights import load_weights, save_weights
from blush.errors import BlushError, Problem
from blush.io.files import save_npz
from blush.training import checkpoint
from blush.training.checkpoint import State
from blush.training.loading import batches
from blush.training.ranks import Rank, launch
from blush.training.schedule import ema_decay, learning_rate, stage_at
from blush.training.store import INDEX, open_store, verify_maps
from blush.training.tasks import task

ROWS = 5000
"""Rows of the table of losses, at most about."""
WEIGHTS, EXAMPLES = "weights.safetensors", "examples.npz"
EXAMPLE_STEP = 2**31 - 1
ARCH = {"blush": BLUSH, "cref": CREF, "localwiener": LOCAL_WIENER}
Tell = Callable[[str], None]


def fit(config: TrainingConfig, store: Path, out: Path, tell: Tell) -> Path:
    """Train, or go on training, until all steps are done.

    Parameters
    ----------
    store
        Folder of prepared maps.
    out
        Gets `losses.tsv`, `checkpoint.pt`, `weights.safetensors` (averaged weights), `examples.npz` and
        `machines.json`.

    Returns
    -------
    The file of weights.

    Raises
    ------
    BlushError
        Where maps or a checkpoint are unusable, or a device is not there.
    """
    out.mkdir(parents=True, exist_ok=True)
    _check(config, store)
    checkpoint.undo_damage(out)
    launch(config, lambda rank: Training(config, store, out, rank, tell if rank.first else _silent).run())
    return out / WEIGHTS


def _check(config: TrainingConfig, store: Path) -> None:
    opened = open_store(store)
    if not opened.select("train"):
        problem = Problem("lists no map to train on", "relax curate, or add sources", str(store / INDEX))
        raise BlushError("cannot train", [problem])
    verify_maps(opened, opened.entries)
    if not math.isclose(opened.voxel_size_angst, config.network.voxel_size_angst, rel_tol=1e-6):
        problem = Problem(
            f"holds maps of {opened.voxel_size_angst:g} Å per voxel, the network is for "
            f"{config.network.voxel_size_angst:g} Å", "prepare the maps again", str(store / INDEX))  # fmt: skip
        raise BlushError("cannot train", [problem])


def _silent(_: str) -> None:
    """Say nothing."""


def build_network(config: TrainingConfig) -> nn.Module:
    """The network of a configuration, random by its seed, or with the weights it starts from."""
    network = config.network
    torch.manual_seed(config.seed)
    made: nn.Module
    if network.arch == "blush":
        made = UNet3d(network.width, network.depth)
        if network.input == "whitened":  # what has learned nothing leaves the Wiener map as it is
            nn.init.zeros_(made.outc.weight)
            if made.outc.bias is not None:
                nn.init.zeros_(made.outc.bias)
    else:
        made = GainNet(network.width) if network.arch == "localwiener" else CrefUNet()
    if config.fit.start is not None:
        found = load_weights(config.fit.start, ARCH[network.arch])
        if (found.card.input_kind == WHITENED) != (network.input == "whitened"):
            problem = Problem("see another input", "set network.input to theirs", str(config.fit.start))
            raise BlushError("cannot start from these weights", [problem])
        if {k: v.shape for k, v in found.network.state_dict().items()} != {
            k: v.shape for k, v in made.state_dict().items()
        }:
            problem = Problem("are of another width or depth", "set network to theirs", str(config.fit.start))
            raise BlushError("cannot start from these weights", [problem])
        made.load_state_dict(found.network.state_dict())
    return made.requires_grad_(True).train()


class Training:
    """One process of a training: its share of the patches of every step."""

    def __init__(self, config: TrainingConfig, store: Path, out: Path, rank: Rank, tell: Tell) -> None:
        self.config, self.out, self.rank, self.tell = config, out, rank, tell
        self.mark = checkpoint.fingerprint(config, (store / INDEX).read_bytes())
        self.store_folder = store
        network = build_network(config).to(rank.device)
        average = build_network(config).to(rank.device).eval()
        fit = config.fit
        optimiser = torch.optim.AdamW(
            network.parameters(), fit.learning_rate, betas=(0.9, 0.99), weight_decay=fit.weight_decay
        )
        self.state = State(network, average, optimiser)
        if checkpoint.restore(out, self.state, self.mark):
            tell(f"goes on from step {self.state.step} of {fit.steps}")
        if isinstance(network, UNet3d) and config.network.dropout:
            network.down[-1].register_forward_hook(_Dropout(config.network.dropout))
        self.task = task(config, store, rank.device)
        called: nn.Module = network
        if rank.device.type == "cuda":
            called = called.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        if fit.compile:
            called = torch.compile(called)  # type: ignore[assignment]
        if rank.world > 1:
            called = DistributedDataParallel(called)
        self.called = called
        self.lowered = fit.precision == "bfloat16" or (fit.precision == "auto" and rank.device.type == "cuda")
        self.sums: list[Tensor] = []

    def run(self) -> None:
        """All steps that are left."""
        fit, state = self.config.fit, self.state
        every = max(1, fit.steps // ROWS)
        if self.rank.first and state.step < fit.steps:
            checkpoint.note_machine(self.out, self.rank.device, self.rank.world)
        saved = time.monotonic()
        begun = time.monotonic() - state.seconds
        for step, batch in batches(self.task, self.config, self.rank, state.step):
            metrics = self.step(step, batch)
            self.sums.append(metrics)
            state.step = step + 1
            if state.step % every == 0 or state.step == fit.steps:
                self._record(step, time.monotonic() - begun)
            due = time.monotonic() - saved > 60 * fit.checkpoint_minutes
            if self.rank.agreed(due and state.step % every == 0) or state.step == fit.steps:
                state.seconds = time.monotonic() - begun
                if self.rank.first:
                    self.save()
                saved = time.monotonic()
        if self.rank.first and not (self.out / WEIGHTS).exists():
            self.save()

    def step(self, step: int, batch: Any) -> Tensor:
        """One update of the weights: loss, squared error, mask's loss and norm of the gradient, on the device."""
        fit, state = self.config.fit, self.state
        rate = learning_rate(fit, step)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        # What dropout draws belongs to the step, whatever was run before it in this process.
        torch.manual_seed((self.config.seed * 1_000_003 + step) * 64 + self.rank.number)
        with torch.autocast(self.rank.device.type, dtype=torch.bfloat16, enabled=self.lowered):
            loss, error, mask_loss = self.task.loss(self.called, batch, step)
        state.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(state.network.parameters(), fit.clip)
        state.optimiser.step()
        checkpoint.blend(state.average, state.network, ema_decay(fit, step))
        return torch.stack([loss.detach(), error, mask_loss, norm.detach()]).double()

    def _record(self, step: int, seconds: float) -> None:
        """Add a row of means; the only wait for the device."""
        fit, state = self.config.fit, self.state
        means = self.rank.mean(torch.stack(self.sums).mean(0)).tolist()
        self.sums.clear()
        if not math.isfinite(means[0]):
            problem = Problem("the loss is not a finite number", "lower fit.learning_rate", where=f"step {step}")
            raise BlushError("the training has failed", [problem])
        stage = stage_at(fit, step)
        loss, error, mask_loss, norm = means
        rate = learning_rate(fit, step)
        state.records.append((step + 1, stage.block_px, stage.batch, loss, error, mask_loss, rate, norm, seconds))
        if len(state.records) % max(1, ROWS // 200) == 0 or state.step == fit.steps:
            self.tell(progress(state.records, fit.steps))

    def save(self) -> None:
        """Checkpoint, averaged weights and example slices."""
        state, network = self.state, self.config.network
        checkpoint.save(self.out, state, self.mark)
        patches = sum(row[2] * (row[0] - (state.records[i - 1][0] if i else 0)) for i, row in enumerate(state.records))
        note = f"blush train {self.config.name}: {state.step} of {self.config.fit.steps} steps, {patches:.0f} patches"
        card = Card(
            arch=ARCH[network.arch],
            width=network.width,
            depth=network.depth,
            voxel_size_angst=None if network.arch == "cref" else network.voxel_size_angst,
            input_kind=WHITENED if network.input == "whitened" else UNFILTERED,
            source=note,
            licence=self.config.licence,
        )
        save_weights(self.out / WEIGHTS, state.average.state_dict(), card)
        save_npz(self.out / EXAMPLES, self._examples())

    def _examples(self) -> dict[str, np.ndarray]:
        """Central slices of a few patches that are always the same: (n, s, s) each."""
        side = max(stage.block_px for stage in self.config.fit.stages)
        slices: dict[str, list[np.ndarray]] = {"input": [], "denoised": [], "target": []}
        with torch.no_grad():
            for patch in range(4):
                batch = self.task.batch(EXAMPLE_STEP, side, [patch])
                for name, values in self.task.example(self.state.average, batch).items():
                    slices[name].append(values[0, values.shape[1] // 2].float().cpu().numpy())
        return {name: np.stack(values) for name, values in slices.items()}


class _Dropout:
    """Drops whole channels of a layer's output while its module trains."""

    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return dropout3d(output, self.share, training=module.training)


def progress(records: Sequence[tuple[float, ...]], steps: int) -> str:
    """One line: where the training is, how fast, and how long it will take at this speed."""
    done, block, batch, loss, seconds = (records[-1][i] for i in (0, 1, 2, 3, 8))
    before = records[max(0, len(records) - 100)]
    speed = (done - before[0]) / max(seconds - before[8], 1e-9) if len(records) > 1 else done / max(seconds, 1e-9)
    left = (steps - done) / max(speed, 1e-9)
    recent = float(np.mean([row[3] for row in records[-100:]]))
    return (
        f"step {done:.0f} of {steps}, patches of {block:.0f} px, loss {loss:.4f} (mean of late {recent:.4f}), "
        f"{speed:.2f} steps/s, {speed * batch:.1f} patches/s, {left / 60:.0f} min left"
    )
