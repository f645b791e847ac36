"""Contrast transfer function of particles, with RELION's constants and sign (docs/algorithm.md, section 1)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.io.optics import OpticsGroup

# Smaller values are lifted to this size, so that a division by the CTF stays finite.
SMALLEST_CTF = 1e-8
_ANGST_PER_MM = 1e7


@dataclass(frozen=True)
class Optics:
    """Microscope constants of optics groups or of particles.

    Parameters
    ----------
    voltage_kv, spherical_aberration_mm, amplitude_contrast
        (g,) float64 tensors, one entry per group; `take` repeats them per particle.
    """

    voltage_kv: Tensor
    spherical_aberration_mm: Tensor
    amplitude_contrast: Tensor

    @classmethod
    def of(cls, groups: Sequence[OpticsGroup]) -> "Optics":
        """Constants of optics groups in their order."""
        columns = ("voltage_kv", "spherical_aberration_mm", "amplitude_contrast")
        return cls(*(torch.tensor([getattr(g, name) for g in groups], dtype=torch.float64) for name in columns))

    def take(self, group: Tensor) -> "Optics":
        """Constants of each particle, from (n,) group numbers counted from 0."""
        device = group.device
        return Optics(
            self.voltage_kv.to(device)[group],
            self.spherical_aberration_mm.to(device)[group],
            self.amplitude_contrast.to(device)[group],
        )


def wavelength_angst(voltage_kv: Tensor) -> Tensor:
    """Relativistic electron wavelength in Å.

    Rounded as RELION rounds it: 6.4e-6 longer than CODATA, worth 2e-3 of the CTF near Nyquist.
    """
    volt = 1e3 * voltage_kv
    return 12.2643247 / torch.sqrt(volt * (1 + 0.978466e-6 * volt))


def ctf_at(
    kx: Tensor,
    ky: Tensor,
    defocus_u_angst: Tensor,
    defocus_v_angst: Tensor,
    defocus_angle_deg: Tensor,
    phase_shift_deg: Tensor,
    ctf_bfactor: Tensor | None,
    ctf_scale: Tensor,
    optics: Optics,
    even_phase_rad: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    r"""Contrast transfer function of each particle at given frequencies.

    c(k) = scale exp(-B q²/4) sin χ with
    χ = πλ q² [½(U+V) + ½(U-V) cos 2(φ-α)] - ½π Cs λ³ q⁴ + phase shift + atan(Q/√(1-Q²)).
    Positive at the origin: particles are bright on a dark background.

    Parameters
    ----------
    kx, ky
        (p,) cycles per Å.
    defocus_u_angst, defocus_v_angst
        (n,) along and across the axis of astigmatism; underfocus is positive.
    defocus_angle_deg
        (n,) from the x axis to the axis of `defocus_u_angst`, towards y.
    phase_shift_deg
        (n,) of a phase plate.
    ctf_bfactor
        (n,) envelope B in Å²; None: 0 of all.
    ctf_scale
        (n,) factor.
    optics
        Constants of each particle, (n,), or of one group, (1,).
    even_phase_rad
        (p,) or (n, p), added to χ: from `blush.ctf.aberration.even_phase_rad`.
    dtype
        Type of the result; that of `kx` by default. The phase, hundreds of radians, is always float64.

    Returns
    -------
    (n, p); amplitude contrast times scale at the origin. Sizes below 1e-8 are lifted to 1e-8, keeping the sign.

    References
    ----------
    Rohou & Grigorieff 2015, eqs 2-3, doi:10.1016/j.jsb.2015.08.008
    """
    terms = _frequency_terms(kx.double(), ky.double())
    chi = _phase_coefficients(
        defocus_u_angst.double(), defocus_v_angst.double(), defocus_angle_deg.double(), phase_shift_deg.double(), optics
    )
    chi = chi @ terms
    if even_phase_rad is not None:
        chi = chi + even_phase_rad
    envelope = ctf_scale.double()[:, None]
    if ctf_bfactor is not None:
        envelope = envelope * torch.exp(-ctf_bfactor.double()[:, None] / 4 * terms[0])
    transfer = (envelope * torch.sin(chi)).to(dtype or kx.dtype)
    return torch.where(
        transfer.abs() < SMALLEST_CTF, torch.copysign(torch.full_like(transfer, SMALLEST_CTF), transfer), transfer
    )


def _frequency_terms(kx: Tensor, ky: Tensor) -> Tensor:
    """(5, p) functions of frequency in which the phase is linear: q², q² cos 2φ, q² sin 2φ, q⁴, 1."""
    square = kx**2 + ky**2
    return torch.stack([square, kx**2 - ky**2, 2 * kx * ky, square**2, torch.ones_like(square)])


def _phase_coefficients(
    defocus_u_angst: Tensor, defocus_v_angst: Tensor, defocus_angle_deg: Tensor, phase_shift_deg: Tensor, optics: Optics
) -> Tensor:
    """(n, 5) coefficients of `_frequency_terms`."""
    wavelength = wavelength_angst(optics.voltage_kv.double())
    contrast = optics.amplitude_contrast.double()
    aberration = -math.pi / 2 * optics.spherical_aberration_mm.double() * _ANGST_PER_MM * wavelength**3
    constant = torch.deg2rad(phase_shift_deg) + torch.atan(contrast / torch.sqrt(1 - contrast**2))
    half_difference = math.pi / 2 * wavelength * (defocus_u_angst - defocus_v_angst)
    twice_angle = 2 * torch.deg2rad(defocus_angle_deg)
    columns = [
        math.pi / 2 * wavelength * (defocus_u_angst + defocus_v_angst),
        half_difference * torch.cos(twice_angle),
        half_difference * torch.sin(twice_angle),
        aberration,
        constant,
    ]
    return torch.stack([column.expand(len(defocus_u_angst)) for column in columns], -1)
