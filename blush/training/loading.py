"""Batches step after step, made in this process or in others beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic

import torch
from torch.utils.data import DataLoader, Dataset

from blush.config.training import TrainingConfig
from blush.training.ranks import Rank
from blush.training.schedule import stage_at
from blush.training.tasks import AnyBatch, Task


class Steps(Dataset[AnyBatch], Generic[AnyBatch]):
    """The batch of each step that is left, for one rank."""

    def __init__(self, task: Task[AnyBatch], config: TrainingConfig, rank: Rank, first: int) -> None:
        self.task, self.config, self.rank, self.first = task, config, rank, first

    def __len__(self) -> int:
        return self.config.fit.steps - self.first

    def __getitem__(self, index: int) -> AnyBatch:
        step = self.first + index
        stage = stage_at(self.config.fit, step)
        mine = range(self.rank.number, stage.batch, self.rank.world)
        return self.task.batch(step, stage.block_px, mine)


def batches(task: Task[AnyBatch], config: TrainingConfig, rank: Rank, first: int) -> Iterator[tuple[int, AnyBatch]]:
    """Steps from `first` on, with their batches."""
    steps = Steps(task, config, rank, first)
    if config.fit.loaders == 0 or rank.device.type != "cpu":
        for index in range(len(steps)):
            yield first + index, steps[index]
        return
    loader = DataLoader(
        steps,
        batch_size=None,
        num_workers=config.fit.loaders,
        worker_init_fn=_one_thread,
        multiprocessing_context="fork",
    )
    yield from enumerate(loader, start=first)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
