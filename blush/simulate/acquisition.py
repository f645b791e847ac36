"""Random views, offsets and defocus of particles, drawn per micrograph so that every subset is the same."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from blush.simulate.settings import Imaging, SimulateConfig, Views

# One stream of random numbers per purpose, so that a change in one leaves the others as they are.
_POSES, _DEFOCUS, _NOISE, _TEXTURE, _SPECIES, _JUNK, _BODIES, _FILAMENTS, _PHASES = range(9)


@dataclass(frozen=True)
class Acquisition:
    """How each particle was seen; equal-length arrays, in order of micrograph.

    Attributes
    ----------
    euler_deg
        (n, 3) rot, tilt, psi.
    origin_angst
        (n, 2) shift to apply to the image to centre the particle, x and y.
    defocus_angst
        (n, 2) U and V.
    defocus_angle_deg
        (n,) direction of U.
    micrograph, optics
        (n,) numbers from 0.
    """

    euler_deg: Tensor
    origin_angst: Tensor
    defocus_angst: Tensor
    defocus_angle_deg: Tensor
    micrograph: Tensor
    optics: Tensor

    def __len__(self) -> int:
        return len(self.micrograph)

    def take(self, rows: slice | Tensor) -> "Acquisition":
        """Some of the particles."""
        return Acquisition(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def draw_acquisition(settings: SimulateConfig) -> Acquisition:
    """Draw every particle of a set; a set of fewer particles is the beginning of a larger one."""
    per_micrograph = settings.imaging.particles_per_micrograph
    micrographs = range(-(-settings.imaging.n_particles // per_micrograph))
    parts = [_micrograph(settings, number) for number in micrographs]
    columns = [torch.cat([getattr(p, name) for p in parts]) for name in Acquisition.__dataclass_fields__]
    return Acquisition(*columns).take(slice(0, settings.imaging.n_particles))


def noise_generator(seed: int, micrograph: int) -> np.random.Generator:
    """Random numbers for the noise of one micrograph."""
    return np.random.default_rng([seed, micrograph, _NOISE])


def texture_generator(seed: int, micrograph: int) -> np.random.Generator:
    """Random numbers for the disorder in one micrograph."""
    return np.random.default_rng([seed, micrograph, _TEXTURE])


def species_generator(seed: int, micrograph: int = 0) -> np.random.Generator:
    """Random numbers that say what the particles of one micrograph are; by default, of all of them."""
    return np.random.default_rng([seed, micrograph, _SPECIES])


def junk_generator(seed: int, micrograph: int, kind: int) -> np.random.Generator:
    """Random numbers for the junk of one micrograph, of one kind by its number."""
    return np.random.default_rng([seed, micrograph, _JUNK, kind])


def body_generator(seed: int, micrograph: int, body: int, motion: int) -> np.random.Generator:
    """Random numbers for one motion of one body in one micrograph, each by its number."""
    return np.random.default_rng([seed, micrograph, _BODIES, body, motion])


def filament_generator(seed: int, filament: int) -> np.random.Generator:
    """Random numbers for the course of one filament, by its number."""
    return np.random.default_rng([seed, filament, _FILAMENTS])


def phase_generator(seed: int, filament: int) -> np.random.Generator:
    """Random numbers for the phases of one filament's image."""
    return np.random.default_rng([seed, filament, _PHASES])


def micrograph_defocus(settings: SimulateConfig, micrograph: int) -> tuple[np.ndarray, np.ndarray]:
    """(1, 2) defocus U and V in Å, and (1,) angle of U in degrees, of a micrograph as a whole."""
    flat = settings.imaging.model_copy(update={"defocus_sd_angst": 0.0})
    return _defocus(flat, 1, np.random.default_rng([settings.seed, micrograph, _DEFOCUS]))


def _micrograph(settings: SimulateConfig, number: int) -> Acquisition:
    """All particles of one micrograph."""
    imaging, count = settings.imaging, settings.imaging.particles_per_micrograph
    poses = np.random.default_rng([settings.seed, number, _POSES])
    direction = view_directions(settings.views, count, poses)
    rot = np.degrees(np.arctan2(direction[:, 1], direction[:, 0]))
    tilt = np.degrees(np.arccos(np.clip(direction[:, 2], -1, 1)))
    psi = poses.uniform(-180, 180, count)
    origin = poses.normal(0, imaging.offset_sd_angst, (count, 2))
    defocus, angle = _defocus(imaging, count, np.random.default_rng([settings.seed, number, _DEFOCUS]))
    return Acquisition(
        euler_deg=torch.from_numpy(np.stack([rot, tilt, psi], 1)),
        origin_angst=torch.from_numpy(origin),
        defocus_angst=torch.from_numpy(defocus),
        defocus_angle_deg=torch.from_numpy(angle),
        micrograph=torch.full((count,), number),
        optics=torch.full((count,), number % len(imaging.optics)),
    )


def _defocus(imaging: Imaging, count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) defocus U and V in Å, U the larger, and (n,) angle of U in degrees."""
    mean = generator.uniform(imaging.defocus_min_angst, imaging.defocus_max_angst)
    difference = abs(generator.normal(0, imaging.astigmatism_sd_angst))
    angle = generator.uniform(0, 180)
    height = mean + generator.normal(0, imaging.defocus_sd_angst, count)
    return np.stack([height + difference / 2, height - difference / 2], 1), np.full(count, angle)


def view_directions(views: Views, count: int, generator: np.random.Generator) -> np.ndarray:
    """(n, 3) viewing directions: uniform, or von Mises-Fisher around a preferred axis chosen at random.

    References
    ----------
    Wood 1994, doi:10.1080/03610919408813161; on the sphere the distribution along the axis is in closed form.
    """
    uniform, height, turn, gathered, choice = generator.uniform(size=(5, count))
    along = 2 * uniform - 1
    if not views.preferred_axes:
        return _around(np.tile([0.0, 0.0, 1.0], (count, 1)), along, turn)
    axes = np.array(views.preferred_axes, dtype=float)
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    axis = axes[(choice * len(axes)).astype(int)]
    concentration = views.concentration
    peaked = 1 + np.log(height + (1 - height) * np.exp(-2 * concentration)) / concentration
    return _around(axis, np.where(gathered < views.preferred_fraction, peaked, along), turn)


def _around(axis: np.ndarray, along: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """(n, 3) unit vectors with a given component along an axis and a given turn (0 to 1) about it."""
    helper = np.where(np.abs(axis[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    first = np.cross(helper, axis)
    first = first / np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(axis, first)
    across = np.sqrt(np.clip(1 - along**2, 0, None))
    phase = 2 * np.pi * turn
    return (
        along[:, None] * axis + (across * np.cos(phase))[:, None] * first + (across * np.sin(phase))[:, None] * second
    )
