"""Lenses, aberrations and the detector's response of each optics group, on the packed half plane."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_problem import BOX, PIXEL, PIXELS, particle_set

from blush.ctf.aberration import even_phase_rad
from blush.ctf.transfer import Optics, ctf_at
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


def test_each_particle_is_seen_through_the_lens_of_its_group(tmp_path):
    """300 and 200 kV; the second group has an even aberration, which the first has not."""
    particles = particle_set(tmp_path, np.zeros((4, BOX, BOX)))
    zernike = (0.0, 0.0, 0.0, 0.0, 30.0, 20.0)
    optics = (particles.optics[0], replace(particles.optics[1], even_zernike=zernike))
    found = OpticsTables(replace(particles, optics=optics), PIXELS, torch.float64).ctf(particles, len(PIXELS.kx))
    kx, ky = (k.double() / (BOX * PIXEL) for k in (PIXELS.kx, PIXELS.ky))
    names = ("defocus_u_angst", "defocus_v_angst", "defocus_angle_deg", "phase_shift_deg", "ctf_bfactor", "ctf_scale")
    for i in range(4):
        columns = [torch.from_numpy(getattr(particles, name)[i : i + 1]) for name in names]
        lens = Optics(*(torch.tensor([x], dtype=torch.float64) for x in (300.0 - 100 * (i % 2), 2.7, 0.1)))
        even = even_phase_rad(kx, ky, zernike) if i % 2 else torch.zeros_like(kx)
        torch.testing.assert_close(found[i], ctf_at(kx, ky, *columns, lens, even)[0])
    assert float(even_phase_rad(kx, ky, zernike).abs().max()) > 0.1
