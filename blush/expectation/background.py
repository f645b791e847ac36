"""What a known part of the particle adds to every image at its present pose: predicted, measured and moved.

An image is the sum of what its parts predict, so that the part outside a mask can be predicted from the map outside the
mask and be taken away. The prediction is that of the expectation step (docs/algorithm.md, section 3), but in the frame
of the image as it is stored: displaced by minus the origin, with the aberrations and the detector's response that the
expectation step undoes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blush.expectation.model import Model
from blush.expectation.optics import OpticsTables
from blush.expectation.prepare import image_of
from blush.fourier.packed import packed
from blush.fourier.project import project
from blush.fourier.shift import multiply, phases, round_half_away
from blush.fourier.transform import Sphere
from blush.geometry.rotation import matrix_from_euler
from blush.io.particles import POSE, ParticleSet
from blush.io.upload import uploaded


class Background:
    """Predicts images of a map, or of a part of it, as they are stored."""

    def __init__(self, sphere: Sphere, particles: ParticleSet) -> None:
        self.sphere, device = sphere, sphere.values.device
        self.dtype = sphere.values.real.dtype
        self.pixels = packed(sphere.box_px, str(device))
        self.n_pixels = self.pixels.inside(sphere.r_max)
        self.tables = OpticsTables(particles, self.pixels, self.dtype)

    def images(self, particles: ParticleSet, factor: Tensor) -> Tensor:
        """Predicted images.

        Parameters
        ----------
        factor
            (n,) group scale times the particle's norm correction over the average one: stored images are not corrected.

        Returns
        -------
        (n, N, N). The box is periodic: what the CTF carries over an edge comes in at the other.
        """
        device, pixel_angst = self.sphere.values.device, particles.optics[0].pixel_size_angst
        slices = project(self.sphere, uploaded(rotations(particles), device), self.pixels, self.n_pixels)
        transfer = self.tables.transfer(particles, self.tables.ctf(particles, self.n_pixels))
        slices = slices * (transfer * uploaded(factor, device, self.dtype)[:, None])[:, None]
        origin_px = uploaded(origins_angst(particles), device) / pixel_angst
        slices = multiply(slices, phases(-origin_px, self.pixels, self.n_pixels, self.dtype))
        if self.tables.correction is not None:
            group = uploaded(particles.optics_index, device).long()
            slices = multiply(slices, _inverse(self.tables.correction[..., : self.n_pixels])[group])
        return image_of(slices, self.pixels)


class Seen:
    """Images as an expectation step takes them: as they are stored, less what other parts of the particle show."""

    def __init__(
        self, background: Sequence[Background], model: Model, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.background, self.model = tuple(background), model.on(device)
        self.dtype, self.device = dtype, device

    def images(self, particles: ParticleSet) -> Tensor:
        """(b, N, N) on the device.

        Raises
        ------
        ValueError
            Where particles have no poses of these parts.
        """
        images = uploaded(particles.images(), self.device, self.dtype)
        if not self.background:
            return images
        poses = particles.background
        if poses is None or poses.shape[1:] != (len(self.background), len(POSE)):
            raise ValueError(f"images have no poses of {len(self.background)} other parts of the particle")
        group = uploaded(particles.group_index, self.device).long()
        contrast = uploaded(particles.norm_correction, self.device) / self.model.norm_average
        factor = self.model.scale[group] * contrast
        for part, known in enumerate(self.background):
            columns: dict[str, Any] = dict(zip(POSE, poses[:, part].T, strict=True))
            images -= known.images(replace(particles, **columns), factor)
        return images


def rotations(particles: ParticleSet) -> Tensor:
    """(n, 3, 3) float64, volume to image."""
    angles = np.stack([particles.rot_deg, particles.tilt_deg, particles.psi_deg], axis=1)
    return matrix_from_euler(torch.from_numpy(angles))


def origins_angst(particles: ParticleSet) -> Tensor:
    """(n, 2) float64 x and y of the shift that centres each particle, in Å."""
    return torch.from_numpy(np.stack([particles.offset_x_angst, particles.offset_y_angst], axis=1))


def _inverse(factor: Tensor) -> Tensor:
    """1 / factor, planar (..., 2, p)."""
    conjugate = torch.stack((factor[..., 0, :], -factor[..., 1, :]), dim=-2)
    return conjugate / factor.square().sum(-2, keepdim=True)


class AmplitudeFit:
    """Sums of a least-squares fit of one amplitude a: images = a x predictions + noise, constants left out."""

    def __init__(self) -> None:
        self._cross: list[Tensor] = []
        self._power: list[Tensor] = []

    def add(self, images: Tensor, predicted: Tensor) -> None:
        """Take in (n, N, N) images and their predictions of amplitude 1."""
        centred, model = (x.double() - x.double().mean((1, 2), keepdim=True) for x in (images, predicted))
        self._cross.append((centred * model).sum((1, 2)).cpu())
        self._power.append(model.square().sum((1, 2)).cpu())

    def result(self) -> tuple[float, float]:
        """The amplitude and its standard error, from the scatter between images; 0 and infinity without any signal."""
        cross, power = torch.cat(self._cross), torch.cat(self._power)
        total = float(power.sum())
        if not total > 0:
            return 0.0, float("inf")
        amplitude = float(cross.sum()) / total
        return amplitude, float((cross - amplitude * power).square().sum().sqrt()) / total


def recentred(particles: ParticleSet, centre_px: Tensor) -> tuple[Tensor, Tensor]:
    """Whole pixels to move each image by, and the origin that is left, so that a point of the map is the new centre.

    Parameters
    ----------
    centre_px
        (3,) x, y, z of the point, counted from the centre voxel of the map.

    Returns
    -------
    (n, 2) int64 pixels, and (n, 2) float64 remaining origin in Å, within half a pixel.
    """
    pixel_angst = particles.optics[0].pixel_size_angst
    wanted_px = origins_angst(particles) / pixel_angst - rotations(particles)[:, :2] @ centre_px.double()
    whole_px = round_half_away(wanted_px)
    return whole_px, (wanted_px - whole_px) * pixel_angst


def moved_and_cropped(images: Tensor, whole_px: Tensor, box_px: int) -> Tensor:
    """Images moved by whole pixels, what leaves at one edge coming in at the other, cropped about the centre pixel.

    An edge filled with zeros would have no noise, which every likelihood supposes to be everywhere.

    Parameters
    ----------
    images
        (n, N, N).
    whole_px
        (n, 2) int64 x and y.
    box_px
        Side of the result, at most N.
    """
    n, size = images.shape[0], images.shape[-1]
    window = torch.arange(box_px, device=images.device) + size // 2 - box_px // 2
    x, y = ((window - whole_px[:, axis, None].to(images.device)) % size for axis in (0, 1))
    row = torch.arange(n, device=images.device)[:, None, None]
    return images[row, y[:, :, None], x[:, None, :]]
