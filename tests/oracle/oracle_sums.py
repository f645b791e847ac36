"""Reference: what one image adds to the sums of the maximisation step (docs/algorithm.md, section 3, 3.1, 3.6)."""

import numpy as np
from oracle_images import shell_of
from oracle_model import PAD, corners


class Grid:
    """D and W by signed padded frequency; x >= 0 after `insert`, which reflects the others."""

    def __init__(self, r_max: int):
        self.r_max, self.size = r_max, PAD * r_max + 2
        edge = 2 * self.size + 1
        self.data = np.zeros((edge, edge, edge), dtype=complex)
        self.weight = np.zeros((edge, edge, edge))

    def insert(self, rotation, values, weights, pixels):
        """Spread one slice over the eight samples around each of its pixels within |k| <= r_max.

        A pixel that lands at x < 0 is first replaced by its Friedel mate, whose corners lie in the half kept.
        """
        for value, weight, (kx, ky) in zip(values, weights, pixels, strict=True):
            if kx * kx + ky * ky > self.r_max**2:
                continue
            if (rotation.T @ np.array([kx, ky, 0.0]))[0] < 0:
                value, kx, ky = np.conj(value), -kx, -ky
            for share, (x, y, z) in corners(rotation, kx, ky):
                cell = (z + self.size, y + self.size, x + self.size)
                self.data[cell] += share * value
                self.weight[cell] += share * weight

    def hermitian_plane(self):
        """Sum the Friedel pairs of the x = 0 plane; the origin is not doubled."""
        s = self.size
        data, weight = self.data[:, :, s].copy(), self.weight[:, :, s].copy()
        for z in range(2 * s + 1):
            for y in range(2 * s + 1):
                if (z, y) == (s, s):
                    continue
                self.data[z, y, s] = data[z, y] + np.conj(data[2 * s - z, 2 * s - y])
                self.weight[z, y, s] = weight[z, y] + weight[2 * s - z, 2 * s - y]

    def half(self):
        """(z, y, x >= 0) parts of D and W, z and y from -size to size."""
        return self.data[:, :, self.size :], self.weight[:, :, self.size :]


def residual_power(image, prediction, pixels, n_shells):
    """|X - P|^2 per rounded shell, the origin too: it weighs in the norm and in its own noise, not in D^2."""
    power = np.zeros(n_shells)
    for x, p, (kx, ky) in zip(image, prediction, pixels, strict=True):
        shell = shell_of(kx, ky)
        if shell < n_shells:
            power[shell] += abs(x - p) ** 2
    return power


def scale_terms(image, prediction, pixels, shells):
    """Sums of Re(X conj P) and |P|^2 over the shells that estimate a group's scale."""
    cross = power = 0.0
    for x, p, (kx, ky) in zip(image, prediction, pixels, strict=True):
        if shells[shell_of(kx, ky)]:
            cross += (x * np.conj(p)).real
            power += abs(p) ** 2
    return cross, power
