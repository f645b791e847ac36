"""Where a run keeps its files. Names that RELION knows are RELION's; the rest is in `import/` and `itNNN/`."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from blush.io.files import told_if_unwritable
from blush.refine.subset import HALVES, Subset

SLICES = "slices"
"""Array among the spectra of an iteration: slices of the mean of its references, which themselves are removed."""
Kind = Literal["reference", "unfiltered", "final"]
"""Maps of a run: what the next iteration compares images with, a half-map of the end, the map of the end."""


def fold_mark(fold: int) -> str:
    """What marks a fold's sums: nothing for the first, which may be the only one."""
    return f"_fold{fold}" if fold else ""


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run, `<output>/<name>`."""

    root: Path

    @property
    def imported(self) -> Path:
        """Frozen input: particles, plan, reference, configuration."""
        return self.root / "import"

    @property
    def identity(self) -> Path:
        """Digests of everything that decides results; a folder with another identity is never continued."""
        return self.root / ".identity.json"

    def iteration(self, n: int) -> Path:
        """Working files of iteration n."""
        return self.root / f"it{n:03d}"

    def state(self, n: int) -> Path:
        """State after iteration n."""
        return self.iteration(n) / "state.json"

    def poses(self, n: int) -> Path:
        """Poses and per-particle values after iteration n, in import order."""
        return self.iteration(n) / "poses.npz"

    def directions(self, n: int) -> Path:
        """Direction histograms after iteration n."""
        return self.iteration(n) / "directions.npz"

    def shard(self, n: int, subset: Subset, shard: int, key: str) -> Path:
        """Result of one shard; `key` names the inputs it belongs to, so that no stale one is ever summed."""
        return self.iteration(n) / f"{subset.infix}_shard{shard:04d}_{key}.npz"

    def shard_list(self, n: int, subset: Subset) -> Path:
        """Number of a subset's shards, there once all of them are."""
        return self.iteration(n) / f"{subset.infix}_shards.json"

    def sums(self, n: int, subset: Subset, fold: int = 0) -> Path:
        """D and W of every reference from one fold of a subset, symmetrised."""
        return self.iteration(n) / f"{subset.infix}_sums{fold_mark(fold)}.npz"

    def statistics(self, n: int, subset: Subset) -> Path:
        """Everything else that a subset's shards measured."""
        return self.iteration(n) / f"{subset.infix}_statistics.npz"

    def reduced(self, n: int, subset: Subset, n_folds: int) -> tuple[Path, ...]:
        """All that is summed up of a subset."""
        return (*(self.sums(n, subset, fold) for fold in range(n_folds)), self.statistics(n, subset))

    def spectra(self, n: int) -> Path:
        """FSC, tau2 and sigma2 of the maps of iteration n."""
        return self.iteration(n) / "maps.npz"

    def diagnostics(self, n: int) -> Path:
        """What the regulariser did, for the report."""
        return self.iteration(n) / "maps.json"

    def class_half(self, n: int, half: Subset, k: int) -> Path:
        """Unregularised map of class k, from 0, from one half of the images that iteration n divided."""
        return self.root / f"run_it{n:03d}_{half.infix}_class{k + 1:03d}_unfil.mrc"

    def field(self, n: int, k: int) -> Path:
        """By what the mean map is multiplied to give the first map of class k, from 0, as iteration n found it."""
        return self.iteration(n) / f"occupancy_class{k + 1:03d}.mrc"

    def confirmed(self, n: int) -> Path:
        """Where two halves of the images confirm the differences between classes, from 0 to 1."""
        return self.iteration(n) / "confirmed.mrc"

    def scratch(self, n: int) -> Path:
        """Files that a regulariser exchanges with another program."""
        return self.iteration(n) / "regulariser"

    def map(self, n: int | None, subset: Subset, kind: Kind, k: int = 0, without: int | None = None) -> Path:
        """The map of reference k, counted from 0, of a subset.

        Parameters
        ----------
        n
            Iteration that makes a reference, for the next one; maps of the end have no number: None.
        without
            Fold of whose images a reference knows nothing; None for all of the subset's.

        Raises
        ------
        ValueError
            Where a reference has no number, or a map of the end one, or is to leave a fold out.
        """
        mark = f"_{subset.infix}" if subset in HALVES else ""
        if kind == "reference" and n is not None:
            if without is not None:
                return self.iteration(n) / f"{mark[1:]}{mark and '_'}without{without}_class{k + 1:03d}.mrc"
            return self.root / f"run_it{n:03d}{mark}_class{k + 1:03d}.mrc"
        if kind == "reference" or n is not None or without is not None:
            raise ValueError("references belong to an iteration and may leave a fold out, maps of the end do not")
        return self.root / f"run{mark}_class{k + 1:03d}{'_unfil' if kind == 'unfiltered' else ''}.mrc"

    def final_maps(self, subsets: Sequence[Subset], n_references: int) -> tuple[Path, ...]:
        """Maps of the end: half-maps of every reference where there are halves, and its map from all images."""
        halves = [subset for subset in subsets if subset in HALVES]
        return (
            *(self.map(None, half, "unfiltered", k) for half in halves for k in range(n_references)),
            *(self.map(None, Subset.ALL, "final", k) for k in range(n_references)),
        )

    def present_references(self, n: int) -> list[Path]:
        """Those references of iteration n that are there, of any subset and with or without a fold."""
        left_out = self.iteration(n).glob("*without[0-9]*_class[0-9]*.mrc")
        return sorted([*self.root.glob(f"run_it{n:03d}_*class[0-9]*.mrc"), *left_out])

    def newest(self) -> int:
        """Number of the last iteration that left a state; -1 before the start."""
        return max((int(path.parent.name[2:]) for path in self.root.glob("it[0-9]*/state.json")), default=-1)

    @property
    def has_started(self) -> bool:
        """Whether the run, or a body of it, has left a state."""
        return self.newest() >= 0 or any(self.root.glob("body[0-9][0-9][0-9]/it[0-9]*/state.json"))

    def first_map(self, k: int | None = None) -> Path:
        """The map that a run starts from; with k, from 0, that of one class where each has its own."""
        return self.imported / ("reference.mrc" if k is None else f"reference_class{k + 1:03d}.mrc")

    def frozen(self, *, mask: bool, classes: int = 0) -> tuple[Path, ...]:
        """Every file of `import/`; the mask and maps of classes are there if some were given."""
        names = ["particles.npz", "particles.star", "plan.npz", "config.json", *(["mask.mrc"] if mask else [])]
        maps = (self.first_map(), *(self.first_map(k) for k in range(classes)))
        return (*(self.imported / name for name in names), *maps)

    @property
    def evidence(self) -> Path:
        """What filaments say of the symmetry, where somebody has asked."""
        return self.root / "helix_evidence" / "helix_evidence.json"

    @property
    def progress(self) -> Path:
        """Append-only log of what is being done."""
        return self.root / "progress.jsonl"

    def log(self, **record: Any) -> None:
        """Append one line to the progress log; a single write, so that lines of several processes do not mix."""
        line = json.dumps({"time": round(time.time(), 3), **record}, sort_keys=True) + "\n"
        with told_if_unwritable(self.progress):
            handle = os.open(self.progress, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                os.write(handle, line.encode())
            finally:
                os.close(handle)


@dataclass
class Stopwatch:
    """Wall and processor seconds since it was made."""

    def __post_init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def read(self) -> dict[str, float]:
        """Seconds for the progress log."""
        return {
            "seconds": round(time.monotonic() - self._wall, 3),
            "cpu_seconds": round(time.process_time() - self._cpu, 3),
            "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3),
        }
