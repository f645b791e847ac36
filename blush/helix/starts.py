"""First maps of filaments: a cylinder, and a section that turns along z."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from blush.helix.masks import Tube, tube_mask


def cylinder(box: int, pixel_size_angst: float, tube: Tube) -> Tensor:
    """A tube with soft edges: (box, box, box); nothing but the noise of images tells its sides apart."""
    return tube_mask(box, pixel_size_angst, tube)


def twisted(section: Tensor, depth: int, turn_deg: float) -> Tensor:
    """A section repeated along z, turned from x towards y by `turn_deg` per voxel: (depth, N, N).

    Parameters
    ----------
    section
        (N, N), rows y, centre N // 2; it lies at z = depth // 2.
    turn_deg
        Positive is right-handed.
    """
    z = torch.arange(depth, dtype=torch.float64, device=section.device) - depth // 2
    return turned_sections(section[None], -z * math.radians(turn_deg))[0]


def turned_sections(sections: Tensor, angles: Tensor) -> Tensor:
    """Sections seen from turned axes: out(x, y) = f(R(angle) (x, y)), by bicubic interpolation.

    Parameters
    ----------
    sections
        (k, N, N).
    angles
        (a,) radians; R(q) (x, y) = (x cos q - y sin q, x sin q + y cos q).

    Returns
    -------
    (k, a, N, N); 0 outside.
    """
    n = sections.shape[-1]
    axis = (torch.arange(n, dtype=torch.float64, device=sections.device) - n // 2).to(sections.dtype)
    cosine, sine = (f(angles).to(sections.dtype)[:, None, None] for f in (torch.cos, torch.sin))
    x, y = axis[None, None, :], axis[None, :, None]
    place = torch.stack((x * cosine - y * sine, x * sine + y * cosine), -1) + n // 2
    every = sections[None].expand(len(angles), -1, -1, -1)
    grid = (2 * place + 1) / n - 1
    turned = torch.nn.functional.grid_sample(every, grid, "bicubic", align_corners=False)
    return turned.movedim(0, 1)


def resampled(images: Tensor, step: float, shape: tuple[int, int]) -> Tensor:
    """Images (k, h, w) read every `step` of their pixels, centre onto centre, bicubically: (k, *shape); 0 outside."""
    rows, columns = (
        ((2 * ((torch.arange(new) - new // 2) * step + old // 2) + 1) / old - 1).to(images.dtype)
        for new, old in zip(shape, images.shape[1:], strict=True)
    )
    grid = torch.stack((columns.expand(len(rows), -1), rows[:, None].expand(-1, len(columns))), -1)
    return torch.nn.functional.grid_sample(images[None], grid[None], "bicubic", align_corners=False)[0]
