"""Euler angles, rotation matrices and the distance between orientations."""

import torch
from torch import Tensor


def matrix_from_euler(euler_deg: Tensor) -> Tensor:
    """Rotation that takes a point of the volume to the image frame.

    A = Rz(psi) Ry(tilt) Rz(rot), with Rz(q) = [[c, s, 0], [-s, c, 0], [0, 0, 1]] and
    Ry(q) = [[c, 0, -s], [0, 1, 0], [s, 0, c]]. Its third row is the viewing direction.

    Parameters
    ----------
    euler_deg
        (..., 3) rot, tilt, psi in degrees, as in rlnAngleRot, rlnAngleTilt, rlnAnglePsi.

    Returns
    -------
    (..., 3, 3) matrices on columns of x, y, z, in the dtype of the input.

    References
    ----------
    Heymann, Chagoyen & Belnap 2005, doi:10.1016/j.jsb.2005.06.001 (ZYZ convention).
    """
    angles = torch.deg2rad(euler_deg)
    cosine, sine = torch.cos(angles), torch.sin(angles)
    (cr, ct, cp), (sr, st, sp) = cosine.unbind(-1), sine.unbind(-1)
    rows = [
        torch.stack([cp * ct * cr - sp * sr, cp * ct * sr + sp * cr, -cp * st], -1),
        torch.stack([-sp * ct * cr - cp * sr, -sp * ct * sr + cp * cr, sp * st], -1),
        torch.stack([st * cr, st * sr, ct], -1),
    ]
    return torch.stack(rows, -2)


def euler_from_matrix(matrix: Tensor) -> Tensor:
    """Rot, tilt and psi of rotation matrices: the inverse of `matrix_from_euler`.

    Parameters
    ----------
    matrix
        (..., 3, 3) rotations.

    Returns
    -------
    (..., 3) degrees; tilt in [0, 180], rot and psi in (-180, 180]. Where the tilt is 0 or 180
    only a sum or difference of rot and psi is defined, and rot is 0.
    """
    sine_tilt = torch.hypot(matrix[..., 2, 0], matrix[..., 2, 1])
    # Below this the direction of (a20, a21) is rounding noise, while psi from the upper left block is exact.
    pole = sine_tilt < 16 * torch.finfo(matrix.dtype).eps
    rot = torch.atan2(matrix[..., 2, 1], matrix[..., 2, 0])
    psi = torch.atan2(matrix[..., 1, 2], -matrix[..., 0, 2])
    psi_at_pole = torch.atan2(matrix[..., 0, 1], matrix[..., 1, 1])
    tilt = torch.atan2(sine_tilt, matrix[..., 2, 2])
    rot, psi = torch.where(pole, torch.zeros_like(rot), rot), torch.where(pole, psi_at_pole, psi)
    return torch.rad2deg(torch.stack([rot, tilt, psi], -1))


def rotation_vector(matrix: Tensor) -> Tensor:
    """Axis times angle of rotation matrices: R = exp([w]x), with [w]x y = w x y.

    Parameters
    ----------
    matrix
        (..., 3, 3) rotations.

    Returns
    -------
    (..., 3) radians, of a length in [0, pi]. At half a turn the axis is not told: that of x is given.
    """
    skew = torch.stack(
        [
            matrix[..., 2, 1] - matrix[..., 1, 2],
            matrix[..., 0, 2] - matrix[..., 2, 0],
            matrix[..., 1, 0] - matrix[..., 0, 1],
        ],
        -1,
    ) / 2  # fmt: skip
    sine = torch.linalg.vector_norm(skew, dim=-1)
    cosine = (matrix.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    angle = torch.atan2(sine, cosine)
    tiny = 16 * torch.finfo(matrix.dtype).eps
    factor = torch.where(sine > tiny, angle / sine.clamp_min(tiny), torch.ones_like(sine))
    half_turn = torch.zeros_like(skew)
    half_turn[..., 0] = torch.pi
    return torch.where(((sine <= tiny) & (cosine < 0))[..., None], half_turn, skew * factor[..., None])


def direction(rot_deg: Tensor, tilt_deg: Tensor) -> Tensor:
    """Viewing direction (sin t cos r, sin t sin r, cos t), the third row of the rotation matrix.

    Parameters
    ----------
    rot_deg, tilt_deg
        Degrees, of any one shape (...).

    Returns
    -------
    (..., 3) unit vectors x, y, z.
    """
    rot, tilt = torch.deg2rad(rot_deg), torch.deg2rad(tilt_deg)
    return torch.stack([torch.sin(tilt) * torch.cos(rot), torch.sin(tilt) * torch.sin(rot), torch.cos(tilt)], -1)


def random_directions(count: int, generator: torch.Generator) -> Tensor:
    """Uniform unit vectors x, y, z: (count, 3) float64."""
    points = torch.randn(count, 3, dtype=torch.float64, generator=generator)
    return torch.nn.functional.normalize(points, dim=1)


def angular_distance_deg(first: Tensor, second: Tensor, operators: Tensor | None = None) -> Tensor:
    """Angle of the rotation between two orientations, the smallest over symmetry mates.

    Parameters
    ----------
    first, second
        (..., 3, 3) orientations of the same particles.
    operators
        (o, 3, 3) symmetry operators; none means C1.

    Returns
    -------
    (...) degrees in [0, 180]; accurate to rounding near zero, where the arc cosine of a trace is not.
    """
    chord = _smallest_over_mates(first, second, operators)
    return torch.rad2deg(2 * torch.asin((chord / 8**0.5).clamp(max=1)))


def _smallest_over_mates(first: Tensor, second: Tensor, operators: Tensor | None) -> Tensor:
    """Smallest Frobenius norm of first - second S over operators S; the loop keeps memory at one mate."""
    best = torch.linalg.matrix_norm(first - second)
    for operator in () if operators is None else operators.to(second):
        best = torch.minimum(best, torch.linalg.matrix_norm(first - second @ operator))
    return best
