"""The padded transform of a map and its inverse, against Gaussians, single voxels and constants."""

import math

import pytest
import torch

from blush.fourier.transform import (
    Sphere,
    gridding_correction,
    inverse_transform,
    sphere_k2,
    sphere_radius,
    transform,
)


def gaussian(box: int, sigma: float, centre=(0.0, 0.0, 0.0)) -> torch.Tensor:
    """exp(-|x - centre|^2 / 2 sigma^2) with the centre (x, y, z) counted from voxel N/2."""
    axis = torch.arange(box, dtype=torch.float64) - box // 2
    x, y, z = (torch.exp(-((axis - c) ** 2) / (2 * sigma**2)) for c in centre)
    return z[:, None, None] * y[None, :, None] * x[None, None, :]


def frequencies(sphere: Sphere) -> tuple[torch.Tensor, ...]:
    """kx, ky, kz of every cell, in cycles per box."""
    k = torch.arange(-sphere.radius, sphere.radius + 1, dtype=torch.float64) / sphere.pad
    x = torch.arange(sphere.radius + 1, dtype=torch.float64) / sphere.pad
    z, y, x = torch.meshgrid(k, k, x, indexing="ij")
    return x, y, z


def inside(sphere: Sphere) -> torch.Tensor:
    return sphere_k2(sphere.radius) <= (sphere.pad * sphere.r_max) ** 2


@pytest.mark.parametrize(("box", "pad"), [(36, 2), (38, 2), (36, 3), (96, 1)])
def test_a_gaussian_has_its_analytic_transform(box, pad):
    sigma, centre = 2.5, (1.3, -0.7, 2.1)
    sphere = transform(gaussian(box, sigma, centre), box // 2 - 1, pad, corrected=False)
    x, y, z = frequencies(sphere)
    size = (2 * math.pi) ** 1.5 * sigma**3 / box**2
    decay = torch.exp(-2 * math.pi**2 * sigma**2 * (x**2 + y**2 + z**2) / box**2)
    phase = -2 * math.pi * (x * centre[0] + y * centre[1] + z * centre[2]) / box
    expected = torch.where(inside(sphere), size * decay * torch.exp(1j * phase), 0)
    # The box cuts the Gaussian at 6 sigma: erfc(6 / sqrt 2) = 2e-9 of its mass.
    assert (sphere.values - expected).abs().max() < 1e-8 * size


@pytest.mark.parametrize("box", [16, 22, 96])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moving_a_map_by_whole_voxels_turns_its_phases(box, dtype):
    generator = torch.Generator().manual_seed(box)
    core = torch.randn(8, 8, 8, generator=generator, dtype=dtype)
    volume = torch.nn.functional.pad(core, (4, box - 12) * 3)
    z, y, x = 2, -3, 1
    still = transform(volume, box // 2, corrected=False)
    moved = transform(torch.roll(volume, (z, y, x), (0, 1, 2)), box // 2, corrected=False)
    kx, ky, kz = frequencies(still)
    ramp = torch.exp(-2j * math.pi * (kx * x + ky * y + kz * z) / box)
    bound = 10 * torch.finfo(dtype).eps * still.values.abs().max() * math.log2(2 * box)
    assert (moved.values - ramp * still.values).abs().max() < bound


@pytest.mark.parametrize("box", [16, 18, 96])
def test_a_single_voxel_at_the_centre_has_a_flat_real_transform(box):
    volume = torch.zeros(box, box, box, dtype=torch.float64)
    volume[box // 2, box // 2, box // 2] = 3.0
    sphere = transform(volume, box // 2 - 1)
    expected = inside(sphere).to(torch.complex128) * (3.0 / box**2)
    torch.testing.assert_close(sphere.values, expected, rtol=0, atol=1e-14 * 3.0 / box**2)


@pytest.mark.parametrize("box", [16, 30])
def test_the_correction_is_the_transform_of_the_trilinear_kernel_along_an_axis(box):
    line = gridding_correction(box, 2, like=torch.zeros((), dtype=torch.float64))[box // 2, box // 2]
    x = torch.arange(box, dtype=torch.float64) - box // 2
    fine = torch.linspace(-1, 1, 20001, dtype=torch.float64)
    waves = (1 - fine.abs()) * torch.cos(2 * math.pi * fine * x[:, None] / (2 * box))
    # The trapezoidal rule with steps of 1e-4 errs by h^2 / 12 times the slope, less than 1e-8.
    torch.testing.assert_close(torch.trapezoid(waves, fine, dim=1), line, rtol=0, atol=1e-8)


def test_a_cut_off_beyond_nyquist_is_refused():
    with pytest.raises(ValueError, match="r_max 9 is beyond the Nyquist shell 8 of a 16 px box"):
        transform(torch.zeros(16, 16, 16), 9)


@pytest.mark.parametrize(("r_max", "pad"), [(5, 2), (8, 2), (8, 1), (8, 3)])
def test_nothing_is_kept_beyond_the_cut_off(r_max, pad):
    volume = torch.randn(16, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    sphere = transform(volume, r_max, pad)
    assert sphere.values.shape[0] == 2 * sphere_radius(r_max, pad) + 1
    assert not sphere.values[~inside(sphere)].any()
    assert sphere.values[inside(sphere)].abs().min() > 0 or r_max == 8  # at Nyquist six samples are dropped


@pytest.mark.parametrize("box", [36, 38, 96])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inverse_undoes_the_transform(box, dtype):
    """Both divide by the correction, as slices and insertion each blur once."""
    volume = gaussian(box, 2.2, (0.5, -1.0, 1.0)).to(dtype)
    back = inverse_transform(transform(volume, box // 2)) * gridding_correction(box, like=volume) ** 2
    # The ball's rim is 6 sigma away, exp(-18); beyond Nyquist is exp(-24); then rounding.
    assert (back - volume).abs().max() < 3e-8 + 10 * torch.finfo(dtype).eps


@pytest.mark.parametrize("box", [16, 18, 96])
def test_the_origin_alone_is_a_constant_map(box):
    radius = sphere_radius(box // 2)
    values = torch.zeros(2 * radius + 1, 2 * radius + 1, radius + 1, dtype=torch.complex128)
    values[radius, radius, 0] = 5.0
    volume = inverse_transform(Sphere(values, box, box // 2))
    expected = 5.0 * box**2 / (2 * box) ** 3 / gridding_correction(box, like=volume)
    torch.testing.assert_close(volume, expected, rtol=1e-13, atol=0)


def test_the_inverse_has_one_value_far_outside_the_ball():
    box = 24
    volume = inverse_transform(transform(gaussian(box, 1.5, (6.0, 6.0, 6.0)), 8))
    volume = volume * gridding_correction(box, like=volume)
    corners = volume[gaussian(box, 1.0) < math.exp(-((box / 2 + 3) ** 2) / 2) * 0.999]
    assert corners.std() < 1e-12 * volume.max()
    assert corners.mean().abs() > 1e-4 * volume.max()  # the mean of what was there, not zero
