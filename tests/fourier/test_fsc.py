"""FSC against a loop over coefficients, its symmetries, and noise of known correlation."""

import math

import numpy as np
import pytest
import torch

from blush.fourier.fsc import (
    fsc,
    interpolated_resolution_at,
    last_shell_above,
    power_spectrum,
    resolution_at,
    shell_average,
)
from blush.fourier.grid import shell_index_3d


def random_map(box, seed, dtype=torch.float64):
    return torch.randn(box, box, box, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("box", [7, 8])
def test_fsc_equals_a_loop_over_stored_coefficients(box):
    first, second = random_map(box, 1), random_map(box, 2)
    a, b = np.fft.rfftn(first.numpy()), np.fft.rfftn(second.numpy())
    cross, left, right = ([0.0] * (box // 2 + 1) for _ in range(3))
    for z in range(box):
        for y in range(box):
            for x in range(box // 2 + 1):
                k = math.hypot(*(min(i, box - i) for i in (z, y)), x)
                shell = math.floor(k + 0.5)
                if shell <= box // 2:
                    cross[shell] += (a[z, y, x] * np.conj(b[z, y, x])).real
                    left[shell] += abs(a[z, y, x]) ** 2
                    right[shell] += abs(b[z, y, x]) ** 2
    expected = [c / math.sqrt(p * q) for c, p, q in zip(cross, left, right, strict=True)]
    np.testing.assert_allclose(fsc(first, second).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fsc_ignores_scale_and_sharpening_and_knows_sign(dtype):
    volume = random_map(12, 3, dtype)
    tolerance = 1e3 * torch.finfo(dtype).eps
    torch.testing.assert_close(fsc(volume, 7e-9 * volume), torch.ones(7).double(), atol=tolerance, rtol=0)
    torch.testing.assert_close(fsc(volume, -volume), -torch.ones(7).double(), atol=tolerance, rtol=0)


def test_fsc_of_empty_shells_is_zero_not_nan():
    volume = random_map(8, 4)
    assert torch.equal(fsc(volume, torch.zeros_like(volume)), torch.zeros(5).double())


def test_signal_and_noise_of_equal_power_correlate_one_half():
    signal, noise1, noise2 = (random_map(64, seed) for seed in (5, 6, 7))
    curve = fsc(signal + noise1, signal + noise2)[8:]
    # the error of a correlation 0.5 over n independent coefficients is 0.75 / sqrt(2 n), n = 2 pi s^2 here
    shell = torch.arange(8, 33).double()
    error = 0.75 / (4 * math.pi * shell.square()).sqrt()
    assert float(((curve - 0.5) / error).abs().max()) < 4


def test_maps_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="one size"):
        fsc(random_map(8, 1), random_map(6, 1))


def test_power_spectrum_obeys_parseval():
    volume = random_map(9, 8)
    index = shell_index_3d(9)
    twice = torch.ones(9, 9, 5).double()
    twice[..., 1:] = 2  # an odd box has no Nyquist plane
    power = torch.fft.rfftn(volume).abs().square()
    total = (power * twice).sum()
    assert float(total) == pytest.approx(9**3 * float(volume.square().sum()))
    torch.testing.assert_close(power_spectrum(volume), shell_average(power, index, 5))
    assert float(power_spectrum(torch.ones(9, 9, 9))[0]) == pytest.approx(9**6)


@pytest.mark.parametrize(
    ("curve", "shell"),
    [([1, 0.9, 0.5, 0.1, 0.6, 0.1], 2), ([1, 0.9, 0.8, 0.7], 3), ([1, 0.1, 0.9], 0), ([-1, 0.9, 0.1], 1)],
)
def test_resolution_is_the_last_shell_before_the_first_crossing(curve, shell):
    curve = torch.tensor(curve, dtype=torch.float64)
    assert last_shell_above(curve, 0.143) == shell
    expected = 10 * 1.5 / shell if shell else math.inf
    assert resolution_at(curve, 0.143, 10, 1.5) == expected


def test_interpolated_crossing_lies_on_the_line_between_shells():
    curve = torch.tensor([1.0, 0.9, 0.5, 0.1, 0.0], dtype=torch.float64)
    assert interpolated_resolution_at(curve, 0.3, 8, 2.0) == pytest.approx(16 / 2.5)
    assert interpolated_resolution_at(curve, -1, 8, 2.0) == 4.0
