"""What each kind of network is trained on and for: its batches, its loss, and an example to look at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from blush.config.training import TrainingConfig
from blush.denoise.local_wiener import scaled
from blush.denoise.unet import denoise_patches
from blush.training.batches import Batch, BatchMaker
from blush.training.gain_batches import GainBatch, GainMaker, gain_loss
from blush.training.library import Library
from blush.training.losses import blush_loss, cref_loss
from blush.training.schedule import recursions
from blush.training.store import open_store
from blush.training.white_batches import WhiteBatch, WhiteMaker, white_loss

AnyBatch = TypeVar("AnyBatch")


class Task(ABC, Generic[AnyBatch]):
    """Batches of one training, the loss of a network on one, and what it makes of one.

    Parameters
    ----------
    store
        Folder of prepared maps, of which the training entries are taken.
    device
        Where batches are made.
    """

    def __init__(self, config: TrainingConfig, store: Path, device: torch.device) -> None:
        self.config = config
        opened = open_store(store)
        entries = opened.select("train")
        pairs = [e for e in entries if "half1" in e.channels]
        simulated = [e for e in entries if "half1" not in e.channels]
        self.maker = self._maker(
            Library(opened, simulated, device) if simulated else None,
            Library(opened, pairs, device) if pairs else None,
            voxel_size_angst=opened.voxel_size_angst,
            seed=config.seed,
            simulated_share=config.sources.simulated_share,
            noise2noise_share=config.fit.noise2noise_share,
            both=config.network.arch == "cref",
        )

    def _maker(self, *libraries: Library | None, **settings: Any) -> BatchMaker:
        return BatchMaker(*libraries, **settings)

    @abstractmethod
    def batch(self, step: int, side_px: int, patches: Sequence[int]) -> AnyBatch:
        """Patches of a step, by their numbers in it; the same whenever it is asked."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: AnyBatch, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Loss; its first part, and the mask's, without gradient."""

    @abstractmethod
    def example(self, network: nn.Module, batch: AnyBatch) -> dict[str, Tensor]:
        """Input, result and target of a batch, (b, s, s, s) each."""


class UNetTask(Task[Batch]):
    """The U-net of Blush on half-maps as they are."""

    def batch(self, step: int, side_px: int, patches: Sequence[int]) -> Batch:
        """Patches of a step, by their numbers in it."""
        return self.maker(step, side_px, patches)

    def loss(self, network: nn.Module, batch: Batch, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, its first part, and the mask's."""
        times = recursions(self.config.fit, self.config.seed, step)
        return blush_loss(network, batch, times, self.config.fit.mask_weight)

    def example(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Input, result and target."""
        made = denoise_patches(network, batch.inputs)[0][:, 0]
        return {"input": batch.inputs[:, 0], "denoised": made, "target": batch.target}


class CrefTask(UNetTask):
    """crefDenoiser on half-maps as they are."""

    def loss(self, network: nn.Module, batch: Batch, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, its first part, and the mask's."""
        return cref_loss(network, batch)

    def example(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Input, result and target."""
        given = batch.inputs[:, 0]
        return {"input": given, "denoised": network(given[:, None])[:, 0], "target": batch.target}


class GainTask(Task[GainBatch]):
    """Gains of the local Wiener filter, on whole particles."""

    maker: GainMaker

    def _maker(self, *libraries: Library | None, **settings: Any) -> BatchMaker:
        return GainMaker(*libraries, **settings)

    def batch(self, step: int, side_px: int, patches: Sequence[int]) -> GainBatch:
        """Patches of a step, by their numbers in it."""
        return self.maker.halves(step, side_px, patches)

    def loss(self, network: nn.Module, batch: GainBatch, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, its first part, and the mask's."""
        return gain_loss(network, batch, self.config.fit.mask_weight)

    def example(self, network: nn.Module, batch: GainBatch) -> dict[str, Tensor]:
        """Input, result and target."""
        gain, logit = scaled(network, batch.features, batch.weights)
        made = (gain * batch.parts).sum(1) * torch.sigmoid(logit)
        return {"input": batch.parts.sum(1), "denoised": made, "target": batch.target.sum(1)}


class WhitenedTask(Task[WhiteBatch]):
    """The U-net of Blush on whitened Wiener maps."""

    maker: WhiteMaker

    def _maker(self, *libraries: Library | None, **settings: Any) -> BatchMaker:
        return WhiteMaker(*libraries, **settings)

    def batch(self, step: int, side_px: int, patches: Sequence[int]) -> WhiteBatch:
        """Patches of a step, by their numbers in it."""
        return self.maker.patches(step, side_px, patches)

    def loss(self, network: nn.Module, batch: WhiteBatch, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, its first part, and the mask's."""
        return white_loss(network, batch, self.config.network.voxel_size_angst, self.config.fit.mask_weight)

    def example(self, network: nn.Module, batch: WhiteBatch) -> dict[str, Tensor]:
        """Input, result and target."""
        made = denoise_patches(network, batch.inputs)[0][:, 0]
        return {"input": batch.inputs[:, 0], "denoised": made, "target": batch.target}


def task(config: TrainingConfig, store: Path, device: torch.device) -> Task[Any]:
    """The task of a configuration."""
    if config.network.input == "whitened":
        return WhitenedTask(config, store, device)
    kinds: dict[str, type[Task[Any]]] = {"blush": UNetTask, "cref": CrefTask, "localwiener": GainTask}
    return kinds[config.network.arch](config, store, device)
