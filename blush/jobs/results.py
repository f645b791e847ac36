"""What a job leaves for its user after the last iteration, by name. No torch here."""

from __future__ import annotations

from pathlib import Path

from blush.config import RunConfig
from blush.jobs.inputs import read_plan
from blush.jobs.layout import RunFolder
from blush.jobs.references import n_references
from blush.jobs.sealed import as_noted
from blush.refine.state import State
from blush.refine.subset import HALVES, Subset

SUMMARY = "summary.json"
_FINISHED = {
    "refine": tuple(
        f"postprocess/{name}"
        for name in ("postprocess.mrc", "postprocess_masked.mrc", "postprocess.star", "fsc.xml", "orientation.npz")
    ),
    "classify": ("classes.json", "class_posteriors.npz"),
    "multibody": ("motions.npz", "run_data.star", "run_model.star", "run_bodies.star"),
}
BODY_FINISHED = _FINISHED["body"] = _FINISHED["helix"] = _FINISHED["refine"]
"""Of one body of a run of several, relative to the body's folder."""
_HALF_MAP = "_unfil.mrc"


def finished_files(config: RunConfig) -> tuple[str, ...]:
    """What is made after the last iteration beside the summary, relative to the run's folder."""
    return _FINISHED[config.job]


def is_finished(folder: RunFolder, config: RunConfig) -> bool:
    """Whether all that is made after the last iteration is there and good; what is damaged is set aside."""
    if config.job in ("refine", "body", "helix"):
        return as_noted(folder, folder.root / "postprocess") and as_noted(folder, folder.root, SUMMARY.__eq__)
    if config.job == "multibody":
        return as_noted(folder, folder.root)
    wanted = {SUMMARY, *finished_files(config)}
    return as_noted(folder, folder.root, lambda name: name in wanted or name.endswith(_HALF_MAP))


def class_halves(folder: RunFolder, n: int, n_classes: int) -> list[Path]:
    """Unregularised maps of every class from either half of the images of the last iteration, n; none of one fold."""
    if read_plan(folder.root).n_folds == 1:
        return []
    return [folder.class_half(n, half, k) for k in range(n_classes) for half in HALVES]


def halves_kept(folder: RunFolder, n: int, n_classes: int) -> bool:
    """Whether all of these are there and good: then nobody needs the sums of the last iteration any more."""
    paths = class_halves(folder, n, n_classes)
    names = {path.name for path in paths}
    return not paths or (as_noted(folder, folder.root, names.__contains__) and all(path.is_file() for path in paths))


def is_last_table(state: State, name: str) -> bool:
    """Whether a file of the run's folder is one of the tables of the last iteration, which led to `state`."""
    if state.control.JOINS_LAST:
        return name.startswith("run_") and not name.startswith("run_it")
    return name.startswith(f"run_it{state.iteration:03d}_") and not name.endswith(_HALF_MAP)


def last_results(folder: RunFolder, state: State, subsets: tuple[Subset, ...]) -> list[Path]:
    """Maps and tables that a run leaves whose last iteration led to `state`."""
    count, n = n_references(state), state.iteration
    if state.control.JOINS_LAST:
        return [*folder.final_maps(subsets, count), *(folder.root / f"run_{name}.star" for name in ("data", "model"))]
    maps = [folder.map(n, subset, "reference", k) for subset in subsets for k in range(count)]
    return [*maps, *(folder.root / f"run_it{n:03d}_{name}.star" for name in ("data", "model", "optimiser"))]
