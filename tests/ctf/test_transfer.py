"""The contrast transfer function: closed forms, and torch-ctf as an independent program."""

import math

import pytest
import torch
from torch_ctf import calculate_ctf_2d

from blush.ctf.transfer import Optics, ctf_at, wavelength_angst
from blush.io.optics import OpticsGroup

SMALLEST_CTF = 1e-8
"""What RELION 3.1.3 puts in place of a zero."""


def optics(voltage_kv: float = 300.0, aberration_mm: float = 2.7, contrast: float = 0.1) -> Optics:
    return Optics(*(torch.tensor([value], dtype=torch.float64) for value in (voltage_kv, aberration_mm, contrast)))


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def ctf(kx, ky, u, v=None, angle=0.0, phase=0.0, bfactor=0.0, scale=1.0, lens=None, **options):
    u = column(u)
    one = torch.ones_like(u)
    v = u if v is None else column(v)
    return ctf_at(kx, ky, u, v, angle * one, phase * one, bfactor * one, scale * one, lens or optics(), **options)


def half_plane(box: int, pixel_size_angst: float) -> tuple[torch.Tensor, torch.Tensor]:
    ky, kx = torch.meshgrid(
        torch.fft.fftfreq(box, pixel_size_angst, dtype=torch.float64),
        torch.fft.rfftfreq(box, pixel_size_angst, dtype=torch.float64),
        indexing="ij",
    )
    return kx.flatten(), ky.flatten()


def test_the_wavelength_is_relions_rounding_of_1_97_pm():
    wavelength = wavelength_angst(column(300.0))
    codata = 0.0196874864
    assert abs(float(wavelength) / codata - 1 - 6.4e-6) < 2e-7


@pytest.mark.parametrize("contrast", [0.0, 0.07, 0.1, 0.5])
def test_the_origin_holds_the_amplitude_contrast(contrast):
    """Positive: particles are bright; 0 is lifted so that a division stays finite."""
    value = ctf(column(0), column(0), 15000.0, lens=optics(contrast=contrast), scale=0.8)
    assert abs(float(value) - max(0.8 * contrast, SMALLEST_CTF)) < 1e-15


def test_zeros_lie_where_the_phase_is_a_multiple_of_pi():
    """Without aberration and amplitude contrast, at k² = m / (λ z)."""
    lens = optics(aberration_mm=0.0, contrast=0.0)
    order = torch.arange(1, 40, dtype=torch.float64)
    k = torch.sqrt(order / (wavelength_angst(column(300.0)) * 12000.0))
    assert ctf(k, torch.zeros_like(k), 12000.0, lens=lens).abs().max() <= SMALLEST_CTF
    between = torch.sqrt((order - 0.5) / (wavelength_angst(column(300.0)) * 12000.0))
    sign = torch.where(order % 2 == 1, 1.0, -1.0).double()
    torch.testing.assert_close(ctf(between, torch.zeros_like(k), 12000.0, lens=lens)[0], sign)


def test_aberration_moves_the_phase_by_half_pi_cs_lambda3_k4():
    k, zero = column(0.25), column(0)
    wavelength = float(wavelength_angst(column(300.0)))
    phase = math.pi * wavelength * 9000 * 0.25**2 - math.pi / 2 * 2.7e7 * wavelength**3 * 0.25**4 + math.asin(0.1)
    assert abs(float(ctf(k, zero, 9000.0)) - math.sin(phase)) < 1e-12


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 140.0])
def test_defocus_u_lies_along_the_angle_from_x_towards_y(angle):
    k = 0.11
    along, across = math.radians(angle), math.radians(angle + 90)
    kx, ky = (k * column(function(along), function(across)) for function in (math.cos, math.sin))
    bent = ctf(kx, ky, 20000.0, 14000.0, angle)[0]
    round_u, round_v = (ctf(column(k), column(0), defocus)[0, 0] for defocus in (20000.0, 14000.0))
    torch.testing.assert_close(bent, torch.stack([round_u, round_v]))


