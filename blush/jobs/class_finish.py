"""After the last iteration of a classification: half-maps, posteriors, what is known of every class, summary."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from blush.config import RunConfig
from blush.errors import BlushError
from blush.fourier.limits import limited_by, nyquist_angst
from blush.io.files import load_npz, save_npz, write_json
from blush.io.mrc import write_volume
from blush.jobs.class_verdict import verdict_on
from blush.jobs.inputs import environment, latest_state, read_config, read_frozen_particles, read_plan
from blush.jobs.layout import RunFolder, Stopwatch
from blush.jobs.reduce import load_sums
from blush.jobs.references import n_references
from blush.jobs.results import SUMMARY, class_halves, halves_kept
from blush.jobs.sealed import checked, note
from blush.jobs.summary import origin
from blush.maximization.cells import divided
from blush.maximization.class_sums import ClassSums
from blush.refine.classify import collapsed
from blush.refine.state import State, load_state
from blush.refine.subset import HALVES, Subset

SMALL_SHARE = 0.02
"""A class with less of the images has a map that is mostly the images themselves."""


def finish(root: Path) -> Path:
    """Write half-maps of every class, `class_posteriors.npz`, `classes.json` and `summary.json`.

    Returns
    -------
    The summary.

    Raises
    ------
    BlushError
        If the classification has not finished.
    """
    folder, watch = RunFolder(root), Stopwatch()
    state = latest_state(root)
    if state is None or not state.converged:
        raise BlushError(f"{root} has not finished classifying; run the same command again to continue it")
    config = read_config(root)
    device, _ = environment(config)
    before = load_state(checked(folder, folder.state(state.iteration - 1)))
    poses = load_npz(checked(folder, folder.poses(state.iteration)))
    made = _half_maps(folder, before, device)
    posteriors = root / "class_posteriors.npz"
    save_npz(posteriors, {"posterior": poses["shares"].astype(np.float16), "class_number": poses["class_number"]})
    classes = _classes(state, poses)
    warnings = _warnings(config, state, poses)
    listed = root / "classes.json"
    verdict = verdict_on(folder, config, str(device), state.iteration)
    write_json(listed, {"classes": classes, "iterations": state.iteration, "warnings": warnings} | verdict)
    folder.log(iteration=state.iteration, stage="postprocess", done=1, total=1, **watch.read())
    summary = root / SUMMARY
    write_json(summary, _summary(folder, config, state, classes, warnings) | {"verdict": verdict["verdict"]})
    note(folder, [*made, posteriors, listed, summary])
    return summary


def _half_maps(folder: RunFolder, before: State, device: torch.device) -> list[Path]:
    """Write the half-maps of every class, unless they are there: sums of a finished run may be gone."""
    n, n_classes, n_folds = before.iteration + 1, n_references(before), read_plan(folder.root).n_folds
    paths = class_halves(folder, n, n_classes)
    if halves_kept(folder, n, n_classes):
        return paths
    for k in range(n_classes):
        of_class = partial(load_sums, folder, n, Subset.ALL, before.facts.box_px, device, k=k)
        sums = ClassSums.pack([of_class(fold=fold)] for fold in range(n_folds))  # of one class at a time
        for index, half in enumerate(HALVES):
            volume = sums.cells.map(divided(sums.cells_of(0, sums.half(index)), None))
            write_volume(folder.class_half(n, half, k), volume.cpu().numpy(), before.facts.pixel_size_angst)
    return paths


def _classes(state: State, poses: dict[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """What is known of every class, in their order."""
    labels, shares = poses["class_number"], poses["shares"]
    hard = np.bincount(labels, minlength=shares.shape[1] + 1)[1:]
    found = []
    for k, share in enumerate(state.references.share):
        mine = labels == k + 1
        found.append(
            {
                "class": k + 1,
                "images": int(hard[k]),
                "images_by_posterior": float(shares[:, k].sum()),
                "share": float(share),
                "mean_posterior_of_its_images": float(shares[mine, k].mean()) if mine.any() else None,
                "resolution_angst": float(state.references.resolution_angst[k]),
                "limited_by": _limit(state, float(state.references.resolution_angst[k])),
                "fsc_labels_shared": state.references.fsc[k].tolist(),
                "map": f"run_it{state.iteration:03d}_class{k + 1:03d}.mrc",
            }
        )
    return found


def _limit(state: State, resolution_angst: float) -> str | None:
    """What a resolution is limited by."""
    return limited_by(resolution_angst, state.facts.box_px, state.facts.pixel_size_angst)


def _warnings(config: RunConfig, state: State, poses: dict[str, NDArray[Any]]) -> list[str]:
    """What a user should know before trusting the classes."""
    n, shares = len(poses["class_number"]), state.references.share
    texts = [
        f"class {k} is empty: no image is more like it than like another class, so its map means nothing"
        for k in collapsed(shares, n)
    ]
    labelled = np.bincount(poses["class_number"], minlength=len(shares) + 1)[1:]
    texts += [
        f"class {k + 1} is the most probable one of no image, although its share is {100 * shares[k]:.1f} %: "
        "nothing parts it from the others"
        for k in np.flatnonzero((labelled == 0) & (shares * n >= 1))
    ]
    small = [k + 1 for k in np.flatnonzero((shares < SMALL_SHARE) & (shares * n >= 1))]
    texts += [f"class {k} holds {100 * shares[k - 1]:.1f} % of the images: too few to trust its map" for k in small]
    if state.stop_reason == "max_iterations":
        changed = 100 * (state.change_class or 0.0)
        texts.append(
            f"images still changed class in the last iteration ({changed:.1f} %): "
            "raise classification.max_iterations and run the same command again"
        )
    if config.classification.prior == "spectrum":
        texts.append("prior: spectrum compares images with maps that hold them; sizes and posteriors are too sure")
    return texts


def _summary(
    folder: RunFolder, config: RunConfig, state: State, classes: list[dict[str, Any]], warnings: list[str]
) -> dict[str, Any]:
    """Plain facts, without curves."""
    brief = [{name: value for name, value in one.items() if not name.startswith("fsc")} for one in classes]
    return {
        "name": config.name,
        "job": config.job,
        "resolution_angst": state.resolution_angst,
        "limited_by": _limit(state, state.resolution_angst),
        "nyquist_angst": nyquist_angst(state.facts.box_px, state.facts.pixel_size_angst),
        "classes": brief,
        "iterations": state.iteration,
        "stop_reason": state.stop_reason,
        "average_pmax": state.average_pmax,
        "log_likelihood": state.log_likelihood,
        "particles": {"total": len(read_frozen_particles(folder.root))},
        "search": config.classification.search,
        "temperature": state.search.temperature,
        "box_px": state.facts.box_px,
        "pixel_size_angst": state.facts.pixel_size_angst,
        "symmetry": state.facts.symmetry,
        "warnings": warnings,
        **origin(folder, config),
    }
