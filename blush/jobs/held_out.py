"""Segments of a finished run of filaments, each half told by the map of the other: no segment knows its own map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.config import RunConfig
from blush.errors import BlushError, Problem
from blush.expectation.component import Component, Reference
from blush.expectation.model import Model
from blush.expectation.shard import Expectation
from blush.expectation.sums import Sums
from blush.fourier.backproject import Accumulator, hermitian
from blush.fourier.transform import transform
from blush.geometry.helix import Helix
from blush.geometry.sampling import OrientationGrid
from blush.helix.impose import impose
from blush.helix.masks import central_mask, tube_mask
from blush.helix.symmetrise import symmetrise_helix
from blush.io.filaments import units_per_segment
from blush.io.files import load_npz
from blush.io.mrc import read_volume
from blush.io.particles import ParticleSet
from blush.jobs.denoise_and_trail import half_map_fsc
from blush.jobs.expect import build_model
from blush.jobs.helix_columns import flat_prior
from blush.jobs.helix_maps import tube_of
from blush.jobs.inputs import environment, latest_state, read_config, read_frozen_particles, read_plan, with_poses
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import checked
from blush.jobs.segments import with_tracks
from blush.kernels.device import free_bytes
from blush.maximization.reconstruct import reconstruct
from blush.maximization.spectra import reference_noise, signal_to_noise
from blush.refine.control import HelixControl
from blush.refine.state import State, load_state
from blush.refine.subset import HALVES

TITLE = "the evidence for a symmetry cannot be measured"
Floats = NDArray[np.float64]
Pair = tuple[Accumulator, Accumulator]
Progress = Callable[[int, int], None]


@dataclass
class HeldOut:
    """Segments as the last iteration of a run left them, without what it believed of their rot.

    Attributes
    ----------
    state
        The one before the last iteration: its search, noise and scale.
    helix
        Rise and twist of the end.
    rows
        Import rows of each half.
    particles, models
        For each half.
    """

    folder: RunFolder
    config: RunConfig
    state: State
    helix: Helix
    frozen: ParticleSet
    rows: tuple[NDArray[np.int64], ...]
    particles: tuple[ParticleSet, ...]
    models: tuple[Model, ...]
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def of(cls, root: Path) -> HeldOut:
        """A finished run.

        Raises
        ------
        BlushError
            Where it is no finished run of filaments.
        """
        root = root.absolute()
        folder, last = RunFolder(root), latest_state(root)
        if last is None or not last.converged or not isinstance(last.control, HelixControl):
            fault = "is no finished refinement of filaments"
            raise BlushError(
                TITLE, [Problem(fault, "give the folder of a run of job: helix that has ended", str(root))]
            )
        config = read_config(root)
        device, dtype = environment(config)
        state = load_state(checked(folder, folder.state(last.iteration - 1)))
        poses = load_npz(checked(folder, folder.poses(last.iteration)))
        poses["rot_log_prior"] = flat_prior(poses["polarity_log_odds"], state.control_of(HelixControl).bins)
        frozen, rows = read_frozen_particles(root), read_plan(root).rows
        grid = OrientationGrid.build(state.search.healpix_order, "C1", state.search.perturbation)
        models = []
        for half in HALVES:
            model = build_model(folder, state, half, 0, device, dtype)
            models.append(replace(model, component=Component(model.component.references, grid)))
        particles = tuple(with_tracks(with_poses(frozen, poses, one), poses, one) for one in rows)
        helix = last.control.helix
        return cls(folder, config, state, helix, frozen, rows, particles, tuple(models), device, dtype)

    def measured_like(self, other: HeldOut) -> None:
        """Take noise, scale and temperature of another run's images, so that both are told on one scale."""
        self.models = tuple(
            replace(
                mine,
                noise=theirs.noise,
                scale=theirs.scale,
                norm_average=theirs.norm_average,
                pose_temperature=theirs.pose_temperature,
            )
            for mine, theirs in zip(self.models, other.models, strict=True)
        )
        self.particles = tuple(
            replace(mine, norm_correction=theirs.norm_correction)
            for mine, theirs in zip(self.particles, other.particles, strict=True)
        )

    @property
    def radius(self) -> int:
        """Largest shell in which images are compared."""
        return min(model.radius for model in self.models)

    def compare_up_to(self, radius: int) -> None:
        """Compare images up to a shell, which has to be that of every run that is weighed."""
        self.models = tuple(
            replace(model, radius=radius, coarse_radius=min(radius, model.coarse_radius)) for model in self.models
        )

    def own_references(self) -> list[Tensor]:
        """What the last iteration compared each half with."""
        paths = (checked(self.folder, self.folder.map(self.state.iteration, half, "reference")) for half in HALVES)
        return [torch.from_numpy(read_volume(path)[0]) for path in paths]

    def sums(self, references: list[Tensor], progress: Progress) -> Pair:
        """D and W of both halves with segments where a reference of their own half sees them, without any symmetry."""
        first, second = (
            hermitian(self._step(index, volume, progress).volumes[0]) for index, volume in enumerate(references)
        )
        return first, second

    def log_gain(self, references: list[Tensor], progress: Progress) -> Floats:
        """(n,) ln of how much more probable the other half's reference makes each image than nothing does.

        In import order. Summed over the poses that a local search of the run covers, with all rots alike.
        """
        found = np.zeros(len(self.frozen))
        for index, rows in enumerate(self.rows):
            sums = self._step(index, references[1 - index], progress)
            found[rows] = sums.table["log_gain"].numpy()
        return found

    def _step(self, index: int, reference: Tensor, progress: Progress) -> Sums:
        model, particles = self.models[index], self.particles[index]
        sphere = transform(reference.to(self.device, self.dtype), model.radius, box_px=model.box_px)
        own = replace(model, component=replace(model.component, references=(Reference(sphere),)))
        memory_bytes = free_bytes(self.device, self.config.compute.memory_gb * 1e9)
        step = Expectation(own, self.frozen, self.dtype, self.device, memory_bytes)
        return step.run(particles, lambda done: progress(done, len(particles)))

    def references(self, sums: Pair, helix: Helix | None) -> tuple[list[Tensor], Floats]:
        """Wiener-filtered maps of both halves with a symmetry, and the FSC of the halves in the central part.

        The FSC is all that the halves share: low resolutions are not joined.

        Raises
        ------
        ValueError
            If the central part is shorter than a rise.
        """
        pixel, settings = self.state.facts.pixel_size_angst, self.config.helix
        tube = tube_of(self.config)
        outside = tube_mask(self.state.facts.box_px, pixel, tube)
        central = central_mask(self.state.facts.box_px, pixel, tube, settings.central_fraction)
        if helix is not None:
            count = units_per_segment(self.frozen, helix.rise_angst)
            first, second = (symmetrise_helix(half, helix, pixel, count) for half in sums)
            sums = first, second
        fsc = self._fsc(sums, (outside * central).to(sums[0].grid))
        made = []
        for half in sums:
            volume = reconstruct(half, signal_to_noise(fsc, joined=False) * reference_noise(half))
            if helix is not None:
                volume = impose(volume, pixel, helix, settings.central_fraction, tube)
            made.append(volume * outside.to(volume))
        return made, fsc

    def _fsc(self, sums: Pair, mask: Tensor) -> Floats:
        maps = [cache(_maker(half)) for half in sums]
        return half_map_fsc(self.config, self.state, sums, mask, maps)[0]


def _maker(half: Accumulator) -> Callable[[], Tensor]:
    return lambda: reconstruct(half, None)
