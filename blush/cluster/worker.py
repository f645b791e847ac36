"""One worker process: `python -m blush.cluster.worker POOL NAME`."""

import argparse
import asyncio
import os
import time
from pathlib import Path

from blush.cluster.hearts import write_processor_seconds
from blush.cluster.parent import die_with_parent
from blush.cluster.slurm import time_file

_TELL_SECONDS = 5.0


async def work(folder: Path, name: str, scratch: str | None, interface: str | None) -> None:
    """Join the pool whose files are in `folder`, and work until it ends."""
    from blush.cluster.dask import worker_for

    async with worker_for(folder, name, scratch, interface) as worker:
        await worker.finished()


def tell_time_of_this_process(path: Path) -> None:
    """Have a small process beside this one write its processor time, whatever this one is doing, and end with it."""
    worker = os.getpid()
    if os.fork():
        return
    try:
        os.environ["BLUSH_PARENT_PID"] = str(worker)
        die_with_parent()
        while True:
            write_processor_seconds(path, worker)
            time.sleep(_TELL_SECONDS)
    finally:
        os._exit(1)


def main() -> None:
    """Read the command line; torch is loaded before joining, so that a worker that joined is ready."""
    die_with_parent()
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--scratch")
    parser.add_argument("--interface")
    parser.add_argument("--tell-time", action="store_true")
    given = parser.parse_args()
    if given.tell_time:
        tell_time_of_this_process(time_file(given.folder, given.name))
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    asyncio.run(work(given.folder, given.name, given.scratch, given.interface))


if __name__ == "__main__":
    main()
