"""Images of Gaussian blobs in closed form: two parts of a particle, whose images add up, through an astigmatic CTF."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blush.io.mrc import write_stack, write_volume
from blush.io.star import write_star

BOX, PIXEL = 32, 4.0
SIGMA_PX = 1.6
KEPT_AT = np.array([6.0, -3.0, 2.0])  # x, y, z of the kept part, in pixels from the centre
VOLTAGE_KV, CS_MM, AMPLITUDE = 300.0, 2.7, 0.1


def blobs(seed: int, centre: np.ndarray, spread_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Centres (12, 3) in pixels and heights of a part."""
    rng = np.random.default_rng(seed)
    return centre + rng.uniform(-spread_px, spread_px, (12, 3)), rng.uniform(0.5, 1.5, 12)


KEPT = blobs(1, KEPT_AT, 1.5)
OTHER = blobs(2, np.array([-5.0, 2.0, -2.0]), 2.0)


def volume(part: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(N, N, N) density, z y x."""
    z, y, x = np.indices((BOX, BOX, BOX)) - BOX // 2
    total = np.zeros((BOX, BOX, BOX))
    for (cx, cy, cz), height in zip(*part, strict=True):
        total += height * np.exp(-((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) / (2 * SIGMA_PX**2))
    return total


def mask() -> np.ndarray:
    """1 within 7 px of the kept part, a soft edge of 3 px; the other part begins beyond it."""
    z, y, x = np.indices((BOX, BOX, BOX)) - BOX // 2
    distance = np.sqrt((x - KEPT_AT[0]) ** 2 + (y - KEPT_AT[1]) ** 2 + (z - KEPT_AT[2]) ** 2)
    return 0.5 + 0.5 * np.cos(np.pi * ((distance - 6) / 3).clip(0, 1))


def rotation(rot: float, tilt: float, psi: float) -> np.ndarray:
    """ZYZ as in RELION: volume to image."""
    rot, tilt, psi = np.radians([rot, tilt, psi])

    def about_z(q: float) -> np.ndarray:
        return np.array([[np.cos(q), np.sin(q), 0], [-np.sin(q), np.cos(q), 0], [0, 0, 1]])

    about_y = np.array([[np.cos(tilt), 0, -np.sin(tilt)], [0, 1, 0], [np.sin(tilt), 0, np.cos(tilt)]])
    return about_z(psi) @ about_y @ about_z(rot)


def ctf(defocus_u: float, defocus_v: float, angle_deg: float, box: int = BOX) -> np.ndarray:
    """(N, N/2 + 1) contrast transfer, positive at the origin: bright particles."""
    wavelength = 12.2643247 / np.sqrt(VOLTAGE_KV * 1e3 * (1 + 0.978466e-6 * VOLTAGE_KV * 1e3))
    kx, ky = np.meshgrid(np.fft.rfftfreq(box, PIXEL), np.fft.fftfreq(box, PIXEL))
    k2, azimuth = kx**2 + ky**2, np.arctan2(ky, kx) - np.radians(angle_deg)
    defocus = (defocus_u + defocus_v) / 2 + (defocus_u - defocus_v) / 2 * np.cos(2 * azimuth)
    phase = np.pi * wavelength * defocus * k2 - np.pi / 2 * CS_MM * 1e7 * wavelength**3 * k2**2
    return np.sin(phase + np.arcsin(AMPLITUDE))


@dataclass(frozen=True)
class BlobSet:
    """`particles.star`, `images.mrcs`, `map.mrc`, `half1.mrc`, `half2.mrc` and `mask.mrc` in a folder.

    The half-maps are the map plus and minus a little noise.
    """

    folder: Path
    table: dict
    kept: np.ndarray  # (n, N, N) images of the kept part alone, as stored
    other: np.ndarray  # the same of the other part
    noise: np.ndarray

    @property
    def star(self) -> Path:
        return self.folder / "particles.star"


def projections(part: tuple[np.ndarray, np.ndarray], table: dict, shift_px: np.ndarray | None = None) -> np.ndarray:
    """(n, N, N) images of a part through the CTF; shifted by minus the origin, or as said."""
    axis = np.arange(BOX) - BOX // 2
    images = np.zeros((len(table["rlnAngleRot"]), BOX, BOX))
    angles = zip(*(table[f"rlnAngle{name}"] for name in ("Rot", "Tilt", "Psi")), strict=True)
    moved = shift_px
    if moved is None:
        moved = -np.stack([table[f"rlnOrigin{name}Angst"] for name in "XY"], 1) / PIXEL
    columns = zip(*(table[f"rlnDefocus{name}"] for name in ("U", "V", "Angle")), strict=True)
    for i, (angle, defocus) in enumerate(zip(angles, columns, strict=True)):
        seen = part[0] @ rotation(*angle).T
        for (x, y, _), height in zip(seen, part[1], strict=True):
            fx = np.exp(-((axis - x - moved[i, 0]) ** 2) / (2 * SIGMA_PX**2))
            fy = np.exp(-((axis - y - moved[i, 1]) ** 2) / (2 * SIGMA_PX**2))
            images[i] += height * SIGMA_PX * np.sqrt(2 * np.pi) * np.outer(fy, fx)
        images[i] = np.fft.irfft2(np.fft.rfft2(images[i]) * ctf(*defocus), s=(BOX, BOX))
    return images


def particle_table(n: int, seed: int = 3, **columns: np.ndarray) -> dict:
    """Random poses, origins of up to two pixels, astigmatism; halves and micrographs take turns."""
    rng = np.random.default_rng(seed)
    u = rng.uniform(4000, 7000, n)
    given = {
        "rlnImageName": np.array([f"{i + 1:06d}@images.mrcs" for i in range(n)], dtype=object),
        "rlnMicrographName": np.array([f"m{i % 3}.mrc" for i in range(n)], dtype=object),
        "rlnOpticsGroup": np.ones(n, dtype=int),
        "rlnDefocusU": u,
        "rlnDefocusV": u * rng.uniform(0.85, 1, n),
        "rlnDefocusAngle": rng.uniform(0, 180, n),
        "rlnAngleRot": rng.uniform(-180, 180, n),
        "rlnAngleTilt": np.degrees(np.arccos(rng.uniform(-1, 1, n))),
        "rlnAnglePsi": rng.uniform(-180, 180, n),
        "rlnOriginXAngst": rng.uniform(-8, 8, n),
        "rlnOriginYAngst": rng.uniform(-8, 8, n),
        "rlnRandomSubset": np.arange(n) % 2 + 1,
        "someColumn": np.array([f"value{i}" for i in range(n)], dtype=object),
    } | columns
    return {key: np.round(v, 6) if np.asarray(v).dtype == float else v for key, v in given.items()}


def write_blob_set(folder: Path, n: int = 40, noise: float = 0.0, gain: float = 1.0, **columns: np.ndarray) -> BlobSet:
    """Simulate a set; images are `gain` times the parts' and white noise of a given s.d."""
    folder.mkdir(parents=True, exist_ok=True)
    table = particle_table(n, **columns)
    kept, other = gain * projections(KEPT, table), gain * projections(OTHER, table)
    rng = np.random.default_rng(7)
    grain = noise * rng.normal(size=kept.shape)
    write_stack(folder / "images.mrcs", (kept + other + grain).astype(np.float32), PIXEL)
    optics = {
        "rlnOpticsGroup": [1],
        "rlnOpticsGroupName": ["opticsGroup1"],
        "rlnVoltage": [VOLTAGE_KV],
        "rlnSphericalAberration": [CS_MM],
        "rlnAmplitudeContrast": [AMPLITUDE],
        "rlnImagePixelSize": [PIXEL],
        "rlnImageSize": [BOX],
        "rlnImageDimensionality": [2],
    }
    write_star(folder / "particles.star", {"optics": optics, "particles": table})
    density = volume(KEPT) + volume(OTHER)
    difference = 1e-3 * density.max() * rng.normal(size=density.shape)
    maps = {"map": density, "half1": density + difference, "half2": density - difference, "mask": mask()}
    for name, values in maps.items():
        write_volume(folder / f"{name}.mrc", values.astype(np.float32), PIXEL)
    return BlobSet(folder, table, kept, other, grain)
