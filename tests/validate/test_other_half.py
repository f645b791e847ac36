"""Evidence of one half's images for the other half's map: closed forms, chance, and the verdicts."""

import math

import numpy as np
import pytest
import torch

from blush.geometry.sampling import OrientationGrid
from blush.validate.other_half import Told, offset_log_share, orientation_log_share

EDGES = [40.0, 20.0, 10.0]


def told(log_gain, resolution_angst=10.0, share=-5.0, plain=None):
    """Of (n, bands) gains with each band's end, images of both halves by turns."""
    n = len(log_gain)
    return Told(log_gain, np.full(n, share), np.arange(n) % 2 + 1, EDGES, resolution_angst, plain)


def bands(n, *added, spread=1.0):
    """(n, bands) gains of bands that add so much on average."""
    random = np.random.default_rng(4)
    return np.cumsum([random.normal(mean, spread, n) for mean in added], axis=0).T


@pytest.mark.parametrize("order", [1, 8])
def test_the_share_of_a_gaussian_is_its_integral_over_its_peak(order):
    """Flat space is near enough for two degrees; all rotations together measure 8 pi squared."""
    line = np.radians(np.linspace(-12, 12, 2401))
    integral = (np.exp(-(line**2) / (2 * np.radians(2.0) ** 2)).sum() * (line[1] - line[0])) ** 3
    assert orientation_log_share(2.0, order) == pytest.approx(math.log(order * integral / (8 * math.pi**2)), abs=1e-6)
    assert orientation_log_share(None, order) == 0.0
    assert orientation_log_share(200.0, order) == 0.0


@pytest.mark.parametrize("symmetry", ["C1", "D2"])
def test_the_share_is_that_of_the_grid_of_a_local_search(symmetry):
    """u / max q, where q sums to 1 over the neighbours and u to 1 over the asymmetric unit."""
    order, grid = {"C1": 1, "D2": 4}[symmetry], OrientationGrid.build(3, symmetry)
    generator = torch.Generator().manual_seed(1)
    rot, psi = (360 * torch.rand(20, generator=generator, dtype=torch.float64) for _ in range(2))
    tilt = torch.rad2deg(torch.acos(2 * torch.rand(20, generator=generator, dtype=torch.float64) - 1))
    sigma_deg = 7.5
    near, log_prior = grid.local_neighbours(rot, tilt, psi, sigma_deg)
    assert log_prior.exp().masked_fill(near < 0, 0).sum(1).numpy() == pytest.approx(1.0)
    largest = log_prior.masked_fill(near < 0, -torch.inf).amax(1)
    share = -math.log(grid.n_orientations) - largest
    above = share.numpy() - orientation_log_share(sigma_deg, order)  # the nearest orientation is not at the peak
    assert (above > -0.05).all()
    assert 0 < above.mean() < 0.2


def test_the_share_of_offsets_is_what_lies_in_the_window():
    line = np.arange(-40.0, 40.5, 0.5)
    everywhere = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    right = everywhere[everywhere[:, 0] > 0]
    whole = np.array([[0.0, 0.0], [5.0, 0.0]])
    assert offset_log_share(whole, everywhere, 0.5, 4.0) == pytest.approx(0.0, abs=1e-6)
    half, more = offset_log_share(whole, right, 0.5, 4.0)  # the second window begins at 5 of a width of 4
    assert half == pytest.approx(math.log(0.5), abs=0.06)
    assert more == pytest.approx(math.log(0.5 * math.erfc(5 / 4 / math.sqrt(2))), abs=0.2)


@pytest.mark.parametrize("strength", [0.5, 2.0, 5.0])
def test_noise_is_told_no_more_often_than_chance_allows(strength):
    """Ln p(x | a) / p(x | 0) of white noise is a x - a a / 2: normal, whatever the map is."""
    random = np.random.default_rng(2)
    gain = strength * random.normal(size=4000) - strength**2 / 2
    found = told(np.stack([gain * 0, gain * 0, gain], 1), share=0.0)
    assert found.told.mean() <= 0.05
    assert not found.is_seen
    assert found.record()["verdict"] == "fails"
    assert "nothing shows" in found.record()["words"][0]


def test_images_of_the_map_are_told():
    random = np.random.default_rng(2)
    gain = 5.0 * random.normal(5.0, size=400) - 12.5
    assert told(np.stack([gain * 0, gain * 0, gain], 1)).told.mean() > 0.7


def test_every_band_has_a_verdict():
    found = told(bands(400, 12.0, 0.0, -3.0))
    assert [one["verdict"] for one in found.bands()] == ["supported", "silent", "refuted"]
    assert [(one["from_angst"], one["to_angst"]) for one in found.bands()] == [(None, 40.0), (40.0, 20.0), (20.0, 10.0)]
    assert found.supported_angst() == 40.0


def test_a_band_that_the_fsc_does_not_reach_is_not_held_against_it():
    gains = bands(400, 12.0, 3.0, -3.0)
    assert told(gains, resolution_angst=20.0).record()["verdict"] == "holds"
    refuted = told(gains, resolution_angst=10.0).record()
    assert refuted["verdict"] == "fails"
    assert "From 20.0 Å on" in refuted["words"][1]
    assert refuted["supported_angst"] == 20.0


def test_what_is_silent_is_not_taken_for_support():
    found = told(bands(400, 12.0, 3.0, 0.0)).record()
    assert found["verdict"] == "silent"
    assert "The map up to 20.0 Å is supported" in found["words"][1]


def test_what_a_search_leaves_out_refutes_nothing():
    gains = bands(400, 12.0, 3.0, -0.001, spread=1e-5)
    assert told(gains).bands()[2]["verdict"] == "silent"


@pytest.mark.parametrize(("difference", "verdict"), [(0.5, "better"), (-0.5, "worse"), (0.0, "not told apart")])
def test_a_regulariser_is_held_against_the_wiener_filter(difference, verdict):
    gains = bands(400, 12.0, 3.0, 1.0)
    plain = gains[:, -1] - np.random.default_rng(5).normal(difference, 1.0, 400)
    found = told(gains, plain=plain).record()
    assert found["regulariser"]["verdict"] == verdict
    assert found["regulariser"]["gain_per_image"] == pytest.approx(difference, abs=0.2)
    assert len(found["words"]) == 3
