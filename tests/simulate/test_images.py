"""Projection, contrast, noise and normalisation of images."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from blush.geometry.rotation import matrix_from_euler
from blush.simulate.acquisition import Acquisition
from blush.simulate.atoms import Atoms
from blush.simulate.density import atoms_spectrum, form_factors
from blush.simulate.images import circle, clean_images, noise_images, normalise, signal_variance
from blush.simulate.settings import Imaging, Noise, Optics
from blush.simulate.slices import Slicer

BOX, PIXEL = 32, 2.5


def one_atom(position_angst) -> Atoms:
    def value(x: float) -> torch.Tensor:
        return torch.tensor([x], dtype=torch.float64)

    return Atoms(torch.tensor([8]), torch.tensor([position_angst], dtype=torch.float64), value(1), value(120))


def seen(euler, origin, defocus=(9000.0, 8500.0)) -> Acquisition:
    def row(values) -> torch.Tensor:
        return torch.tensor([values], dtype=torch.float64)

    zero = torch.zeros(1, dtype=torch.int64)
    return Acquisition(row(euler), row(origin), row(defocus), torch.tensor([30.0], dtype=torch.float64), zero, zero)


def test_a_point_appears_at_its_rotated_place_minus_the_origin():
    """(A r)xy - origin, from the centre pixel (docs/algorithm.md, section 1): the phase of the lowest frequencies."""
    place, euler, origin = [11.0, -4.0, 7.0], [25.0, 70.0, -130.0], [3.0, -6.5]
    imaging = Imaging(box_px=BOX, pixel_size_angst=PIXEL, optics=(Optics(amplitude_contrast=0.9),))
    slicer = Slicer(atoms_spectrum(one_atom(place), BOX, PIXEL))
    image = clean_images(slicer, seen(euler, origin, (1.0, 1.0)), imaging)[0].double()
    spectrum = torch.fft.fft2(torch.fft.ifftshift(image))
    found = -torch.stack([spectrum[0, 1], spectrum[1, 0]]).angle() / (2 * math.pi) * BOX * PIXEL
    rotation = matrix_from_euler(torch.tensor(euler, dtype=torch.float64))
    expected = (rotation @ torch.tensor(place, dtype=torch.float64))[:2] - torch.tensor(origin, dtype=torch.float64)
    assert (found - expected).abs().max() < 1e-3 * PIXEL


def test_the_sum_of_an_image_is_amplitude_contrast_times_scattering():
    imaging = Imaging(box_px=BOX, pixel_size_angst=PIXEL, optics=(Optics(amplitude_contrast=0.07),))
    atoms = one_atom([5.0, 2.0, 1.0])
    image = clean_images(Slicer(atoms_spectrum(atoms, BOX, PIXEL)), seen([10.0, 20.0, 30.0], [1.0, 2.0]), imaging)
    scattering = form_factors(atoms.element)[0].sum() / PIXEL**3
    assert float(image.sum()) == pytest.approx(0.07 * float(scattering), rel=2e-3)


def test_a_wider_box_shows_the_same_particle_and_lets_nothing_in_at_the_other_side():
    atoms = replace(one_atom([3.0, 1.0, 0.0]), bfactor_angst2=torch.tensor([700.0], dtype=torch.float64))
    imaging = Imaging(box_px=BOX, pixel_size_angst=PIXEL, optics=(Optics(amplitude_contrast=0.9),))
    slicer = Slicer(atoms_spectrum(atoms, BOX, PIXEL))
    inside = seen([0.0, 0.0, 0.0], [2.0, 5.0], (1.0, 1.0))
    narrow, wide = (clean_images(slicer, inside, imaging, widths) for widths in (1, 2))
    assert (narrow - wide).norm() < 1e-2 * narrow.norm()
    at_the_edge = seen([0.0, 0.0, 0.0], [3.0 - BOX * PIXEL / 2, 1.0], (1.0, 1.0))  # its atom lies on the right border
    narrow, wide = (clean_images(slicer, at_the_edge, imaging, widths)[0] for widths in (1, 2))
    assert narrow[:, 0].abs().sum() > 0.5 * narrow[:, -1].abs().sum()
    assert wide[:, : BOX // 2].abs().max() < 0.02 * wide.max()
    assert (narrow[:, -4:] - wide[:, -4:]).norm() < 0.02 * wide.norm()


def test_every_pixel_obeys_friedel():
    """Images filled from the half plane, against the same points of the full plane."""
    from blush.ctf.transfer import Optics as Constants
    from blush.ctf.transfer import ctf_at

    imaging = Imaging(box_px=BOX, pixel_size_angst=PIXEL)
    slicer, view = Slicer(atoms_spectrum(one_atom([8.0, 3.0, -5.0]), BOX, PIXEL)), seen([40.0, 50.0, 60.0], [0.0, 0.0])
    spectrum = torch.fft.fft2(torch.fft.ifftshift(clean_images(slicer, view, imaging)[0]))
    k = torch.fft.fftfreq(BOX, 1 / BOX).double()
    ky, kx = (t.flatten() for t in torch.meshgrid(k, k, indexing="ij"))
    inside = kx**2 + ky**2 <= (BOX // 2 - 1) ** 2
    value = torch.tensor([1.0], dtype=torch.float64)
    ctf = ctf_at(
        kx / (BOX * PIXEL),
        ky / (BOX * PIXEL),
        *view.defocus_angst.T,
        view.defocus_angle_deg,
        0 * value,
        0 * value,
        value,
        Constants(300 * value, 2.7 * value, 0.1 * value),
    )
    expected = slicer.slices(matrix_from_euler(view.euler_deg), kx, ky)[0] * ctf[0]
    difference = (spectrum.flatten() - expected)[inside]
    assert difference.norm() < 1e-4 * expected[inside].norm()
    assert spectrum.flatten()[~inside].norm() < 1e-5 * spectrum.norm()


def test_noise_has_unit_variance_and_the_spectrum_asked_for():
    imaging, noise = Imaging(box_px=BOX, pixel_size_angst=PIXEL), Noise(coloured_fraction=0.4, coloured_angst=15)
    images = noise_images(noise, 400, imaging, np.random.default_rng(0)).double()
    power = torch.fft.fft2(images).abs().square().mean(0) / BOX**2
    q2 = torch.from_numpy(np.add.outer(np.fft.fftfreq(BOX, PIXEL) ** 2, np.fft.fftfreq(BOX, PIXEL) ** 2))
    lorentz = 1 / (1 + q2 * (2 * math.pi * 15) ** 2)
    expected = 0.6 + 0.4 * lorentz / lorentz.mean()
    # Each value is a mean of 400 exponential variables, so its relative error is 1/20; five of them.
    assert ((power / expected - 1).abs() < 0.25 * 2**0.5).all()
    assert float((power / expected).mean()) == pytest.approx(1, abs=5 / (400 * BOX * BOX / 2) ** 0.5)


def test_normalised_background_has_mean_0_and_sd_1():
    images = 3 + 7 * torch.randn(5, BOX, BOX, generator=torch.Generator().manual_seed(1))
    outside = normalise(images, 10)[:, ~circle(BOX, 10)].double()
    torch.testing.assert_close(outside.mean(1), torch.zeros(5, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(outside.std(1, correction=0), torch.ones(5, dtype=torch.float64), atol=1e-6, rtol=0)


def test_signal_variance_is_that_inside_the_circle():
    images = torch.zeros(2, BOX, BOX)
    images[:, BOX // 2, BOX // 2] = 5.0
    images[:, 0, 0] = 1000.0
    inside = int(circle(BOX, 6).sum())
    assert signal_variance(images, 6) == pytest.approx(25 / inside - 25 / inside**2)
