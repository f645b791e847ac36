"""Translations: the shift theorem, whole pixels without wrap-around, and rounding."""

import math

import pytest
import torch

from blush.fourier.packed import packed
from blush.fourier.shift import multiply, phases, round_half_away, shift_whole_pixels


def spectrum(images: torch.Tensor) -> torch.Tensor:
    """Centred transform on the packed half plane, planar."""
    pixels = packed(images.shape[-1])
    centred = torch.fft.ifftshift(images, dim=(-2, -1))
    return torch.view_as_real(torch.fft.rfft2(centred).flatten(-2)[..., pixels.index]).movedim(-1, -2)


@pytest.mark.parametrize("box", [16, 18, 96])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [(3, 0), (0, -2), (-5, 4)])
def test_a_ramp_of_phases_moves_an_image_by_plus_x_plus_y(box, dtype, offset):
    image = torch.randn(box, box, generator=torch.Generator().manual_seed(box), dtype=dtype)
    moved = torch.roll(image, (offset[1], offset[0]), (0, 1))
    pixels = packed(box)
    ramp = phases(torch.tensor(offset, dtype=torch.float64), pixels, len(pixels.kx), dtype)
    expected = multiply(spectrum(image), ramp)
    bound = 10 * torch.finfo(dtype).eps * math.log2(box) * expected.abs().max()
    assert (spectrum(moved) - expected).abs().max() < bound


@pytest.mark.parametrize("offset", [(0.37, -0.81), (2.5, 0.25)])
def test_a_gaussian_moves_by_fractions_of_a_pixel(offset):
    box, sigma = 40, 2.0
    axis = torch.arange(box, dtype=torch.float64) - box // 2

    def spot(x, y):
        return torch.exp(-((axis[:, None] - y) ** 2 + (axis[None, :] - x) ** 2) / (2 * sigma**2))

    pixels = packed(box)
    ramp = phases(torch.tensor(offset, dtype=torch.float64), pixels, len(pixels.kx), torch.float64)
    expected = spectrum(spot(*offset))
    # Aliases of a Gaussian of 2 px: exp(-2 pi^2 sigma^2 / 4) = 3e-9 of the peak at Nyquist.
    assert (multiply(spectrum(spot(0, 0)), ramp) - expected).abs().max() < 1e-8 * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ramps_have_modulus_one_and_add(dtype):
    pixels = packed(22)
    n = pixels.inside(8)
    first, second = torch.tensor([[1.3, -4.0], [0.0, 2.2]]), torch.tensor([[-0.4, 9.1], [3.0, 1.0]])
    one, two, both = (phases(t, pixels, n, dtype) for t in (first, second, first + second))
    assert both.shape == (2, 2, n)
    # Angles reach 2 pi * 8 * 13 / 22 = 30 rad; the offsets were rounded as float32 before: 30 * 2^-23.
    torch.testing.assert_close(multiply(one, two), both, rtol=0, atol=30 * torch.finfo(torch.float32).eps)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(one.square().sum(-2), torch.ones(2, n, dtype=dtype), rtol=0, atol=4 * eps)


def test_multiply_is_the_product_of_complex_numbers():
    generator = torch.Generator().manual_seed(7)
    a, b = (torch.randn(3, 5, dtype=torch.complex128, generator=generator) for _ in range(2))
    planar = [torch.stack((x.real, x.imag), -2) for x in (a, b)]
    product = multiply(*planar)
    torch.testing.assert_close(torch.complex(product[:, 0], product[:, 1]), a * b, rtol=1e-14, atol=0)


@pytest.mark.parametrize("shape", [(7, 7), (8, 6)])
def test_whole_pixels_move_without_wrapping(shape):
    images = torch.arange(1.0, 5 * math.prod(shape) + 1).reshape(5, *shape)
    offsets = torch.tensor([[0, 0], [2, 0], [0, -3], [-1, 4], [20, 0]])
    moved = shift_whole_pixels(images, offsets)
    for image, result, (dx, dy) in zip(images, moved, offsets.tolist(), strict=True):
        for y in range(shape[0]):
            for x in range(shape[1]):
                inside = 0 <= y - dy < shape[0] and 0 <= x - dx < shape[1]
                assert result[y, x] == (image[y - dy, x - dx] if inside else 0)


@pytest.mark.parametrize("count", [0, 1])
def test_small_batches_move(count):
    images, offsets = torch.ones(count, 4, 4), torch.ones(count, 2, dtype=torch.int64)
    assert shift_whole_pixels(images, offsets).sum() == 9 * count


def test_halves_round_away_from_zero():
    values = torch.tensor([-2.5, -1.5, -0.5, -0.49, 0.0, 0.49, 0.5, 1.5, 2.5], dtype=torch.float64)
    assert round_half_away(values).tolist() == [-3, -2, -1, 0, 0, 0, 1, 2, 3]
