"""Predicted background: the expectation step's own model of an image, in the frame of the stored image."""

import dataclasses

import mrcfile
import numpy as np
import pytest
import torch
from small_problem import BOX, PIXEL, PIXELS, model, particle_set, speckle

from blush.expectation.background import AmplitudeFit, Background, Seen, moved_and_cropped, recentred
from blush.expectation.optics import OpticsTables
from blush.expectation.prepare import image_of, packed_transform, prepare
from blush.fourier.project import project
from blush.fourier.shift import multiply, phases
from blush.fourier.transform import transform
from blush.geometry.rotation import matrix_from_euler
from blush.io.optics import OpticsGroup
from blush.io.particles import POSE

N = 6
MTF = "data_\nloop_\n_rlnResolutionInversePixel\n_rlnMtfValue\n0 1\n0.25 0.7\n0.5 0.3\n"


@pytest.fixture
def posed(tmp_path):
    """Six particles at random poses, of two optics groups with aberrations, MTF and premultiplied images."""
    rng = np.random.default_rng(4)
    (tmp_path / "mtf.star").write_text(MTF)
    given = particle_set(
        tmp_path,
        rng.normal(size=(N, BOX, BOX)),
        rot_deg=rng.uniform(-180, 180, N),
        tilt_deg=rng.uniform(0, 180, N),
        psi_deg=rng.uniform(-180, 180, N),
        offset_x_angst=rng.uniform(-9, 9, N),
        offset_y_angst=rng.uniform(-9, 9, N),
        defocus_angle_deg=rng.uniform(0, 90, N),
    )
    plain = OpticsGroup("plain", 300.0, 2.7, 0.1, PIXEL, BOX, ctf_premultiplied=True)
    bent = dataclasses.replace(
        plain,
        ctf_premultiplied=False,
        beam_tilt_x_mrad=2.0,
        odd_zernike=(0.0, 0.0, 300.0),
        even_zernike=(0.0, 80.0, 0.3, 50.0),
        mtf_file=str(tmp_path / "mtf.star"),
    )
    return dataclasses.replace(given, optics=(plain, bent))