def test_a_phase_plate_of_90_degrees_turns_sine_into_cosine():
    kx, ky = half_plane(16, 2.0)
    plain = ctf(kx, ky, 10000.0, lens=optics(contrast=0.0))
    shifted = ctf(kx, ky, 10000.0, phase=90.0, lens=optics(contrast=0.0))
    assert ((plain**2 + shifted**2) - 1).abs().max() < 1e-12


def test_envelope_and_scale_multiply():
    kx, ky = half_plane(16, 2.0)
    plain, damped = ctf(kx, ky, 10000.0), ctf(kx, ky, 10000.0, bfactor=80.0, scale=0.7)
    expected = 0.7 * torch.exp(-80 * (kx**2 + ky**2) / 4) * plain
    torch.testing.assert_close(damped, expected, atol=1e-15, rtol=1e-12)


def test_a_phase_given_beside_is_added():
    kx, ky = half_plane(16, 2.0)
    torch.testing.assert_close(
        ctf(kx, ky, 10000.0, even_phase_rad=torch.full_like(kx, math.radians(40))), ctf(kx, ky, 10000.0, phase=40.0)
    )


@pytest.mark.parametrize("box", [32, 33, 50])
def test_torch_ctf_agrees(box):
    """To 3e-3: its wavelength is 6.4e-6 shorter, times a phase of up to 600 rad. It has no U < V."""
    pixel = 1.1
    u, v, angle = column(21000, 8300, 15000), column(18000, 8000, 15000), column(25, -70, 160)
    phase = column(0, 30, 90)
    theirs = calculate_ctf_2d(
        (u + v) / 2e4, (u - v) / 2e4, angle, 300.0, 2.7, 0.1, phase, pixel, (box, box), rfft=True, fftshift=False
    )
    kx, ky = half_plane(box, pixel)
    zero = torch.zeros_like(u)
    ours = ctf_at(kx, ky, u, v, angle, phase, zero, zero + 1, optics())
    # At even boxes rfft keeps only one sign of ky = Nyquist, as do we.
    assert (ours - theirs.reshape(3, -1)).abs().max() < 3e-3


def test_particles_of_different_groups_take_their_own_optics():
    groups = [OpticsGroup("a", 300.0, 2.7, 0.1, 1.0, 32), OpticsGroup("b", 200.0, 0.01, 0.07, 1.0, 32)]
    member = torch.tensor([1, 0, 1])
    kx, ky = half_plane(8, 3.0)
    u, zero = column(9000, 12000, 15000), torch.zeros(3).double()
    together = ctf_at(kx, ky, u, u, zero, zero, zero, zero + 1, Optics.of(groups).take(member))
    for row, (defocus, group) in enumerate(zip(u.tolist(), member.tolist(), strict=True)):
        torch.testing.assert_close(together[row], ctf(kx, ky, defocus, lens=Optics.of(groups[group : group + 1]))[0])


def test_float32_results_come_from_a_float64_phase():
    kx, ky = half_plane(64, 0.7)
    exact = ctf(kx, ky, 40000.0)
    rounded = ctf(kx, ky, 40000.0, dtype=torch.float32)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().max() < 1e-7


def test_no_value_is_smaller_than_the_lift():
    k = torch.sqrt(torch.arange(1, 40).double() / (wavelength_angst(column(300.0)) * 12000.0))
    lens = optics(aberration_mm=0.0, contrast=0.0)
    assert ctf(k, torch.zeros_like(k), 12000.0, lens=lens).abs().min() >= SMALLEST_CTF


@pytest.mark.parametrize("n", [0, 1])
def test_no_particle_and_one_particle(n):
    kx, ky = half_plane(8, 3.0)
    zero = torch.zeros(n).double()
    assert ctf_at(kx, ky, zero, zero, zero, zero, zero, zero + 1, optics()).shape == (n, len(kx))
