"""Models of images and references before anything was measured, and what is known best of several references."""

from dataclasses import replace

import numpy as np

from blush.refine.estimates import ImageModel, ReferenceModel


def test_images_are_like_projections_until_something_else_is_measured():
    noise = np.arange(30.0).reshape(2, 3, 5)
    first = ImageModel.first(noise, n_groups=4, sigma_offset_angst=6.0)
    assert np.array_equal(first.noise, noise)
    assert first.scale.tolist() == [[1.0] * 4] * 2
    assert first.norm_average.tolist() == [1.0, 1.0]
    assert first.sigma_offset_angst.tolist() == [6.0, 6.0]


def test_references_share_the_images_equally_until_they_are_compared():
    first = ReferenceModel.first(n_references=4, n_subsets=1, n_shells=9, resolution_angst=30.0)
    assert first.share.tolist() == [0.25] * 4
    assert first.resolution_angst.tolist() == [30.0] * 4
    assert first.tau2.shape == first.sigma2_ref.shape == (1, 4, 9)
    assert first.fsc.shape == first.fsc_unmasked.shape == first.ssnr.shape == (4, 9)
    assert first.best_accuracy_rotation_deg is None


def test_the_best_accuracy_is_the_smallest_that_was_measured():
    first = ReferenceModel.first(n_references=3, n_subsets=2, n_shells=9, resolution_angst=30.0)
    known = replace(first, accuracy_rotation_deg=(None, 3.0, 2.5), accuracy_offset_angst=(1.5, 2.0, None))
    assert known.best_accuracy_rotation_deg == 2.5
    assert known.best_accuracy_offset_angst == 1.5
