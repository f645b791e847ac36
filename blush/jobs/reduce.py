"""Sums of a subset's shards, in a fixed order whoever computed them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from blush.expectation.sums import ADDED, grid_name
from blush.fourier.backproject import Accumulator, hermitian, symmetrise
from blush.geometry.healpix import pixel_directions
from blush.geometry.symmetry import asymmetric_unit_directions
from blush.io.files import load_npz, save_npz
from blush.io.seal import DamagedFile, LostParts
from blush.io.upload import uploaded
from blush.jobs.inputs import Plan, environment, read_config, read_plan
from blush.jobs.layout import RunFolder, Stopwatch
from blush.jobs.references import n_references
from blush.jobs.sealed import checked, kept, written
from blush.jobs.shards import shard_files
from blush.refine.state import State, load_state
from blush.refine.subset import Subset


def reduce_subset(root: Path, iteration: int, subset: Subset) -> Path:
    """Add the shards of a subset pairwise by index; D and W, of each fold apart, are made Hermitian and symmetric.

    Returns
    -------
    The file of statistics, written last.
    """
    folder, watch, plan = RunFolder(root), Stopwatch(), read_plan(root)
    target = folder.statistics(iteration, subset)
    if kept(folder, *folder.reduced(iteration, subset, plan.n_folds)):
        return target
    device, _ = environment(read_config(root))
    state = load_state(checked(folder, folder.state(iteration - 1)))
    paths = shard_files(folder, state, plan, subset)
    _require(folder, folder.sums(iteration, subset), paths)
    for fold in range(plan.n_folds):
        of_fold = [path for s, path in enumerate(paths) if plan.fold(subset, s) == fold]
        grids = {
            grid_name(k): _symmetric(_tree(of_fold, (grid_name(k),))[grid_name(k)], state, plan, device)
            for k in range(n_references(state))
        }
        with written(folder, folder.sums(iteration, subset, fold)) as beside:
            save_npz(beside, grids | {"r_max": np.array(state.search.current_size_px // 2)})
        del grids
    grid_directions = {"directions_deg": _directions(state.search.healpix_order, state.facts.symmetry)}
    with written(folder, target) as beside:
        save_npz(beside, _tree(paths, ADDED) | _tables(paths) | grid_directions)
    folder.log(iteration=iteration, stage="reduce", subset=subset.infix, done=1, total=1, **watch.read())
    return target


def _symmetric(grid: np.ndarray, state: State, plan: Plan, device: torch.device) -> np.ndarray:
    """D and W, made Hermitian and symmetric in place: at large boxes each takes a gigabyte."""
    summed = hermitian(_accumulator(grid, state.facts.box_px, state.search.current_size_px // 2, device))
    grid[:] = symmetrise(summed, torch.from_numpy(plan.operators)).grid[..., :3].cpu().numpy()
    return grid


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


def _tree(paths: list[Path], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Pairwise sum by shard index: ((0 + 1) + (2 + 3)) + ...; holds log2(shards) + 1 results at a time.

    They are added in place: at large boxes each takes a gigabyte.
    """
    if len(paths) == 1:
        return load_npz(paths[0], starts=names)
    middle = 1 << ((len(paths) - 1).bit_length() - 1)
    left, right = _tree(paths[:middle], names), _tree(paths[middle:], names)
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


def load_sums(
    folder: RunFolder, iteration: int, subset: Subset, box_px: int, device: torch.device, fold: int = 0, k: int = 0
) -> Accumulator:
    """D and W of reference k from a fold of a subset, as `reduce_subset` wrote them; no other reference is loaded."""
    arrays = load_npz(checked(folder, folder.sums(iteration, subset, fold)), starts=(grid_name(k), "r_max"))
    return _accumulator(arrays[grid_name(k)], box_px, int(arrays["r_max"]), device)


def _accumulator(grid: np.ndarray, box_px: int, r_max: int, device: torch.device) -> Accumulator:
    """D and W of (d, d, h, 3) as the kernels want them, with a fourth channel."""
    padded = torch.zeros(*grid.shape[:3], 4, dtype=torch.from_numpy(grid[:0]).dtype, device=device)
    padded[..., :3] = uploaded(grid, device)
    return Accumulator(padded, box_px, r_max)
