"""The prior of segments of filaments, and the poses that they are searched over (docs/algorithm.md, section 12).

Polarity 0 looks along the track: psi and tilt are near those expected. Polarity 1 is turned round: psi + 180, tilt ->
180 - tilt. Each has a list of orientations of its own, and a grid of offsets in the segment's frame. The prior is a
Gaussian in psi, in tilt and in the offset across the filament, times a table over polarity and reduced rot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.expectation.block import Block
from blush.expectation.filament_fine import FilamentFinePrior, Known, bin_position, gaussian
from blush.expectation.known_poses import Candidates, PriorMass
from blush.expectation.memory import LOCAL_NEIGHBOURS, PRIOR_SAMPLES
from blush.expectation.model import Model
from blush.expectation.offsets import POLARITIES, FineShifts, FrameOffsets, Frames, known_of_filaments
from blush.expectation.rot_evidence import binned, interpolated
from blush.geometry.helix import nearest_zero
from blush.geometry.rotation import euler_from_matrix
from blush.geometry.sampling import OrientationGrid

CUT = 3.0
"""Widths of the prior at which a global search ends."""
_DIRECTIONS_AT_ONCE = 2**14


@dataclass(frozen=True)
class GridAngles:
    """Euler angles of the directions of a grid, perturbed; psi is that of the first in-plane angle.

    Attributes
    ----------
    coarse, fine
        (d, 3) and (d, 4, 3) rot, tilt and psi of directions and of their children.
    """

    coarse: Tensor
    fine: Tensor
    n_psi: int
    step_deg: float

    @classmethod
    def of(cls, grid: OrientationGrid, device: torch.device) -> GridAngles:
        """Angles of all directions."""
        every = torch.arange(grid.n_directions, device=device)
        coarse, fine = [], []
        for some in torch.split(every, _DIRECTIONS_AT_ONCE):
            coarse.append(euler_from_matrix(grid.matrices(some * grid.n_psi)))
            children = euler_from_matrix(grid.fine_matrices(some * grid.n_psi)[:, ::2])
            fine.append(children + children.new_tensor([0.0, 0.0, grid.psi_step_deg / 4]))
        return cls(torch.cat(coarse), torch.cat(fine), grid.n_psi, grid.psi_step_deg)


class FilamentPrior:
    """`PosePriors` of segments of filaments."""

    covers_offsets = True

    def __init__(self, model: Model, offsets: FrameOffsets, dtype: torch.dtype, device: torch.device) -> None:
        if model.filament is None:
            raise ValueError("a prior of filaments needs what is known of them")
        self.model, self.filament, self.offsets = model, model.filament, offsets
        self.dtype, self.device = dtype, device
        self.angles = GridAngles.of(model.component.grid, device)
        step = self.angles.step_deg
        self.tilt_cut_deg = max(CUT * self.filament.sigma_tilt_deg, step / 2)
        self.psi_cut_deg = max(CUT * self.filament.sigma_psi_deg, step / 2)
        if self.psi_cut_deg + step / 4 >= 90:
            raise ValueError(
                f"a prior of psi as wide as {self.filament.sigma_psi_deg} degrees does not tell polarities"
            )
        self.orientations = self._orientations()

    def _orientations(self) -> int:
        """Of both polarities, in global searches for tilts expected at 90 degrees."""
        if self.model.local_sigma_deg is not None:
            return POLARITIES * LOCAL_NEIGHBOURS
        band = (self.angles.coarse[:, 1] - 90).abs() <= self.tilt_cut_deg
        return POLARITIES * int(band.sum()) * (2 * self._reach() + 1)

    def _reach(self) -> int:
        """In-plane angles on each side of the nearest one that may lie within the cut."""
        return math.ceil(self.psi_cut_deg / self.angles.step_deg - 0.5)

    def candidates(self, block: Block) -> Candidates:
        """Orientations of each polarity with their priors at all shifts, whose sum over all fine samples is 1."""
        known = Known.of(block, self.dtype, self.device)
        frames = Frames.of(self.model, block, self.device)
        listed = self._listed(known) if self.model.local_sigma_deg is None else self._near(block, known)
        samples = 4 * listed[0].numel() * 2 * len(torch.unique(self.offsets.grid[:, 0]))
        some = max(1, PRIOR_SAMPLES // max(1, samples))
        parts = []
        for begin in range(0, len(listed), some):
            chosen = slice(begin, begin + some)
            parts.append(self._priors(listed[chosen], known.taken(chosen), frames.taken(chosen)))
        mass = PriorMass(*(torch.cat([part[k] for part in parts]) for k in (1, 2)))
        return Candidates(listed, torch.cat([part[0] for part in parts]), mass)

    def _priors(self, listed: Tensor, known: Known, frames: Frames) -> tuple[Tensor, Tensor, Tensor]:
        """Log prior at coarse poses (b, 2 t, m), and what `PriorMass` holds."""
        by_angle, rot_deg = self._by_angle(listed, known)
        mass = self._mass(by_angle, rot_deg, known, frames)
        log_prior = self._coarse(by_angle, rot_deg, known, frames) - mass.log_total[:, None, None]
        return log_prior.to(self.dtype), mass.log_total, mass.by_bin

    def _listed(self, known: Known) -> Tensor:
        """(b, 2, m) all orientations within the cuts."""
        tilt, step = self.angles.coarse[:, 1], self.angles.step_deg
        near = (tilt - known.tilt_deg[..., None]).abs() <= self.tilt_cut_deg  # (b, 2, d)
        band = torch.nonzero(near.any(0).any(0)).squeeze(1)
        psi_deg = self.angles.coarse[band, 2]
        position = ((known.psi_deg[..., None] - psi_deg) / step).round()
        window = torch.arange(-self._reach(), self._reach() + 1, device=self.device)
        position = position[:, :, None] + window[:, None]  # (b, 2, w, d)
        gap = nearest_zero(position * step + psi_deg - known.psi_deg[..., None, None], 360.0)
        inside = (gap.abs() <= self.psi_cut_deg + 1e-9) & near[:, :, None, band]
        orientation = band * self.angles.n_psi + torch.remainder(position.long(), self.angles.n_psi)
        return orientation.masked_fill(~inside, -1).flatten(2)

    def _near(self, block: Block, known: Known) -> Tensor:
        """(b, 2, m) orientations near the best pose of each polarity that may be true."""
        _, _, poses = known_of_filaments(block.particles)
        pose = torch.from_numpy(poses).to(self.device, torch.float64)
        odds = known.table.double().logsumexp(2)
        odds = odds - odds.flip(1)
        there = ~pose.isnan().any(2)
        if not bool(there.any(1).all()):
            raise ValueError("a local search needs a pose of one polarity at least")
        searched = there & ((odds > -self.filament.undecided_log_odds) | ~there.flip(1))
        image, polarity = torch.nonzero(searched, as_tuple=True)
        rot, tilt, psi = pose[image, polarity, :3].unbind(1)
        sigma = self.model.local_sigma_deg
        if sigma is None:
            raise ValueError("a search about known poses needs a width")
        near, _ = self.model.component.grid.local_neighbours(rot, tilt, psi, sigma)
        listed = near.new_full((len(pose), POLARITIES, near.shape[1]), -1)
        listed[image, polarity] = near
        return listed

    def _by_angle(self, listed: Tensor, known: Known) -> tuple[Tensor, Tensor]:
        """(b, 2, m, 4) log prior of psi and tilt of the children by direction, summed over psi, and their rot."""
        direction = torch.div(listed.clamp_min(0), self.angles.n_psi, rounding_mode="floor")
        rot, tilt, psi = self.angles.fine[direction].unbind(-1)
        own = (listed.clamp_min(0) % self.angles.n_psi)[..., None] * self.angles.step_deg
        gap = nearest_zero(own + psi - known.psi_deg[..., None, None], 360.0)
        quarter = self.angles.step_deg / 4
        of_psi = torch.logaddexp(*(gaussian(gap + side, self.filament.sigma_psi_deg) for side in (-quarter, quarter)))
        of_tilt = gaussian(tilt - known.tilt_deg[..., None, None], self.filament.sigma_tilt_deg)
        return (of_psi + of_tilt).masked_fill((listed < 0)[..., None], -torch.inf), rot

    def _position(self, rot_deg: Tensor, along_angst: Tensor, polarity: Tensor) -> Tensor:
        """Place of reduced rots among the bins; `polarity` of 0 and 1."""
        sign = 1.0 - 2.0 * polarity
        return bin_position(self.filament, rot_deg, along_angst, sign)

    def _coarse(self, by_angle: Tensor, rot_deg: Tensor, known: Known, frames: Frames) -> Tensor:
        """(b, 2 t, m) log prior at coarse offsets, the mean over the children of an orientation."""
        grid = self.offsets.grid
        line, back = torch.unique(grid[:, 0], return_inverse=True)
        image, polarity = _image_and_polarity(len(rot_deg), 5, self.device)
        along = (frames.centre_angst[:, :, :1] + line)[..., None, None]  # (b, 2, l, 1, 1)
        position = self._position(rot_deg[:, :, None], along, polarity)
        of_rot = interpolated(known.table, image, polarity, position.nan_to_num())
        by_rot = torch.logsumexp(by_angle[:, :, None] + of_rot, 4) - math.log(8)  # (b, 2, l, m)
        quarter = self.model.offset_step_angst / 4
        across = frames.centre_angst[:, :, 1:] + grid[:, 1] - known.across_angst[:, None, None]
        sides = (gaussian(across + side, self.filament.sigma_across_angst) for side in (-quarter, quarter))
        of_across = torch.logaddexp(*sides) - math.log(2)
        return (by_rot[:, :, back] + of_across.nan_to_num()[..., None]).flatten(1, 2)

    def _mass(self, by_angle: Tensor, rot_deg: Tensor, known: Known, frames: Frames) -> PriorMass:
        """Sums of the prior over all fine samples of images."""
        along, across = (torch.unique(self.offsets.fine_grid[..., axis]) for axis in (0, 1))
        image, polarity = _image_and_polarity(len(rot_deg), 5, self.device)
        whole = (frames.centre_angst[:, :, :1] + along)[..., None, None]
        position = self._position(rot_deg[:, :, None], whole, polarity).nan_to_num()
        gap = frames.centre_angst[:, :, 1:] + across - known.across_angst[:, None, None]
        of_across = gaussian(gap, self.filament.sigma_across_angst).exp().sum(2).nan_to_num()
        weight = (by_angle.exp() * of_across[..., None, None])[:, :, None]  # (b, 2, 1, m, 4)
        of_rot = interpolated(known.table, image, polarity, position).exp()
        log_total = (weight * of_rot).sum((1, 2, 3, 4)).log()
        shape = (len(rot_deg), POLARITIES, self.filament.bins)
        by_bin = binned(weight.expand_as(position), image, polarity, position, shape)
        return PriorMass(log_total, by_bin / log_total.exp()[:, None, None])

    def fine(self, block: Block, mass: PriorMass | None, shifts: FineShifts) -> FilamentFinePrior:
        """The prior of the second pass."""
        if mass is None or shifts.image is None or shifts.own is None:
            raise ValueError("the second pass over segments needs what the first one knew of their poses")
        frames = Frames.of(self.model, block, self.device)
        polarity = torch.div(shifts.own, len(self.offsets.grid), rounding_mode="floor")
        in_frame = self.offsets.in_frame_angst(frames, shifts.image, shifts.own)
        known = Known.of(block, self.dtype, self.device)
        offsets_angst = (block.shift_px[shifts.image][:, None] + shifts.px) * self.model.pixel_size_angst
        return FilamentFinePrior(self.model, self.filament, known, mass, polarity, in_frame, offsets_angst)


def _image_and_polarity(count: int, dimensions: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Indices (b, 1, ...) and (1, 2, 1, ...) that broadcast over tables (b, 2, ...)."""
    image, polarity = torch.arange(count, device=device), torch.arange(POLARITIES, device=device)
    rest = [1] * (dimensions - 2)
    return image.view(count, 1, *rest), polarity.view(1, POLARITIES, *rest)
