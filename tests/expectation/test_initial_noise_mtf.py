"""Initial noise of a group whose images are divided by a detector's response."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from blush.expectation.initial_noise import initial_noise
from blush.io.mrc import write_stack
from blush.io.optics import OpticsGroup
from blush.io.particles import ParticleSet
from blush.io.star import write_star

BOX, COUNT, PIXEL = 32, 40, 2.0


def particles(folder: Path) -> ParticleSet:
    """White noise from one optics group without a response."""
    images = np.random.default_rng(1).standard_normal((COUNT, BOX, BOX)).astype(np.float32)
    write_stack(folder / "noise.mrcs", images, PIXEL)
    optics = OpticsGroup(
        name="one", voltage_kv=300.0, spherical_aberration_mm=2.7, amplitude_contrast=0.1, pixel_size_angst=PIXEL,
        box_px=BOX, ctf_premultiplied=False, beam_tilt_x_mrad=0.0, beam_tilt_y_mrad=0.0, odd_zernike=(),
        even_zernike=(), mtf_file=None, original_pixel_size_angst=PIXEL,
    )  # fmt: skip
    zeros = np.zeros(COUNT)
    floats = ("defocus_angle_deg", "phase_shift_deg", "ctf_bfactor", "rot_deg", "tilt_deg", "psi_deg",
              "offset_x_angst", "offset_y_angst")  # fmt: skip
    return ParticleSet(
        image_index=np.arange(COUNT), stack_index=np.zeros(COUNT, np.int32), optics_index=np.zeros(COUNT, np.int32),
        group_index=np.zeros(COUNT, np.int32), half=np.ones(COUNT, np.int8), stacks=(str(folder / "noise.mrcs"),),
        optics=(optics,), has_poses=False, defocus_u_angst=zeros + 1e4, defocus_v_angst=zeros + 1e4,
        ctf_scale=zeros + 1, norm_correction=zeros + 1, **dict.fromkeys(floats, zeros),
    )  # fmt: skip


def test_noise_grows_as_the_response_that_images_are_divided_by_falls(tmp_path: Path) -> None:
    """A response of 1/2 everywhere makes the images' noise variance four times as large."""
    plain = particles(tmp_path)
    table = {"rlnResolutionInversePixel": np.array([0.0, 0.5]), "rlnMtfValue": np.array([0.5, 0.5])}
    write_star(tmp_path / "mtf.star", {"mtf": table})
    halved = replace(plain, optics=(replace(plain.optics[0], mtf_file=str(tmp_path / "mtf.star")),))
    torch.testing.assert_close(initial_noise(halved, 50.0, 1), 4 * initial_noise(plain, 50.0, 1))
