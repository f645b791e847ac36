"""Forward-backward recursions against sums over all paths, and what chains know that single segments do not."""

from functools import reduce

import numpy as np
import pytest
from chains import SIGN, Chains, rms, wrapped
from scipy.linalg import expm

from blush.helix.chain import DOUBT, Evidence, Motion, log_evidence, smooth, turned
from blush.helix.filaments import Filaments
from blush.helix.slow_twist import Half

TRUE = Motion(37 / 21, 0.05, 360.0)


def by_row(half: Half, motion: Motion) -> dict[str, np.ndarray]:
    """What `smooth` says, in the order of rows."""
    found: dict[str, np.ndarray] = {}
    for evidence in half.blocks():
        told = smooth(evidence, motion)
        for name, values in vars(told).items():
            whole = found.setdefault(name, np.full((len(half.filament), *values.shape[1:]), np.nan))
            whole[evidence.filaments.rows] = values
    return found


def paths(said: np.ndarray, place: np.ndarray, motion: Motion, sign: float) -> tuple[np.ndarray, np.ndarray]:
    """Probability of every path of rho on the bins, before and after what is said, by transitions between neighbours.

    `said` (n, bins), and the slow twist turns rho by whole bins from a segment to the next.
    """
    n, bins = said.shape
    width = motion.period_deg / bins
    jumps = (np.roll(np.eye(bins), 1, 0) + np.roll(np.eye(bins), -1, 0)) / 2 - np.eye(bins)
    prior = np.full((bins,) * n, 1 / bins)
    for i in range(n - 1):
        gap = place[i + 1] - place[i]
        turn = sign * motion.slope_deg_per_angst * gap / width
        assert turn == pytest.approx(round(turn))
        step = np.roll(expm(jumps * motion.walk_deg2_per_angst * gap / width**2), round(turn), 1)
        prior = prior * step.reshape([bins if k in (i, i + 1) else 1 for k in range(n)])
    return prior, prior * np.exp(reduce(np.add.outer, said))


@pytest.mark.parametrize(
    ("extent", "weights", "others"),
    [
        (15.0, [1, 1, 1, 1, 1], [[1, 2, 3, 4], [0, 2, 3, 4], [0, 1, 3, 4], [0, 1, 2, 4], [0, 1, 2, 3]]),
        # boxes of 60 Å at 0, 40, 60, 120, 180: shared stretches of 20, 40 and none, the first two also with the third
        (60.0, [5 / 6, 0.5, 2 / 3, 1, 1], [[1, 2, 3, 4], [0, 3, 4], [0, 3, 4], [0, 1, 2, 4], [0, 1, 2, 3]]),
    ],
)
def test_recursions_are_sums_over_all_paths(extent, weights, others):
    place, bins, odds = np.array([0.0, 40.0, 60.0, 120.0, 180.0]), 6, 0.3
    motion = Motion(2.0, 4.0, 360.0 / 3)
    said = np.random.default_rng(0).normal(size=(5, 2, bins)) * 1.5
    said = said.astype(np.float32).astype(np.float64)
    filaments = Filaments.of(np.arange(5), np.zeros(5, int), place, extent)
    assert filaments.weight == pytest.approx(weights)
    evidence = Evidence.of(filaments, said.astype(np.float32), np.full(5, odds), np.full(5, -9.0))
    found = smooth(evidence, motion)
    cavity, total = np.zeros((5, 2, bins)), np.zeros(2)
    for p in (0, 1):
        tempered = said[:, p] * np.array(weights)[:, None]
        _, after = paths(tempered, place, motion, SIGN[p])
        total[p] = after.sum()
        for i, heard in enumerate(others):
            only = np.where(np.isin(np.arange(5), heard)[:, None], tempered, 0.0)
            _, without = paths(only, place, motion, SIGN[p])
            cavity[i, p] = without.sum(tuple(k for k in range(5) if k != i))
    assert log_evidence(evidence, motion)[0] == pytest.approx(np.log(total), abs=1e-12)
    assert found.log_odds == pytest.approx(np.full(5, np.log(total[0] / total[1]) + odds), abs=1e-12)
    of_polarity = cavity.sum(2) * np.exp(np.array([odds, 0.0]))
    of_polarity /= of_polarity.sum(1, keepdims=True)
    shares = (1 - DOUBT) * cavity / cavity.sum(2, keepdims=True) + DOUBT / bins
    expected = np.log(2 * bins * of_polarity[..., None] * shares)
    assert found.log_prior == pytest.approx(expected, abs=1e-11)
    likely = int(found.log_odds[0] < 0)
    _, after = paths(said[:, likely] * np.array(weights)[:, None], place, motion, SIGN[likely])
    for i in range(5):
        share = after.sum(tuple(k for k in range(5) if k != i))
        mean = np.sum(share * np.exp(2j * np.pi * np.arange(bins) / bins)) / share.sum()
        assert found.rho_deg[i] == pytest.approx(np.degrees(np.angle(mean)) % 360 / 3, abs=1e-9)
        spread = min(np.degrees(np.sqrt(-2 * np.log(abs(mean)))) / 3, 120 / np.sqrt(12))
        assert found.spread_deg[i] == pytest.approx(spread, abs=1e-9)


