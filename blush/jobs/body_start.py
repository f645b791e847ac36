"""Iteration 0 of one body: half-maps of the consensus in its mask, and the noise of images without the consensus."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.config import RunConfig
from blush.expectation.background import Background, origins_angst
from blush.expectation.initial_noise import initial_noise
from blush.fourier.filter import multiply_shells
from blush.fourier.fsc import fsc
from blush.fourier.shift import round_half_away, shift_whole_pixels
from blush.fourier.transform import transform
from blush.io.files import save_npz
from blush.io.mrc import read_volume, write_volume
from blush.io.particles import ParticleSet
from blush.jobs.body_converge import MOTION_COLUMNS
from blush.jobs.body_import import moved, on_body
from blush.jobs.body_runs import BodyFacts, body_index, body_mask, half_map, read_bodies
from blush.jobs.converge import control_settings
from blush.jobs.inputs import environment, read_config, read_frozen_particles, read_plan
from blush.jobs.layout import RunFolder, Stopwatch
from blush.jobs.references import maps_of
from blush.jobs.sealed import checked, kept, written
from blush.jobs.start import first_poses
from blush.jobs.temperature import mask_temperature
from blush.maximization.motion import first_motion
from blush.maximization.noise import update_scale
from blush.maximization.resolution import resolutions_angst
from blush.maximization.spectra import signal_to_noise
from blush.refine.estimates import ImageModel, ReferenceModel
from blush.refine.start import FirstSampling, ParticleGeometry, first_body_state, first_state
from blush.refine.state import State, load_state, save_state
from blush.refine.subset import HALVES
from blush.validate.phase_randomise import solvent_corrected_fsc

IMAGES_FOR_SCALE = 100
"""Of each group, by which its grey scale is fitted."""
IMAGES_AT_ONCE = 256
Floats = NDArray[np.float64]


def start(root: Path) -> Path:
    """Write the state, references and poses from which iteration 1 of a body runs."""
    folder, watch = RunFolder(root), Stopwatch()
    if kept(folder, folder.state(0), folder.poses(0)):
        begun = load_state(folder.state(0))
        if kept(folder, *maps_of(folder, 0, begun, final=False)):
            return folder.state(0)
    config, whole = read_config(root), RunFolder(root.parent)
    environment(config)
    halves = [torch.from_numpy(read_volume(checked(whole, half_map(whole.root, half)))[0]) for half in HALVES]
    particles = read_frozen_particles(root)
    references, curves = _references(folder, config, halves)
    state = _first_state(folder, config, particles, halves, curves)
    for path, reference in zip(maps_of(folder, 0, state, final=False), references, strict=True):
        with written(folder, path) as beside:
            write_volume(beside, reference.numpy(), state.facts.pixel_size_angst)
    still = {"motion_mean": np.zeros((len(particles), 5)), "motion_square": np.zeros((len(particles), 5, 5))}
    norm = {"norm_correction": particles.norm_correction}
    with written(folder, folder.poses(0)) as beside:
        save_npz(beside, first_poses(particles) | norm | {name: still[name] for name in MOTION_COLUMNS})
    with written(folder, folder.state(0)) as beside:
        save_state(beside, state)
    folder.log(iteration=0, stage="start", done=1, total=1, **watch.read())
    return folder.state(0)


def _references(
    folder: RunFolder, config: RunConfig, halves: list[Tensor]
) -> tuple[list[Tensor], tuple[Floats, Floats]]:
    """What each half knows of the body, filtered by what they agree on inside its mask; that FSC, and the plain one."""
    facts = read_bodies(folder.root.parent)[body_index(folder.root)]
    mask = torch.from_numpy(read_volume(checked(folder, folder.imported / "mask.mrc"))[0])
    about = [moved(half, facts.centre_px) for half in halves]
    corrected = solvent_corrected_fsc(about[0], about[1], mask, config.seed).double()
    plain = fsc(about[0], about[1]).double()
    shared = _until_it_ends(corrected)
    return [multiply_shells(half, shared) * mask for half in about], (corrected.numpy(), plain.numpy())


def _until_it_ends(curve: Tensor) -> Tensor:
    """FSC between halves up to the first shell where it is not above 0, none beyond: the Wiener filter of one half."""
    below = torch.nonzero(curve[1:] <= 0).flatten()
    end = int(below[0]) + 1 if len(below) else len(curve)
    kept = curve.clamp(0, 1).clone()
    kept[0], kept[end:] = 1, 0
    return kept


def _first_state(
    folder: RunFolder, config: RunConfig, particles: ParticleSet, halves: list[Tensor], curves: tuple[Floats, Floats]
) -> State:
    optics, plan = particles.optics[0], read_plan(folder.root)
    pixel = optics.pixel_size_angst
    facts = read_bodies(folder.root.parent)[body_index(folder.root)]
    ssnr = signal_to_noise(curves[0], joined=False)
    resolution_angst = float(resolutions_angst(ssnr[None], optics.box_px * pixel, over_gaps=True)[0])
    groups = int(particles.group_index.max()) + 1
    geometry = ParticleGeometry(optics.box_px, pixel, config.particle_diameter_angst, config.symmetry, groups)
    sampling = FirstSampling(
        healpix_order=max(config.sampling.healpix_order, config.sampling.local_from_order),
        offset_range_angst=config.sampling.offset_range_px * pixel,
        offset_step_angst=config.sampling.offset_step_px * pixel,
        offset_sigma_angst=facts.sigma_offset_angst,
        local=True,
    )
    images = _images(folder, config, particles, halves, curves[0])
    settings = replace(control_settings(config), initial_lowpass_angst=resolution_angst)
    begun = first_state(geometry, sampling, settings, images.noise, config.seed, first_cc=False)
    none = ReferenceModel.first(1, len(HALVES), begun.facts.n_shells, resolution_angst)
    known = replace(none, fsc=curves[0][None], fsc_unmasked=curves[1][None], ssnr=ssnr[None])
    motion = first_motion(facts.sigma_rotation_deg, facts.sigma_offset_angst)
    begun = replace(begun, search=replace(begun.search, pose_temperature=mask_temperature(config, optics)))
    return first_body_state(begun, known, images, np.stack([motion] * len(plan.subsets)))


def _images(
    folder: RunFolder, config: RunConfig, particles: ParticleSet, halves: list[Tensor], shared: Floats
) -> ImageModel:
    """Grey scales of groups, and the noise of the body's images without what the consensus predicts."""
    facts = read_bodies(folder.root.parent)[body_index(folder.root)]
    solid, filtered = solid_mask(RunFolder(folder.root.parent)), _until_it_ends(torch.from_numpy(shared))
    noise, scales, norms = [], [], []
    for rows, half in zip(read_plan(folder.root).rows, halves, strict=True):
        predictor = Background(transform(multiply_shells(half, filtered) * solid, len(half) // 2), particles)
        own = particles.take(rows)
        known = Consensus(predictor, facts, float(own.norm_correction.mean()), np.ones(0))
        known = replace(known, scale=known.fitted_scale(own, int(particles.group_index.max()) + 1))
        noise.append(initial_noise(own, config.particle_diameter_angst, config.seed, known.residual).numpy())
        scales.append(known.scale)
        norms.append(known.norm_average)
    first = ImageModel.first(np.stack(noise), len(scales[0]), facts.sigma_offset_angst)
    return replace(first, scale=np.stack(scales), norm_average=np.array(norms))


@dataclass(frozen=True)
class Consensus:
    """What a half-map of the consensus predicts of images that are centred on one of its bodies.

    Attributes
    ----------
    norm_average
        Mean norm correction of the half.
    scale
        (groups,) grey scales.
    """

    predictor: Background
    facts: BodyFacts
    norm_average: float
    scale: Floats

    def predicted(self, particles: ParticleSet, factor: Tensor) -> Tensor:
        """(n, N, N) images of the whole consensus as they are stored, by a factor (n,)."""
        x, y, z = self.facts.centre_px
        back = replace(self.facts, centre_px=(-x, -y, -z))
        return self.predictor.images(on_body(particles, back, particles.optics[0].pixel_size_angst), factor)

    def residual(self, particles: ParticleSet) -> Tensor:
        """(n, N, N) images without the consensus, of equal contrast, moved by whole pixels onto the body's centre."""
        contrast = torch.from_numpy(particles.norm_correction) / self.norm_average
        factor = torch.from_numpy(self.scale)[torch.from_numpy(particles.group_index).long()] * contrast
        images = torch.from_numpy(particles.images()) - self.predicted(particles, factor)
        whole_px = round_half_away(origins_angst(particles) / particles.optics[0].pixel_size_angst)
        return shift_whole_pixels(images / contrast.to(images)[:, None, None], whole_px)

    def fitted_scale(self, particles: ParticleSet, n_groups: int) -> Floats:
        """(groups,) grey scale of each group by least squares over at most 100 of its images; their mean is 1."""
        group = particles.group_index.astype(np.int64)
        counts = np.bincount(group, minlength=n_groups)
        order = np.argsort(group, kind="stable")
        rank = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
        chosen = np.sort(order[rank < IMAGES_FOR_SCALE])
        if (counts > 0).sum() < 2:
            return np.ones(n_groups)
        cross, power = np.zeros(n_groups), np.zeros(n_groups)
        for begin in range(0, len(chosen), IMAGES_AT_ONCE):
            some = particles.take(chosen[begin : begin + IMAGES_AT_ONCE])
            model = self.predicted(some, torch.from_numpy(some.norm_correction) / self.norm_average).double()
            seen = torch.from_numpy(some.images()).double()
            model, seen = (one - one.mean((1, 2), keepdim=True) for one in (model, seen))
            np.add.at(cross, some.group_index, (seen * model).sum((1, 2)).numpy())
            np.add.at(power, some.group_index, model.square().sum((1, 2)).numpy())
        return update_scale(cross, power, np.ones(n_groups), counts)


def solid_mask(whole: RunFolder) -> Tensor:
    """Where any body is: the sum of all masks, at most 1, in the frame of the consensus."""
    n = len(read_bodies(whole.root))
    masks = (torch.from_numpy(read_volume(checked(whole, body_mask(whole.root, index)))[0]) for index in range(n))
    total = next(masks)
    for mask in masks:
        total = total + mask
    return total.clamp_max(1)
