"""Radial statistics of D and W against loops, and the spectra that follow from an FSC."""

import math

import numpy as np
import pytest
import torch

from blush.fourier.backproject import Accumulator, empty_accumulator
from blush.maximization.spectra import (
    expected_signal_to_noise,
    radial_average,
    reference_noise,
    shells_of_cells,
    signal_to_noise,
)


def constant_weight(box: int, r_max: int, value: float, dtype: torch.dtype = torch.float64) -> Accumulator:
    sums = empty_accumulator(box, r_max, dtype=dtype)
    sums.grid[..., 2] = value
    return sums


@pytest.mark.parametrize("floor", [False, True])
@pytest.mark.parametrize(("r_max", "pad"), [(3, 2), (4, 3), (2, 1)])
def test_shells_of_cells_are_rounded_half_up_or_down(r_max, pad, floor):
    """Half-integer radii occur on the padded grid, where rounding to even would move 3 to 8 % of a shell."""
    sums = empty_accumulator(12, r_max, pad=pad)
    shell, r = shells_of_cells(sums, floor=floor), sums.radius
    for z in range(-r, r + 1):
        for y in range(-r, r + 1):
            for x in range(r + 1):
                radius = math.sqrt(x * x + y * y + z * z) / pad
                expected = math.floor(radius) if floor else math.floor(radius + 0.5)
                beyond = x * x + y * y + z * z >= (pad * r_max) ** 2  # cells on the rim are in no shell
                assert int(shell[z + r, y + r, x]) == (r_max + 1 if beyond else expected)


def test_the_average_of_a_shell_is_that_of_its_cells():
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(5, 6, 7, generator=generator)
    shell = torch.randint(0, 6, (5, 6, 7), generator=generator)
    shell[shell == 3] = 4
    found = radial_average(values, shell, 8)
    for number in (0, 1, 2, 4, 5):
        assert float(found[number]) == pytest.approx(float(values[shell == number].double().mean()), rel=1e-12)
    assert found[[3, 6, 7]].tolist() == [0, 0, 0]
    assert found.dtype == torch.float64
    assert torch.equal(radial_average(values, shell, 3), found[:3])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("box", "r_max"), [(16, 5), (18, 9), (50, 12)])
def test_a_constant_weight_has_its_inverse_as_noise(box, r_max, dtype):
    noise = reference_noise(constant_weight(box, r_max, 0.25, dtype))
    assert noise.shape == (box // 2 + 1,)
    np.testing.assert_allclose(noise[: r_max + 1], 1 / (2**3 * 0.25), rtol=1e-15)
    assert (noise[r_max + 1 :] == 0).all()


def test_noise_halves_with_twice_the_images():
    generator = torch.Generator().manual_seed(2)
    sums = empty_accumulator(16, 6, dtype=torch.float64)
    sums.grid[..., 2] = torch.rand(sums.grid.shape[:3], generator=generator, dtype=torch.float64)
    double = Accumulator(2 * sums.grid, 16, 6)
    np.testing.assert_allclose(reference_noise(double)[:7], reference_noise(sums)[:7] / 2, rtol=1e-14)


def test_a_shell_that_nothing_reached_has_no_noise_to_report():
    sums = constant_weight(16, 6, 1.0)
    sums.grid[..., 2][shells_of_cells(sums) == 4] = 0
    assert reference_noise(sums)[4] == 0


def test_the_fsc_of_halves_with_a_signal_to_noise_gives_it_back():
    """FSC = SSNR / (1 + SSNR); of both together twice the SSNR (Rosenthal & Henderson 2003)."""
    ssnr = np.geomspace(0.01, 100, 30)
    fsc = ssnr / (1 + ssnr)
    np.testing.assert_allclose(signal_to_noise(fsc, joined=False), ssnr, rtol=1e-12)
    combined = np.sqrt(2 * fsc / (1 + fsc))
    np.testing.assert_allclose(signal_to_noise(fsc, joined=True), combined / (1 - combined), rtol=1e-12)


@pytest.mark.parametrize(("joined", "threshold"), [(False, 0.5), (True, 1 / 7)])
def test_ssnr_is_one_at_the_thresholds_of_resolution(joined, threshold):
    """0.5 between halves and 0.143 for the joined map (docs/algorithm.md, section 6)."""
    assert signal_to_noise(np.array([threshold]), joined=joined)[0] == pytest.approx(1, rel=1e-12)


def test_fsc_outside_its_limits_is_clamped():
    found = signal_to_noise(np.array([-0.5, 0.0, 0.001, 0.999, 1.0]), joined=False)
    np.testing.assert_allclose(found, [0.001 / 0.999] * 3 + [999.0] * 2, rtol=1e-12)


def test_the_expected_signal_is_that_of_slices_over_their_noise():
    """Of a map of one wave, whose slices hold an amplitude N in two of the 2 pi s cells of a shell."""
    box, s, n = 16, 3, 50
    noise = np.linspace(1, 2, box // 2 + 1)
    wave = np.cos(2 * np.pi * s * np.arange(box) / box)
    volume = torch.from_numpy(np.broadcast_to(wave[:, None, None], (box,) * 3).copy())
    found = expected_signal_to_noise(volume, noise, n)
    k = np.fft.fftfreq(box, 1 / box)
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(box // 2 + 1) ** 2)
    cells = np.floor(radius + 0.5) == s
    expected = np.zeros(box // 2 + 1)
    # Two coefficients of N^3 / 2 each; a projection's transform is over N^2.
    expected[s] = 2 * (box / 2) ** 2 / cells.sum() / 2 * n / (2 * s) / noise[s]
    np.testing.assert_allclose(found, expected, atol=1e-12)
