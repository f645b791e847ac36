"""The expectation step over a shard of particles: images in, sufficient statistics out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from blush.expectation.accuracy import expected_accuracy
from blush.expectation.background import Background, Seen
from blush.expectation.batches import batches, subset_of, taken
from blush.expectation.block import Block
from blush.expectation.coarse import GlobalSearch, Weighted, local_search
from blush.expectation.fine import back_project, fine_posterior
from blush.expectation.fixed import FixedPoses
from blush.expectation.given_images import GivenImages, Place, offsets_px
from blush.expectation.image_masks import ImageMasks
from blush.expectation.kept_poses import Poses
from blush.expectation.known_poses import CoarsePrior, PriorMass
from blush.expectation.memory import PAIRS_PER_BATCH, StepSize
from blush.expectation.model import Model
from blush.expectation.offsets import POLARITIES, FrameOffsets
from blush.expectation.optics import OpticsTables
from blush.expectation.prepare import Images, prepare
from blush.expectation.room import ImageLimit, Room, size_of
from blush.expectation.searched import searched
from blush.expectation.shift_prior import confined, log_prior_shift
from blush.expectation.statistics import Fit, add_pose_sums, add_statistics, weight_of_images
from blush.expectation.sums import Sums
from blush.expectation.table import of_references, pose_columns
from blush.fourier.many_sums import InterleavedSums
from blush.fourier.packed import Packed, packed
from blush.fourier.shift import round_half_away
from blush.io.particles import POSE, ParticleSet
from blush.io.upload import uploaded

CTF_BLOCKS = 10
"""Parts in which CTFs for accuracies are computed: their double-precision phases take many times the result."""


class Expectation:
    """One iteration's expectation step for one subset; call it with shards of that subset."""

    def __init__(
        self,
        model: Model,
        particles: ParticleSet,
        dtype: torch.dtype,
        device: torch.device,
        memory_bytes: float = 2e9,
        background: Sequence[Background] = (),
        limit: ImageLimit | None = None,
    ) -> None:
        """Prepare what all shards share.

        Parameters
        ----------
        background
            What other parts of the particle add to its images, at the poses of `ParticleSet.background`.
        limit
            What the images of a block may take, as other steps have found; lowered where a device has no room for more.

        Raises
        ------
        ValueError
            Where there is some and poses are given.
        """
        if background and model.fixed_poses:
            raise ValueError("images at given poses are kept as they come; blush subtract takes away what is known")
        self.seen = Seen(background, model, dtype, device)
        self.model = model = model.on(device)
        self.dtype, self.device = dtype, device
        self.pixels: Packed = packed(model.box_px, str(device))
        self.n_pixels = self.pixels.inside(model.radius)
        self.tables = OpticsTables(particles, self.pixels, dtype)
        self.masks = ImageMasks(model, dtype, device)
        self.fixed = FixedPoses(model, self.pixels) if model.fixed_poses else None
        self.offsets, self.priors = searched(model, self.pixels, dtype, device)
        is_global = self.priors is None and not model.fixed_poses
        self.search = GlobalSearch(model, self.pixels, dtype) if is_global else None
        self.room = Room.of(self._size(), device, memory_bytes, limit or ImageLimit())
        self.given = GivenImages(model, self.pixels, self.tables, self.masks, self.room.images)

    def _size(self) -> StepSize:
        """What decides how many particles make a block, so that its scores and slices stay within the memory."""
        lists = POLARITIES if isinstance(self.offsets, FrameOffsets) else 0
        return size_of(self.model, self.priors, lists, len(self.seen.background), self.dtype)

    def run(
        self,
        particles: ParticleSet,
        progress: Callable[[int], None] = lambda done: None,
        place: Place | None = None,
    ) -> Sums:
        """Sufficient statistics of `particles`, block by block.

        Parameters
        ----------
        place
            Where their transforms may be kept, where poses are given.
        """
        sums, volumes, done = *self._nothing(particles), 0
        while done < len(particles):
            rows, reason = self.room.rows(done, len(particles)), ""
            try:
                for part in self._add(particles, rows, place, volumes, sums):
                    done = part
                progress(done)
            except torch.OutOfMemoryError as error:
                reason = str(error)
            if reason:  # with the error everything is gone that the block had made
                self.room.halve(len(rows), reason)
                self.given.chunk = min(self.given.chunk, self.room.images)
                if sums.is_torn:
                    del sums, volumes
                    sums, volumes, done = *self._nothing(particles), 0
        sums.settle(self.dtype)
        if volumes is not None:
            sums.volumes = volumes.unpack()
        return sums.gather()

    def _nothing(self, particles: ParticleSet) -> tuple[Sums, InterleavedSums | None]:
        """Sums of no image; side by side where poses are given."""
        sums = Sums.zero(self.model, len(particles.optics), self.dtype, self.device)
        return sums, None if self.fixed is None else self.fixed.empty_sums()

    def _add(
        self, particles: ParticleSet, rows: np.ndarray, place: Place | None, volumes: InterleavedSums | None, sums: Sums
    ) -> Iterator[int]:
        """Add a block to the sums, and tell each time how many images of the shard are in them."""
        if self.fixed is None or volumes is None:
            yield from (int(rows[0]) + done for done in self._run_block(particles.take(rows), sums))
            return
        self._fixed_pass(self.fixed, self._given_block(particles, rows, place), volumes, sums)
        yield int(rows[-1]) + 1

    def log_likelihoods(
        self,
        particles: ParticleSet,
        progress: Callable[[int], None] = lambda done: None,
        place: Place | None = None,
    ) -> Tensor:
        """(n, references) log likelihood of each reference at given poses, but for a constant of each image: float64.

        Raises
        ------
        ValueError
            Where the model searches poses.
        """
        if self.fixed is None:
            raise ValueError("references have one likelihood for each image where the model takes poses as given")
        found = []
        for begin in range(0, len(particles), self.room.images):
            rows = np.arange(begin, min(begin + self.room.images, len(particles)))
            block = self._given_block(particles, rows, place)
            found.append(self.fixed.log_likelihoods(block, self._weighted(block)))
            progress(int(rows[-1]) + 1)
        return torch.cat(found).cpu()

    def _given_block(self, particles: ParticleSet, rows: np.ndarray, place: Place | None) -> Block:
        """Consecutive images as they are compared at the poses that they have, their offsets undone exactly."""
        n, found = self.n_pixels, self.given.transforms(particles, int(rows[0]), int(rows[-1]) + 1, place)
        some = particles.take(rows)
        factor = self.model.norm_average / uploaded(some.norm_correction, self.device)
        scaled = factor.to(self.dtype)[:, None, None]
        images = Images(
            found.masked[..., :n] * scaled, found.unmasked[..., :n] * scaled, found.power * factor.square()[:, None]
        )
        old_px = offsets_px(some, self.model, self.device)
        return self._block(some, images, found.ctf[:, :n], old_px)

    def accuracy(self, particles: ParticleSet, seed: int) -> tuple[list[float], list[float]]:
        """Expected accuracies of rotation (degrees) and offset (Å), by each reference.

        They are means over `particles` at the poses that they have, whatever reference they belong to.
        """
        model = self.model
        group, optics = (uploaded(i, self.device).long() for i in (particles.group_index, particles.optics_index))
        scale = model.scale[group].to(self.dtype)
        euler = uploaded(np.stack([particles.rot_deg, particles.tilt_deg, particles.psi_deg], 1), self.device)
        blocks = (particles.take(rows) for rows in np.array_split(np.arange(len(particles)), CTF_BLOCKS))
        transfer = [self.tables.transfer(one, self.tables.ctf(one, self.n_pixels)) for one in blocks if len(one)]
        seen, noise = torch.cat(transfer).mul_(scale[:, None]), model.noise[optics]
        found = [
            expected_accuracy(one.sphere, euler, seen, noise, self.pixels, model.radius, seed)
            for one in model.component.references
        ]
        return [rotation for rotation, _ in found], [shift * model.pixel_size_angst for _, shift in found]

    def _load(self, particles: ParticleSet) -> Block:
        model, device = self.model, self.device
        old_px = offsets_px(particles, model, device)
        optics = uploaded(particles.optics_index, device).long()
        correction = None if self.tables.correction is None else self.tables.correction[optics]
        images = prepare(
            self.seen.images(particles),
            model.norm_average / uploaded(particles.norm_correction, device),
            round_half_away(old_px),
            self.masks.of(particles),
            self.pixels,
            self.n_pixels,
            correction,
        )
        return self._block(particles, images, self.tables.ctf(particles, self.n_pixels), old_px)

    def _block(self, particles: ParticleSet, images: Images, ctf: Tensor, old_px: Tensor) -> Block:
        model, device = self.model, self.device
        optics, group = (uploaded(one, device).long() for one in (particles.optics_index, particles.group_index))
        premultiplied = self.tables.premultiplied[optics, None]
        inverse_noise = 1 / model.noise[:, self.pixels.shell[: self.n_pixels]]
        inverse_noise = inverse_noise.to(self.dtype)[optics]
        scale = model.scale[group].to(self.dtype)
        return Block(
            particles,
            images,
            transfer=self.tables.transfer(particles, ctf),
            data_factor=torch.where(premultiplied, torch.ones_like(ctf), scale[:, None] * ctf) * inverse_noise,
            inverse_noise=inverse_noise,
            scale=scale,
            shift_px=round_half_away(old_px),
            old_px=old_px,
            group=group,
            optics=optics,
        )

    def _weighted(self, block: Block) -> Weighted:
        if self.priors is not None and self.priors.covers_offsets:  # added with that of the orientation
            prior = torch.zeros(len(block.scale), self.offsets.of_one_image, dtype=torch.float64, device=self.device)
        else:
            prior = log_prior_shift(block, self.model)
        weight = torch.ones_like(block.inverse_noise) if self.model.cross_correlation else block.inverse_noise
        if self.model.pose_temperature != 1:
            weight = weight / self.model.pose_temperature
        scaled = block.scale[:, None] * block.transfer
        cross = block.images.masked * (scaled * weight)[:, None]
        power = scaled.square() * weight / 2
        cross[..., 0], power[:, 0] = 0, 0  # the likelihood leaves the origin out
        return Weighted(cross, power, prior.to(self.dtype), confined(block.particles, self.model, self.device))

    def _run_block(self, particles: ParticleSet, sums: Sums) -> Iterator[int]:
        block = self._load(particles)
        weighted = self._weighted(block)
        poses, mass = self._coarse(block, weighted)
        for chosen in batches(poses, PAIRS_PER_BATCH, self.offsets.at_once):
            known = None if mass is None else mass.taken(chosen)
            self._second_pass(taken(block, weighted, chosen), subset_of(poses, chosen), known, sums)
            yield chosen.stop

    def _coarse(self, block: Block, weighted: Weighted) -> tuple[Poses, PriorMass | None]:
        ramps = self.offsets.coarse(block)
        if self.search is not None:
            return self.search.search(weighted, ramps), None
        if self.priors is None:
            raise ValueError("neither a global nor a local search was prepared")
        found = self.priors.candidates(block)
        lists = (found.orientation, found.log_prior)
        return local_search(weighted, ramps, *lists, self.model, self.pixels, found.shared), found.mass

    def _second_pass(
        self, subset: tuple[Block, Weighted], poses: Poses, mass: PriorMass | None, sums: Sums
    ) -> None:  # fmt: skip
        block, weighted = subset
        shifts, poses = self.offsets.fine(block, poses)
        prior = CoarsePrior() if self.priors is None else self.priors.fine(block, mass, shifts)
        posterior = fine_posterior(poses, weighted, shifts.vectors, self.model, self.pixels, prior.log_density)
        image = block.images.unmasked * block.data_factor[:, None]
        power = block.data_factor * block.scale[:, None] * block.transfer
        sums.is_torn = True
        mean, square = back_project(posterior, image, power, shifts.vectors, self.model, self.pixels, sums.added_to)
        weight = weight_of_images(posterior, len(block.scale))
        fit = Fit(weight, posterior.shares, posterior.log_sum, mean, square)
        add_statistics(sums, self.model, self.pixels, block, fit)
        add_pose_sums(sums, self.model, shifts, block, posterior)
        sums.append(pose_columns(self.model, shifts, block, posterior, poses))
        sums.append(prior.columns(posterior, len(block.scale)))
        sums.is_torn = False

    def at_given_poses(self, particles: ParticleSet) -> tuple[Block, Weighted]:
        """Images as they are compared at the poses that they have, their offsets undone exactly."""
        block = self._given_block(particles, np.arange(len(particles)), None)
        return block, self._weighted(block)

    def _fixed_pass(self, fixed: FixedPoses, block: Block, volumes: InterleavedSums, sums: Sums) -> None:
        """Compare images with every reference at the poses that they have."""
        model = self.model
        posterior = fixed.posterior(block, self._weighted(block))
        sums.is_torn = True
        mean, square = fixed.back_project(block, posterior, volumes)
        fit = Fit(posterior.kept.sum(1), posterior.kept, posterior.log_sum, mean, square)
        add_statistics(sums, model, self.pixels, block, fit)
        offset = block.old_px * model.pixel_size_angst
        sums.offset_square = sums.offset_square + (fit.weight * offset.square().sum(1)).sum()
        given = uploaded(np.stack([getattr(block.particles, name) for name in POSE], 1), self.device)
        columns = dict(zip(POSE, given.unbind(1), strict=True))
        columns |= {"pmax": posterior.shares.amax(1), "n_significant": (posterior.kept > 0).sum(1)}
        found = given[:, None].expand(-1, len(model.component.references), -1)
        sums.append(columns | of_references(posterior.shares, found))
        sums.is_torn = False
