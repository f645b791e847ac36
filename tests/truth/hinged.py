"""Two clouds of Gaussians, of which one turns about a hinge: images in closed form, through a CTF, in white noise."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from blush.expectation.optics import OpticsTables
from blush.expectation.prepare import image_of, packed_transform
from blush.fourier.packed import packed
from blush.geometry.rotation import euler_from_matrix
from blush.io.mrc import write_stack, write_volume
from blush.io.particles import read_particles
from blush.io.star import write_star

BOX, PIXEL, WIDTH_ANGST, N = 40, 5.0, 5.0, 300
HINGE = np.array([5.0, 2.0, 0.0])
GRID = (np.arange(BOX) - BOX // 2) * PIXEL


@dataclass(frozen=True)
class Hinged:
    """What is true of a set: `particles.star` has the poses of the first body, as a perfect consensus would.

    Attributes
    ----------
    views
        (N, 3, 3) poses of the first body, which does not move.
    turns
        (N, 3, 3) rotations of the second against the first, about `HINGE`.
    """

    folder: Path
    views: np.ndarray
    turns: np.ndarray


def cloud(rng: np.random.Generator, centre: tuple, radii: tuple, count: int) -> np.ndarray:
    """(count, 3) points evenly in an ellipsoid, in Å."""
    points = rng.normal(size=(count, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points * rng.uniform(0, 1, (count, 1)) ** (1 / 3) * np.array(radii) + np.array(centre)


def density(points: np.ndarray) -> np.ndarray:
    """(BOX, BOX, BOX) Gaussians of unit height."""
    x, y, z = (np.exp(-((GRID - points[:, axis, None]) ** 2) / (2 * WIDTH_ANGST**2)) for axis in range(3))
    return np.einsum("az,ay,ax->zyx", z, y, x)


def mask(points: np.ndarray) -> np.ndarray:
    """1 within 9 Å of a point, a cosine edge of 25 Å."""
    places = np.stack(np.meshgrid(GRID, GRID, GRID, indexing="ij"), -1)[..., ::-1]
    distance = cKDTree(points).query(places.reshape(-1, 3))[0].reshape(BOX, BOX, BOX)
    return 0.5 + 0.5 * np.cos(np.pi * ((distance - 9) / 25).clip(0, 1))


def make_hinged(folder: Path, widths_deg: tuple, seed: int) -> Hinged:
    """Write images of signal as strong as their noise, maps at rest and masks of both bodies.

    Parameters
    ----------
    widths_deg
        Standard deviations of the rotation vector of the second body.
    """
    rng = np.random.default_rng(seed)
    first = cloud(rng, (-28, -6, 4), (26, 22, 24), 220)
    second = cloud(rng, (34, 14, -6), (24, 18, 20), 150)
    views = Rotation.random(N, random_state=seed).as_matrix()
    turns = Rotation.from_rotvec(np.deg2rad(widths_deg) * rng.normal(size=(N, 3))).as_matrix()
    origin = 3.0 * rng.normal(size=(N, 2))
    moved = np.einsum("nij,aj->nai", turns, second - HINGE) + HINGE
    points = np.concatenate([np.broadcast_to(first, (N, *first.shape)), moved], 1)
    seen = np.einsum("nij,naj->nai", views, points)[:, :, :2] - origin[:, None]
    x, y = (np.exp(-((GRID - seen[:, :, axis, None]) ** 2) / (2 * WIDTH_ANGST**2)) for axis in range(2))
    images = np.einsum("nay,nax->nyx", y, x).astype(np.float32)
    rot, tilt, psi = euler_from_matrix(torch.from_numpy(views)).numpy().T
    defocus = rng.uniform(10_000, 25_000, N)
    table = {
        "rlnImageName": np.array([f"{i + 1:06d}@images.mrcs" for i in range(N)], dtype=object),
        "rlnMicrographName": np.array([f"m{i // 50}.mrc" for i in range(N)], dtype=object),
        "rlnOpticsGroup": np.ones(N, dtype=int), "rlnDefocusU": defocus, "rlnDefocusV": defocus - 200,
        "rlnDefocusAngle": rng.uniform(0, 180, N), "rlnAngleRot": rot, "rlnAngleTilt": tilt, "rlnAnglePsi": psi,
        "rlnOriginXAngst": origin[:, 0], "rlnOriginYAngst": origin[:, 1], "rlnRandomSubset": np.arange(N) % 2 + 1,
    }  # fmt: skip
    optics = {
        "rlnOpticsGroupName": np.array(["one"], dtype=object), "rlnOpticsGroup": np.array([1]),
        "rlnVoltage": np.array([300.0]), "rlnSphericalAberration": np.array([2.7]),
        "rlnAmplitudeContrast": np.array([0.1]), "rlnImagePixelSize": np.array([PIXEL]),
        "rlnImageSize": np.array([BOX]), "rlnImageDimensionality": np.array([2]),
    }  # fmt: skip
    write_stack(folder / "images.mrcs", images, PIXEL)
    write_star(folder / "particles.star", {"optics": optics, "particles": table})
    particles, _ = read_particles(folder / "particles.star")
    pixels = packed(BOX)
    tables = OpticsTables(particles, pixels, torch.float32)
    spectrum = torch.view_as_real(packed_transform(torch.from_numpy(images), pixels)).movedim(-1, 1)
    clean = image_of(spectrum * tables.ctf(particles, len(pixels.kx))[:, None], pixels).numpy()
    noise = clean.std()
    noisy = (clean / noise + rng.normal(size=clean.shape)).astype(np.float32)
    write_stack(folder / "images.mrcs", noisy, PIXEL)
    scale = WIDTH_ANGST * np.sqrt(2 * np.pi) / PIXEL * noise  # sums of voxels along a line are the images' values
    write_volume(folder / "map.mrc", ((density(first) + density(second)) / scale).astype(np.float32), PIXEL)
    for name, points_of_body in (("first", first), ("second", second)):
        write_volume(folder / f"true_{name}.mrc", (density(points_of_body) / scale).astype(np.float32), PIXEL)
        write_volume(folder / f"{name}.mrc", mask(points_of_body).astype(np.float32), PIXEL)
    return Hinged(folder, views, turns)
