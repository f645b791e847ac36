"""A foreign program: knows RELION's protocol and numpy, nothing of ours. `python external_wiener.py R.star`.

Wiener filter by direct division (Scheres 2012), sinc^2 corrected; returns the FSC it was given as its own.
"""

import struct
import sys

import numpy as np


def read_star(path):
    """Key-value pairs and rows of numbers, wherever they stand."""
    pairs, rows = {}, []
    with open(path) as stream:
        lines = stream.readlines()
    for line in lines:
        words = line.split()
        if len(words) == 2 and words[0].startswith("_rln"):
            pairs[words[0][1:]] = words[1]
        elif len(words) == 3 and not words[0].startswith(("_", "#")):
            rows.append([float(word) for word in words])
    return pairs, np.array(rows)


def read_map(path):
    with open(path, "rb") as stream:
        nx, ny, nz, mode = struct.unpack("<4i", stream.read(16))
        assert mode == 2
        stream.seek(1024)
        return np.fromfile(stream, "<f4").reshape(nz, ny, nx).astype(float)


def write_map(path, volume, pixel):
    n = len(volume)
    header = struct.pack("<10i3f3f3i", n, n, n, 2, 0, 0, 0, n, n, n, *[n * pixel] * 3, 90, 90, 90, 1, 2, 3)
    header = header.ljust(208, b"\0") + b"MAP " + b"\x44\x44\0\0"
    with open(path, "wb") as stream:
        stream.write(header.ljust(1024, b"\0"))
        volume.astype("<f4").tofile(stream)


def reconstruct(star):
    pairs, spectra = read_star(star)
    real, imaginary, weight = (read_map(pairs[f"rlnExtRecons{part}"]) for part in ("DataReal", "DataImag", "Weight"))
    n, pad = int(pairs["rlnOriginalImageSize"]), int(float(pairs["rlnPaddingFactor"]))
    m, r_max = pad * n, int(pairs["rlnCurrentImageSize"]) // 2
    k = np.fft.fftfreq(m, 1 / m)
    x = np.arange(m // 2 + 1)
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + x**2) / pad
    shell = np.floor(radius + 0.5).astype(int).clip(max=n // 2)
    inside = radius < r_max
    with np.errstate(divide="ignore"):
        prior = 1 / (pad**3 * float(pairs["rlnTau2FudgeFactor"]) * spectra[:, 1])
    total = np.maximum(weight + np.where(np.isfinite(prior), prior, 0)[shell], 1e-30)
    keep = inside & (weight > 0) & np.isfinite(prior)[shell]
    ratio = np.divide(real + 1j * imaginary, total, out=np.zeros(total.shape, complex), where=keep)
    padded = np.fft.irfftn(ratio, s=(m, m, m), axes=(0, 1, 2)) * n**2
    axis = np.arange(n) - n // 2
    volume = padded[np.ix_(axis % m, axis % m, axis % m)]
    distance = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2) / m
    write_map(pairs["rlnExtReconsResult"], volume / np.sinc(distance) ** 2, float(pairs["rlnPixelSize"]))
    with open(pairs["rlnExtReconsResultStarfile"], "w") as stream:
        stream.write("data_\n\nloop_\n_rlnSpectralIndex #1\n_rlnFourierShellCorrelation #2\n")
        stream.writelines(f"{int(row[0])} {row[2]:.6f}\n" for row in spectra)


if __name__ == "__main__":
    reconstruct(sys.argv[1])
