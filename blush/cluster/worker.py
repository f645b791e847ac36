"""One worker process: `python -m blush.cluster.worker POOL NAME`."""

import argparse
import asyncio
import os
from pathlib import Path

from blush.cluster.parent import die_with_parent


async def work(folder: Path, name: str, scratch: str | None, interface: str | None) -> None:
    """Join the pool whose files are in `folder`, and work until it ends."""
    from blush.cluster.dask import worker_for

    async with worker_for(folder, name, scratch, interface) as worker:
        await worker.finished()


def main() -> None:
    """Read the command line; torch is loaded before joining, so that a worker that joined is ready."""
    die_with_parent()
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--scratch")
    parser.add_argument("--interface")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    asyncio.run(work(given.folder, given.name, given.scratch, given.interface))


if __name__ == "__main__":
    main()
