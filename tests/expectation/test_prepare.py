"""Image preparation: mask, background, transform, power; closed forms and exact identities."""

import math

import pytest
import torch

from blush.expectation.prepare import mask_images, packed_transform, prepare
from blush.fourier.mask import soft_circle
from blush.fourier.packed import packed, shell_sums

BOXES = [16, 18, 50, 96]


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def plain(images: torch.Tensor, pixels, n_pixels: int, mask: torch.Tensor):
    """Nothing but the transform: no factor, no shift."""
    count = len(images)
    return prepare(images, torch.ones(count), torch.zeros(count, 2, dtype=torch.int64), mask, pixels, n_pixels)


def test_the_mask_is_one_inside_half_in_the_middle_of_its_edge_and_zero_outside():
    mask = soft_circle(64, 20.0, 4.0, dtype=torch.float64)
    row = mask[32]
    assert row[32 : 32 + 21].tolist() == [1.0] * 21
    assert float(row[32 + 22]) == pytest.approx(0.5, abs=1e-15)
    assert float(row[32 - 23]) == pytest.approx(0.5 - 0.5 * math.sin(math.pi / 4), abs=1e-15)
    assert float(row[32 + 24 :].abs().max()) < 1e-15
    assert torch.equal(mask, mask.T)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outside_the_mask_is_the_mean_of_the_outside(dtype):
    mask = soft_circle(32, 9.0, 5.0, dtype=dtype)
    images = 5 + noise(3, 32, 32, dtype=dtype)
    masked = mask_images(images, mask)
    for image, result in zip(images.double(), masked.double(), strict=True):
        mean = (image * (1 - mask.double())).sum() / (1 - mask.double()).sum()
        expected = image * mask.double() + mean * (1 - mask.double())
        torch.testing.assert_close(result, expected, rtol=4 * torch.finfo(dtype).eps, atol=0)
        assert torch.equal(result[mask == 1], image[mask == 1])


