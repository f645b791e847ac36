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
from blush.expectation.shared_slices import SharedLists, SharedSlices
from blush.geometry.helix import nearest_zero
from blush.geometry.rotation import euler_from_matrix
from blush.geometry.sampling import OrientationGrid
from blush.io.upload import uploaded

CUT = 3.0
"""Widths of the prior at which a global search ends."""
BAND_DEG = 5.0
"""Tilts on each side of 90 degrees whose directions are asked for together: segments differ in the tilt expected."""
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


@dataclass(frozen=True)
class Lists:
    """Orientations of both polarities of segments: directions, each at w in-plane angles.

    Attributes
    ----------
    direction
        (b, 2, d) or (1, 1, d).
    psi
        (b, 2, w, d) or (b, 2, w, 1) in-plane angles.
    inside
        (b, 2, w, d) whether there is that one.
    """

    direction: Tensor
    psi: Tensor
    inside: Tensor

    def orientation(self, n_psi: int) -> Tensor:
        """(b, 2, w d) indices of the grid, -1 where there is none."""
        index = self.direction[:, :, None] * n_psi + self.psi
        return index.masked_fill(~self.inside, -1).flatten(2)

    def taken(self, chosen: slice) -> Lists:
        """Of some of the segments."""
        direction = self.direction if len(self.direction) == 1 else self.direction[chosen]
        return Lists(direction, self.psi[chosen], self.inside[chosen])