def test_image_of_inverts_the_packed_transform():
    spectrum = torch.randn(3, 2, len(PIXELS.kx), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    spectrum[:, 1, (PIXELS.kx % (BOX // 2) == 0) & (PIXELS.ky % (BOX // 2) == 0)] = 0  # real by symmetry
    spectrum[..., (PIXELS.kx == BOX // 2) & (PIXELS.ky != 0)] = 0  # beyond Nyquist
    back = torch.view_as_real(packed_transform(image_of(spectrum, PIXELS), PIXELS)).movedim(-1, 1)
    torch.testing.assert_close(back, spectrum, rtol=0, atol=1e-14)


def test_the_expectation_step_sees_its_own_model_in_a_predicted_image(posed):
    """Prepared as a particle is, with norm, aberrations and detector undone, it is factor x transfer x slice."""
    sphere = transform(speckle(), BOX // 2)
    factor = torch.linspace(0.5, 1.5, N, dtype=torch.float64)
    images = Background(sphere, posed).images(posed, factor)
    tables = OpticsTables(posed, PIXELS, torch.float64)
    correction = tables.correction[torch.from_numpy(posed.optics_index).long()]
    ones, flat = torch.ones(N, dtype=torch.float64), torch.ones(BOX, BOX, dtype=torch.float64)
    still = torch.zeros(N, 2, dtype=torch.int64)
    seen = prepare(images, ones, still, flat, PIXELS, len(PIXELS.kx), correction).unmasked
    angles = torch.from_numpy(np.stack([posed.rot_deg, posed.tilt_deg, posed.psi_deg], 1))
    slices = project(sphere, matrix_from_euler(angles), PIXELS, len(PIXELS.kx))
    ctf = tables.ctf(posed, len(PIXELS.kx))
    ctf[posed.optics_index == 0] **= 2  # premultiplied
    origin_px = torch.from_numpy(np.stack([posed.offset_x_angst, posed.offset_y_angst], 1)) / PIXEL
    expected = multiply(slices, phases(-origin_px, PIXELS, len(PIXELS.kx), torch.float64))
    expected = expected * (factor[:, None] * ctf)[:, None]
    inside = (PIXELS.kx**2 + PIXELS.ky**2) < (BOX // 2) ** 2
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(seen[..., inside], expected[..., inside], rtol=0, atol=1e-12)


def test_predictions_add_up(posed):
    """Linearity: a map and its two parts."""
    part = torch.rand(BOX, BOX, BOX, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    factor = torch.ones(N, dtype=torch.float64)
    whole, inside, outside = (
        Background(transform(speckle() * weight, BOX // 2), posed).images(posed, factor)
        for weight in (1, part, 1 - part)
    )
    torch.testing.assert_close(whole, inside + outside, rtol=0, atol=1e-12)


def test_amplitude_is_found_with_its_error():
    """Amplitude 0.8 in white noise of s.d. 2: the error is sigma / |prediction|, whatever constant is added."""
    rng = torch.Generator().manual_seed(1)
    predicted = torch.randn(400, 8, 8, generator=rng, dtype=torch.float64)
    noise = 2 * torch.randn(400, 8, 8, generator=rng, dtype=torch.float64)
    fit = AmplitudeFit()
    for rows in torch.arange(400).split(150):
        fit.add(0.8 * predicted[rows] + noise[rows] + 7, predicted[rows])
    amplitude, error = fit.result()
    expected = 2 / float((predicted - predicted.mean((1, 2), keepdim=True)).square().sum().sqrt())
    assert abs(amplitude - 0.8) < 3 * expected
    assert error == pytest.approx(expected, rel=0.15)


def test_no_signal_has_no_amplitude():
    fit = AmplitudeFit()
    fit.add(torch.ones(2, 4, 4), torch.zeros(2, 4, 4))
    assert fit.result() == (0.0, float("inf"))


def test_a_point_of_the_map_becomes_the_centre(posed):
    """Moved by whole pixels, then by what is left, the point's image lies at the centre pixel."""
    centre = torch.tensor([3.0, -2.0, 1.0])
    whole, left = recentred(posed, centre)
    angles = torch.from_numpy(np.stack([posed.rot_deg, posed.tilt_deg, posed.psi_deg], 1))
    seen = (matrix_from_euler(angles) @ centre.double())[:, :2]
    origin = torch.from_numpy(np.stack([posed.offset_x_angst, posed.offset_y_angst], 1)) / PIXEL
    torch.testing.assert_close(seen - origin + whole + left / PIXEL, torch.zeros(N, 2, dtype=torch.float64))
    assert left.abs().max() <= PIXEL / 2


def test_images_move_around_the_edge_and_are_cropped_about_the_centre():
    images = torch.arange(2 * 36, dtype=torch.float64).view(2, 6, 6)
    moved = moved_and_cropped(images, torch.tensor([[1, 0], [-2, 5]]), 4)
    for image, shift, found in zip(images.numpy(), ((0, 1), (5, -2)), moved.numpy(), strict=True):
        np.testing.assert_array_equal(found, np.roll(image, shift, (0, 1))[1:5, 1:5])


def test_what_other_parts_show_is_taken_away(posed):
    """Stored images that are noise plus the parts, each at its own poses, of group scale and norm, leave the noise."""
    rng = np.random.default_rng(12)
    spheres = [transform(speckle(seed), BOX // 2) for seed in (3, 4)]
    norm, scale = rng.uniform(0.7, 1.4, N), torch.tensor([0.8, 1.3, 1.1], dtype=torch.float64)
    poses = np.concatenate([rng.uniform(-90, 90, (N, 2, 3)), rng.uniform(-6, 6, (N, 2, 2))], 2)
    given = dataclasses.replace(posed, norm_correction=norm, background=poses)
    noise = given.images().astype(np.float64)
    stored = torch.from_numpy(noise)
    for part, sphere in enumerate(spheres):
        columns = dict(zip(POSE, poses[:, part].T, strict=True))
        factor = scale[torch.from_numpy(posed.group_index).long()] * torch.from_numpy(norm) / 1.1
        stored = stored + Background(sphere, posed).images(dataclasses.replace(posed, **columns), factor)
    known = [Background(sphere, posed) for sphere in spheres]
    held = dataclasses.replace(model(torch.float64), scale=scale, norm_average=1.1)
    seen = Seen(known, held, torch.float64, torch.device("cpu"))
    assert (stored - torch.from_numpy(noise)).abs().max() > 0.01
    with mrcfile.open(given.stacks[0], mode="r+") as stack:
        stack.set_data(stored.numpy().astype(np.float32))
    torch.testing.assert_close(seen.images(given), torch.from_numpy(noise), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="no poses of 2 other parts"):
        seen.images(posed)
