"""Rise and twist of helices in closed form: without noise, at three levels of it, and at the limits of a search."""

import numpy as np
import pytest
import torch
from helices import GLOBULAR, helix_map, noisy_halves, unit_of_chain

from blush.geometry.helix import Helix
from blush.helix.masks import Tube, central_mask
from blush.helix.pair_score import Central
from blush.helix.search import search_one_map, search_symmetry

TWENTY = (64, 4.0, Helix(21, 37), GLOBULAR, Central(4.0, 0.4, Tube(150)), (18.0, 24.0), (33.0, 41.0))
AMYLOID = (96, 1.5, Helix(4.75, -1.2), unit_of_chain(0), Central(1.5, 0.5, Tube(80)), (4.5, 5.0), (-2.0, -0.5))


def found_in(kind, halves):
    _, _, helix, _, central, rises, twists = kind
    start = Helix(1.01 * helix.rise_angst, 1.02 * helix.twist_deg)
    return search_symmetry(halves, central, start, rises, twists)


@pytest.mark.parametrize("kind", [TWENTY, AMYLOID], ids=["20 Å", "amyloid"])
def test_without_noise_the_search_is_exact_to_ten_parts_in_a_million(kind):
    """Trilinear copies are off by 0.2 % of the rise and 1 % of the twist."""
    box, pixel, helix, unit, *_ = kind
    volume = helix_map(box, pixel, helix, unit)
    found = found_in(kind, (volume, volume))
    assert found.helix.rise_angst == pytest.approx(helix.rise_angst, rel=2e-5)
    assert found.helix.twist_deg == pytest.approx(helix.twist_deg, abs=1e-4)
    assert found.score > 0.9999
    assert found.at_limit == ()


@pytest.mark.parametrize("twist", [37.0, -37.0, 181.2, -179.4])
def test_the_hand_and_the_screw_are_those_of_the_map(twist):
    volume = helix_map(48, 4.0, Helix(21, twist))
    central = Central(4.0, 0.6, Tube(140))
    found = search_symmetry((volume, volume), central, Helix(21, 0.9 * twist), None, (twist - 30, twist + 30))
    assert found.helix.twist_deg == pytest.approx(twist, abs=1e-3)
    other = search_symmetry((volume, volume), central, Helix(21, -0.9 * twist), None, (-twist - 30, -twist + 30))
    assert found.score > 0.99
    assert other.score < 0.9 or abs(twist) > 150  # 181.2 and -181.2 differ by 2.4 degrees, which this map shows less


def estimates(kind, noise, seeds):
    box, pixel, helix, unit, central, *_ = kind
    volume = helix_map(box, pixel, helix, unit)
    inside = central_mask(box, pixel, central.tube, central.fraction) > 0.5
    found = [found_in(kind, noisy_halves(volume, noise, inside, seed)).helix for seed in seeds]
    return np.array([(each.rise_angst, each.twist_deg) for each in found])


def test_noise_leaves_the_rise_and_twist_where_they_are():
    """At noise nearly as strong as the signal, three seeds: 0.025 Å and 0.015 degrees of scatter."""
    error = np.abs(estimates(TWENTY, 0.9, range(3)) - [21, 37])
    assert (error < [0.08, 0.05]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "noise", "scatter"),
    [
        (TWENTY, 0.3, (0.012, 0.007)),
        (TWENTY, 0.9, (0.035, 0.025)),
        (TWENTY, 2.0, (0.08, 0.07)),
        (AMYLOID, 0.3, (0.001, 0.006)),
        (AMYLOID, 0.9, (0.0028, 0.018)),
        (AMYLOID, 2.0, (0.006, 0.04)),
    ],
)
def test_noise_scatters_the_estimates_and_moves_their_mean_by_no_more_than_its_error(kind, noise, scatter):
    """Sixteen seeds; the mean lies within 3.5 of its standard errors of the truth."""
    found = estimates(kind, noise, range(16))
    sd = found.std(0, ddof=1)
    assert (sd < scatter).all()
    assert (np.abs(found.mean(0) - [kind[2].rise_angst, kind[2].twist_deg]) < 3.5 * sd / 4).all()


def test_limits_that_are_reached_are_named():
    volume = helix_map(48, 4.0, Helix(21, 37))
    central = Central(4.0, 0.6, Tube(140))
    found = search_symmetry((volume, volume), central, Helix(20, 37), (19, 20.5), (35, 39))
    assert found.at_limit == ("rise_angst",)
    assert found.helix.rise_angst == 20.5
    assert found.scores.shape == (len(found.rises_angst), len(found.twists_deg))
    kept = search_symmetry((volume, volume), central, Helix(20.5, 36), None, (35, 38))
    assert kept.helix.rise_angst == 20.5
    assert kept.at_limit == ()


def test_what_cannot_be_searched_is_refused():
    halves = (torch.zeros(32, 32, 32), torch.zeros(32, 32, 32))
    central = Central(2.0, 0.3, Tube(40))
    with pytest.raises(ValueError, match="rise_angst 5 is not within its limits 6 to 7"):
        search_symmetry(halves, central, Helix(5, 10), (6, 7), None)
    with pytest.raises(ValueError, match=r"central fraction 0\.9 reaches the ends of the box; take 0\.56 or less"):
        search_symmetry(halves, Central(2.0, 0.9, Tube(40)), Helix(5, 10), None, (5, 15))
    with pytest.raises(ValueError, match=r"central part of .* Å is shorter than two rises of 40 Å"):
        search_symmetry(halves, central, Helix(40, 10), None, (5, 15))


def test_one_map_counts_no_pairs_that_share_noise():
    """Noise of a low-passed map is alike in neighbours; of an amyloid's rungs only those farther apart count."""
    box, pixel, helix, unit, central, rises, twists = AMYLOID
    volume = helix_map(box, pixel, helix, unit)
    inside = central_mask(box, pixel, central.tube, central.fraction) > 0.5
    noisy, _ = noisy_halves(volume, 0.9, inside, 3)
    found = search_one_map(noisy, central, Helix(4.8, -1.1), rises, twists, 4.0)
    assert found.helix.rise_angst == pytest.approx(4.75, abs=0.02)
    assert found.helix.twist_deg == pytest.approx(-1.2, abs=0.06)