def test_a_walk_over_a_gap_is_one_over_its_parts():
    place = np.array([0.0, 10.0, 25.0, 30.0, 90.0])
    said = np.random.default_rng(3).normal(size=(5, 2, 30)).astype(np.float32)
    said[1:4] = 0.0
    motion = Motion(0.7, 2.0, 180.0)

    def first_and_last(rows):
        one = Filaments.of(rows, np.zeros(5, int), place, 5.0)
        return log_evidence(Evidence.of(one, said, np.zeros(5), np.zeros(5)), motion)

    assert first_and_last(np.arange(5)) == pytest.approx(first_and_last(np.array([0, 4])), abs=1e-12)


def test_functions_are_read_between_bins_as_parabolas_are():
    bins, shift = 40, np.array([[0.3, -7.6]])
    k = np.arange(bins) - 20.0
    values = np.stack((-((k / 6) ** 2), -(((k - 1) / 5) ** 2)))[None]
    expected = np.stack((-(((k + 0.3) / 6) ** 2), -(((k - 8.6) / 5) ** 2)))
    found = turned(values, shift)[0]
    assert found[0, 3:-3] == pytest.approx(expected[0, 3:-3], abs=1e-12)
    assert found[1, 11:-3] == pytest.approx(expected[1, 11:-3], abs=1e-12)


def test_rows_blocks_and_names_of_filaments_change_no_byte():
    chains = Chains.drawn(4, segments=9, walk=0.05)
    said = chains.images(5, 6.0, 48)
    whole = by_row(chains.half(said, 60.0), TRUE)
    order = np.random.default_rng(6).permutation(len(said))
    mixed = by_row(chains.shuffled(order).half(said[order], 60.0), TRUE)
    rows = np.flatnonzero(chains.filament == 3)
    half = chains.half(said, 60.0)
    alone = by_row(Half(said, rows, half.filament, half.track_angst, 60.0, half.log_odds, half.log_odds), TRUE)
    for name, values in whole.items():
        assert np.array_equal(values[order], mixed[name]), name
        assert np.array_equal(values[rows], alone[name][rows]), name


def test_a_segment_alone_is_told_nothing_but_the_polarity_that_its_table_expects():
    said = np.random.default_rng(1).normal(size=(1, 2, 24)).astype(np.float32)
    one = Filaments.of(np.arange(1), np.zeros(1, int), np.zeros(1), 100.0)
    found = smooth(Evidence.of(one, said, np.full(1, 1.2), np.zeros(1)), Motion(1.0, 0.1, 360.0))
    shares = np.exp(found.log_prior[0]).sum(1) / 48
    assert shares == pytest.approx([1 / (1 + np.exp(-1.2)), 1 / (1 + np.exp(1.2))])
    silent = smooth(Evidence.of(one, 0 * said, np.zeros(1), np.zeros(1)), Motion(1.0, 0.1, 360.0))
    assert silent.spread_deg == pytest.approx([360 / np.sqrt(12)])
    assert np.ptp(found.log_prior[0], axis=1) == pytest.approx([0, 0], abs=1e-9)


