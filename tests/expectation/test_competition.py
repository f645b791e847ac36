"""How references share an image: posteriors over all of them, temperatures, images of one reference."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_problem import BOX, RADIUS, assert_same, formulas_and_step, mixed_particles, model, rivals, speckle

from blush.expectation.competition import Contest, tempered_shares
from blush.expectation.component import Component, Reference
from blush.expectation.model import Model
from blush.expectation.shard import Expectation
from blush.expectation.sums import Sums
from blush.fourier.transform import transform
from blush.io.particles import ParticleSet

COUNT = 6
SEARCHES = {
    "global": {},
    "learned directions": {},
    "local": {"local_sigma_deg": 30.0},
    "cross-correlation": {"cross_correlation": True},
}


@pytest.fixture
def particles(tmp_path) -> ParticleSet:
    return mixed_particles(tmp_path, COUNT)


def learned(given: Model) -> Model:
    """Histograms over references and directions; each reference's share is the mean of its own."""
    component, references = given.component, []
    for k, one in enumerate(component.references):
        histogram = torch.linspace(0.3 + k, 1.6, component.grid.n_directions).double()
        references.append(replace(one, log_prior_direction=histogram.log(), log_prior=float(histogram.mean().log())))
    return replace(given, component=Component(tuple(references), component.grid))


def run(given: Model, particles: ParticleSet, dtype: torch.dtype = torch.float64) -> Sums:
    return Expectation(given, particles, dtype, torch.device("cpu")).run(particles)


@pytest.mark.parametrize("kind", SEARCHES)
@pytest.mark.parametrize(("n", "temperature"), [(2, 1.0), (2, 4.0), (3, 4.0)])
def test_every_sum_of_a_search_is_that_of_the_formulas(kind, n, temperature, particles):
    """Shares, D and W of each reference, noise, scales, offsets, directions, norms, likelihoods, best poses."""
    given = rivals(n, temperature=temperature, **SEARCHES[kind])
    given = learned(given) if kind == "learned directions" else given
    expected, found = formulas_and_step(given, particles)
    del expected.table["tops"], found.table["n_significant"]
    if kind == "cross-correlation":  # no pose of the losers is looked for: they take the winner's
        for name in ("matrices", "offsets"):
            del expected.table[name], found.table[name]
    assert_same(found, expected, 1e-9)
    if kind != "cross-correlation":
        assert (found.table["shares"] > 1e-3).all()
        assert found.table["shares"].amax(1).min() < 0.9


def test_a_temperature_softens_labels_but_not_the_prior(particles):
    """At any temperature shares lie between the prior's and the posterior's; at a high one they are the prior's."""
    shares = [run(rivals(2, temperature=t), particles).table["shares"] for t in (1.0, 4.0, 1e7)]
    prior = torch.tensor([0.5, 1.1]).double()
    prior = prior / prior.sum()
    torch.testing.assert_close(shares[2], prior.expand(COUNT, -1), rtol=0, atol=1e-5)
    far, near = ((s - prior).abs() for s in shares[:2])
    assert (near < far).all()
    assert near.max() > 0.01