def test_a_constant_image_stays_constant():
    masked = mask_images(torch.full((2, 24, 24), 7.5), soft_circle(24, 6.0, 5.0, dtype=torch.float32))
    torch.testing.assert_close(masked, torch.full((2, 24, 24), 7.5), rtol=2e-7, atol=0)


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_plane_wave_is_one_coefficient_of_one_half(box, dtype):
    """cos(2 pi k x / N), counted from the centre pixel, is 1/2 at k: real and positive whatever the sign of (-1)^k."""
    pixels = packed(box)
    axis = torch.arange(box, dtype=torch.float64) - box // 2
    for position in (1, 2, pixels.count(3), pixels.inside(box // 2 - 1) - 1):
        kx, ky = int(pixels.kx[position]), int(pixels.ky[position])
        wave = torch.cos(2 * math.pi / box * (kx * axis[None, :] + ky * axis[:, None]))
        spectrum = packed_transform(wave[None].to(dtype), pixels)[0]
        expected = torch.zeros_like(spectrum)
        expected[position] = 0.5
        assert (spectrum - expected).abs().max() < 4 * torch.finfo(dtype).eps * math.log2(box)


@pytest.mark.parametrize("box", BOXES)
def test_a_point_at_the_centre_pixel_is_flat(box):
    image = torch.zeros(1, box, box, dtype=torch.float64)
    image[0, box // 2, box // 2] = 1
    spectrum = packed_transform(image, packed(box))
    torch.testing.assert_close(spectrum, torch.full_like(spectrum, 1 / box**2), rtol=1e-13, atol=0)


def test_prepared_images_are_the_steps_in_their_order(real):
    """Norm, whole-pixel shift without wrap, mask; the unmasked transform skips the mask alone."""
    box, pixels = 20, packed(20)
    images, mask = noise(4, box, box, dtype=real), soft_circle(box, 5.0, 3.0, dtype=real)
    factor = torch.tensor([1.0, 0.5, 2.0, 1.3], dtype=torch.float64)
    shift = torch.tensor([[0, 0], [2, -1], [-3, 0], [25, 0]])
    n = pixels.inside(6)
    result = prepare(images, factor, shift, mask, pixels, n)
    for position, (dx, dy) in enumerate(shift.tolist()):
        moved = torch.zeros(box, box, dtype=torch.float64)
        for y in range(box):
            for x in range(box):
                if 0 <= y - dy < box and 0 <= x - dx < box:
                    moved[y, x] = images[position, y - dy, x - dx].double() * factor[position]
        for name, image in (("unmasked", moved), ("masked", mask_images(moved[None], mask.double())[0])):
            expected = packed_transform(image[None], pixels)[0, :n]
            found = getattr(result, name)[position].double()
            bound = 20 * torch.finfo(real).eps * images.abs().max()
            assert (torch.complex(found[0], found[1]) - expected).abs().max() < bound


def test_power_is_that_of_the_masked_image_in_every_shell_to_nyquist():
    """Beyond the pixels that are kept too."""
    pixels = packed(24)
    mask = soft_circle(24, 7.0, 5.0, dtype=torch.float64)
    images = noise(3, 24, 24)
    whole = packed_transform(mask_images(images, mask), pixels)
    expected = shell_sums(whole.abs().square(), pixels.shell, 13)
    small = plain(images, pixels, pixels.inside(4), mask)
    torch.testing.assert_close(small.power, expected, rtol=1e-13, atol=0)
    assert small.masked.shape == (3, 2, pixels.inside(4))
    assert small.power.dtype == torch.float64


def test_white_noise_has_half_the_mean_square_of_the_mask_per_component():
    """sigma^2 = <mask^2> / 2 N^2 for unit noise (docs/algorithm.md, section 3)."""
    box, count = 48, 400
    pixels, mask = packed(box), soft_circle(48, 15.0, 5.0, dtype=torch.float64)
    power = plain(noise(count, box, box), pixels, pixels.inside(4), mask).power.sum(0)
    pairs = torch.bincount(pixels.shell).double()
    sigma2 = power[3:23] / pairs[3:23] / (2 * count)
    expected = float(mask.square().mean()) / (2 * box**2)
    # Each shell averages `count * pairs` exponential values; a mask correlates about N^2 / mask area = 3 neighbours.
    deviation = expected * (3 / (count * pairs[3:23])).sqrt()
    assert ((sigma2 - expected).abs() < 5 * deviation).all()


def test_the_correction_multiplies_both_transforms_and_the_power():
    pixels, mask, images = packed(16), soft_circle(16, 4.0, 3.0, dtype=torch.float64), noise(2, 16, 16)
    n = pixels.inside(5)
    factor = torch.stack((torch.zeros(len(pixels.kx)), torch.full((len(pixels.kx),), 2.0)))  # 2i
    ones, zeros = torch.ones(2), torch.zeros(2, 2, dtype=torch.int64)
    bare = prepare(images, ones, zeros, mask, pixels, n)
    result = prepare(images, ones, zeros, mask, pixels, n, factor.double().expand(2, 2, -1))
    for name in ("masked", "unmasked"):
        before = getattr(bare, name)
        torch.testing.assert_close(getattr(result, name), torch.stack((-2 * before[:, 1], 2 * before[:, 0]), 1))
    torch.testing.assert_close(result.power, 4 * bare.power)


def test_a_single_image_is_a_row_of_a_batch():
    pixels, mask, images = packed(18), soft_circle(18, 5.0, 3.0, dtype=torch.float64), noise(3, 18, 18)
    n = pixels.inside(7)
    whole, part = (plain(x, pixels, n, mask) for x in (images, images[1:2]))
    for name in ("masked", "unmasked", "power"):
        torch.testing.assert_close(getattr(part, name), getattr(whole, name)[1:2], rtol=1e-14, atol=1e-17)