@dataclass(frozen=True)
class ByDirection:
    """Priors of the children of directions, all but that of the offset across.

    Attributes
    ----------
    coarse_psi
        (b, 2, w, d) log prior of coarse in-plane angles, the mean over their children; -inf where there is none.
    fine
        (b, 2, d, 4) log prior of tilt and psi, summed over all in-plane angles.
    tilt, rot_deg
        (b, 2, d, 4) log prior of the tilt, and (b or 1, 2 or 1, d, 4) rots.
    """

    coarse_psi: Tensor
    fine: Tensor
    tilt: Tensor
    rot_deg: Tensor


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
            width = self.filament.sigma_psi_deg
            raise ValueError(f"a prior of psi as wide as {width} degrees does not tell polarities")
        off_deg = (self.angles.coarse[:, 1] - 90).abs()
        is_global = model.local_sigma_deg is None
        self.shared = SharedSlices(model, offsets.pixels, _bands(off_deg)) if is_global else None
        self.shared_rows, self.orientations = 0, POLARITIES * LOCAL_NEIGHBOURS
        if self.shared is not None:  # where tilts are expected within two widths of 90 degrees
            _, band, _, window = self._band(self.shared, self.tilt_cut_deg + 2 * self.filament.sigma_tilt_deg)
            self.shared_rows, self.orientations = len(band) * self.angles.n_psi, POLARITIES * len(band) * len(window)

    def _band(self, slices: SharedSlices, reach_deg: float) -> tuple[int, Tensor, Tensor, Tensor]:
        """Groups of directions whose tilts are up to so far from 90 degrees, and these directions.

        And the psi that is theirs on average, with the in-plane angles about it that may lie within the cut.
        """
        off_deg = (self.angles.coarse[:, 1] - 90).abs()
        groups = int(off_deg[off_deg <= reach_deg].amax() // BAND_DEG) + 1
        band = torch.cat(slices.groups[:groups])
        psi_deg = self.angles.coarse[band, 2]
        middle = psi_deg[0] + nearest_zero(psi_deg - psi_deg[0], 360.0).mean()
        spread = float(nearest_zero(psi_deg - middle, 360.0).abs().max())
        reach = math.ceil((self.psi_cut_deg + spread) / self.angles.step_deg - 0.5)
        return groups, band, middle, torch.arange(-reach, reach + 1, device=self.device)

    def candidates(self, block: Block) -> Candidates:
        """Orientations of each polarity with their priors at all shifts, whose sum over all fine samples is 1."""
        known = Known.of(block, self.dtype, self.device)
        frames = Frames.of(self.model, block, self.device)
        if self.shared is None:
            listed, shared = self._near(block, known), None
        else:
            listed, shared = self._listed(known, self.shared)
        samples = 8 * listed.inside[0].shape[0] * listed.inside.shape[3] * self._lines()
        some = max(1, PRIOR_SAMPLES // max(1, samples))
        parts = []
        for begin in range(0, len(listed.inside), some):
            chosen = slice(begin, begin + some)
            parts.append(self._priors(listed.taken(chosen), known.taken(chosen), frames.taken(chosen)))
        mass = PriorMass(*(torch.cat([part[k] for part in parts]) for k in (1, 2)))
        log_prior = torch.cat([part[0] for part in parts])
        return Candidates(listed.orientation(self.angles.n_psi), log_prior, mass, shared)

    def _lines(self) -> int:
        """Coarse offsets along a filament."""
        return len(torch.unique(self.offsets.grid[:, 0]))

    def _priors(self, listed: Lists, known: Known, frames: Frames) -> tuple[Tensor, Tensor, Tensor]:
        """Log prior at coarse poses (b, 2 t, w d), and what `PriorMass` holds."""
        found = self._by_direction(listed, known)
        mass = self._mass(found, known, frames)
        log_prior = self._coarse(found, known, frames) - mass.log_total[:, None, None].to(self.dtype)
        return log_prior, mass.log_total, mass.by_bin

    def _listed(self, known: Known, slices: SharedSlices) -> tuple[Lists, SharedLists]:
        """All orientations within the cuts: the bands that hold those of all segments, at in-plane angles of each."""
        step, n_psi = self.angles.step_deg, self.angles.n_psi
        farthest_deg = float((known.tilt_deg - 90).abs().amax())
        groups, band, middle, window = self._band(slices, farthest_deg + self.tilt_cut_deg)
        near = (self.angles.coarse[band, 1] - known.tilt_deg[..., None]).abs() <= self.tilt_cut_deg
        psi_deg = self.angles.coarse[band, 2]
        psi = ((known.psi_deg - middle) / step).round().long()[..., None] + window
        gap = psi[..., None] * step + psi_deg - known.psi_deg[..., None, None]
        inside = (nearest_zero(gap, 360.0).abs() <= self.psi_cut_deg + 1e-9) & near[:, :, None]
        used = inside.any(3).any(0).any(0)
        psi, inside = torch.remainder(psi[..., used], n_psi), inside[:, :, used]
        shared = SharedLists(slices, psi.masked_fill(~inside.any(3), -1), groups)
        return Lists(band[None, None], psi[..., None], inside), shared

    def _near(self, block: Block, known: Known) -> Lists:
        """Orientations near the best pose of each polarity that may be true."""
        pose = uploaded(known_of_filaments(block.particles)[2], self.device, torch.float64)
        odds = known.table.double().logsumexp(2)
        odds = odds - odds.flip(1)
        there = ~pose.isnan().any(2)
        sigma = self.model.local_sigma_deg
        if sigma is None or not bool(there.any(1).all()):
            raise ValueError("a local search needs a width, and a pose of one polarity at least")
        searched = there & ((odds > -self.filament.undecided_log_odds) | ~there.flip(1))
        image, polarity = torch.nonzero(searched, as_tuple=True)
        rot, tilt, psi = pose[image, polarity, :3].unbind(1)
        near, _ = self.model.component.grid.local_neighbours(rot, tilt, psi, sigma)
        listed = near.new_full((len(pose), POLARITIES, near.shape[1]), -1)
        listed[image, polarity] = near
        inside, listed = (listed >= 0)[:, :, None], listed.clamp_min(0)
        direction = torch.div(listed, self.angles.n_psi, rounding_mode="floor")
        return Lists(direction, (listed % self.angles.n_psi)[:, :, None], inside)

    def _by_direction(self, listed: Lists, known: Known) -> ByDirection:
        """Priors of psi and tilt, those of psi summed over the in-plane angles."""
        rot, tilt, psi = self.angles.fine[listed.direction].unbind(-1)
        centre, quarter = known.psi_deg[..., None, None], self.angles.step_deg / 4
        own = listed.psi * self.angles.step_deg - centre
        coarse_psi = self._either_side(own + self.angles.coarse[listed.direction, 2][:, :, None], quarter)
        of_psi = self._either_side(own[..., None] + psi[:, :, None], quarter)
        of_psi = of_psi.masked_fill(~listed.inside[..., None], -torch.inf).logsumexp(2)
        of_tilt = gaussian(tilt - known.tilt_deg[..., None, None], self.filament.sigma_tilt_deg).to(self.dtype)
        coarse_psi = coarse_psi.masked_fill(~listed.inside, -torch.inf) - math.log(2)
        return ByDirection(coarse_psi, of_psi + of_tilt, of_tilt, rot)

    def _either_side(self, gap_deg: Tensor, quarter_deg: float) -> Tensor:
        """Log of the sum of the prior of psi at both in-plane children."""
        gap, sigma = nearest_zero(gap_deg, 360.0).to(self.dtype), self.filament.sigma_psi_deg
        return torch.logaddexp(gaussian(gap - quarter_deg, sigma), gaussian(gap + quarter_deg, sigma))

    def _place(self, rot_deg: Tensor, along_angst: Tensor) -> Tensor:
        """(b or 1, 2, l, d, 4) place among the bins of rots (b or 1, 2 or 1, d, 4) at offsets (b or 1, 2, l)."""
        sign = 1.0 - 2.0 * torch.arange(POLARITIES, device=self.device)
        along = along_angst.nan_to_num()[..., None, None]
        return bin_position(self.filament, rot_deg[:, :, None], along, sign.view(1, -1, 1, 1, 1))

    def _along(self, frames: Frames, line: Tensor) -> Tensor:
        """(b or 1, 2, l) whole offsets along the filament: of all images alike in global searches."""
        centre = frames.centre_angst[:, :, :1]
        return (centre[:1] if self.shared is not None else centre) + line

    def _coarse(self, found: ByDirection, known: Known, frames: Frames) -> Tensor:
        """(b, 2 t, w d) log prior at coarse offsets, the mean over the children of an orientation."""
        grid = self.offsets.grid
        line, back = torch.unique(grid[:, 0], return_inverse=True)
        image, polarity = _image_and_polarity(len(known.psi_deg), 5, self.device)
        place = self._place(found.rot_deg, self._along(frames, line))
        of_rot = found.tilt[:, :, None] + interpolated(known.table, image, polarity, place)
        by_rot = torch.logsumexp(of_rot, 4) - math.log(4)  # (b, 2, l, d)
        quarter = self.model.offset_step_angst / 4
        across = frames.centre_angst[:, :, 1:] + grid[:, 1] - known.across_angst[:, None, None]
        sides = (gaussian(across + side, self.filament.sigma_across_angst) for side in (-quarter, quarter))
        of_across = (torch.logaddexp(*sides) - math.log(2)).nan_to_num().to(self.dtype)
        by_shift = by_rot[:, :, back] + of_across[..., None]  # (b, 2, t, d)
        return (by_shift[:, :, :, None] + found.coarse_psi[:, :, None]).flatten(3).flatten(1, 2)

    def _mass(self, found: ByDirection, known: Known, frames: Frames) -> PriorMass:
        """Sums of the prior over all fine samples of images."""
        along, across = (torch.unique(self.offsets.fine_grid[..., axis]) for axis in (0, 1))
        image, polarity = _image_and_polarity(len(known.psi_deg), 5, self.device)
        place = self._place(found.rot_deg, self._along(frames, along))
        gap = frames.centre_angst[:, :, 1:] + across - known.across_angst[:, None, None]
        of_across = gaussian(gap, self.filament.sigma_across_angst).exp().sum(2).nan_to_num()
        weight = found.fine.exp() * of_across[..., None, None].to(self.dtype)  # (b, 2, d, 4)
        of_rot = interpolated(known.table, image, polarity, place).exp().sum(2)
        total = (weight * of_rot).double().sum((1, 2, 3))
        bins = self.filament.bins
        if self.shared is not None:  # the same samples for all images
            each = torch.arange(place[0, 0, 0].numel(), device=self.device).view(1, 1, 1, *place.shape[3:])
            ones = torch.ones_like(place)
            hits = binned(ones, each, polarity, place, (each.numel(), POLARITIES, bins))
            by_bin = torch.einsum("bps,spk->bpk", weight.double().flatten(2), hits)
        else:
            spread = weight[:, :, None].expand_as(place)
            by_bin = binned(spread, image, polarity, place, (len(weight), POLARITIES, bins))
        return PriorMass(total.log(), by_bin / total[:, None, None])

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


def _bands(off_deg: Tensor) -> list[Tensor]:
    """Directions by how far their tilt is from 90 degrees: those of the first `BAND_DEG`, of the next, and so on."""
    band = torch.div(off_deg, BAND_DEG, rounding_mode="floor").long()
    return [torch.nonzero(band == index).squeeze(1) for index in range(int(band.max()) + 1)]
