"""The detector's response: read at the pixel of the detector, not at that of binned images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_problem import BOX, PIXEL, PIXELS, particle_set

from blush.expectation.optics import OpticsTables
from blush.io.star import write_star


@pytest.mark.parametrize("original_angst", [PIXEL, PIXEL / 2, PIXEL / 4])
def test_the_response_is_that_at_the_detectors_own_pixel(original_angst, tmp_path):
    """A response of 1 - f / 2 over f per detector pixel: at k cycles per box, f is k / N times a_detector / a."""
    frequency = np.linspace(0, 1, 201)
    write_star(
        tmp_path / "mtf.star", {"mtf": {"rlnResolutionInversePixel": frequency, "rlnMtfValue": 1 - frequency / 2}}
    )
    particles = particle_set(tmp_path, np.zeros((2, BOX, BOX)))
    groups = tuple(
        replace(group, mtf_file=str(tmp_path / "mtf.star"), original_pixel_size_angst=original_angst)
        for group in particles.optics
    )
    correction = OpticsTables(replace(particles, optics=groups), PIXELS, torch.float64).correction
    assert correction is not None
    f = torch.hypot(PIXELS.kx.double(), PIXELS.ky.double()) / BOX * original_angst / PIXEL
    for found in correction:
        torch.testing.assert_close(found[0], 1 / (1 - f / 2), rtol=1e-6, atol=0)
