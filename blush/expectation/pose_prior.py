"""A Gaussian prior of poses about a given one: how far a part of the particle has turned and moved from where it is.

A motion is xi = (w, t): the rotation vector of R and the displacement t, both in the frame of the map, so that the pose
is A R where the given one is A. An image shows w whole, but of t only the two components across its line of sight. So
its prior is that of y = (w, (A t)_xy) = H xi, which is Gaussian too, and couples rotation and displacement where a
hinge does. See docs/algorithm.md, section 11.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from blush.expectation.block import Block
from blush.expectation.fine import Posterior
from blush.expectation.known_poses import Candidates, PriorMass, neighbours
from blush.expectation.model import Model
from blush.expectation.offsets import FineShifts
from blush.expectation.sparse import Pairs
from blush.geometry.rotation import matrix_from_euler, rotation_vector
from blush.io.upload import uploaded

OBSERVED = 5
"""Numbers that an image tells of a motion: three of the rotation vector in rad, two of the displacement in Å."""


def observation(anchor: Tensor) -> Tensor:
    """(n, 5, 6) H of given rotations (n, 3, 3): what images of them show of a motion."""
    shown = anchor.new_zeros(len(anchor), OBSERVED, 6)
    shown[:, :3, :3] = torch.eye(3, dtype=anchor.dtype, device=anchor.device)
    shown[:, 3:, 3:] = anchor[:, :2]
    return shown


@dataclass(frozen=True)
class PosePrior:
    """The prior of some images.

    Attributes
    ----------
    anchor
        (b, 3, 3) rotations about which it is centred.
    origin_angst
        (b, 2) offsets about which it is centred.
    precision
        (b, 5, 5) inverse covariance of what each image shows of a motion.
    """

    anchor: Tensor
    origin_angst: Tensor
    precision: Tensor

    @classmethod
    def of(cls, motion: Tensor, anchor: np.ndarray, device: torch.device) -> PosePrior:
        """The prior of images.

        Parameters
        ----------
        motion
            (6, 6) covariance of motions, in rad and Å.
        anchor
            (b, 5) poses as `ParticleSet.anchor` has them.
        """
        pose = uploaded(anchor, device, torch.float64)
        rotation = matrix_from_euler(pose[:, :3])
        shown = observation(rotation)
        covariance = shown @ motion.to(shown) @ shown.transpose(1, 2)
        return cls(rotation, pose[:, 3:], torch.linalg.inv(covariance))

    def motion(self, image: Tensor, rotations: Tensor) -> Tensor:
        """(p, m, 3) rotation vectors of rotations (p, m, 3, 3) against those given for `image` (p,)."""
        return rotation_vector(self.anchor[image].transpose(1, 2)[:, None] @ rotations)

    def log_density(self, image: Tensor, vectors: Tensor, offsets_angst: Tensor) -> Tensor:
        """Log of the prior but for a constant of each image.

        Parameters
        ----------
        image
            (p,) which image's prior.
        vectors
            (p, m, 3) rotation vectors.
        offsets_angst
            (p, t, 2) offsets.

        Returns
        -------
        (p, t, m) float64.
        """
        precision, moved = self.precision[image], self.moved(image, offsets_angst)
        turned = ((vectors @ precision[:, :3, :3]) * vectors).sum(-1)
        shifted = ((moved @ precision[:, 3:, 3:]) * moved).sum(-1)
        coupled = moved @ precision[:, 3:, :3] @ vectors.transpose(1, 2)
        return -(turned[:, None] + shifted[:, :, None]) / 2 - coupled

    def moved(self, image: Tensor, offsets_angst: Tensor) -> Tensor:
        """(p, t, 2) displacements across the line of sight: a particle that moves has an offset of the other sign."""
        return self.origin_angst[image][:, None] - offsets_angst.to(self.origin_angst)


@dataclass(frozen=True)
class AnchoredFinePrior:
    """The prior at the fine samples of the second pass.

    Attributes
    ----------
    whole_angst
        (b, 2) offset that each image was moved by already.
    fine_angst
        (t, 4, 2) fine offsets.
    """

    prior: PosePrior
    whole_angst: Tensor
    fine_angst: Tensor

    def log_density(self, pairs: Pairs, matrices: Tensor) -> Tensor:
        """(p, 4, children) at all children of pairs whose orientations count `matrices` (u, children, 3, 3)."""
        vectors = self.prior.motion(pairs.image, matrices[pairs.orientation])
        return self.prior.log_density(pairs.image, vectors, self._offsets(pairs))

    def moments(self, posterior: Posterior, n_images: int) -> tuple[Tensor, Tensor]:
        """Mean (b, 5) and second moment (b, 5, 5) of what images show of their motions, over their posteriors."""
        totals = self.prior.anchor.new_zeros(n_images, 1 + OBSERVED + OBSERVED**2)
        for first, begin, end in posterior.blocks():
            if begin == end:
                continue
            pairs = posterior.pairs.part(begin, end, first)
            matrices = posterior.matrices[first : first + posterior.block_size]
            vectors = self.prior.motion(pairs.image, matrices[pairs.orientation])
            moved = self.prior.moved(pairs.image, self._offsets(pairs))
            weight = posterior.weight[begin:end].double()
            totals.index_add_(0, pairs.image, _moments(weight, vectors, moved))
        weight = totals[:, :1]
        return totals[:, 1 : 1 + OBSERVED] / weight, (totals[:, 1 + OBSERVED :] / weight).view(-1, OBSERVED, OBSERVED)

    def columns(self, posterior: Posterior, n_images: int) -> dict[str, Tensor]:
        """The same by name, for the table of images."""
        mean, square = self.moments(posterior, n_images)
        return {"motion_mean": mean, "motion_square": square}

    def _offsets(self, pairs: Pairs) -> Tensor:
        return self.whole_angst[pairs.image][:, None] + self.fine_angst[pairs.shift]


def _moments(weight: Tensor, vectors: Tensor, moved: Tensor) -> Tensor:
    """(p, 31) weight, first and second moments of samples: weights (p, 4, m), vectors (p, m, 3), moved (p, 4, 2)."""
    of_rotation, of_shift = weight.sum(1), weight.sum(2)
    turned = (of_rotation[:, :, None] * vectors).transpose(1, 2)
    shifted = (of_shift[:, :, None] * moved).transpose(1, 2)
    both = moved.transpose(1, 2) @ weight @ vectors
    second = torch.cat(
        (
            torch.cat((turned @ vectors, both.transpose(1, 2)), 2),
            torch.cat((both, shifted @ moved), 2),
        ),
        1,
    )
    first = torch.cat((turned.sum(2), shifted.sum(2)), 1)
    return torch.cat((weight.sum((1, 2))[:, None], first, second.flatten(1)), 1)


class AnchoredPrior:
    """The prior of an expectation step, for any block of its images: `PosePriors` about given poses."""

    covers_offsets = True
    shared_rows = 0

    def __init__(self, model: Model, device: torch.device, orientations: int) -> None:
        self.model, self.device, self.orientations = model, device, orientations

    def candidates(self, block: Block) -> Candidates:
        """Orientations near the previous one, whatever it is anchored to."""
        orientation, _ = neighbours(self.model, block, self.device)
        return Candidates(orientation[:, None], self.coarse(block, orientation))

    def coarse(self, block: Block, orientation: Tensor) -> Tensor:
        """(b, t, m) log prior of coarse poses, of a mean of 1 over those that are searched.

        Parameters
        ----------
        orientation
            (b, m) indices of the grid, -1 where a list is shorter.
        """
        prior, image = self._of(block), torch.arange(len(orientation), device=self.device)
        matrices = self.model.component.grid.matrices(orientation.clamp_min(0).flatten())
        vectors = prior.motion(image, matrices.view(*orientation.shape, 3, 3))
        offsets = self._whole_angst(block)[:, None] + self.model.offsets_angst.to(self.device)
        log_prior = prior.log_density(image, vectors, offsets)
        log_prior = log_prior.masked_fill((orientation < 0)[:, None], -torch.inf)
        count = (orientation >= 0).sum(1) * offsets.shape[1]
        return log_prior - (torch.logsumexp(log_prior, (1, 2)) - count.log())[:, None, None]

    def fine(self, block: Block, mass: PriorMass | None, shifts: FineShifts) -> AnchoredFinePrior:
        """The prior of the second pass."""
        del mass
        fine_angst = shifts.px * self.model.pixel_size_angst
        return AnchoredFinePrior(self._of(block), self._whole_angst(block), fine_angst)

    def _of(self, block: Block) -> PosePrior:
        if self.model.motion is None or block.particles.anchor is None:
            raise ValueError("a prior of motions needs the poses that images are anchored to")
        return PosePrior.of(self.model.motion, block.particles.anchor, self.device)

    def _whole_angst(self, block: Block) -> Tensor:
        return block.shift_px * self.model.pixel_size_angst
