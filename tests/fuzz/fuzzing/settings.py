"""Readers of configurations: refinements, trainings, regularisers inside another program, simulations, symmetries."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from blush.config.embedded import load_embedded
from blush.config.run import load_config
from blush.config.training import load_training
from blush.geometry.symmetry import operators
from blush.simulate.settings import load_settings
from fuzzing.mutate import BYTES, LINES
from fuzzing.reader import Reader

_ROOT = Path(__file__).parents[3]
_TEXTS = (*LINES, *LINES, *LINES, *BYTES)

_RUN = b"""name: demo
particles: particles.star
reference: reference.mrc
mask: sphere
particle_diameter_angst: 150.0
symmetry: D4
regulariser: {name: nonuniform}
sampling: {healpix_order: 1}
refinement: {max_iterations: 3}
compute: {shards_per_half: 2, device: cpu}
truth: {particles: t.star, map: t.mrc}
seed: 7
"""
_TRAINING = b"""name: tiny
network: {arch: blush, width: 4, depth: 3, voxel_size_angst: 4.0, dropout: 0.1}
sources:
  simulated: {models: models.npz, variants: 1, box_px: 32, largest_number: 12}
  emdb: {enabled: true, query: "x:1", interval_s: 0.5}
fit:
  steps: 20
  stages: [{share: 0.5, block_px: 32, batch: 4}, {share: 0.5, block_px: 32, batch: 2}]
"""
_EMBEDDED = b"""regulariser: {name: red, red: {denoiser: nonuniform}}
trailing: {enabled: true, shells: 3}
compute: {device: cpu, precision: float32}
"""


def _settings(name: str, *more: bytes) -> Callable[[Path], list[bytes]]:
    def examples(folder: Path) -> list[bytes]:
        found = list(more)
        if name:
            found.append((_ROOT / "config" / name).read_bytes())
        return found

    return examples


def _valid(load: Callable[[Path], BaseModel]) -> Callable[[Path], None]:
    """No setting is NaN or infinite, and the settings are the same when they are written and checked again."""

    def call(path: Path) -> None:
        found = load(path)
        _finite(found.model_dump())
        content = found.model_dump(mode="json")
        assert type(found).model_validate(content) == found, "other settings when written and read again"

    return call


def _finite(content: Any) -> None:
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list | tuple):
        for item in content:
            _finite(item)
    else:
        assert not isinstance(content, float) or math.isfinite(content), "a setting that is no number"


def _symmetries(folder: Path) -> list[bytes]:
    return [name.encode() for name in ("C1", "C2", "c3", "C7", "D2", "D4", "d3", "T", "O", "I", "I1", "I2", "I3", "I4")]


def _symmetry(path: Path) -> None:
    found = operators(path.read_bytes().decode("utf-8", "replace"))
    assert found.ndim == 3
    assert found.shape[1:] == (3, 3)
    assert len(found) < 2000
    assert bool(torch.isfinite(found).all())
    assert torch.equal(found[0], torch.eye(3, dtype=found.dtype))


READERS = (
    Reader(
        "run_config", "case.yaml", _settings("demo.yaml", _RUN), _valid(load_config), _TEXTS, 4,
        hostile=("yaml_config",),
    ),
    Reader(
        "training_config", "case.yaml", _settings("train_tiny.yaml", _TRAINING), _valid(load_training), _TEXTS, 3,
        hostile=("train_config",),
    ),
    Reader("embedded_config", "case.yaml", _settings("", _EMBEDDED), _valid(load_embedded), _TEXTS, 3),
    Reader("simulation_config", "case.yaml", _settings("simulate_demo.yaml"), _valid(load_settings), _TEXTS, 3),
    Reader("symmetry", "case.txt", _symmetries, _symmetry, (*BYTES, *LINES), 20, (ValueError,), names_file=False),
)  # fmt: skip
