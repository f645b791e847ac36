"""How bodies move in each image: rotations and displacements drawn from their spreads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from blush.errors import BlushError, Problem
from blush.simulate.acquisition import body_generator
from blush.simulate.atoms import Unit
from blush.simulate.bodies import SimulatedBody, touching_angst
from blush.simulate.body_settings import Motion, Turn
from blush.simulate.changes import check_part, middle_of
from blush.simulate.mixture_settings import Part
from blush.simulate.settings import SimulateConfig

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Moved:
    """Truth of B bodies in n images: a point x goes to R (x - c) + c + t, with c the body's centre.

    Attributes
    ----------
    rotation
        (B, n, 3, 3) float64, R.
    displacement_angst
        (B, n, 3) float64, t.
    mode
        (B, n) int64: 1 or 2 of a bimodal motion, 0 where there is none.
    """

    rotation: Tensor
    displacement_angst: Tensor
    mode: Tensor


@dataclass(frozen=True)
class _Affine:
    """x -> R x + v in each of n images."""

    rotation: Floats
    vector: Floats

    def then(self, rotation: Floats, vector: Floats) -> "_Affine":
        """Both motions, the given one last."""
        return _Affine(rotation @ self.rotation, np.einsum("nij,nj->ni", rotation, self.vector) + vector)


def draw_motions(unit: Unit, bodies: tuple[SimulatedBody, ...], settings: SimulateConfig) -> Moved:
    """Draw the motion of every body in every image; a set of fewer images is the beginning of a larger one.

    Raises
    ------
    BlushError
        Where a hinge or axis selects nothing, or a body would leave the box.
    """
    count = settings.imaging.n_particles
    per_micrograph = settings.imaging.particles_per_micrograph
    moved: list[_Affine] = []
    modes: list[Integers] = []
    numbers = {body.name: number for number, body in enumerate(settings.bodies)}
    for number, body in enumerate(settings.bodies):
        affine = _Affine(np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 3)))
        mode = np.zeros(count, dtype=np.int64)
        for place, motion in enumerate(body.motions):
            axis = _direction(unit, motion, body.name)
            point = _hinge(unit, bodies, number, motion) if isinstance(motion, Turn) else None
            parts = [
                _amounts(motion, axis, per_micrograph, body_generator(settings.seed, micrograph, number, place))
                for micrograph in range(-(-count // per_micrograph))
            ]
            amount, which = (np.concatenate(columns)[:count] for columns in zip(*parts, strict=True))
            affine = affine.then(*_as_affine(amount, point))
            mode = np.maximum(mode, which)
        if body.rides_on is not None:
            carrier = moved[numbers[body.rides_on]]
            affine = affine.then(carrier.rotation, carrier.vector)
        moved.append(affine)
        modes.append(mode)
    found = _about_centres(moved, bodies, modes)
    _check_box(found, bodies, settings)
    return found


def _amounts(
    motion: Motion, axis: Floats | None, count: int, generator: np.random.Generator
) -> tuple[Floats, Integers]:
    """(n, 3) rotation vectors in degrees or shifts in Å, and (n,) modes."""
    width = motion.width_deg if isinstance(motion, Turn) else motion.width_angst
    shape = (count, 3) if axis is None else (count, 1)
    mode = np.zeros(count, dtype=np.int64)
    if motion.spread == "uniform":
        amount = generator.uniform(-width, width, shape)
    else:
        amount = generator.normal(0, width, shape)
    if motion.spread == "bimodal":
        mode = np.where(generator.uniform(size=count) < motion.first_share, 1, 2)
        amount = amount + (motion.gap * (mode - 1.5))[:, None]
    return (amount if axis is None else amount * axis), mode


def _as_affine(amount: Floats, point: Floats | None) -> tuple[Floats, Floats]:
    """Rotation vectors in degrees about a point, or shifts where there is none, as R and v."""
    if point is None:
        return np.tile(np.eye(3), (len(amount), 1, 1)), amount
    rotation = Rotation.from_rotvec(amount, degrees=True).as_matrix()
    return rotation, point - rotation @ point


def _direction(unit: Unit, motion: Motion, name: str) -> Floats | None:
    """Unit vector of a motion's axis; None for all of them."""
    if motion.axis is None:
        return None
    first, second = motion.axis[0], motion.axis[1]
    if isinstance(first, Part) and isinstance(second, Part):
        for part in (first, second):
            check_part(unit, part, f"axis of body {name}")
        axis = (middle_of(unit, second) - middle_of(unit, first)).numpy()
        if np.linalg.norm(axis) < 1e-3:
            problem = Problem("both ends of the axis are one point", "choose other atoms", where=f"body {name}")
            raise BlushError("cannot simulate bodies", [problem])
    else:
        axis = np.array(motion.axis, dtype=np.float64)
    return np.asarray(axis / np.linalg.norm(axis))


def _hinge(unit: Unit, bodies: tuple[SimulatedBody, ...], number: int, motion: Turn) -> Floats:
    """(3,) point about which a body turns."""
    if motion.through is None:
        return np.asarray(touching_angst(bodies, number).numpy())
    if isinstance(motion.through, Part):
        check_part(unit, motion.through, f"hinge of body {bodies[number].name}")
        return np.asarray((middle_of(unit, motion.through) - unit.frame.middle_angst).numpy())
    return np.array(motion.through, dtype=np.float64)


def _about_centres(moved: Sequence[_Affine], bodies: tuple[SimulatedBody, ...], modes: Sequence[Integers]) -> Moved:
    """Motions x -> R x + v as R (x - c) + c + t."""
    rotation = torch.from_numpy(np.stack([one.rotation for one in moved]))
    vector = torch.from_numpy(np.stack([one.vector for one in moved]))
    centre = torch.stack([body.centre_angst for body in bodies])[:, None]
    displacement = (rotation @ centre[..., None])[..., 0] + vector - centre
    return Moved(rotation, displacement, torch.from_numpy(np.stack(modes)))


def _check_box(moved: Moved, bodies: tuple[SimulatedBody, ...], settings: SimulateConfig) -> None:
    """Refuse bodies that some image carries out of the box."""
    side = settings.imaging.box_px * settings.imaging.pixel_size_angst
    for body, displacement in zip(bodies, moved.displacement_angst, strict=True):
        reach = float((body.centre_angst + displacement).norm(dim=1).max()) + body.radius_angst
        if reach > side / 2:
            box = 2 * int(reach / settings.imaging.pixel_size_angst + 1)
            message = f"body {body.name} reaches {reach:.0f} Å from the centre of a box of {side:.0f} Å"
            remedy = f"raise imaging.box_px to {box}, or let it move less"
            raise BlushError("cannot simulate bodies", [Problem(message, remedy, where="imaging.box_px")])
