"""Poses against true poses, apart from the rotation and shift that a refinement may give its whole map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.geometry.rotation import angular_distance_deg, matrix_from_euler
from blush.geometry.symmetry import operators
from blush.io.particles import ParticleSet

CANDIDATES = 48
"""Particles that each propose the common rotation; one good pose among them is enough."""
JUDGES = 500
"""Particles that judge a proposal."""
REFINEMENTS = 5
"""Least-squares steps; two are enough to converge."""
AGREEMENT_DEG = 20.0
"""Median error up to which a common rotation is believed; random poses would otherwise choose one at random."""
OUTLIER = 3.0
"""Medians of the error beyond which a pose has no say about the common rotation and shift."""


@dataclass(frozen=True)
class Drift:
    """How a refined map lies relative to the true one: V(x) = V_true(R x + c).

    Attributes
    ----------
    rotation
        (3, 3) R, float64: estimated pose = true pose (times a symmetry operator) times R.
    shift_angst
        (3,) c along x, y, z.
    """

    rotation: Tensor
    shift_angst: Tensor

    @property
    def angle_deg(self) -> float:
        """Angle of the rotation."""
        return float(angular_distance_deg(self.rotation, torch.eye(3, dtype=self.rotation.dtype)))


@dataclass(frozen=True)
class PoseErrors:
    """Per-particle errors after removing the drift: (n,) float64 each."""

    angle_deg: Tensor
    shift_angst: Tensor
    drift: Drift

    def summary(self) -> dict[str, float]:
        """Medians, means, and the share of particles within 5°."""
        return {
            "angle_median_deg": float(self.angle_deg.median()),
            "angle_mean_deg": float(self.angle_deg.mean()),
            "within_5_deg": float((self.angle_deg < 5).double().mean()),
            "shift_median_angst": float(self.shift_angst.median()),
            "shift_mean_angst": float(self.shift_angst.mean()),
            "drift_deg": self.drift.angle_deg,
            "drift_angst": float(self.drift.shift_angst.norm()),
        }


def pose_errors(estimated: ParticleSet, truth: ParticleSet, symmetry: str = "C1") -> PoseErrors:
    """Errors of poses, row by row, smallest over symmetry mates.

    Raises
    ------
    ValueError
        If the sets differ in length or are empty.
    """
    if len(estimated) != len(truth) or len(truth) == 0:
        raise ValueError(f"{len(estimated)} estimated poses cannot be compared with {len(truth)} true ones")
    group = operators(symmetry)
    found, true = rotations(estimated), rotations(truth)
    rotation = common_rotation(found, true, group)
    aligned = found @ rotation.T
    angle = angular_distance_deg(aligned, true, group)
    difference = offsets(truth) - offsets(estimated)
    shift = torch.zeros(3, dtype=aligned.dtype)
    if float(angle.median()) <= AGREEMENT_DEG:
        shift = _common_shift(aligned, difference, angle)
    rest = difference - (aligned[:, :2] @ shift[:, None])[..., 0]
    return PoseErrors(angle, rest.norm(dim=1), Drift(rotation, shift))


def rotations(particles: ParticleSet) -> Tensor:
    """(n, 3, 3) float64 from the Euler angles."""
    columns = (particles.rot_deg, particles.tilt_deg, particles.psi_deg)
    return matrix_from_euler(torch.stack([torch.as_tensor(column, dtype=torch.float64) for column in columns], 1))


def offsets(particles: ParticleSet) -> Tensor:
    """(n, 2) float64 x and y in Å."""
    columns = (particles.offset_x_angst, particles.offset_y_angst)
    return torch.stack([torch.as_tensor(column, dtype=torch.float64) for column in columns], 1)


def common_rotation(found: Tensor, true: Tensor, group: Tensor) -> Tensor:
    """Rotation R for which found = true S R holds best, with any symmetry operator S per particle.

    Single particles propose R, the median error over others chooses, and least squares without outliers refines:
    wrong poses have no say unless they are the majority. Where even the best proposal leaves a median error over
    `AGREEMENT_DEG`, most poses are wrong and tell nothing about the map: R is then the identity.
    """
    n = len(found)
    proposals = torch.linspace(0, n - 1, min(n, CANDIDATES)).long()
    judges = torch.linspace(0, n - 1, min(n, JUDGES)).long()
    still = torch.eye(3, dtype=found.dtype)
    candidates = torch.cat([still[None], true[proposals].mT @ found[proposals]])
    turned = found[judges] @ candidates.mT[:, None]
    errors = angular_distance_deg(turned, true[judges].expand_as(turned), group)
    medians = errors.median(dim=1).values
    if float(medians.min()) > AGREEMENT_DEG:
        return still
    best = candidates[int(medians.argmin())]
    for _ in range(REFINEMENTS):
        best = _least_squares(found, true, group, best)
    return best


def _least_squares(found: Tensor, true: Tensor, group: Tensor, start: Tensor) -> Tensor:
    """R closest to the mates nearest to `start`, over the particles within `OUTLIER` medians."""
    mates = (true[:, None] @ group.to(true)).mT @ found[:, None]  # (n, o, 3, 3), each a proposal of R
    chord = (mates - start).square().sum((-1, -2))
    nearest, which = chord.min(dim=1)
    kept = nearest <= OUTLIER**2 * nearest.median()  # chord is squared
    rows = torch.arange(len(found))[kept]
    u, _, vh = torch.linalg.svd(mates[rows, which[kept]].sum(0))
    proper = torch.diag(torch.tensor([1.0, 1.0, float(torch.linalg.det(u @ vh).sign())], dtype=u.dtype))
    return u @ proper @ vh


def _common_shift(aligned: Tensor, difference: Tensor, angle: Tensor) -> Tensor:
    """Shift c for which each 2D difference is the projection of c: least squares without outliers."""
    rows, kept = aligned[:, :2], angle <= OUTLIER * angle.median()
    shift = torch.zeros(3, dtype=aligned.dtype)
    for _ in range(REFINEMENTS):
        shift = torch.linalg.lstsq(rows[kept].flatten(0, 1), difference[kept].flatten()[:, None], driver="gelsd")[0][
            :, 0
        ]
        rest = (difference - (rows @ shift[:, None])[..., 0]).norm(dim=1)
        kept = rest <= OUTLIER * rest.median()
    return shift
