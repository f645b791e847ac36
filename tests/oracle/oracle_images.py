"""Reference: image preparation (docs/algorithm.md, sections 1 and 3), one image at a time, in float64, for reading."""

import math

import numpy as np


def round_half_away(x: float) -> int:
    """Halves go away from zero, as everywhere in RELION."""
    return int(math.copysign(math.floor(abs(x) + 0.5), x))


def half_plane(n: int, r_max: int) -> list[tuple[int, int]]:
    """One (kx, ky) of each Friedel pair with rounded |k| <= r_max, the origin included."""
    pixels = []
    for kx in range(n // 2 + 1):
        for ky in range(-n // 2 + 1, n // 2 + 1):
            if kx == 0 and ky < 0:
                continue
            if round_half_away(math.hypot(kx, ky)) <= r_max:
                pixels.append((kx, ky))
    return pixels


def shell_of(kx: int, ky: int) -> int:
    return round_half_away(math.hypot(kx, ky))


def move(image: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """Shift by whole pixels; what enters is zero."""
    n = len(image)
    moved = np.zeros_like(image)
    for y in range(n):
        for x in range(n):
            if 0 <= y - dy < n and 0 <= x - dx < n:
                moved[y, x] = image[y - dy, x - dx]
    return moved


def soft_mask(n: int, radius: float, edge: float) -> np.ndarray:
    """1 inside the radius, cosine edge outside it."""
    mask = np.zeros((n, n))
    for y in range(n):
        for x in range(n):
            r = math.hypot(x - n // 2, y - n // 2)
            if r < radius:
                mask[y, x] = 1
            elif r < radius + edge:
                mask[y, x] = 0.5 + 0.5 * math.cos(math.pi * (r - radius) / edge)
    return mask


def masked(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Outside the mask the weighted mean of the outside region."""
    background = ((1 - mask) * image).sum() / (1 - mask).sum()
    return mask * image + (1 - mask) * background


def transform(image: np.ndarray, pixels: list[tuple[int, int]]) -> np.ndarray:
    """FFT2 / N^2 with the phase origin at the centre pixel, by the defining sum."""
    n = len(image)
    position = np.arange(n) - n // 2
    result = []
    for kx, ky in pixels:
        wave_x = np.exp(-2j * np.pi * kx * position / n)
        wave_y = np.exp(-2j * np.pi * ky * position / n)
        result.append(wave_y @ image @ wave_x / n**2)
    return np.array(result)


def prepare(image, origin_px, norm_factor, radius_px, edge_px, pixels):
    """Masked and unmasked transforms of one image, and the whole pixels by which it was moved."""
    dx, dy = (round_half_away(value) for value in origin_px)
    centred = move(image * norm_factor, dx, dy)
    mask = soft_mask(len(image), radius_px, edge_px)
    return transform(masked(centred, mask), pixels), transform(centred, pixels), (dx, dy)


def ctf(kx, ky, pixel_size, box, u, v, angle_deg, phase_deg, bfactor, scale, kv, cs_mm, contrast):
    """CTF at one frequency, written as docs/algorithm.md, section 1 has it."""
    volt = kv * 1e3
    wavelength = 12.2643247 / math.sqrt(volt * (1 + 0.978466e-6 * volt))
    qx, qy = kx / (box * pixel_size), ky / (box * pixel_size)
    q = math.hypot(qx, qy)
    theta = math.atan2(qy, qx) - math.radians(angle_deg)
    defocus = (u + v) / 2 + (u - v) / 2 * math.cos(2 * theta)
    chi = math.pi * wavelength * q**2 * defocus - math.pi / 2 * cs_mm * 1e7 * wavelength**3 * q**4
    chi += math.radians(phase_deg) + math.atan(contrast / math.sqrt(1 - contrast**2))
    return scale * math.exp(-bfactor * q**2 / 4) * math.sin(chi)
