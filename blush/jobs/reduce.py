"""Sum of a half's shards, in a fixed order whoever computed them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from blush.expectation.sums import ADDED
from blush.fourier.backproject import Accumulator, hermitian, symmetrise
from blush.geometry.healpix import pixel_directions
from blush.geometry.symmetry import asymmetric_unit_directions
from blush.io.files import load_npz, save_npz
from blush.io.seal import DamagedFile, LostParts
from blush.jobs.inputs import environment, read_config, read_plan, shard_key
from blush.jobs.layout import RunFolder, Stopwatch
from blush.jobs.sealed import checked, kept, written
from blush.refine.state import load_state


def reduce_half(root: Path, iteration: int, half: int) -> Path:
    """Add the shards of a half pairwise by index, make D and W Hermitian and symmetric, and write both files."""
    folder, watch = RunFolder(root), Stopwatch()
    target = folder.sums(iteration, half)
    if kept(folder, target, folder.statistics(iteration, half)):
        return target
    device, _ = environment(read_config(root))
    state, plan = load_state(checked(folder, folder.state(iteration - 1))), read_plan(root)
    key = shard_key(folder, iteration, half)
    paths = [folder.shard(iteration, half, s, key) for s in range(plan.n_shards(half))]
    _require(folder, target, paths)
    total = _tree(paths)
    grid, r_max = total.pop("grid"), state.current_size_px // 2
    for one in grid:  # in place: at large boxes each takes a gigabyte
        summed = hermitian(_accumulator(one, state.box_px, r_max, device))
        one[:] = symmetrise(summed, torch.from_numpy(plan.operators)).grid[..., :3].cpu().numpy()
        del summed
    grid_directions = {"directions_deg": _directions(state.healpix_order, state.symmetry)}
    with written(folder, folder.statistics(iteration, half)) as beside:
        save_npz(beside, total | _tables(paths) | grid_directions)
    with written(folder, target) as beside:
        save_npz(beside, {"grid": grid, "r_max": np.array(r_max)})
    folder.log(iteration=iteration, stage="reduce", half=half, done=1, total=1, **watch.read())
    return target


def _require(folder: RunFolder, target: Path, paths: list[Path]) -> None:
    """Refuse to sum shards of which some are missing or damaged; one can be made again here, more by the workers."""
    lost = [path for path in paths if not kept(folder, path)]
    if len(lost) == 1:
        raise DamagedFile(lost[0], "is missing")
    if lost:
        fault = f"lacks {len(lost)} of {len(paths)} shards, first {lost[0].name}"
        raise LostParts(target, fault, "run the same command again, which computes them")


def _directions(healpix_order: int, symmetry: str) -> np.ndarray:
    """(directions, 2) rot and tilt in degrees that the direction histogram counts."""
    index = asymmetric_unit_directions(healpix_order, symmetry)
    return torch.stack(pixel_directions(healpix_order, index), 1).numpy()


def _sums_of(path: Path) -> dict[str, np.ndarray]:
    arrays = load_npz(path)
    return {name: arrays[name] for name in ("grid", *ADDED)}


def _tree(paths: list[Path]) -> dict[str, np.ndarray]:
    """Pairwise sum by shard index: ((0 + 1) + (2 + 3)) + ...; holds log2(shards) + 1 results at a time.

    They are added in place: at large boxes each takes a gigabyte.
    """
    if len(paths) == 1:
        return _sums_of(paths[0])
    middle = 1 << ((len(paths) - 1).bit_length() - 1)
    left, right = _tree(paths[:middle]), _tree(paths[middle:])
    for name in left:
        np.add(left[name], right[name], out=left[name])
    return left


def _tables(paths: list[Path]) -> dict[str, np.ndarray]:
    """Per-particle columns in processing order, digests of images, and the accuracies where a shard measured them."""
    columns: dict[str, list[np.ndarray]] = {}
    single: dict[str, np.ndarray] = {}
    for path in paths:
        for name, array in load_npz(path, starts=("table_", "accuracy_")).items():  # the grid stays on disk
            if name.startswith("table_"):
                columns.setdefault(name, []).append(array)
            else:
                single[name] = array
    return {name: np.concatenate(parts) for name, parts in columns.items()} | single


def load_sums(folder: RunFolder, iteration: int, half: int, box_px: int, device: torch.device) -> Accumulator:
    """D and W of a half's map as `reduce_half` wrote them."""
    arrays = load_npz(checked(folder, folder.sums(iteration, half)))
    (grid,) = arrays["grid"]
    return _accumulator(grid, box_px, int(arrays["r_max"]), device)


def _accumulator(grid: np.ndarray, box_px: int, r_max: int, device: torch.device) -> Accumulator:
    """D and W of (d, d, h, 3) as the kernels want them, with a fourth channel."""
    padded = torch.zeros(*grid.shape[:3], 4, dtype=torch.from_numpy(grid[:0]).dtype, device=device)
    padded[..., :3] = torch.from_numpy(grid)
    return Accumulator(padded, box_px, r_max)
