"""The steps of a training as functions of its configuration: what the rules and `blush train` call, in this order.

Each reads files, writes its results beside and renames them, and does nothing over again that is there; a training that
was killed anywhere goes on, and ends with the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from blush.config.training import TrainingConfig
from blush.io.files import atomic_write

EMDB_MANIFEST = "emdb_manifest.tsv"
Tell = Callable[[str], None]
Step = Callable[[TrainingConfig, Tell], Path]


@dataclass(frozen=True)
class TrainingFolder:
    """Files of a training."""

    root: Path

    @property
    def manifest(self) -> Path:
        """What was downloaded, and what was not, and why."""
        return self.root / "download" / "manifest.tsv"

    @property
    def curation(self) -> Path:
        """Folder of `curated.tsv`, `curation.json`, `curation.html`."""
        return self.root / "curation"

    @property
    def curated(self) -> Path:
        """Every pair of half-maps, its figures, and the verdict on it."""
        return self.curation / "curated.tsv"

    @property
    def maps(self) -> Path:
        """Prepared maps and their index."""
        return self.root / "maps"

    @property
    def fit(self) -> Path:
        """Folder of weights, losses, checkpoint."""
        return self.root / "fit"

    @property
    def evaluation(self) -> Path:
        """Folder of `evaluation.json` and its page."""
        return self.root / "evaluation"

    @property
    def export(self) -> Path:
        """Folder of what is shipped."""
        return self.root / "export"


def fetch(config: TrainingConfig, tell: Tell) -> Path:
    """Download half-maps from the EMDB; the manifest is complete when this returns."""
    from blush.emdb.fetch import fetch as step

    folder = TrainingFolder(config.run_dir)
    step(config.sources.emdb, folder.manifest.parent, folder.manifest, tell)
    return folder.manifest


def curate(config: TrainingConfig, tell: Tell) -> Path:
    """Judge every pair of half-maps."""
    from blush.training.curate import curate as step

    folder = TrainingFolder(config.run_dir)
    step(config, folder.manifest if config.sources.emdb.enabled else None, folder.curation, tell)
    return folder.curated


def prepare(config: TrainingConfig, tell: Tell) -> Path:
    """Prepare all maps; their index is written last."""
    from blush.training.store import INDEX, write_index
    from blush.training.truths import add_truths

    folder = TrainingFolder(config.run_dir)
    entries = add_truths(config, folder.maps, tell)
    if has_pairs(config):
        from blush.training.prepare import prepare_pairs

        entries += prepare_pairs(config, folder.curated, folder.maps, tell)
    write_index(folder.maps, config.network.voxel_size_angst, entries)
    return folder.maps / INDEX


def fit(config: TrainingConfig, tell: Tell) -> Path:
    """Train, or go on training."""
    from blush.training.fit import fit as step

    folder = TrainingFolder(config.run_dir)
    return step(config, folder.maps, folder.fit, tell)


def evaluate(config: TrainingConfig, tell: Tell) -> Path:
    """Judge the weights on what was held out."""
    from blush.training.evaluate import evaluate as step

    folder = TrainingFolder(config.run_dir)
    step(config, folder.fit / "weights.safetensors", folder.maps, folder.evaluation, tell)
    return folder.evaluation / "evaluation.json"


def export(config: TrainingConfig, tell: Tell) -> Path:
    """Write what is shipped."""
    from blush.training.export import export as step

    folder = TrainingFolder(config.run_dir)
    evaluation = folder.evaluation / "evaluation.json"
    path = step(config, folder.fit, folder.maps, evaluation if evaluation.exists() else None, folder.export)
    if config.sources.emdb.enabled:  # with it, `sources.emdb.repeat` fetches the same files
        with atomic_write(folder.export / EMDB_MANIFEST) as beside:
            beside.write_bytes(folder.manifest.read_bytes())
    tell(f"weights: {path}")
    return path


def has_pairs(config: TrainingConfig) -> bool:
    """Whether half-maps come from somewhere else than from models."""
    return config.sources.emdb.enabled or config.sources.folder.pairs is not None


def run(config: TrainingConfig, tell: Tell, after: Callable[[str], None] = lambda step: None) -> Path:
    """All steps, in one process.

    Parameters
    ----------
    after
        Is told the name of each step when it is done.
    """
    from blush.training.store import INDEX

    folder = TrainingFolder(config.run_dir)
    steps: tuple[tuple[str, Step, bool], ...] = (
        ("fetch", fetch, config.sources.emdb.enabled and not folder.manifest.exists()),
        ("curate", curate, has_pairs(config) and not folder.curated.exists()),
        ("prepare", prepare, not (folder.maps / INDEX).exists()),
        ("fit", fit, True),
        ("evaluate", evaluate, not (folder.evaluation / "evaluation.json").exists()),
    )
    for name, step, is_due in steps:
        if is_due:
            step(config, tell)
            after(name)
    return export(config, tell)
