"""Pixels: not finite, constant, not normalised, dark on light."""

import numpy as np
import pytest

from blush.io import check_images
from blush.io.check import check_particles


@pytest.mark.parametrize(
    ("value", "found"), [(np.nan, "1 NaN and 0 infinite"), (np.inf, "0 NaN and 1 infinite"), (-np.inf, "0 NaN and 1")]
)
def test_pixels_that_are_not_finite(project, run_check, value, found):
    project.stacks["second.mrcs"][2, 0, 5] = value
    status, printed = run_check(project.write())
    assert status == 2
    assert f"{project.star}, data_particles row 7: image has pixels that are not finite (found {found}" in printed
    assert f"in 000003@{project.root / 'second.mrcs'}); extract it again or remove the row" in printed


@pytest.mark.parametrize("value", [0.0, -2.5])
def test_constant_image(project, run_check, value):
    project.stacks["first.mrcs"][1] = value
    status, printed = run_check(project.write())
    assert status == 2
    assert (
        f"{project.star}, data_particles row 2: image is constant (found every pixel {value:g} in "
        f"000002@{project.root / 'first.mrcs'}); extract it again or remove the row" in printed
    )


def test_images_that_no_row_names_do_not_matter(project, run_check):
    project.stacks["second.mrcs"][3] = np.nan
    project.rows(7)
    assert run_check(project.write())[0] == 0


def test_float16_overflow_is_found(project, run_check):
    project.stacks["first.mrcs"] = project.stacks["first.mrcs"].astype(np.float16)
    project.stacks["first.mrcs"][0, 1, 1] = np.inf
    status, printed = run_check(project.write())
    assert status == 2
    assert "data_particles row 1: image has pixels that are not finite (found 0 NaN and 1 infinite" in printed


def test_blocks_do_not_change_the_statistics(project, monkeypatch):
    particles = check_particles(project.write()).particles
    whole = check_images.image_statistics(particles)
    monkeypatch.setattr(check_images, "_BLOCK_BYTES", 1)
    single = check_images.image_statistics(particles)
    for name, values in vars(whole).items():
        # numpy's order of summation depends on the block's shape
        np.testing.assert_allclose(getattr(single, name), values, rtol=1e-13, atol=1e-15)


def test_dark_particles_are_warned_of(project, run_check):
    project.stacks = {name: -images for name, images in project.stacks.items()}
    status, printed = run_check(project.write())
    assert status == 0
    assert f"warning: {project.star}, data_particles: particles are darker than their background (found" in printed
    assert "multiply the images by -1" in printed


def test_noise_alone_is_not_taken_for_dark_particles(project, run_check):
    generator = np.random.default_rng(5)
    project.stacks = {
        name: generator.standard_normal(images.shape).astype("f4") for name, images in project.stacks.items()
    }
    assert run_check(project.write()) == (0, f"{project.star}: 8 particles, no problems, 0 warning(s)\n")


def test_one_bright_outlier_does_not_hide_dark_particles(project, run_check):
    project.stacks = {name: -images for name, images in project.stacks.items()}
    project.stacks["first.mrcs"][0] *= -50
    assert "particles are darker than their background" in run_check(project.write())[1]


@pytest.mark.parametrize(
    ("scale", "offset", "found"), [(3.0, 0.0, "s.d. 3"), (0.3, 0.0, "s.d. 0.3"), (1.0, 0.7, "mean 0.7")]
)
def test_images_that_are_not_normalised_are_warned_of(project, run_check, scale, offset, found):
    generator = np.random.default_rng(1)
    noise = generator.standard_normal((4, 16, 16))
    distance = np.hypot(*np.mgrid[-8:8, -8:8])
    background = noise[2][distance > 6]
    noise[2] = (noise[2] - background.mean()) / background.std()
    project.stacks["first.mrcs"][2] = noise[2] * scale + offset
    status, printed = run_check(project.write())
    assert status == 0
    assert f"warning: {project.star}, data_particles row 3: images are not normalised" in printed
    assert found in printed
    assert "1 of 8 images" in printed
    assert "normalise them at extraction" in printed


def test_the_particle_diameter_says_what_is_background(project):
    distance = np.hypot(*np.mgrid[-8:8, -8:8])
    for images in project.stacks.values():
        images[:, (distance > 4) & (distance <= 6)] *= 5
    star = project.write()
    assert not check_particles(star).warnings
    assert "not normalised" in check_particles(star, particle_diameter_angst=24.0).warnings[0].message
