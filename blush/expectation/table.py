"""What an expectation step finds of every image, by column."""

from __future__ import annotations

import torch
from torch import Tensor

from blush.expectation.block import Block
from blush.expectation.fine import Posterior
from blush.expectation.kept_poses import Poses
from blush.expectation.model import Model
from blush.expectation.offsets import FineShifts
from blush.geometry.rotation import euler_from_matrix
from blush.io.particles import POSE


def pose_columns(
    model: Model, shifts: FineShifts, block: Block, posterior: Posterior, poses: Poses
) -> dict[str, Tensor]:
    """Pose of the most probable reference, and where several compete the posterior and best pose of each."""
    label = posterior.shares.argmax(1)
    image = torch.arange(len(label), device=label.device)
    euler = euler_from_matrix(posterior.matrices.flatten(0, 1)[posterior.best_row.flatten()])
    euler = euler.view(len(label), -1, 3)
    offset = (block.shift_px[:, None] + shifts.best_px(posterior.best_shift)) * model.pixel_size_angst
    found = torch.cat((euler, offset.to(euler)), -1)
    columns = dict(zip(POSE, found[image, label].unbind(1), strict=True))
    columns |= {"pmax": posterior.pmax, "n_significant": poses.count}
    return columns | of_references(posterior.shares, found)


def of_references(shares: Tensor, poses: Tensor) -> dict[str, Tensor]:
    """Posterior (b, references) and best poses (b, references, 5) of each; nothing where there is but one."""
    return {} if shares.shape[1] == 1 else {"shares": shares, "poses": poses}
