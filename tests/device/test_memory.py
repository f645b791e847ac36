"""Memory of the expectation step on the pretend device: the formula against what lived there, and an end of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pretend import Pretend

from blush.device import large_iteration
from blush.errors import BlushError
from blush.expectation import shard
from blush.expectation.device_memory import DeviceSize
from blush.expectation.model import Model
from blush.expectation.shard import Expectation
from blush.expectation.sums import ADDED, Sums
from blush.fourier.transform import transform
from blush.geometry.sampling import OrientationGrid, offset_grid
from blush.io.particles import ParticleSet

CUDA = torch.device("cuda")


def problem(folder: Path, box: int, count: int) -> tuple[torch.Tensor, ParticleSet]:
    """A random map, and views of it with noise."""
    generator = torch.Generator().manual_seed(7)
    volume = torch.randn(box, box, box, generator=generator)
    return volume, large_iteration._particles(folder, count, box, transform(volume, box // 2), generator)


def model_of(volume: torch.Tensor, particles: ParticleSet, *, flat: bool = False, local: bool = False) -> Model:
    """On the device: 72 orientations and 5 shifts; with `flat` so much noise that every pose counts."""
    box = len(volume)
    given = large_iteration._model(transform(volume.to(CUDA), box // 2), particles, box)
    return replace(
        given,
        component=replace(given.component, grid=OrientationGrid.build(0)),
        local_sigma_deg=30.0 if local else None,
        noise=given.noise * (1e4 if flat else 1),
        offsets_angst=offset_grid(1.0, 1.0),
        coarse_radius=box // 3,
    )


def bytes_of(sums: Sums) -> list[bytes]:
    """Every sum and column."""
    tensors = [one.grid for one in sums.volumes] + [getattr(sums, name) for name in ADDED] + list(sums.table.values())
    return [one.cpu().contiguous().numpy().tobytes() for one in tensors]


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize(("box", "count"), [(16, 16), (24, 8), (32, 8)])
def test_the_formula_holds_what_lives_at_the_peak_and_no_half_more(box, count, local, tmp_path):
    """A posterior so flat that every pose counts, which is what the formula allows for."""
    volume, particles = problem(tmp_path, box, count)
    with Pretend() as device:
        step = Expectation(model_of(volume, particles, flat=True, local=local), particles, torch.float32, CUDA, 1e10)
        size = step._size()
        if local:  # as many neighbours as there are, in place of a bound
            near = step.priors.candidates(step._load(particles)).orientation
            size = replace(size, n_orientations=near.shape[-1])
        device.memory.mark()
        found = step.run(particles)
        peak = device.memory.peak
    stated = DeviceSize(size).peak(count)
    whole = size.n_orientations * size.shifts
    assert int(found.table["n_significant"].min()) > 0.7 * whole
    of_run = replace(stated, accuracy=0).total - stated.context
    assert peak <= of_run <= 1.5 * peak


def test_the_formula_holds_what_measures_accuracies(tmp_path):
    volume, particles = problem(tmp_path, 16, 10)
    with Pretend() as device:
        step = Expectation(model_of(volume, particles, local=True), particles, torch.float32, CUDA, 1e10)
        device.memory.mark()
        step.accuracy(particles.take(np.arange(100) % 10), 1)
        peak, stated = device.memory.peak, DeviceSize(step._size()).peak(1)
    assert peak <= stated.volumes + stated.slices + stated.accuracy <= 1.5 * peak


class Ended:
    """A run on a device whose memory ends, and one that has enough."""

    def __init__(self, folder: Path, count: int) -> None:
        self.volume, self.particles = problem(folder, 16, count)
        self.said: list[str] = []

    def run(self, capacity: float = torch.inf, **changes: Any) -> tuple[list[bytes], Pretend]:
        """Bytes of the sums; `capacity` is what there is beside the model."""
        with Pretend() as device:
            step = Expectation(model_of(self.volume, self.particles), self.particles, torch.float32, CUDA, 1e10)
            for name, value in changes.items():
                setattr(step.room, name, value)
            step.room.told = self.said.append
            device.memory.mark()
            device.memory.capacity = device.memory.alive + capacity
            self.before, self.step = device.memory.alive, step
            return bytes_of(step.run(self.particles)), device


def test_a_device_whose_memory_ends_gives_the_bytes_of_one_with_enough(tmp_path):
    ended = Ended(tmp_path, 150)
    enough, _ = ended.run()
    small, device = ended.run(images=64)
    assert small == enough
    room = device.memory.peak - ended.before
    found, device = ended.run(room)
    assert found == enough
    assert device.memory.refused == len(ended.said) == 2
    assert "did not fit; 128 from here on" in ended.said[0]
    assert "did not fit; 64 from here on" in ended.said[1]
    assert ended.step.room.limit.bytes == 64 * DeviceSize(ended.step._size()).image_bytes


@pytest.mark.parametrize("broken", ["back_project", "add_statistics", "pose_columns"])
def test_what_was_added_when_memory_ended_is_not_added_again(broken, tmp_path, monkeypatch):
    """At the second of three passes, after its slices were inserted."""
    ended = Ended(tmp_path, 150)
    enough, _ = ended.run()
    real, calls = getattr(shard, broken), []

    def once(*arguments: Any) -> Any:
        found = real(*arguments)
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found

    monkeypatch.setattr(shard, broken, once)
    found, _ = ended.run()
    assert len(calls) == 2 + 3
    assert found == enough


def test_passes_that_are_done_are_not_made_again(tmp_path, monkeypatch):
    """The second pass ends before anything of it was added: the first one stays."""
    ended = Ended(tmp_path, 150)
    enough, _ = ended.run()
    real, calls = shard.fine_posterior, []

    def once(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*arguments)

    monkeypatch.setattr(shard, "fine_posterior", once)
    found, _ = ended.run()
    assert len(calls) == 3 + 1
    assert found == enough


def test_memory_for_less_than_an_image_is_an_error_that_says_so(tmp_path):
    ended = Ended(tmp_path, 3)
    ended.run(images=1)
    with pytest.raises(BlushError, match="too little memory") as error:
        ended.run(8e5)
    assert "one image of 16 px does not fit" in str(error.value)
    assert "cuda" in str(error.value)
