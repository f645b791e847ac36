"""Processes that share the patches of every step: one per GPU, or as many as asked for on CPU cores."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.multiprocessing.spawn import ProcessRaisedException, start_processes

from blush.config.training import TrainingConfig
from blush.errors import BlushError, Problem


@dataclass(frozen=True)
class Rank:
    """One of the processes of a training."""

    number: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process tells and saves."""
        return self.number == 0

    def agreed(self, wish: bool) -> bool:
        """The first process's wish, known to all."""
        if self.world == 1:
            return wish
        flag = torch.tensor([float(wish)], device=self.device)
        dist.broadcast(flag, 0)
        return bool(flag.item())

    def mean(self, values: Tensor) -> Tensor:
        """Mean over all processes."""
        if self.world == 1:
            return values
        dist.all_reduce(values)
        return values / self.world


def devices(config: TrainingConfig) -> list[torch.device]:
    """One device per process.

    Raises
    ------
    BlushError
        Where the device asked for is not there, or a step has too few patches for the processes.
    """
    fit = config.fit
    if fit.device == "auto":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        found = [torch.device("cuda", i) for i in range(count)] or [torch.device("cpu")]
    else:
        found = [torch.device(fit.device)]
        if found[0].type == "cuda" and not torch.cuda.is_available():
            problem = Problem(
                "there is no CUDA device here", "set it to auto or cpu", where="fit.device", value=fit.device
            )
            raise BlushError("cannot train", [problem])
    if found[0].type == "cpu":
        found = found * fit.processes
    smallest = min(stage.batch for stage in fit.stages)
    if any(stage.batch % len(found) for stage in fit.stages):
        problem = Problem(
            f"a step's patches cannot be shared equally by {len(found)} processes",
            f"make every batch a multiple of {len(found)}", where="fit.stages", value=str(smallest))  # fmt: skip
        raise BlushError("cannot train", [problem])
    return found


def launch(config: TrainingConfig, work: Callable[[Rank], None]) -> None:
    """Do the work in one process, or in several that talk through torch.distributed."""
    found = devices(config)
    if found[0].type == "cpu":
        torch.set_num_threads(1)
    if len(found) == 1:
        work(Rank(0, 1, found[0]))
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    failures: mp.SimpleQueue[BlushError] = mp.get_context("fork").SimpleQueue()
    # Forked, because the work is a closure; no process may have touched a GPU before, which `devices` does not.
    context = start_processes(  # type: ignore[no-untyped-call]
        _rank, (found, port, work, failures), nprocs=len(found), join=False, start_method="fork"
    )
    assert context is not None
    try:
        while not context.join():
            pass
    except ProcessRaisedException:
        if not failures.empty():
            raise failures.get() from None
        raise


def _rank(
    number: int,
    found: list[torch.device],
    port: int,
    work: Callable[[Rank], None],
    failures: mp.SimpleQueue[BlushError],
) -> None:
    """One process."""
    device = found[number]
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, rank=number, world_size=len(found), timeout=timedelta(minutes=30))
    try:
        work(Rank(number, len(found), device))
    except BlushError as error:
        failures.put(error)
        raise
    finally:
        dist.destroy_process_group()
