"""Antisymmetric and symmetric aberrations, and the detector."""

import math

import pytest
import torch

from blush.ctf.aberration import (
    demodulation_phase,
    even_phase_rad,
    mtf_at,
    odd_phase_rad,
    zernike_orders,
    zernike_sum,
)
from blush.ctf.transfer import wavelength_angst


def disc(n: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    radius = torch.rand(n, generator=generator, dtype=torch.float64).sqrt()
    angle = 2 * math.pi * torch.rand(n, generator=generator, dtype=torch.float64)
    return radius * torch.cos(angle), radius * torch.sin(angle)


def test_orders_run_as_in_relion():
    assert zernike_orders(6, even=False) == [(1, -1), (1, 1), (3, -3), (3, -1), (3, 1), (3, 3)]
    assert zernike_orders(4, even=True) == [(0, 0), (2, -2), (2, 0), (2, 2)]


@pytest.mark.parametrize(
    ("position", "even", "form"),
    [
        (0, False, lambda x, y: y),
        (1, False, lambda x, y: x),
        (2, False, lambda x, y: 3 * x**2 * y - y**3),
        (3, False, lambda x, y: (3 * (x**2 + y**2) - 2) * y),
        (4, False, lambda x, y: (3 * (x**2 + y**2) - 2) * x),
        (5, False, lambda x, y: x**3 - 3 * x * y**2),
        (1, True, lambda x, y: 2 * x * y),
        (2, True, lambda x, y: 2 * (x**2 + y**2) - 1),
        (3, True, lambda x, y: x**2 - y**2),
    ],
)
def test_polynomials_have_their_textbook_form(position, even, form):
    x, y = disc()
    coefficients = [0.0] * position + [1.0]
    torch.testing.assert_close(zernike_sum(x, y, coefficients, even), form(x, y), atol=1e-13, rtol=0)


def test_beam_tilt_gives_coma():
    """-2π Cs λ² q² (tilt · k), with 1 mrad along x; RELION's sign."""
    kx, ky = (0.3 * axis for axis in disc())
    wavelength = wavelength_angst(torch.tensor(200.0).double())
    expected = -2 * math.pi * 2.0e7 * wavelength**2 * (kx**2 + ky**2) * kx * 1e-3
    torch.testing.assert_close(odd_phase_rad(kx, ky, (), 1.0, 0.0, 200.0, 2.0), expected)


def test_demodulation_undoes_the_phase_error_and_keeps_friedel_symmetry():
    kx, ky = (0.3 * axis for axis in disc())
    arguments = ((0.1, 0.2, 5.0, 7.0), 0.3, -0.2, 300.0, 2.7)
    factor = demodulation_phase(kx, ky, *arguments)
    error = torch.exp(1j * odd_phase_rad(kx, ky, *arguments))
    torch.testing.assert_close(factor * error, torch.ones_like(factor))
    torch.testing.assert_close(demodulation_phase(-kx, -ky, *arguments), factor.conj())


def test_even_phase_is_even_and_enters_with_a_minus_sign():
    kx, ky = disc()
    phase = even_phase_rad(kx, ky, (0.1, 0.2, 0.3, 0.4, 0.5))
    torch.testing.assert_close(even_phase_rad(-kx, -ky, (0.1, 0.2, 0.3, 0.4, 0.5)), phase)
    torch.testing.assert_close(even_phase_rad(kx, ky, (0.25,)), torch.full_like(kx, -0.25))


def test_mtf_interpolates_linearly_and_stays_constant_beyond_its_table():
    frequency, value = (torch.tensor(row, dtype=torch.float64) for row in ([0, 0.25, 0.5], [1.0, 0.6, 0.3]))
    wanted = torch.tensor([0.0, 0.1, 0.25, 0.4, 0.5, 0.7], dtype=torch.float64)
    expected = torch.tensor([1.0, 0.84, 0.6, 0.42, 0.3, 0.3], dtype=torch.float64)
    torch.testing.assert_close(mtf_at(wanted, frequency, value), expected)


def test_an_unsorted_mtf_table_is_refused():
    with pytest.raises(ValueError, match="ascend"):
        mtf_at(torch.tensor([0.1]), torch.tensor([0.0, 0.3, 0.2]), torch.tensor([1.0, 0.5, 0.7]))