def test_segments_that_say_nothing_are_told_by_the_others():
    chains = Chains.drawn(8, filaments=4)
    said = chains.measured(9, 5.0, 96)
    silent = np.arange(len(said)) % 3 == 1
    said[silent] = np.nan
    told = by_row(chains.half(said), TRUE)
    assert np.isfinite(told["log_prior"]).all()
    likely = told["log_prior"].reshape(len(said), -1).argmax(1)
    rho = likely % 96 * 360 / 96
    assert rms(wrapped(rho - chains.rho_deg, 360.0)[silent]) < 4.0


def test_a_polarity_that_was_not_looked_at_keeps_its_odds():
    """Else what the searched one finds at every segment would be held for evidence against the other."""
    chains = Chains.drawn(8, filaments=2)
    said = chains.images(9, 20.0, 48)
    said[chains.filament == 1, 1] = np.nan
    half = chains.half(said)
    before = np.where(chains.filament == 1, 11.0, 0.0)
    told = by_row(Half(said, half.rows, half.filament, half.track_angst, 21.0, before * 0, before), TRUE)
    assert (told["log_odds"][chains.filament == 1] == 11.0).all()
    assert (np.abs(told["log_odds"][chains.filament == 0]) > 12).all()
    shares = np.exp(told["log_prior"][chains.filament == 1]).sum(2)
    assert np.log(shares[:, 0] / shares[:, 1]) == pytest.approx(np.full(12, 11.0))


def test_segments_that_show_the_same_noise_count_once():
    """Twenty boxes at one place say what one of them says."""
    chains = Chains.drawn(2, filaments=1, segments=8, step_angst=100.0)
    said = chains.images(3, 4.0, 48)
    once = by_row(chains.half(said, 100.0), TRUE)["log_odds"][0]
    near = np.repeat(chains.track_angst, 20) + np.tile(np.arange(20) * 1e-4, 8)
    even = np.zeros(160)
    often = Half(np.repeat(said, 20, 0), np.arange(160), np.zeros(160, int), near, 100.0, even, even)
    assert abs(once) > 3
    assert by_row(often, TRUE)["log_odds"][0] == pytest.approx(once, rel=0.01)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_chains_know_polarity_and_rot_where_segments_do_not(seed):
    """The set of RELION's defect: 16 filaments of 12 segments, 7 of them reversed, here at a very low signal."""
    chains = Chains.drawn(seed, walk=0.05)
    said = chains.images(seed, 4.0, 48)
    told = by_row(chains.half(said), TRUE)

    def errors(values):
        best = values.reshape(len(said), -1).argmax(1)
        return best // 48 != chains.polarity, wrapped(best % 48 * 7.5 - chains.rho_deg, 360.0)

    alone, together = errors(said), errors(said + told["log_prior"])
    assert alone[0].mean() > 0.15
    assert rms(alone[1]) > 50
    assert together[0].sum() == 0
    assert np.array_equal(told["log_odds"] < 0, chains.polarity == 1)
    assert rms(together[1]) < 6


def test_what_chains_believe_of_rot_is_true_as_often_as_they_say():
    inside, gaps = [], []
    for seed in range(24):
        chains = Chains.drawn(seed, walk=0.3)
        told = by_row(chains.half(chains.measured(seed + 50, 12.0, 96)), Motion(37 / 21, 0.3, 360.0))
        gap = wrapped(told["rho_deg"] - chains.rho_deg, 360.0) / told["spread_deg"]
        inside.append(np.mean(np.abs(gap) < 1.0))
        gaps.append(rms(gap))
    assert 0.64 < np.mean(inside) < 0.74
    assert 0.9 < np.mean(gaps) < 1.1


def test_noise_decides_no_polarity():
    chains = Chains.drawn(1, filaments=32)
    said = chains.images(2, 0.0, 48)
    odds = by_row(chains.half(said), TRUE)["log_odds"]
    assert np.abs(odds).max() < 4


def test_no_evidence_decides_beyond_all_doubt():
    chains = Chains.drawn(1, filaments=2, segments=40)
    told = by_row(chains.half(chains.images(2, 400.0, 48)), TRUE)
    assert np.abs(told["log_odds"]).max() == 30.0
    assert told["log_prior"].min() > -45
