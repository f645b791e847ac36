"""Several references in one expectation step: rows, priors, tiles, and which reference an image goes to."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_problem import BOX, RADIUS, changed, model, particle_set, speckle

from blush.expectation import coarse
from blush.expectation.component import Component, Reference, runs
from blush.expectation.model import Model
from blush.expectation.shard import Expectation
from blush.expectation.sums import Sums
from blush.fourier.transform import transform

COUNT = 10
NOISE = 0.5 / BOX**2


def maps(dtype: torch.dtype) -> tuple[Reference, Reference]:
    return tuple(Reference(transform(speckle(seed).to(dtype), RADIUS)) for seed in (1, 2))


def problem(dtype: torch.dtype, references: tuple[Reference, ...], **changes) -> Model:
    """Two optics groups; noise at which an image tells the two maps apart, but not its pose for sure."""
    given = model(dtype, noise=torch.full((2, BOX // 2 + 1), NOISE, dtype=torch.float64), scale=torch.ones(3).double())
    return replace(given, component=Component(references, given.component.grid), **changes)


@pytest.fixture
def particles(tmp_path):
    """Views along z of map 1, then of map 2, with noise; a phase plate makes the CTF nearly 1."""
    noise = np.random.default_rng(5).normal(0, 1, (COUNT, BOX, BOX))
    clean = np.stack([speckle(1 + (i >= COUNT // 2)).sum(0).numpy() for i in range(COUNT)])
    flat = {"defocus_u_angst": np.zeros(COUNT), "defocus_v_angst": np.zeros(COUNT)}
    return particle_set(tmp_path, clean + 0.3 * noise, phase_shift_deg=np.full(COUNT, 90.0), **flat)


def run(given: Model, particles) -> Sums:
    return Expectation(given, particles, given.component.sphere.values.real.dtype, torch.device("cpu")).run(particles)


def per_reference(sums: Sums, n: int) -> torch.Tensor:
    return sums.directions.view(n, -1).sum(1)


@pytest.mark.parametrize("local", [None, 30.0])
def test_two_equal_references_share_every_image(local, particles, real):
    """Their posterior is half of one's, so are their volumes; images fit neither better than one."""
    first, _ = maps(real)
    one = run(problem(real, (first,), local_sigma_deg=local, adaptive_fraction=0.999999), particles)
    two = run(problem(real, (first, first), local_sigma_deg=local, adaptive_fraction=0.999999), particles)
    bound = 2e-4 if real == torch.float32 else 3e-6
    for volume in two.volumes:
        assert (2 * volume.grid - one.volumes[0].grid).abs().max() <= bound * one.volumes[0].grid.abs().max()
    assert torch.allclose(2 * two.directions.view(2, -1), one.directions.expand(2, -1), atol=bound * COUNT)
    assert torch.allclose(two.noise, one.noise, rtol=bound)
    assert torch.allclose(two.table["pmax"], one.table["pmax"] / 2, rtol=1e-3)
    # Two samples where there was one: ln 2 more of likelihood.
    gain = two.table["log_likelihood"] - one.table["log_likelihood"]
    assert torch.allclose(gain, torch.full_like(gain, np.log(2)), atol=2e-3)


@pytest.mark.parametrize("local", [None, 60.0])
def test_images_go_to_their_map(local, particles, real):
    given = problem(real, maps(real), local_sigma_deg=local)
    shares = torch.stack([per_reference(run(given, particles.take(np.array([i]))), 2) for i in range(COUNT)])
    own = torch.arange(COUNT) >= COUNT // 2
    assert (shares[torch.arange(COUNT), own.long()] > 0.99).all()


@pytest.mark.parametrize("local", [None, 60.0])
def test_the_order_of_references_orders_their_sums(local, particles, real):
    one = run(problem(real, maps(real), local_sigma_deg=local), particles)
    two = run(problem(real, maps(real)[::-1], local_sigma_deg=local), particles)
    bound = 3e-4 if real == torch.float32 else 1e-10
    for volume, other in zip(one.volumes, two.volumes[::-1], strict=True):
        assert (volume.grid - other.grid).abs().max() <= bound * one.volumes[0].grid.abs().max()
    assert torch.allclose(one.directions.view(2, -1), two.directions.view(2, -1).flip(0), atol=bound * COUNT)


@pytest.mark.parametrize("local", [None, 60.0])
def test_a_prior_weighs_a_reference(local, particles, real):
    """Posterior odds are likelihood ratio times prior odds (Bayes)."""
    first, second = maps(real)
    noisy = torch.full(
        (2, BOX // 2 + 1), 300 * NOISE, dtype=torch.float64
    )  # so that neither map is out of the question
    fields = {"local_sigma_deg": local, "noise": noisy, "adaptive_fraction": 0.9999999}
    image = particles.take(np.array([0]))
    even = per_reference(run(problem(real, (first, second), **fields), image), 2)
    weighted = (replace(first, log_prior=np.log(0.2)), replace(second, log_prior=np.log(1.8)))
    uneven = per_reference(run(problem(real, weighted, **fields), image), 2)
    assert 0.05 < float(even[0]) < 0.95
    assert float(uneven[0] / uneven[1]) == pytest.approx(float(even[0] / even[1]) * 0.2 / 1.8, rel=2e-3)


def test_tiles_end_with_their_reference(particles, monkeypatch):
    given = problem(torch.float64, maps(torch.float64))
    whole = run(given, particles)
    monkeypatch.setattr(coarse, "TILE", 50)  # 72 orientations
    tiles = list(given.component.tiles(50))
    assert tiles == [(0, 0, 50), (0, 50, 72), (1, 72, 122), (1, 122, 144)]
    assert torch.equal(run(given, particles).directions, whole.directions)


def test_runs_cover_the_list_and_never_mix():
    assert list(runs([0, 3, 3, 7], 1, 6)) == [(0, slice(1, 3)), (2, slice(3, 6))]
    assert list(runs([0, 5], 2, 4)) == [(0, slice(2, 4))]
    assert list(runs([0, 0, 5], 0, 5)) == [(1, slice(0, 5))]


def test_a_learned_direction_prior_stands_for_the_weight_of_its_reference(real):
    """The histogram runs over references and directions together, so it holds their shares already."""
    given = model(real)
    learned = torch.arange(given.component.grid.n_directions).double()
    (reference,) = changed(given, log_prior_direction=learned, log_prior=7.0).component.references
    component = Component((reference, replace(reference, log_prior_direction=None)), given.component.grid)
    prior = component.log_prior(torch.empty(0, dtype=real)).view(2, -1, component.grid.n_psi)
    assert torch.equal(prior[0, :, 0], learned.to(real))
    assert (prior[1] == 7).all()


def test_references_of_two_radii_are_refused():
    first, second = (Reference(transform(speckle(), radius)) for radius in (RADIUS, RADIUS - 1))
    with pytest.raises(ValueError, match="one box and radius"):
        Component((first, second), model(torch.float64).component.grid)
