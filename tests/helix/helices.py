"""Helices in closed form: Gaussians on a screw about z."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from blush.geometry.helix import Helix

GLOBULAR = ((35, 0, 0, 6, 1.0), (18, 100, 5, 6, 1.2), (48, 220, -4, 7, 0.8))
"""Radius in Å, angle in degrees, height in Å, standard deviation in Å, weight of the Gaussians of a unit."""


def unit_of_chain(seed: int, count: int = 25, sigma_angst: float = 1.5) -> tuple[tuple[float, ...], ...]:
    """A flat random chain, as a rung of an amyloid protofilament."""
    rng = np.random.default_rng(seed)
    points = np.cumsum(rng.normal(size=(count, 3)) * 3, 0)
    points -= points.mean(0)
    x, y, z = (points * [1, 1, 0.1] + [8, 0, 0]).T
    return tuple(
        (float(r), float(q), float(h), sigma_angst, 1.0)
        for r, q, h in zip(np.hypot(x, y), np.rad2deg(np.arctan2(y, x)), z, strict=True)
    )


def helix_map(box: int, pixel_size_angst: float, helix: Helix, unit=GLOBULAR, units=None) -> Tensor:
    """Density of the units h of a helix, all that reach into the box where `units` is None: (N, N, N) float32."""
    most = int(np.ceil(box * pixel_size_angst / helix.rise_angst)) if units is None else 0
    h = np.arange(-most, most + 1)[:, None, None] if units is None else np.array(units)[:, None, None]
    radius, angle, height, sigma, weight = np.array(unit).T[:, None, None, :]
    q = np.deg2rad(angle + h * helix.twist_deg + 360 / helix.fold * np.arange(helix.fold)[:, None])
    centre = np.broadcast_arrays(height + h * helix.rise_angst, radius * np.sin(q), radius * np.cos(q), sigma, weight)
    z, y, x, sd, weights = (torch.from_numpy(values.reshape(-1, 1)).float() for values in centre)
    axis = (torch.arange(box) - box // 2) * pixel_size_angst
    planes, rows, columns = (torch.exp(-((axis - place) ** 2) / (2 * sd**2)) for place in (z, y, x))
    sections = (rows[:, :, None] * columns[:, None, :]).flatten(1)
    return ((weights * planes).T @ sections).view(box, box, box)


def noisy_halves(volume: Tensor, noise: float, inside: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The map with white noise of `noise` times its standard deviation `inside`, twice."""
    generator = torch.Generator().manual_seed(seed)
    sd = noise * volume[inside].std()
    first, second = (volume + sd * torch.randn(volume.shape, generator=generator) for _ in range(2))
    return first, second
