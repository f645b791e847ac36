"""Phase errors of the lens (beam tilt, Zernike terms) and the detector's response (docs/algorithm.md, section 1)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from blush.ctf.transfer import wavelength_angst

_ANGST_PER_MM = 1e7


def even_phase_rad(kx: Tensor, ky: Tensor, even_zernike: Sequence[float]) -> Tensor:
    """Phase that the symmetric aberrations add to the CTF's χ.

    Parameters
    ----------
    kx, ky
        (p,) cycles per Å.
    even_zernike
        Coefficients of Z(0,0), Z(2,-2), Z(2,0), Z(2,2), Z(4,-4), ... in radians, as in rlnEvenZernike.

    Returns
    -------
    (p,) float64 radians. RELION's phase is -χ, so the coefficients enter with a minus sign.
    """
    return -zernike_sum(kx, ky, even_zernike, even=True)


def odd_phase_rad(
    kx: Tensor,
    ky: Tensor,
    odd_zernike: Sequence[float],
    beam_tilt_x_mrad: float,
    beam_tilt_y_mrad: float,
    voltage_kv: float,
    spherical_aberration_mm: float,
) -> Tensor:
    """Phase error of the antisymmetric aberrations: the odd Zernike terms less 2π Cs λ² q² (tilt · k).

    The signs of both are RELION's (measured against 3.1.3, tests/relion).

    Parameters
    ----------
    kx, ky
        (p,) cycles per Å.
    odd_zernike
        Coefficients of Z(1,-1), Z(1,1), Z(3,-3), ... in radians, as in rlnOddZernike.
    beam_tilt_x_mrad, beam_tilt_y_mrad
        As in rlnBeamTiltX and rlnBeamTiltY.
    voltage_kv, spherical_aberration_mm
        Those of the optics group.

    Returns
    -------
    (p,) float64 radians.

    References
    ----------
    Zivanov, Nakane & Scheres 2020, doi:10.1107/S2052252520000081
    """
    kx, ky = kx.double(), ky.double()
    wavelength = wavelength_angst(torch.tensor(voltage_kv, dtype=torch.float64))
    coma = 2 * math.pi * spherical_aberration_mm * _ANGST_PER_MM * wavelength.to(kx.device) ** 2
    tilt = 1e-3 * (beam_tilt_x_mrad * kx + beam_tilt_y_mrad * ky)
    return zernike_sum(kx, ky, odd_zernike, even=False) - coma * (kx**2 + ky**2) * tilt


def demodulation_phase(
    kx: Tensor,
    ky: Tensor,
    odd_zernike: Sequence[float],
    beam_tilt_x_mrad: float,
    beam_tilt_y_mrad: float,
    voltage_kv: float,
    spherical_aberration_mm: float,
) -> Tensor:
    """Factor that takes the antisymmetric aberrations out of an image: exp(-i `odd_phase_rad`).

    Returns
    -------
    (p,) complex128 of modulus 1; the image is multiplied by it.
    """
    phase = odd_phase_rad(kx, ky, odd_zernike, beam_tilt_x_mrad, beam_tilt_y_mrad, voltage_kv, spherical_aberration_mm)
    return torch.polar(torch.ones_like(phase), -phase)


def zernike_sum(kx: Tensor, ky: Tensor, coefficients: Sequence[float], even: bool) -> Tensor:
    """Sum of Zernike polynomials of even or of odd order n, over (kx, ky) in cycles per Å.

    The order is n ascending by two, and m = -n, -n + 2, ..., n within it; a polynomial is
    R(n, |m|)(q) times cos mφ for m >= 0 and sin |m|φ for m < 0, without normalisation.
    """
    kx, ky = kx.double(), ky.double()
    radius, angle = torch.hypot(kx, ky), torch.atan2(ky, kx)
    total = torch.zeros_like(radius)
    for coefficient, (n, m) in zip(coefficients, zernike_orders(len(coefficients), even), strict=True):
        turn = torch.cos(m * angle) if m >= 0 else torch.sin(-m * angle)
        total = total + coefficient * _radial(n, abs(m), radius) * turn
    return total


def zernike_orders(count: int, even: bool) -> list[tuple[int, int]]:
    """First `count` pairs (n, m) of one parity."""
    orders: list[tuple[int, int]] = []
    n = 0 if even else 1
    while len(orders) < count:
        orders += [(n, m) for m in range(-n, n + 1, 2)]
        n += 2
    return orders[:count]


def _radial(n: int, m: int, radius: Tensor) -> Tensor:
    """Radial Zernike polynomial R(n, m)."""
    total = torch.zeros_like(radius)
    for k in range((n - m) // 2 + 1):
        sign = -1 if k % 2 else 1
        size = math.factorial(n - k) // (
            math.factorial(k) * math.factorial((n + m) // 2 - k) * math.factorial((n - m) // 2 - k)
        )
        total = total + sign * size * radius ** (n - 2 * k)
    return total


def mtf_at(frequency_per_px: Tensor, table_frequency: Tensor, table_value: Tensor) -> Tensor:
    """Modulation transfer of the detector, linearly interpolated and held constant beyond the table.

    Parameters
    ----------
    frequency_per_px
        (p,) cycles per pixel of the micrograph as recorded, before any binning.
    table_frequency, table_value
        (t,) ascending frequencies in the same unit, and the response there.

    Returns
    -------
    (p,) in the dtype of `frequency_per_px`.
    """
    if bool((table_frequency.diff() <= 0).any()):
        raise ValueError("the frequencies of an MTF table must ascend; sort its rows by rlnResolutionInversePixel")
    frequency = frequency_per_px.to(table_frequency).clamp(table_frequency[0], table_frequency[-1])
    right = torch.searchsorted(table_frequency, frequency).clamp(1, len(table_frequency) - 1)
    step = table_frequency[right] - table_frequency[right - 1]
    weight = (frequency - table_frequency[right - 1]) / step
    return torch.lerp(table_value[right - 1], table_value[right], weight).to(frequency_per_px)
