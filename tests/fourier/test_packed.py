"""The packed half plane against its definition, loop by loop."""

import math

import pytest
import torch

from blush.fourier.packed import packed, shell_sums

BOXES = [2, 6, 16, 18, 50, 96, 98]


def definition(box: int) -> set[tuple[int, int]]:
    """kx >= 0, ky >= 0 where kx = 0, ky = +N/2 for both signs, rounded |k| up to N/2."""
    half = box // 2
    return {
        (kx, ky)
        for kx in range(half + 1)
        for ky in range(-half + 1, half + 1)
        if (kx > 0 or ky >= 0) and math.floor(math.hypot(kx, ky) + 0.5) <= half
    }


@pytest.mark.parametrize("box", BOXES)
def test_every_frequency_of_the_half_plane_occurs_once(box):
    pixels = packed(box)
    listed = list(zip(pixels.kx.tolist(), pixels.ky.tolist(), strict=True))
    assert len(listed) == len(set(listed))
    assert set(listed) == definition(box)


@pytest.mark.parametrize("box", BOXES)
def test_the_list_starts_at_the_origin_and_ascends(box):
    pixels = packed(box)
    assert (int(pixels.kx[0]), int(pixels.ky[0])) == (0, 0)
    assert bool((pixels.k2.diff() >= 0).all())


@pytest.mark.parametrize("box", BOXES)
def test_shells_are_rounded_half_up(box):
    pixels = packed(box)
    pairs = zip(pixels.kx.tolist(), pixels.ky.tolist(), strict=True)
    assert pixels.shell.tolist() == [math.floor(math.hypot(x, y) + 0.5) for x, y in pairs]


@pytest.mark.parametrize("box", BOXES)
def test_smaller_sizes_are_prefixes(box):
    pixels = packed(box)
    frequencies = definition(box)
    for radius in range(box // 2 + 1):
        assert pixels.count(radius) == sum(math.floor(math.hypot(*k) + 0.5) <= radius for k in frequencies)
        assert pixels.inside(radius) == sum(math.hypot(*k) <= radius for k in frequencies)
        assert bool((pixels.shell[: pixels.count(radius)] <= radius).all())


@pytest.mark.parametrize("box", BOXES)
def test_index_finds_the_frequency_in_the_transform(box):
    pixels = packed(box)
    ky, kx = torch.meshgrid(torch.fft.fftfreq(box) * box, torch.fft.rfftfreq(box) * box, indexing="ij")
    assert torch.equal(kx.flatten()[pixels.index].round().long(), pixels.kx)
    assert torch.equal((ky.flatten()[pixels.index].round().long() - pixels.ky) % box, torch.zeros_like(pixels.ky))


@pytest.mark.parametrize("box", [15, 33])
def test_an_odd_box_is_refused_by_its_number(box):
    with pytest.raises(ValueError, match=f"box {box} is odd"):
        packed(box)


def test_shell_sums_add_each_value_to_its_shell():
    values = torch.randn(3, 2, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    shell = packed(16).shell
    expected = torch.zeros(3, 2, 9, dtype=torch.float64)
    for position in range(40):
        expected[..., int(shell[position])] += values[..., position]
    torch.testing.assert_close(shell_sums(values, shell, 9), expected, rtol=0, atol=1e-14)


def test_shell_sums_keep_what_float32_would_lose():
    values = torch.tensor([2.0**25, 1.0, 1.0, 1.0], dtype=torch.float32)
    assert shell_sums(values, torch.zeros(4, dtype=torch.int64), 1).tolist() == [2.0**25 + 3]
