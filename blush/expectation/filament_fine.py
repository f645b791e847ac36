"""The prior of segments of filaments at fine samples, and what their posterior says of the filament.

That is: how likely each polarity and reduced rot is, the best pose of each polarity, and the offset across.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.expectation.block import Block
from blush.expectation.competition import Contest
from blush.expectation.fine import Posterior
from blush.expectation.known_poses import PriorMass
from blush.expectation.model import FilamentModel, Model
from blush.expectation.offsets import POLARITIES, known_of_filaments
from blush.expectation.rot_evidence import binned, evidence, interpolated, smoothing
from blush.expectation.sparse import Pairs
from blush.geometry.healpix import angular_step_deg
from blush.geometry.helix import nearest_zero
from blush.geometry.rotation import euler_from_matrix
from blush.io.upload import uploaded


@dataclass(frozen=True)
class Known:
    """What is known of segments: psi and tilt (b, 2) of each polarity, offset across (b,), table (b, 2, bins)."""

    psi_deg: Tensor
    tilt_deg: Tensor
    across_angst: Tensor
    table: Tensor

    @classmethod
    def of(cls, block: Block, dtype: torch.dtype, device: torch.device) -> Known:
        """From the columns of the particles."""
        known, table, _ = known_of_filaments(block.particles)
        psi, tilt, across = uploaded(known, device, torch.float64).unbind(1)
        return cls(
            torch.stack((psi, psi + 180), 1), torch.stack((tilt, 180 - tilt), 1), across,
            uploaded(table, device, dtype),
        )  # fmt: skip

    def taken(self, chosen: slice) -> Known:
        """Of some of the segments."""
        return Known(self.psi_deg[chosen], self.tilt_deg[chosen], self.across_angst[chosen], self.table[chosen])


@dataclass(frozen=True)
class FilamentFinePrior:
    """The prior at the fine samples of the second pass.

    Attributes
    ----------
    polarity
        (u,) of each coarse shift in use.
    in_frame_angst, offsets_angst
        (u, 4, 2) along and across, and x and y, of the whole offsets of its children.
    """

    model: Model
    filament: FilamentModel
    known: Known
    mass: PriorMass
    polarity: Tensor
    in_frame_angst: Tensor
    offsets_angst: Tensor

    def log_density(self, pairs: Pairs, matrices: Tensor) -> Tensor:
        """(p, 4, children) at all children of pairs whose orientations count `matrices` (u, children, 3, 3)."""
        known, polarity, image = self.known, self.polarity[pairs.shift], pairs.image
        rot, tilt, psi = euler_from_matrix(matrices)[pairs.orientation].unbind(-1)
        gap = nearest_zero(psi - known.psi_deg[image, polarity, None], 360.0)
        by_angle = gaussian(gap, self.filament.sigma_psi_deg)
        by_angle = by_angle + gaussian(tilt - known.tilt_deg[image, polarity, None], self.filament.sigma_tilt_deg)
        across = self.in_frame_angst[pairs.shift][..., 1] - known.across_angst[image, None]
        by_offset = gaussian(across, self.filament.sigma_across_angst) - self.mass.log_total[image, None]
        return by_angle[:, None] + by_offset[..., None] + self.log_rot(pairs, rot)

    def position(self, pairs: Pairs, rot_deg: Tensor) -> Tensor:
        """(p, 4, children) place among the bins of the children of pairs, whose rots are (p, children)."""
        along = self.in_frame_angst[pairs.shift][..., 0]
        sign = 1.0 - 2.0 * self.polarity[pairs.shift]
        return bin_position(self.filament, rot_deg[:, None], along[..., None], sign[:, None, None])

    def log_rot(self, pairs: Pairs, rot_deg: Tensor) -> Tensor:
        """(p, 4, children) log prior of polarity and reduced rot."""
        image, polarity = pairs.image[:, None, None], self.polarity[pairs.shift][:, None, None]
        return interpolated(self.known.table, image, polarity, self.position(pairs, rot_deg))

    def columns(self, posterior: Posterior, n_images: int) -> dict[str, Tensor]:
        """(b, 2, bins) evidence, (b, 2, 5) poses, NaN of a polarity without samples, and moments across (b,)."""
        mean, square = self._across(posterior, n_images)
        return {
            "rot_evidence": self._evidence(posterior, n_images),
            "polarity_pose": self._poses(posterior, n_images),
            "across_mean": mean,
            "across_square": square,
        }

    def _evidence(self, posterior: Posterior, n_images: int) -> Tensor:
        """Zeros under cross-correlation, which has no likelihood."""
        filament = self.filament
        shape = (n_images, POLARITIES, filament.bins)
        if self.model.cross_correlation:
            return torch.zeros(shape, dtype=torch.float32, device=posterior.score.device)
        total = torch.zeros(shape, dtype=torch.float64, device=posterior.score.device)
        for first, begin, end in posterior.blocks():
            if begin == end:
                continue
            pairs = posterior.pairs.part(begin, end, first)
            rot = euler_from_matrix(posterior.matrices[first : first + posterior.block_size])[..., 0][pairs.orientation]
            share = (posterior.score[begin:end].double() - posterior.log_sum[pairs.image][:, None, None]).exp()
            share = share / self.log_rot(pairs, rot).double().exp()
            image, polarity = pairs.image[:, None, None], self.polarity[pairs.shift][:, None, None]
            total += binned(share, image, polarity, self.position(pairs, rot), shape)
        grid, period = self.model.component.grid, filament.helix.chain_period_deg
        spread = smoothing(filament.bins, angular_step_deg(grid.healpix_order + 1) / (period / filament.bins))
        return evidence(total, self.mass.by_bin, spread.to(total.device))

    def _poses(self, posterior: Posterior, n_images: int) -> Tensor:
        pairs = posterior.pairs
        flat = posterior.score.flatten(1)
        owner = pairs.image * POLARITIES + self.polarity[pairs.shift]
        contest = Contest(pairs.image, owner, n_images, POLARITIES)
        best = contest.best(flat)
        pair, child = torch.div(best, flat.shape[1], rounding_mode="floor"), best % flat.shape[1]
        shift, turn = torch.div(child, posterior.children, rounding_mode="floor"), child % posterior.children
        euler = euler_from_matrix(posterior.matrices[pairs.orientation[pair], turn])
        offset = self.offsets_angst[pairs.shift[pair], shift]
        none = contest.tops(flat).isneginf().view(n_images, POLARITIES, 1)
        return torch.cat((euler, offset.to(euler)), -1).masked_fill(none, torch.nan)

    def _across(self, posterior: Posterior, n_images: int) -> tuple[Tensor, Tensor]:
        """(b,) mean and second moment of the offset across the filament, over the posterior."""
        pairs = posterior.pairs
        weight, across = posterior.weight.double().sum(2), self.in_frame_angst[pairs.shift][..., 1]
        parts = torch.stack((weight, weight * across, weight * across.square()), -1).sum(1)
        total = parts.new_zeros(n_images, 3).index_add_(0, pairs.image, parts)
        return total[:, 1] / total[:, 0], total[:, 2] / total[:, 0]


def gaussian(gap: Tensor, sigma: float) -> Tensor:
    """Its log, 0 at the centre."""
    return -0.5 * (gap / sigma).square()


def bin_position(filament: FilamentModel, rot_deg: Tensor, along_angst: Tensor, sign: Tensor) -> Tensor:
    """Place of reduced rots among the bins; `sign` is +1 of polarity 0, -1 of polarity 1."""
    helix = filament.helix
    return helix.reduced_rot(rot_deg, along_angst, sign) * (filament.bins / helix.chain_period_deg)