@pytest.mark.parametrize("local", [None, 60.0])
def test_a_reference_that_loses_by_far_keeps_poses_of_its_own(local, particles):
    """Where images tell references apart for sure, a high temperature still shares them by the prior."""
    noise = torch.full((2, BOX // 2 + 1), 0.1 / BOX**2, dtype=torch.float64)
    given = rivals(2, noise=noise, local_sigma_deg=local, adaptive_fraction=0.999)
    sure = run(given, particles).table["shares"]
    assert (sure.amax(1) == 1).any()
    shared = run(replace(given, temperature=1e7), particles)
    prior = torch.tensor([0.5, 1.1]).double() / 1.6
    torch.testing.assert_close(shared.table["shares"], prior.expand(COUNT, -1), rtol=0, atol=1e-3)
    weight = shared.directions.view(2, -1).sum(1)  # of each reference the fraction is kept
    assert (weight > 0.998 * COUNT * prior).all()


def sharp_and_blurred() -> Model:
    """A map of which few poses fit, and a faint one of which all do, about as probable when poses are summed over."""
    maps = (speckle(1), 0.05 * speckle(2))
    prior = (0.0, 0.5)
    given = rivals(2, noise=torch.full((2, BOX // 2 + 1), 1.2 / BOX**2, dtype=torch.float64))
    references = tuple(Reference(transform(m, RADIUS), log_prior=p) for m, p in zip(maps, prior, strict=True))
    return replace(given, component=Component(references, given.component.grid))


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_the_label_is_the_most_probable_reference_not_that_of_the_best_sample(temperature, particles):
    given = replace(sharp_and_blurred(), temperature=temperature)
    expected, found = formulas_and_step(given, particles)
    label = expected.table["shares"].argmax(1)
    best_sample = expected.table["tops"].argmax(1)
    assert (label != best_sample).any()
    assert set(label.tolist()) == {0, 1}
    each = torch.arange(COUNT)
    torch.testing.assert_close(found.table["matrix"], found.table["matrices"][each, label], rtol=0, atol=0)
    torch.testing.assert_close(found.table["matrix"], expected.table["matrix"], rtol=0, atol=1e-9)
    torch.testing.assert_close(found.table["offset_x_angst"], expected.table["offset_x_angst"], rtol=0, atol=1e-9)
    torch.testing.assert_close(found.table["pmax"], expected.table["tops"].amax(1), rtol=1e-9, atol=0)


@pytest.mark.parametrize("local", [None, 30.0])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_a_confined_image_is_compared_with_its_reference_alone(local, temperature, particles):
    """Sums of a reference are those of a run with it alone, of the images confined to it."""
    to = np.array([2, 0, 2, 0, 0, 2])
    given = rivals(3, temperature=temperature, local_sigma_deg=local)
    found = run(given, replace(particles, confined_to=to))
    for k in (0, 2):
        own = np.flatnonzero(to == k)
        alone = run(replace(given, component=Component((given.component.references[k],), given.component.grid)),
                    particles.take(own))  # fmt: skip
        grid = alone.volumes[0].grid
        assert (found.volumes[k].grid - grid).abs().max() < 1e-11 * grid.abs().max()
        assert (found.directions.view(3, -1)[k] - alone.directions).abs().max() < 1e-11
        for name in alone.table:
            torch.testing.assert_close(found.table[name][own], alone.table[name], rtol=1e-10, atol=1e-10)
        assert (found.table["shares"][own] == torch.eye(3, dtype=torch.float64)[k]).all()
    assert (found.volumes[1].grid == 0).all()
    assert found.shares.tolist() == [3, 0, 3]


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("to", [-1, 3])
def test_an_image_of_no_reference_is_refused(fixed, to, particles):
    confined = replace(particles, confined_to=np.full(COUNT, to))
    with pytest.raises(ValueError, match=r"confined to references -?\d to -?\d of 0 to 2"):
        run(rivals(3, fixed_poses=fixed), confined)


@pytest.mark.parametrize("changes", [{}, {"local_sigma_deg": 30.0}, {"fixed_poses": True}, {"cross_correlation": True}])
def test_one_reference_has_no_temperature(changes, particles, real):
    """There is nobody to share with: the bytes are the same."""
    given = model(real, noise=torch.full((2, BOX // 2 + 1), 0.5 / BOX**2).double(), scale=torch.ones(3).double())
    one, two = (run(replace(given, temperature=t, **changes), particles, real) for t in (1.0, 5.0))
    assert torch.equal(one.volumes[0].grid, two.volumes[0].grid)
    assert torch.equal(one.noise, two.noise)
    assert {"shares", "poses"}.isdisjoint(one.table)
    for name, column in one.table.items():
        assert torch.equal(column, two.table[name]), name


@pytest.mark.parametrize("changes", [{}, {"local_sigma_deg": 30.0}, {"fixed_poses": True}])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_a_reference_without_a_prior_gets_nothing_and_spoils_nothing(changes, temperature, particles):
    """An empty class: the sums of the others are those without it."""
    given = rivals(3, temperature=temperature, **changes)
    first, second, third = given.component.references
    dead = replace(second, log_prior=-np.inf)
    found = run(replace(given, component=Component((first, dead, third), given.component.grid)), particles)
    others = run(replace(given, component=Component((first, third), given.component.grid)), particles)
    assert (found.volumes[1].grid == 0).all()
    torch.testing.assert_close(found.table["shares"][:, [0, 2]], others.table["shares"], rtol=1e-10, atol=1e-12)
    assert (found.table["shares"][:, 1] == 0).all()
    for name in ("pmax", "log_likelihood", "norm_correction"):
        torch.testing.assert_close(found.table[name], others.table[name], rtol=1e-10, atol=1e-10)


def test_shares_by_hand():
    """Likelihoods 1 : 8 at a prior of 3 : 1: 3 : 8, and at a temperature of 3 but 3 : 2."""
    prior = torch.tensor([3.0, 1.0]).double().log()
    evidence = (torch.tensor([[1.0, 8.0]]).double().log() + prior) - 1000
    one, three = (tempered_shares(evidence, prior, t)[0] for t in (1.0, 3.0))
    torch.testing.assert_close(one, torch.tensor([3.0, 8.0]).double() / 11)
    torch.testing.assert_close(three, torch.tensor([3.0, 2.0]).double() / 5)


def test_best_samples_of_a_list():
    """Two images, three references; equals: the first. What was not compared takes the image's best."""
    image, owner = torch.tensor([0, 1, 0, 0, 1]), torch.tensor([0, 4, 2, 0, 4])
    scores = torch.tensor([[1.0, 2.0], [5.0, 5.0], [0.0, 7.0], [2.0, 2.0], [4.0, 5.0]])
    contest = Contest(image, owner, 2, 3)
    assert contest.tops(scores).tolist() == [2, -torch.inf, 7, -torch.inf, 5, -torch.inf]
    assert contest.best(scores).tolist() == [[1, 5, 5], [2, 2, 2]]
    weight = torch.tensor([[0.1, 0.1], [0.5, 0.2], [0.0, 0.3], [0.2, 0.1], [0.1, 0.1]])
    expected = torch.tensor([[0.5 / 0.8, 0, 0.3 / 0.8], [0, 1, 0]]).double()
    torch.testing.assert_close(contest.shares(weight), expected, rtol=1e-6, atol=0)
