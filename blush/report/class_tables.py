"""Tables of a classification's page."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from blush.fourier.thresholds import HALF_MAPS
from blush.report.class_data import MOST_SHOWN, ClassData
from blush.report.class_truth import ClassTruth
from blush.report.tables import angst, table
from blush.report.timing import by_iteration, duration

_HEAD = ("Class", "Images, hard", "soft", "Share", "Posterior", "Resolution", "FSC 0.143, labels shared")

_AGAIN = {True: "yes", False: "no", None: "–"}
"""Whether independent halves of the images found a class; None where it was not looked for."""


def class_table(data: ClassData) -> str:
    """One row per class: sizes, certainty, resolutions."""
    last = data.run.last
    if last is None or data.posterior is None:
        return ""
    again = {one["given_class"]: one["found_again"] for one in data.verified.get("classes", []) if "given_class" in one}
    rows = []
    for k, (count, soft) in enumerate(zip(data.counts.tolist(), data.posterior.sum(0).tolist(), strict=True)):
        mine = data.posterior[data.last_labels == k + 1, k]
        crossing_angst = fsc_resolution_angst(last.references.fsc[k], data.run.box_angst)
        rows.append([
            str(k + 1),
            str(count),
            f"{soft:.1f}",
            f"{100 * last.references.share[k]:.1f} %",
            f"{mine.mean():.3f}" if len(mine) else "–",
            angst(float(last.references.resolution_angst[k])),
            "–" if crossing_angst is None else angst(crossing_angst),
            *((_AGAIN[again.get(k + 1)],) if again else ()),
        ])  # fmt: skip
    return table((*_HEAD, *(("Found again",) if again else ())), rows)


def fsc_resolution_angst(fsc: NDArray[np.float64], box_angst: float) -> float | None:
    """The last shell before a curve first falls below 0.143: Nyquist if it never does, None if nothing was measured.

    Parameters
    ----------
    fsc
        (N/2 + 1,)
    """
    if not fsc[1:].any():
        return None
    below = np.flatnonzero(fsc[1:] < HALF_MAPS)
    shell = int(below[0]) if len(below) else len(fsc) - 1
    return box_angst / shell if shell else np.inf


def confusion_table(truth: ClassTruth) -> str:
    """Images by class and by true class."""
    head = ("Class", *(f"true {name}" for name in truth.names))
    return table(head, [[str(k + 1), *map(str, row)] for k, row in enumerate(truth.table.tolist())])


def flow_table(data: ClassData) -> str:
    """Images by class before and after the last iterations."""
    if len(data.labels) < 2 or data.n_classes > MOST_SHOWN:
        return ""
    first, last = min(data.labels), max(data.labels)
    moved = np.zeros((data.n_classes, data.n_classes), dtype=np.int64)
    np.add.at(moved, (data.labels[first] - 1, data.labels[last] - 1), 1)
    head = (f"Iteration {first}", *(f"class {k + 1} in iteration {last}" for k in range(data.n_classes)))
    return table(head, [[f"class {k + 1}", *map(str, row)] for k, row in enumerate(moved.tolist())])


def iteration_table(data: ClassData) -> str:
    """One row per iteration."""
    times = by_iteration(data.run.progress)
    rows = []
    for used, state in itertools.pairwise(data.run.states):
        time = times.get(state.iteration)
        shares = " ".join(f"{100 * share:.1f}" for share in state.references.share)
        rows.append([
            str(state.iteration),
            angst(state.resolution_angst),
            f"{used.search.current_size_px} px",
            f"{shares} %",
            "–" if state.change_class is None else f"{100 * state.change_class:.2f} %",
            f"{state.average_pmax:.2f}",
            duration(time.wall) if time else "",
        ])  # fmt: skip
    return table(("", "Resolution", "Size", "Shares", "Changed class", "P max", "Wall"), rows)


def origin_table(data: ClassData) -> str:
    """On how many micrographs a class is, how much of it on one, and its defocus."""
    if data.origin is None:
        return ""
    rows = []
    for k in range(data.n_classes):
        mine = data.last_labels == k + 1
        if not mine.any():
            continue
        counts = np.bincount(data.origin.group[mine])
        rows.append([
            str(k + 1),
            str(int((counts > 0).sum())),
            f"{100 * counts.max() / counts.sum():.1f} %",
            f"{np.median(data.origin.defocus_angst[mine]) / 1e4:.2f} µm",
        ])  # fmt: skip
    return table(("Class", "Micrographs", "On one of them", "Median defocus"), rows)
