"""Reference: spectra, maps and FSC from the sums D and W (docs/algorithm.md, section 5), for reading.

Arrays are (z, y, x) with x >= 0; `size` is the index of the origin along z and y, and cells are signed frequencies
in units of 1 / (pad N).
"""

import itertools
import math

import numpy as np
from oracle_model import PAD, gridding_correction


def cells(size, limit, rim=False):
    """Signed x, y, z of all cells with x >= 0 inside |k| < limit, or with the rim at |k| = limit."""
    for z, y in itertools.product(range(-size, size + 1), repeat=2):
        for x in range(size + 1):
            if x * x + y * y + z * z < limit * limit + rim:
                yield x, y, z


def shell_average(weight, size, r_max, rounding=0.5):
    """Mean over cells of each shell floor(|k| / pad + rounding)."""
    total, count = np.zeros(r_max + 2), np.zeros(r_max + 2)
    for x, y, z in cells(size, PAD * r_max):
        shell = math.floor(math.sqrt(x * x + y * y + z * z) / PAD + rounding)
        total[shell] += weight[z + size, y + size, x]
        count[shell] += 1
    return total / np.maximum(count, 1)


def symmetrised(array, size, r_max, operators, conjugate):
    """Sum over operators S of the array sampled at S k, trilinearly; `conjugate` for D, not for W."""
    result = np.zeros_like(array)
    for x, y, z in cells(size, PAD * r_max, rim=True):
        for operator in operators:
            point = operator @ np.array([x, y, z], dtype=float)
            mirrored = point[0] < 0
            point = -point if mirrored else point
            base = [math.floor(p) for p in point]
            value = 0
            for step in itertools.product((0, 1), repeat=3):
                share = 1.0
                for s, p, b in zip(step, point, base, strict=True):
                    share *= p - b if s else 1 - (p - b)
                corner = [b + s for b, s in zip(base, step, strict=True)]
                if share > 0:
                    value += share * array[corner[2] + size, corner[1] + size, corner[0]]
            result[z + size, y + size, x] += np.conj(value) if mirrored and conjugate else value
    return result


def wiener_map(data, weight, size, n, r_max, tau2=None, fudge=1.0, first_shell=5):
    """D / max(W + 1/(pad^3 T tau^2), 10^-3 of its mean over the floor shell), inverted and corrected."""
    total = weight.copy()
    if tau2 is not None:
        for x, y, z in cells(size, PAD * r_max):
            shell = math.floor(math.sqrt(x * x + y * y + z * z) / PAD + 0.5)
            if shell >= first_shell:
                cell = (z + size, y + size, x)
                total[cell] += 1 / (PAD**3 * fudge * tau2[shell])
    floor = 1e-3 * shell_average(total, size, r_max, rounding=0.0)
    m = PAD * n
    spectrum = np.zeros((m, m, m // 2 + 1), dtype=complex)
    for x, y, z in cells(size, PAD * r_max):
        cell = (z + size, y + size, x)
        least = floor[math.floor(math.sqrt(x * x + y * y + z * z) / PAD)]
        spectrum[z % m, y % m, x] = data[cell] / max(total[cell], least)
    volume = np.fft.fftshift(np.fft.irfftn(spectrum, s=(m, m, m), axes=(0, 1, 2))) * n**2
    start = m // 2 - n // 2
    volume = volume[start : start + n, start : start + n, start : start + n]
    return blended(volume, n) / gridding_correction(n)


def blended(volume, n):
    """The weighted mean of what lies beyond radius N/2, over a cosine of 3 px from there on."""
    share = np.zeros((n, n, n))
    for z, y, x in itertools.product(range(n), repeat=3):
        r = math.sqrt((z - n // 2) ** 2 + (y - n // 2) ** 2 + (x - n // 2) ** 2)
        if r > n / 2 + 3:
            share[z, y, x] = 1
        elif r > n / 2:
            share[z, y, x] = 0.5 - 0.5 * math.cos(math.pi * (r - n / 2) / 3)
    mean = (share * volume).sum() / share.sum()
    return (1 - share) * volume + share * mean


def nearest(k):
    """k / pad rounded, halves away from zero."""
    return int(math.copysign(math.floor(abs(k) / PAD + 0.5), k))


def fsc(first, second, size, r_max):
    """FSC per rounded shell of two pairs (D, W), summed into unpadded cells |k| <= r_max before the division."""
    ratios = []
    for data, weight in (first, second):
        top, bottom = {}, {}
        for x, y, z in cells(size, PAD * r_max, rim=True):
            key = (nearest(x), nearest(y), nearest(z))
            top[key] = top.get(key, 0) + data[z + size, y + size, x]
            bottom[key] = bottom.get(key, 0) + weight[z + size, y + size, x]
        ratios.append({key: top[key] / bottom[key] if bottom[key] > 0 else 0 for key in top})
    cross, one, two = (np.zeros(2 * r_max) for _ in range(3))
    for key, a in ratios[0].items():
        if sum(k * k for k in key) > r_max * r_max:
            continue
        b, shell = ratios[1][key], math.floor(math.sqrt(sum(k * k for k in key)) + 0.5)
        cross[shell] += (a * np.conj(b)).real
        one[shell] += abs(a) ** 2
        two[shell] += abs(b) ** 2
    curve = cross / np.sqrt(np.maximum(one * two, 1e-300))
    curve[0] = 1
    return curve[: r_max + 1]
