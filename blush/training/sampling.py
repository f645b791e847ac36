"""Maps under rotation, shift and scale, at the voxels of a patch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from blush.fourier.filter import raised_cosine
from blush.training.draws import Draw
from blush.training.library import Loaded

SPHERE_EDGE_PX = 6.0


def patch_positions(draw: Draw, side_px: int, device: torch.device) -> Tensor:
    """(s³, 3) x, y, z of the voxels of a patch, in voxels of the map from its centre."""
    axis = torch.arange(side_px, device=device) - side_px // 2
    offset = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], -1).reshape(-1, 3).float()
    rotation = torch.from_numpy(draw.rotation * draw.scale).float().to(device)
    centre = torch.from_numpy(np.asarray(draw.centre_px)).float().to(device)
    return offset @ rotation.T + centre


def sample(maps: Tensor, positions: Tensor, side_px: int) -> Tensor:
    """Trilinear values of (c, N, N, N) maps at (k, s³, 3) positions: (c, k, s, s, s); 0 outside."""
    box, copies = maps.shape[-1], positions.shape[0]
    place = (positions + box // 2) * (2 / (box - 1)) - 1
    grid = place.reshape(1, copies * side_px, side_px, side_px, 3)
    found = grid_sample(maps[None], grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return found[0].view(-1, copies, side_px, side_px, side_px)


def turned_halves(maps: Tensor, draw: Draw, positions: Tensor, side_px: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise-free signal of two halves whose particles are misaligned: the truth averaged over their errors of pose.

    Parameters
    ----------
    maps
        (2, N, N, N): truth and mask.

    Returns
    -------
    Both signals, the same where there are no errors, and the mask, (s, s, s) each.
    """
    if draw.pose_error is None:
        signal, mask = sample(maps, positions[None], side_px)[:, 0]
        return signal, signal, mask
    errors = torch.from_numpy(draw.pose_error).to(positions)
    turns = small_rotations(errors[..., :3])  # (2, copies, 3, 3)
    moved = torch.einsum("hkij,pj->hkpi", turns, positions) + errors[:, :, None, 3:]
    halves = [sample(maps[:1], moved[half], side_px)[0].mean(0) for half in range(2)]
    return halves[0], halves[1], sample(maps[1:], positions[None], side_px)[0, 0]


def small_rotations(vectors: Tensor) -> Tensor:
    """(..., 3) rotation vectors in rad to (..., 3, 3) matrices."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    rows = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1)
    return torch.linalg.matrix_exp(rows.reshape(*x.shape, 3, 3))


def sphere(draw: Draw, loaded: Loaded, positions: Tensor, side_px: int) -> Tensor:
    """The particle's spherical mask at the patch: (s, s, s), or ones."""
    if draw.sphere == 0:
        return torch.ones((side_px,) * 3, device=positions.device)
    distance = positions.norm(dim=-1).view((side_px,) * 3) / draw.scale
    return raised_cosine(distance, loaded.radius_px * draw.sphere / draw.scale, SPHERE_EDGE_PX)


def bulge(draw: Draw, loaded: Loaded, positions: Tensor, side_px: int) -> Tensor:
    """Factor by which noise is stronger towards the particle's centre: (s, s, s)."""
    width = max(draw.bulge_radius * loaded.radius_px, 1.0)
    square = positions.square().sum(-1).view((side_px,) * 3)
    return 1 + draw.bulge * torch.exp(-square / (2 * width**2))


def white(draw: Draw, count: int, side_px: int, device: torch.device) -> Tensor:
    """(count, s, s, s) standard normal values that belong to this patch."""
    source = torch.Generator(device=device).manual_seed(draw.seed % (2**63 - 1))
    return torch.randn((count, side_px, side_px, side_px), generator=source, device=device)
