"""What the maps of two halves say of all images, on likelihoods that are written down."""

import numpy as np
import pytest

from blush.classes.given_poses import ClassSettings, Divided
from blush.classes.halves import Half, HeldOut
from blush.validate.partitions import adjusted_rand, contingency

N = 4000
SETTINGS = ClassSettings(2, 80.0, temperature=1.0)


class Written(HeldOut):
    """The other half's maps of class k give an image 50 nats where it is of class k, whatever the share."""

    def __init__(self, by_half):
        self.by_half = by_half  # (2, 2 N): what the maps of either half say of the images of both
        halves = [
            Half(
                np.arange(N) + h * N,
                None,
                Divided(np.eye(2)[own := by_half[h, h * N : (h + 1) * N]], np.bincount(own) / N, [None] * 2, None, 1),
            )
            for h in (0, 1)
        ]
        super().__init__(tuple(halves), SETTINGS, lambda stage, done, total: None)

    def _compare(self, half, other, classes):
        told = self.by_half[other.rows[0] // N, half.rows]
        return np.stack([50.0 * (told == min(one)) if len(one) == 1 else np.zeros(N) for one in classes], 1)


@pytest.mark.parametrize("share", [(0.5, 0.1), (0.3, 0.3)])
def test_halves_that_know_nothing_of_each_other_do_not_agree_whatever_their_shares(share):
    rng = np.random.default_rng(3)
    by_half = (rng.random((2, 2 * N)) < np.array(share)[:, None]).astype(np.int64)
    first, second = Written(by_half).labels_by_half
    assert abs(float(adjusted_rand(contingency(first, second, 2, 2)))) < 0.005


def test_halves_that_number_the_same_classes_otherwise_agree():
    truth = (np.random.default_rng(3).random(2 * N) < 0.3).astype(np.int64)
    first, second = Written(np.stack([truth, 1 - truth])).labels_by_half
    np.testing.assert_array_equal(first, truth)
    np.testing.assert_array_equal(second, truth)
