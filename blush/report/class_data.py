"""What a classification left so far, for its page: classes over the iterations, where images come from, the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.errors import BlushError
from blush.io.files import load_npz
from blush.io.particles import ParticleSet
from blush.jobs.layout import RunFolder
from blush.jobs.progress import Record
from blush.refine.subset import Subset
from blush.report.class_truth import ClassTruth, compared_with_truth
from blush.report.run_data import RunData, own_json, unchanged
from blush.validate.partitions import explained

FLOW_ITERATIONS = 5
"""The last ones, whose changes of class are drawn."""
MOST_SHOWN = 12
"""Classes that get pictures of their own; of more, those with most images."""
DEFOCUS_BINS = 10
FOLLOWS = 0.1
"""Share of what there is to know of the classes that micrographs or defocus may tell before the page warns."""
_SEED = 1


@dataclass(frozen=True)
class Origin:
    """What places and settings of the microscope tell of the classes.

    Attributes
    ----------
    group
        (n,) micrograph of each image, or what else shares a scale factor; from 0.
    defocus_angst
        (n,) mean of both axes.
    by_group, by_defocus, by_optics
        Share of the entropy of the classes that it tells beyond chance; see `blush.validate.partitions.explained`.
    """

    group: NDArray[np.int64]
    defocus_angst: NDArray[np.float64]
    by_group: float
    by_defocus: float
    by_optics: float


@dataclass(frozen=True)
class ClassData:
    """A classification as far as it has come.

    Attributes
    ----------
    labels
        Class of every image, from 1, by iteration: the last few.
    posterior
        (n, K) after the last iteration; None before the first.
    maps
        Class maps of the last iteration that has them all, and `confirmed.mrc` of it where there is one.
    notes
        What to warn of, beside what the run itself warns of.
    """

    run: RunData
    labels: dict[int, NDArray[np.int64]]
    posterior: NDArray[np.float64] | None
    maps: tuple[Path, ...]
    confirmed: Path | None
    origin: Origin | None
    truth: ClassTruth | None
    verdict: str
    verified: Record
    notes: tuple[str, ...]

    @property
    def n_classes(self) -> int:
        """K; 0 before the first state."""
        return 0 if self.run.last is None else len(self.run.last.references.share)

    @property
    def last_labels(self) -> NDArray[np.int64]:
        """Class of every image now; empty before the first iteration."""
        return self.labels[max(self.labels)] if self.labels else np.empty(0, dtype=np.int64)

    @property
    def counts(self) -> NDArray[np.int64]:
        """(K,) images in each class."""
        return np.bincount(self.last_labels, minlength=self.n_classes + 1)[1:]

    @property
    def shown(self) -> list[int]:
        """Indices from 0 of the classes that get pictures, in their order."""
        largest = np.argsort(-self.counts, kind="stable")[:MOST_SHOWN]
        return sorted(int(k) for k in largest)


def read_classes(run: RunData) -> ClassData:
    """Read what a classification left beside the files that every run has."""
    folder = RunFolder(run.root)
    iterations = [state.iteration for state in run.iterated][-FLOW_ITERATIONS:]
    labels = {n: _labels(folder, n) for n in iterations}
    number, maps = _maps(folder, run)
    confirmed = folder.confirmed(number)
    origin, truth, notes = None, None, list[str]()
    if labels:
        particles = ParticleSet.load(unchanged(folder.imported / "particles.npz"))
        last = labels[iterations[-1]]
        origin = _origin(particles, last)
        notes += _doubts(origin)
        try:
            truth = compared_with_truth(run.config, last, run.poses["shares"].max(1))
        except BlushError as error:
            notes.append(f"classes were not compared with the truth: {error}")
    verdict, verified = _verdict(run)
    return ClassData(
        run=run,
        labels=labels,
        posterior=run.poses.get("shares"),
        maps=maps,
        confirmed=confirmed if maps and confirmed.exists() else None,
        origin=origin,
        truth=truth,
        verdict=verdict,
        verified=verified,
        notes=tuple(notes),
    )


def _labels(folder: RunFolder, n: int) -> NDArray[np.int64]:
    labels: NDArray[np.int64] = load_npz(unchanged(folder.poses(n)), starts=("class_number",))["class_number"]
    return labels


def _maps(folder: RunFolder, run: RunData) -> tuple[int, tuple[Path, ...]]:
    """The last iteration whose class maps are all there, and these; 0 and none before."""
    for state in reversed(run.states):
        n, classes = state.iteration, range(len(state.references.share))
        paths = tuple(folder.map(n, Subset.ALL, "reference", k) for k in classes)
        if all(path.exists() for path in paths):
            return n, paths
    return 0, ()


def _origin(particles: ParticleSet, labels: NDArray[np.int64]) -> Origin:
    group = particles.group_index.astype(np.int64)
    defocus_angst = (particles.defocus_u_angst + particles.defocus_v_angst) / 2
    edges = np.quantile(defocus_angst, np.linspace(0, 1, DEFOCUS_BINS + 1)[1:-1])
    bins = np.searchsorted(edges, defocus_angst)
    told = [explained(labels - 1, other, _SEED) for other in (group, bins, particles.optics_index.astype(np.int64))]
    return Origin(group, defocus_angst, *told)


def _doubts(origin: Origin) -> list[str]:
    """Classes that are rather places or settings of the microscope."""
    found = (
        (origin.by_group, "micrograph", "a class may be one of micrographs, not of structures"),
        (origin.by_defocus, "defocus", "a class may be one of defocus, not of structures"),
        (origin.by_optics, "optics group", "a class may be one of a session of the microscope, not of structures"),
    )
    return [
        f"the {what} of an image tells {100 * share:.0f} % of what there is to know of its class: {so}"
        for share, what, so in found
        if share > FOLLOWS
    ]


def _verdict(run: RunData) -> tuple[str, dict[str, Any]]:
    """What the test of the classes said, in words and in figures."""
    for name in ("classes_verified/classes_verified.json", "classes.json"):
        content = own_json(run.root / name)
        if "verdict" in content:
            return str(content["verdict"]), dict(content.get("verified") or content)
    if run.last is not None and not run.last.converged:
        return f"Not finished: iteration {run.last.iteration} is done, and nothing is verified yet.", {}
    return "Not verified: whether these classes are structures or noise was not tested on independent images.", {}
