"""Molecules of a few domains: balls of atoms joined by thin necks, as positions and as maps."""

import numpy as np
from scipy.spatial import cKDTree

BOX, PIXEL = 56, 4.5
TWO = ((-34.0, -6.0, 4.0), (34.0, 10.0, -6.0))
THREE = ((-42.0, -14.0, 0.0), (32.0, -22.0, 10.0), (4.0, 44.0, -16.0))
RADII = (30.0, 27.0, 24.0)


def atoms(centres, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) positions x, y, z from the box centre, some 6 Å apart, and (n,) the domain of each."""
    draw = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(-16, 17) * 6.0] * 3, indexing="ij"), -1).reshape(-1, 3)
    grid = grid + draw.uniform(-1.5, 1.5, grid.shape)
    distance = np.stack(
        [np.linalg.norm((grid - c) / (1, 0.85, 1.1), axis=1) / r for c, r in zip(centres, RADII, strict=False)]
    )
    inside = distance.min(0) < 1
    positions, domain = [grid[inside]], [distance.argmin(0)[inside]]
    for number, centre in enumerate(centres[1:], 1):  # a neck of single atoms from each domain to the first
        along = np.linspace(0, 1, 30)[:, None]
        line = np.array(centres[0]) + along * (np.array(centre) - np.array(centres[0]))
        far, _ = cKDTree(positions[0]).query(line)
        positions.append(line[far > 3])
        domain.append(np.where(along[far > 3, 0] < 0.5, 0, number))
    return np.concatenate(positions), np.concatenate(domain)


def density(positions: np.ndarray, noise: float = 0.0, sigma_angst: float = 5.0) -> np.ndarray:
    """(N, N, N) map of Gaussian atoms, axes z, y, x, with white noise of a part of its largest value."""
    axis = (np.arange(BOX) - BOX // 2) * PIXEL
    profiles = [np.exp(-((axis - positions[:, k, None]) ** 2) / (2 * sigma_angst**2)) for k in range(3)]
    found = np.einsum("nz,ny,nx->zyx", profiles[2], profiles[1], profiles[0], optimize=True)
    return (found + noise * found.max() * np.random.default_rng(1).standard_normal(found.shape)).astype(np.float32)


def regions(positions: np.ndarray, domain: np.ndarray, reach_angst: float) -> np.ndarray:
    """(B, N, N, N) bool: within reach of the atoms of each domain."""
    axis = (np.arange(BOX) - BOX // 2) * PIXEL
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.stack([x, y, z], -1).reshape(-1, 3)
    near = [cKDTree(positions[domain == b]).query(points)[0] <= reach_angst for b in range(domain.max() + 1)]
    return np.stack(near).reshape(-1, BOX, BOX, BOX)


def overlap(found: np.ndarray, truth: np.ndarray) -> list[float]:
    """Intersection over union of each true region with the best of those found."""
    shared = np.array([[(a & b).sum() / (a | b).sum() for a in found] for b in truth])
    assert len(set(shared.argmax(1))) == len(truth), "two domains are one body"
    return shared.max(1).tolist()
