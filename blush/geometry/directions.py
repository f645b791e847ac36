"""The viewing directions of a grid in two levels, so that those near a given one are found without visiting all."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.geometry.healpix import pixel_directions
from blush.geometry.rotation import direction, matrix_from_euler

_LEVELS = 3


@dataclass(frozen=True)
class DirectionTree:
    """Directions grouped by the pixel of a HEALPix grid three orders coarser.

    Parameters
    ----------
    healpix_order
        Those of the directions.
    frames
        (d, 3, 3) orientations with psi = 0; their third rows are the directions.
    parents
        (p, 3) directions of the groups.
    members
        (p, w) positions of each group's directions, padded with -1.
    radius_deg
        Largest angle between a direction and its parent.
    """

    healpix_order: int
    frames: Tensor
    parents: Tensor
    members: Tensor
    radius_deg: float

    @classmethod
    def build(cls, healpix_order: int, direction_index: Tensor) -> "DirectionTree":
        """Group (d,) nested pixels, ascending."""
        rot, tilt = pixel_directions(healpix_order, direction_index)
        frames = matrix_from_euler(torch.stack([rot, tilt, torch.zeros_like(rot)], -1))
        levels = min(_LEVELS, healpix_order)
        parent, group = torch.unique(direction_index >> 2 * levels, return_inverse=True)
        parents = direction(*pixel_directions(healpix_order - levels, parent))
        count = torch.bincount(group)
        members = group.new_full((len(parent), int(count.max())), -1)
        members[group, torch.arange(len(group)) - (count.cumsum(0) - count)[group]] = torch.arange(len(group))
        cosine = (parents[group] * frames[:, 2]).sum(-1).min()
        return cls(healpix_order, frames, parents, members, math.degrees(math.acos(min(1.0, float(cosine)))))

    def to(self, device: torch.device) -> "DirectionTree":
        """The same tree on another device."""
        frames, parents, members = (tensor.to(device) for tensor in (self.frames, self.parents, self.members))
        return DirectionTree(self.healpix_order, frames, parents, members, self.radius_deg)

    def visited(self, limit_deg: float) -> int:
        """Directions and groups that `near` looks at for one view, on average or fewer."""
        angle = math.radians(min(limit_deg + 2 * self.radius_deg, 180.0))
        return len(self.parents) + math.ceil(len(self.frames) * (1 - math.cos(angle)) / 2)

    def near(self, views: Tensor, limit_deg: float) -> tuple[Tensor, Tensor, Tensor]:
        """All pairs of directions within a limit; the nearest one for particles that have none.

        Parameters
        ----------
        views
            (n, o, 3) directions, o mates of each particle.
        limit_deg
            Largest angle.

        Returns
        -------
        row, mate, node
            (c,) particle, its mate, and position of the direction on the grid.
        """
        row, mate, group = _within(views @ self.parents.T, limit_deg + self.radius_deg).nonzero(as_tuple=True)
        node = self.members[group]
        cosine = torch.einsum("qx,qwx->qw", views[row, mate], self.frames[node, 2])
        pair, member = (_within(cosine, limit_deg) & (node >= 0)).nonzero(as_tuple=True)
        found = (row[pair], mate[pair], node[pair, member])
        alone = torch.ones(len(views), dtype=torch.bool, device=views.device)
        alone[found[0]] = False
        if not bool(alone.any()):
            return found
        lone = alone.nonzero()[:, 0]
        best = (views[lone] @ self.frames[:, 2].T).flatten(1).argmax(1)
        nearest = (lone, torch.div(best, len(self.frames), rounding_mode="floor"), best % len(self.frames))
        row, mate, node = (torch.cat(both) for both in zip(found, nearest, strict=True))
        return row, mate, node


def _within(cosine: Tensor, limit_deg: float) -> Tensor:
    """Whether an angle is at most a limit, from its cosine."""
    return cosine >= math.cos(math.radians(min(limit_deg, 180.0)))
