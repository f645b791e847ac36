"""Where a run keeps its files. Names that RELION knows are RELION's; the rest is in `import/` and `itNNN/`."""

from __future__ import annotations

import json
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blush.io.files import told_if_unwritable
from blush.refine.subset import Subset


@dataclass(frozen=True)
class RunFolder:
    """Paths of one refinement, `<output>/<name>`."""

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

    def shard(self, n: int, half: int, shard: int, key: str) -> Path:
        """Result of one shard; `key` names the inputs it belongs to, so that no stale one is ever summed."""
        return self.iteration(n) / f"{Subset(half).infix}_shard{shard:04d}_{key}.npz"

    def shard_list(self, n: int, half: int) -> Path:
        """Number of a half's shards, there once all of them are."""
        return self.iteration(n) / f"{Subset(half).infix}_shards.json"

    def sums(self, n: int, half: int) -> Path:
        """D and W of a half, symmetrised."""
        return self.iteration(n) / f"{Subset(half).infix}_sums.npz"

    def statistics(self, n: int, half: int) -> Path:
        """Everything else that a half's shards measured."""
        return self.iteration(n) / f"{Subset(half).infix}_statistics.npz"

    def spectra(self, n: int) -> Path:
        """FSC, tau2 and sigma2 of the maps of iteration n."""
        return self.iteration(n) / "maps.npz"

    def diagnostics(self, n: int) -> Path:
        """What the regulariser did, for the report."""
        return self.iteration(n) / "maps.json"

    def scratch(self, n: int) -> Path:
        """Files that a regulariser exchanges with another program."""
        return self.iteration(n) / "regulariser"

    def reference(self, n: int, half: int) -> Path:
        """Reference that iteration n made for iteration n + 1."""
        return self.root / f"run_it{n:03d}_{Subset(half).infix}_class001.mrc"

    def unfiltered(self, half: int) -> Path:
        """Final unregularised half-map."""
        return self.root / f"run_{Subset(half).infix}_class001_unfil.mrc"

    @property
    def final_map(self) -> Path:
        """Final map of both halves."""
        return self.root / "run_class001.mrc"

    def newest(self) -> int:
        """Number of the last iteration that left a state; -1 before the start."""
        return max((int(path.parent.name[2:]) for path in self.root.glob("it[0-9]*/state.json")), default=-1)

    def frozen(self, *, mask: bool) -> tuple[Path, ...]:
        """Every file of `import/`; the mask is there if one was given."""
        names = ["particles.npz", "particles.star", "plan.npz", "reference.mrc", "config.json"]
        return tuple(self.imported / name for name in [*names, *(["mask.mrc"] if mask else [])])

    def maps(self, n: int, *, final: bool) -> tuple[Path, ...]:
        """Maps that iteration n makes: the references of the next one, or after the last one those of the end."""
        if final:
            return (self.unfiltered(1), self.unfiltered(2), self.final_map)
        return (self.reference(n, 1), self.reference(n, 2))

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
