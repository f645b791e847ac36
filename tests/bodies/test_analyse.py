"""What moves is found, and noise is not called motion: simulated motions with known truth, three seeds each."""

import numpy as np
import pytest
from drawn import EQUAL, SMALL, THREE, hinge, seen, still, with_body_still

from blush.bodies.analyse import analyse
from blush.errors import BlushError

N = 800
SEEDS = (1, *(pytest.param(seed, marks=[pytest.mark.slow, pytest.mark.thorough]) for seed in (2, 3)))


def unimodal(rng, sd_deg, n=N):
    return rng.normal(0, sd_deg, n)


def correlation(one, other):
    return abs(np.corrcoef(one, other)[0, 1])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("bodies", "sd_deg"), [(EQUAL, 10.0), (SMALL, 15.0)])
def test_a_hinge_is_found_with_its_width(bodies, sd_deg, seed):
    angles = unimodal(np.random.default_rng(seed), sd_deg)
    found = analyse(seen(bodies, hinge(bodies, angles), seed), seed)
    first = found.moving[0]
    assert correlation(first.place_angst, angles) >= 0.9
    assert first.against[:2] in (("head", "core"), ("core", "head"))
    assert first.against[2] == pytest.approx(angles.std(), rel=0.08)
    assert first.modes.count == 1
    assert found.components[0].explained > 0.9
    assert found.components[0].margin > 2
    assert first.component.low_angst < first.component.sd_angst < first.component.high_angst
    assert first.sd_by_half_angst == pytest.approx([first.component.sd_angst] * 2, rel=0.1)
    slope = first.component.sd_angst / angles.std() * np.sign(np.corrcoef(first.place_angst, angles)[0, 1])
    off = first.place_angst - slope * (angles - angles.mean())  # the truth is linear in the angle
    assert (off / first.error_angst).std() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_of_three_bodies_that_move_apart_are_two_components(seed):
    rng = np.random.default_rng(seed)
    far, near = unimodal(rng, 14.0), unimodal(rng, 6.0)
    rotations, shifts = hinge(THREE, far)
    other = hinge(THREE, near, (1.0, 0.0, 0.0), body=2)
    rotations[2], shifts[2] = other[0][2], other[1][2]
    found = analyse(seen(THREE, (rotations, shifts), seed), seed)
    assert found.n_beyond == 2
    assert correlation(found.moving[0].place_angst, far) >= 0.9
    assert correlation(found.moving[1].place_angst, near) >= 0.75
    assert found.components[2].explained < 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rigid_molecule_does_not_move(seed):
    """Cut in two or three, and with consensus poses that are off by 3 degrees."""
    for bodies in (EQUAL, SMALL, THREE):
        motions = seen(bodies, still(N, len(bodies.radii)), seed, consensus=(3.0, 1.5))
        found = analyse(motions, seed)
        assert found.n_beyond == 0
        assert found.verdict.startswith("No motion beyond the uncertainty of the poses")
        assert found.components[0].sd_angst < 1.2 * found.components[0].floor_angst
        naive = np.rad2deg(np.sqrt(np.trace(np.cov(motions.rotations[1, :, 2, :2].T))))
        assert naive > 3  # what is seen of the rotations without care for their uncertainty


@pytest.mark.parametrize(("factor", "doubtful", "n_beyond"), [(0.6, True, 0), (0.1, False, 1)])
def test_posteriors_that_are_too_narrow_are_doubted(factor, doubtful, n_beyond):
    """A rigid molecule whose uncertainty is said to be sqrt(0.6) of what it is; by far too much is taken for motion."""
    motions = seen(EQUAL, still(N, 2), 1)
    motions.covariance[:] *= factor
    found = analyse(motions, 1)
    first = found.components[0]
    assert first.is_doubtful == doubtful
    assert (found.n_beyond > 0) == (n_beyond > 0)
    assert first.margin == pytest.approx(factor**-0.5, rel=0.2)
    assert ("what is left is noise if poses are 1." in found.verdict) == doubtful


@pytest.mark.parametrize("seed", SEEDS)
def test_two_modes_are_two(seed):
    rng = np.random.default_rng(seed)
    upper = rng.random(N) < 0.5
    angles = np.where(upper, 9.0, -9.0) + rng.normal(0, 2.5, N)
    first = analyse(seen(EQUAL, hinge(EQUAL, angles), seed, noise=(4.5, 1.5)), seed).moving[0]
    assert first.modes.count == 2
    assert first.modes.share == pytest.approx([0.5, 0.5], abs=0.05)
    assert first.modes.chance == 1 / 40
    apart = np.diff(first.modes.mean_angst)[0] / first.component.sd_angst
    assert apart == pytest.approx(18 / angles.std(), rel=0.05)
    right = (first.mode.argmax(1) == 1) == upper
    assert max(right.mean(), 1 - right.mean()) > 0.95
    assert correlation(first.place_angst, angles) >= 0.9
    middle = np.abs(first.bins_angst) < 0.3 * first.component.sd_angst  # measured places fill the gap
    truth = (np.abs(angles - angles.mean()) < 0.3 * angles.std()).mean()
    assert [first.share.sum(), first.measured.sum()] == pytest.approx([1, 1])
    filled = first.measured[middle].sum() - truth
    assert filled > 0.05
    assert first.share[middle].sum() - truth < filled / 2


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.uniform(-17, 17, N),
        lambda rng: rng.exponential(9, N),
        lambda rng: 6 * rng.standard_t(4, N).clip(-6, 6),
    ],
    ids=["flat", "skew", "tails"],
)
def test_one_mode_is_one_whatever_its_shape(draw, seed):
    angles = draw(np.random.default_rng(seed))
    assert analyse(seen(EQUAL, hinge(EQUAL, angles), seed), seed).moving[0].modes.count == 1


def test_equal_records_give_equal_findings():
    motions = seen(EQUAL, hinge(EQUAL, unimodal(np.random.default_rng(1), 10.0, 400)), 1)
    one, other = (analyse(motions, 5) for _ in range(2))
    assert one.content() == other.content()
    np.testing.assert_array_equal(one.moving[0].place_angst, other.moving[0].place_angst)


def test_one_body_is_told_to_move_against_the_consensus():
    angles = unimodal(np.random.default_rng(1), 10.0, 600)
    motions = with_body_still(seen(EQUAL, hinge(EQUAL, angles), 1, consensus=(0.1, 0.1)), 0)
    found = analyse(motions, 1)
    assert correlation(found.moving[0].place_angst, angles) >= 0.9
    assert found.moving[0].against is None
    assert "only head was refined" in found.notes()[0]
    assert "head turns by" in found.verdict


def test_too_few_images_are_refused():
    with pytest.raises(BlushError, match="60 are needed for 2 bodies"):
        analyse(seen(EQUAL, still(59, 2), 1), 1)
