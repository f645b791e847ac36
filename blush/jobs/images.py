"""Images count by content: what a shard reads must be what it read in the iteration before."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from blush.errors import BlushError, Problem
from blush.io.files import load_npz
from blush.io.image_digests import ImageDigests
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import checked

STACKS, DIGESTS, SHARDS = "image_stack", "image_digest", "image_shard"


def require_same_images(
    folder: RunFolder, iteration: int, half: int, shard: int, read: ImageDigests, stacks: tuple[str, ...]
) -> None:
    """Compare the images that a shard read with those of the iteration before.

    Raises
    ------
    BlushError
        With every stack whose images are others than they were.
    """
    if iteration == 1:
        return
    path = checked(folder, folder.statistics(iteration - 1, half))
    known = _digests_of(path, path.stat().st_mtime_ns).get(shard, {})
    found = dict(zip(*(part.tolist() for part in read.table()), strict=True))
    changed = [stacks[stack] for stack, digest in found.items() if known.get(stack) != digest]
    if changed:
        remedy = "put the stack back as it was, or refine these images under another `name`"
        problems = [Problem(f"its images are not those of iteration {iteration - 1}", remedy, file) for file in changed]
        raise BlushError("the images of this refinement have changed while it was under way", problems)


@lru_cache(maxsize=4)
def _digests_of(path: Path, _time: int) -> dict[int, dict[int, list[int]]]:
    """Digests by shard and stack, as a half's statistics hold them."""
    arrays = load_npz(path)
    shards = arrays[SHARDS]
    return {
        int(shard): dict(
            zip(arrays[STACKS][shards == shard].tolist(), arrays[DIGESTS][shards == shard].tolist(), strict=True)
        )
        for shard in np.unique(shards)
    }
