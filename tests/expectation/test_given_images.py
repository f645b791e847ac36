"""Transforms of images at given poses: the same bytes kept or made anew, and no more kept than there is room for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_problem import RADIUS, mixed_particles, rivals

from blush.expectation.given_images import Kept, Place
from blush.expectation.shard import Expectation
from blush.io.particles import ParticleSet

COUNT = 11


@pytest.fixture
def particles(tmp_path) -> ParticleSet:
    return mixed_particles(tmp_path, COUNT)


def step_at(particles: ParticleSet, **changes) -> Expectation:
    given = rivals(2, fixed_poses=True, **changes)
    return Expectation(given, particles, torch.float64, torch.device("cpu"))


def found(step: Expectation, particles: ParticleSet, place: Place | None) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in step.run(particles, place=place).arrays().items()}


def place_in(kept: Kept, room_bytes: float = 1e9, run: str = "run") -> Place:
    return Place(kept, run, "shard", room_bytes)


def test_kept_images_are_compared_with_the_same_bytes(particles):
    """Also with other noise, norms and radius than those with which they were made."""
    kept, step = Kept(), step_at(particles)
    fresh = found(step, particles, None)
    assert found(step, particles, place_in(kept)) == fresh
    assert kept.nbytes > 0
    later = replace(particles, norm_correction=particles.norm_correction * np.linspace(0.8, 1.3, COUNT))
    quieter = step_at(particles, noise=0.7 * step.model.noise)
    unseen = replace(later, stacks=tuple("/nowhere" for _ in later.stacks))  # the images are not read again
    assert found(quieter, unseen, place_in(kept)) == found(quieter, later, None) != fresh


def test_no_more_is_kept_than_there_is_room_for(particles):
    kept, step = Kept(), step_at(particles)
    assert found(step, particles, place_in(kept, 1000.0)) == found(step, particles, None)
    assert kept.nbytes == 0
    found(step, particles, place_in(kept))
    needed = kept.nbytes
    other = Kept()
    found(step, particles, place_in(other, needed - 1))
    assert other.nbytes == 0
    found(step, particles, place_in(other, needed))
    assert other.nbytes == needed


def test_images_of_another_run_are_let_go(particles):
    kept, step = Kept(), step_at(particles)
    found(step, particles, place_in(kept))
    assert kept.find("run", "shard", step.given.n_pixels) is not None
    assert kept.find("another", "shard", step.given.n_pixels) is None
    assert kept.nbytes == 0


def test_what_reaches_to_another_shell_is_made_anew(particles):
    kept, step = Kept(), step_at(particles)
    found(step, particles, place_in(kept))
    assert step.given.n_pixels >= step.pixels.inside(RADIUS)
    assert kept.find("run", "shard", step.given.n_pixels + 1) is None
    assert kept.nbytes == 0


def test_large_blocks_hold_whole_parts_of_images(particles):
    step = step_at(particles)
    size = step._size()
    for memory in (1e5, 1e6, 1e7, 1e8):
        block = size.block_size(memory)
        assert block <= 64 or block % 64 == 0
