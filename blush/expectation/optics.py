"""Per-particle CTF and per-group corrections on the packed half plane."""

from __future__ import annotations

import torch
from torch import Tensor

from blush.ctf.aberration import demodulation_phase, even_phase_rad, mtf_at
from blush.ctf.transfer import Optics, ctf_at
from blush.fourier.packed import Packed
from blush.io.optics import OpticsGroup, read_mtf
from blush.io.particles import ParticleSet
from blush.io.upload import uploaded


class OpticsTables:
    """What depends on the optics group alone, computed once per shard.

    Attributes
    ----------
    correction
        (o, 2, p) planar factor that undoes odd aberrations and the detector's transfer function, or None.
    even_phase_rad
        (o, p) extra CTF phase of even Zernike terms, or None.
    """

    def __init__(self, particles: ParticleSet, pixels: Packed, dtype: torch.dtype) -> None:
        groups = particles.optics
        device = pixels.kx.device
        extent_angst = pixels.box_px * groups[0].pixel_size_angst
        self.kx, self.ky = pixels.kx.double() / extent_angst, pixels.ky.double() / extent_angst
        self.dtype = dtype

        def column(name: str) -> Tensor:
            return uploaded(torch.tensor([getattr(g, name) for g in groups], dtype=torch.float64), device)

        self.optics = Optics(column("voltage_kv"), column("spherical_aberration_mm"), column("amplitude_contrast"))
        self.premultiplied = uploaded(torch.tensor([g.ctf_premultiplied for g in groups]), device)
        self.correction = self._correction(particles)
        self.even_phase_rad = self._even_phase(particles)

    def _correction(self, particles: ParticleSet) -> Tensor | None:
        groups = particles.optics
        if not any(g.mtf_file or g.beam_tilt_x_mrad or g.beam_tilt_y_mrad or any(g.odd_zernike) for g in groups):
            return None
        rows = []
        for group in groups:
            phase = demodulation_phase(
                self.kx,
                self.ky,
                group.odd_zernike,
                group.beam_tilt_x_mrad,
                group.beam_tilt_y_mrad,
                group.voltage_kv,
                group.spherical_aberration_mm,
            )
            rows.append(torch.view_as_real(phase / self._transfer_of_detector(group)).T)
        return torch.stack(rows).to(self.dtype)

    def _transfer_of_detector(self, group: OpticsGroup) -> Tensor:
        """MTF at every pixel, (p,); 1 where the group names no table."""
        if group.mtf_file is None:
            return torch.ones_like(self.kx)
        frequency, value = (
            torch.as_tensor(column, dtype=torch.float64, device=self.kx.device) for column in read_mtf(group.mtf_file)
        )
        pixel = group.original_pixel_size_angst or group.pixel_size_angst
        return mtf_at(torch.hypot(self.kx, self.ky) * pixel, frequency, value)

    def _even_phase(self, particles: ParticleSet) -> Tensor | None:
        if not any(any(g.even_zernike) for g in particles.optics):
            return None
        return torch.stack([even_phase_rad(self.kx, self.ky, g.even_zernike) for g in particles.optics])

    def ctf(self, particles: ParticleSet, n_pixels: int) -> Tensor:
        """CTF of each particle on the first `n_pixels`: (b, n)."""
        device = self.kx.device

        def column(name: str) -> Tensor:
            return uploaded(getattr(particles, name), device)

        group = column("optics_index").long()
        even = None if self.even_phase_rad is None else self.even_phase_rad[group, :n_pixels]
        return ctf_at(
            self.kx[:n_pixels],
            self.ky[:n_pixels],
            column("defocus_u_angst"),
            column("defocus_v_angst"),
            column("defocus_angle_deg"),
            column("phase_shift_deg"),
            column("ctf_bfactor") if particles.ctf_bfactor.any() else None,
            column("ctf_scale"),
            self.optics.take(group),
            even,
            self.dtype,
        )

    def transfer(self, particles: ParticleSet, ctf: Tensor) -> Tensor:
        """What multiplies the reference to predict an image: the CTF, or CTF^2 where images are premultiplied."""
        optics = uploaded(particles.optics_index, self.kx.device).long()
        return torch.where(self.premultiplied[optics, None], ctf.square(), ctf)
