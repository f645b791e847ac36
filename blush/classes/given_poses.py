"""Classification at given poses, in memory: every image is compared with maps of classes made without its fold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.classes.first_classes import LARGEST_RADIUS, MOST_IMAGES, FirstClasses, first_classes
from blush.expectation.component import Component, Reference
from blush.expectation.given_images import Kept, Place
from blush.expectation.initial_noise import initial_noise
from blush.expectation.model import Model
from blush.expectation.prepare import MASK_EDGE_PX
from blush.expectation.shard import Expectation
from blush.fourier.backproject import hermitian, symmetrise
from blush.fourier.mask import soft_circle
from blush.fourier.transform import sphere_radius, transform
from blush.geometry.sampling import OrientationGrid
from blush.geometry.symmetry import operators
from blush.io.particles import ParticleSet
from blush.maximization.cells import Cells, CellSums, map_size
from blush.maximization.class_sums import ClassSums
from blush.maximization.classes import ClassPrior, class_prior, class_references, mean_map
from blush.maximization.noise import update_noise

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
MORE_SHELLS = 10
"""Shells beyond the resolution of the mean in which images are compared, so that it can grow."""
LEAST_SHARE = 1e-6
FALLS = 2
"""Numbers of classes without more evidence after which no more are tried."""


@dataclass(frozen=True)
class ClassSettings:
    """How images are divided.

    Attributes
    ----------
    temperature
        What log likelihoods are divided by; None: what the circular mask, whose noise is correlated, asks for.
    difference_power
        Expected power of differences between classes over that of their mean.
    folds
        Parts of the images, an even number; each is compared with maps made without it.
    resolution_limit_angst
        Images are compared up to here at most; None: as far as the mean of all classes goes, and the memory allows.
    memory_bytes
        For the sums of all folds and classes; the radius of the comparison is cut to it.
    """

    n_classes: int
    particle_diameter_angst: float
    symmetry: str = "C1"
    temperature: float | None = None
    difference_power: float = 0.1
    folds: int = 4
    iterations: int = 16
    resolution_limit_angst: float | None = None
    seed: int = 1
    memory_bytes: float = 4e9
    device: str = "cpu"

    def temperature_of(self, particles: ParticleSet) -> float:
        """The temperature: where nothing is said, 1 over the mean square of the circular mask."""
        if self.temperature is not None:
            return self.temperature
        optics = particles.optics[0]
        radius_px = self.particle_diameter_angst / (2 * optics.pixel_size_angst)
        return 1 / float(soft_circle(optics.box_px, radius_px, MASK_EDGE_PX).square().mean())

    def largest_radius(self, particles: ParticleSet) -> int:
        """Last shell that may be compared: Nyquist, the limit, or what the memory holds."""
        box = particles.optics[0].box_px
        extent_angst = box * particles.optics[0].pixel_size_angst
        limit = box // 2 if self.resolution_limit_angst is None else round(extent_angst / self.resolution_limit_angst)
        held = self.memory_bytes / (16 * (self.folds + 2) * self.n_classes)  # sums of all folds, and those under way
        radius = max(1, min(box // 2, limit))
        while radius > 1 and (2 * sphere_radius(radius) + 1) ** 2 * (sphere_radius(radius) + 1) > held:
            radius -= 1
        return radius


@dataclass(frozen=True)
class Divided:
    """Images in classes.

    Attributes
    ----------
    posterior
        (n, K) of each image, by maps that were made without it.
    share
        (K,) fraction of the images in each class.
    maps
        K maps (N, N, N) of all images.
    noise
        (o, N/2 + 1) sigma^2 per component.
    radius
        Last shell in which images are compared.
    """

    posterior: Floats
    share: Floats
    maps: list[Tensor]
    noise: Tensor
    radius: int

    @property
    def labels(self) -> Labels:
        """(n,) most probable class of each image, from 0."""
        return self.posterior.argmax(1)


def model_of(
    particles: ParticleSet, maps: Sequence[Tensor], noise: Tensor, radius: int, settings: ClassSettings
) -> Model:
    """Maps that compete for images at the poses that these have; all are as probable before an image is seen."""
    optics, device = particles.optics[0], torch.device(settings.device)
    return Model(
        component=Component(
            tuple(Reference(transform(volume.to(device), radius, box_px=optics.box_px)) for volume in maps),
            OrientationGrid.build(0, "C1"),
        ),
        pixel_size_angst=optics.pixel_size_angst,
        particle_diameter_angst=settings.particle_diameter_angst,
        coarse_radius=radius,
        radius=radius,
        noise=noise,
        scale=torch.ones(int(particles.group_index.max()) + 1, dtype=torch.float64),
        norm_average=float(particles.norm_correction.mean()),
        offsets_angst=torch.zeros(1, 2, dtype=torch.float64),
        offset_step_angst=1.0,
        sigma_offset_angst=10.0,
        fixed_poses=True,
    )


def expectation_of(model: Model, particles: ParticleSet, settings: ClassSettings) -> Expectation:
    """The expectation step of a model."""
    return Expectation(model, particles, torch.float32, torch.device(settings.device))


def in_parts(together: Labels, n_parts: int, rng: np.random.Generator) -> Labels:
    """(n,) part of each row, drawn such that rows of one group are in one part and parts hold as many groups.

    Parameters
    ----------
    together
        (n,) number of each row's group.
    """
    groups, index = np.unique(together, return_inverse=True)
    return (rng.permutation(len(groups)) % n_parts)[index.reshape(-1)]


class Division:
    """A classification under way."""

    def __init__(self, particles: ParticleSet, together: Labels, settings: ClassSettings, mask: Tensor) -> None:
        self.particles, self.settings = particles, settings
        self.mask = mask.to(settings.device)
        rng = np.random.default_rng(settings.seed)
        self.fold = in_parts(together, settings.folds, rng)
        self.first = in_parts(together, settings.n_classes, rng)
        self.noise = initial_noise(particles, settings.particle_diameter_angst, settings.seed)
        self.share = np.full(settings.n_classes, 1 / settings.n_classes)
        self.largest = self.radius = settings.largest_radius(particles)
        self.operators = operators(settings.symmetry).to(settings.device)
        box = particles.optics[0].box_px
        nothing = torch.zeros(box, box, box, device=settings.device)
        self.references = [[nothing] * settings.n_classes] * settings.folds
        self.fields: list[Tensor] = []
        self.kept = Kept()

    def run(self, progress: Callable[[int, int], None]) -> Divided:
        """The mean of all images first, classes from its parts, then as many iterations as set.

        Parameters
        ----------
        progress
            Takes images that were compared, and how many will be.
        """
        n, rounds = len(self.particles), self.settings.iterations + 1
        for i in range(rounds):
            told = partial(_of_total, progress, rounds * n, i * n)
            sums, posterior = self._expect(i, told)
            self.share = posterior.mean(0)
            mask, fields = sums.cells.fit(self.mask).clamp(0, 1), [sums.cells.fit(one) for one in self.fields]
            prior = class_prior(sums, self.share, mask, self.settings.difference_power, fields)
            radius = min(self.largest, prior.shell + MORE_SHELLS)
            if i == 0 and self.settings.n_classes > 1:
                self._begin(sums, prior, mask)
                self.radius = radius
            elif i < rounds - 1:
                made, _ = class_references(sums, prior, mask, range(self.settings.folds))
                self.references = [maps for _, maps in made]
                self.radius = radius
        ((_, maps), *_), _ = class_references(sums, prior, mask, (None, *range(self.settings.folds)))
        return Divided(posterior, self.share, [sums.cells.full(one) for one in maps], self.noise, radius)

    def evidence(self, progress: Callable[[int, int], None]) -> list[float]:
        """Log likelihood of the images under 2, 3, ... classes over that under one, in nats.

        It goes on to K classes, or until `FALLS` more of them in a row bring nothing. Occupancies of parts are
        integrated out, and shares: a half of ln n for each but one (Schwarz 1978, doi:10.1214/aos/1176344136).
        """
        n, most = len(self.particles), self.settings.n_classes
        sums, _ = self._expect(0, partial(_of_total, progress, n, 0))
        mask = sums.cells.fit(self.mask).clamp(0, 1)
        prior = class_prior(sums, self.share, mask, self.settings.difference_power)
        found: list[float] = []
        for k in range(2, most + 1):
            found.append(self._first(sums, prior, mask, k).occupancies.evidence - (k - 1) * math.log(n) / 2)
            if len(found) > FALLS and max(found[-FALLS:]) <= max(found[:-FALLS]):
                break
        return found

    def _begin(self, sums: ClassSums, prior: ClassPrior, mask: Tensor) -> None:
        """First maps of classes, from what some images have of the parts of the mean map."""
        found = self._first(sums, prior, mask, self.settings.n_classes)
        fields = found.fields(sums.cells.map_px)
        self.fields, self.share = [sums.cells.full(one) for one in fields], found.occupancies.share.cpu().numpy()
        means = [mean_map(sums, prior, fold) * mask for fold in range(self.settings.folds)]
        self.references = [[one * field for field in fields] for one in means]

    def _first(self, sums: ClassSums, prior: ClassPrior, mask: Tensor, n_classes: int) -> FirstClasses:
        settings, mean = self.settings, mean_map(sums, prior, None)
        model = model_of(self.particles, [mean], self.noise, min(prior.shell, LARGEST_RADIUS, self.largest), settings)
        rows = np.random.default_rng(settings.seed).permutation(len(self.particles))[:MOST_IMAGES]
        step = expectation_of(model, self.particles, settings)
        some, temperature = self.particles.take(np.sort(rows)), settings.temperature_of(self.particles)
        return first_classes(step, some, mean, mask, n_classes, temperature, settings.seed)

    def _expect(self, iteration: int, progress: Callable[[int], None]) -> tuple[ClassSums, Floats]:
        """Sums by fold and class, and the posterior; the noise is updated."""
        temperature = self.settings.temperature_of(self.particles)
        folds: list[list[CellSums]] = []
        posterior = np.ones((len(self.particles), self.settings.n_classes))
        residual, weight = np.zeros_like(self.noise), np.zeros(len(self.noise))
        done = 0
        for f in range(self.settings.folds):
            rows = np.flatnonzero(self.fold == f)
            images = self.particles.take(rows)
            images = replace(images, confined_to=None if iteration else self.first[rows])
            step = expectation_of(self._model(f, temperature), self.particles, self.settings)
            place = Place(self.kept, self.settings.seed, f, self.settings.memory_bytes / 4)
            sums = step.run(images, partial(_from, progress, done), place)
            done += len(rows)
            if self.settings.n_classes > 1:
                posterior[rows] = sums.table["shares"].numpy()
            residual += sums.noise.cpu().numpy()
            weight += sums.weight.cpu().numpy()
            summed = (symmetrise(hermitian(volume), self.operators) for volume in sums.volumes)
            size = map_size(self.particles.optics[0].box_px, self.radius)
            folds.append([Cells.of(one, size).pack(one) for one in summed])
        if iteration:  # in the first there is nothing that images could be compared with
            self.noise = torch.from_numpy(update_noise(residual, weight, self.noise.numpy()))
        return ClassSums(folds), posterior

    def _model(self, fold: int, temperature: float) -> Model:
        model = model_of(self.particles, self.references[fold], self.noise, self.radius, self.settings)
        log_share = np.log(np.maximum(self.share, LEAST_SHARE) * len(self.share))
        pairs = zip(model.component.references, log_share.tolist(), strict=True)
        references = tuple(replace(one, log_prior=value) for one, value in pairs)
        return replace(model, component=replace(model.component, references=references), temperature=temperature)


def _from(progress: Callable[[int], None], before: int, done: int) -> None:
    """Tell what was done in one part of the work, after what was done before it."""
    progress(before + done)


def _of_total(progress: Callable[[int, int], None], total: int, before: int, done: int) -> None:
    """Tell the same with the number of all."""
    progress(before + done, total)
