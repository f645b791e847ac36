"""Reference: slices of a map (docs/algorithm.md, section 1) and the geometry of an orientation, for reading."""

import itertools
import math

import numpy as np

PAD = 2


def matrix(rot_deg, tilt_deg, psi_deg):
    """A = Rz(psi) Ry(tilt) Rz(rot), as three explicit products."""

    def rz(angle):
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])

    def ry(angle):
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])

    return rz(psi_deg) @ ry(tilt_deg) @ rz(rot_deg)


def gridding_correction(n):
    """sinc^2(r / (pad N)) at every voxel."""
    out = np.zeros((n, n, n))
    for z, y, x in itertools.product(range(n), repeat=3):
        r = math.sqrt((z - n // 2) ** 2 + (y - n // 2) ** 2 + (x - n // 2) ** 2)
        out[z, y, x] = np.sinc(r / (PAD * n)) ** 2
    return out


class Map:
    """Padded transform of a map inside |k| <= pad r_max; `Map.at` looks a sample up by signed frequency."""

    def __init__(self, volume: np.ndarray, r_max: int):
        n = len(volume)
        self.n, self.m, self.r_max = n, PAD * n, r_max
        padded = np.zeros((self.m,) * 3)
        start = self.m // 2 - n // 2
        padded[start : start + n, start : start + n, start : start + n] = volume / gridding_correction(n)
        # ifftshift puts the centre voxel at the origin of phases.
        self.spectrum = np.fft.fftn(np.fft.ifftshift(padded)) / n**2

    def at(self, x: int, y: int, z: int) -> complex:
        if x * x + y * y + z * z > (PAD * self.r_max) ** 2 or max(abs(x), abs(y), abs(z)) >= self.m // 2:
            return 0.0
        return self.spectrum[z % self.m, y % self.m, x % self.m]

    def slice(self, rotation: np.ndarray, pixels) -> np.ndarray:
        """P(kx, ky) = F(A^T (kx, ky, 0)), trilinear between the eight samples around."""
        values = np.zeros(len(pixels), dtype=complex)
        for number, (kx, ky) in enumerate(pixels):
            if kx * kx + ky * ky > self.r_max**2:
                continue
            for weight, (x, y, z) in corners(rotation, kx, ky):
                values[number] += weight * self.at(x, y, z)
        return values


def corners(rotation, kx, ky):
    """Weights and integer frequencies of the eight samples around pad A^T (kx, ky, 0)."""
    point = PAD * (rotation.T @ np.array([kx, ky, 0.0]))
    base = [math.floor(coordinate) for coordinate in point]
    fraction = [float(coordinate) - whole for coordinate, whole in zip(point, base, strict=True)]
    for step in itertools.product((0, 1), repeat=3):
        weight = 1.0
        for inside, f in zip(step, fraction, strict=True):
            weight *= f if inside else 1 - f
        yield weight, (base[0] + step[0], base[1] + step[1], base[2] + step[2])
