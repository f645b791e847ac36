"""Images of a particle: projected, seen through the CTF, noisy, normalised as at extraction.

The box is periodic unless a wider one is asked for: what the CTF carries over an edge comes in at the other.
"""

import math

import numpy as np
import torch
from torch import Tensor

from blush.ctf.transfer import Optics, ctf_at
from blush.fourier.packed import packed
from blush.geometry.rotation import matrix_from_euler
from blush.simulate.acquisition import Acquisition
from blush.simulate.settings import Imaging, Noise
from blush.simulate.slices import Slicer


def clean_images(slicer: Slicer, seen: Acquisition, imaging: Imaging, widths: int = 1) -> Tensor:
    """Images without noise, (n, N, N) float32, bright on dark.

    Parameters
    ----------
    widths
        Side of the periodic box in widths of the image: from 2 on, what leaves the image is lost instead of
        coming in at the other side.
    """
    box, pixel = widths * imaging.box_px, imaging.pixel_size_angst
    pixels = packed(box)
    count = pixels.inside(widths * (imaging.box_px // 2 - 1))
    kx, ky = pixels.kx[:count].double(), pixels.ky[:count].double()
    transform = slicer.slices(matrix_from_euler(seen.euler_deg), kx / widths, ky / widths)
    transform = transform * transfer(seen, imaging, kx / (box * pixel), ky / (box * pixel))
    # The origin is the shift that centres the particle, so the particle lies at minus it.
    angle = 2 * math.pi * (seen.origin_angst @ torch.stack([kx, ky])) / (box * pixel)
    transform = transform * torch.polar(torch.ones_like(angle), angle).to(transform.dtype)
    spectrum = transform.new_zeros((len(seen), box * (box // 2 + 1)))
    spectrum[:, pixels.index[:count]] = transform
    spectrum = _with_friedel_mates(spectrum.view(len(seen), box, box // 2 + 1))
    images = torch.fft.fftshift(torch.fft.irfft2(spectrum, s=(box, box)), dim=(1, 2))
    return middle(images, imaging.box_px)


def middle(images: Tensor, box_px: int) -> Tensor:
    """(n, N, N) around the centre pixel of larger images."""
    first = images.shape[-1] // 2 - box_px // 2
    return images[..., first : first + box_px, first : first + box_px]


def _with_friedel_mates(spectrum: Tensor) -> Tensor:
    """Fill ky < 0 of the column kx = 0, which the packed half plane leaves out."""
    column = spectrum[:, 1:, 0]
    mates = column.flip(1).conj()
    filled = spectrum.clone()
    filled[:, 1:, 0] = torch.where(column == 0, mates, column)
    return filled


def transfer(seen: Acquisition, imaging: Imaging, kx: Tensor, ky: Tensor) -> Tensor:
    """(n, p) contrast transfer function of each particle at frequencies kx, ky (p,) in cycles per Å, float32."""
    columns = ("voltage_kv", "spherical_aberration_mm", "amplitude_contrast")
    groups = Optics(*(torch.tensor([getattr(o, c) for o in imaging.optics], dtype=torch.float64) for c in columns))
    zero, one = torch.zeros(len(seen), dtype=torch.float64), torch.ones(len(seen), dtype=torch.float64)
    u, v = seen.defocus_angst.unbind(1)
    return ctf_at(kx, ky, u, v, seen.defocus_angle_deg, zero, zero, one, groups.take(seen.optics)).float()


def circle(box_px: int, radius_px: float) -> Tensor:
    """(N, N) bool, inside a circle around the centre pixel."""
    axis = torch.arange(box_px) - box_px // 2
    return axis[:, None] ** 2 + axis**2 < radius_px**2


def signal_variance(clean: Tensor, radius_px: float) -> float:
    """Variance of noise-free images inside the particle's circle, averaged over images."""
    inside = clean[:, circle(clean.shape[1], radius_px)]
    return float(inside.double().var(dim=1, correction=0).mean())


def noise_images(noise: Noise, count: int, imaging: Imaging, generator: np.random.Generator) -> Tensor:
    """Noise of unit variance, (n, N, N) float32: a white part, and a background of Lorentzian spectrum."""
    shape = imaging.box_px, imaging.box_px
    return noise_field(noise, count, shape, imaging.pixel_size_angst, generator)


def noise_field(
    noise: Noise, count: int, shape: tuple[int, int], pixel_size_angst: float, generator: np.random.Generator
) -> Tensor:
    """The same of any shape (h, w), w even: (n, h, w)."""
    white = torch.from_numpy(generator.standard_normal((count, *shape), dtype=np.float32))
    qy, qx = (torch.from_numpy(np.fft.fftfreq(size, pixel_size_angst)) for size in shape)
    full = 1 / (1 + (qy[:, None] ** 2 + qx**2) * (2 * math.pi * noise.coloured_angst) ** 2)
    power = (1 - noise.coloured_fraction) + noise.coloured_fraction * full / full.mean()
    gain = power[:, : shape[1] // 2 + 1].sqrt().float()
    return torch.fft.irfft2(torch.fft.rfft2(white) * gain, s=shape)


def normalise(images: Tensor, radius_px: float) -> Tensor:
    """Images with mean 0 and s.d. 1 outside a circle, as RELION extracts them (docs/algorithm.md, section 2)."""
    background = images[:, ~circle(images.shape[1], radius_px)].double()
    mean, sd = background.mean(1), background.std(1, correction=0)
    return ((images.double() - mean[:, None, None]) / sd[:, None, None]).float()
