"""Bodies that move: a pose of each body in each image, and RELION's way of writing it (docs/multibody.md).

A point x of the consensus goes to R (x - c) + c + t, in the image to A (...) - o: c is the body's centre, R its
rotation and t its displacement against the consensus, A and o are the consensus pose. A body's map is re-centred:
the voxel at c is the centre N/2 of its box. All points are x, y, z in Å from the centre N/2 of the consensus box.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.errors import BlushError, Problem
from blush.geometry.rotation import euler_from_matrix, matrix_from_euler

_INSIDE = 0.05
"""Values of a mask above this count for its radius."""
_QUARTER = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (-1.0, 0.0, 0.0))
"""Y of RELION: undoes a tilt of 90 degrees, so that residual angles (0, 90, 0) mean no rotation."""


@dataclass(frozen=True)
class BodyExtent:
    """Where a body is, from its mask.

    Parameters
    ----------
    centre_px
        (3,) float64, x, y, z from voxel N/2: centroid or fulcrum, rounded to whole voxels, ties away from zero.
    centroid_px
        (3,) the centroid before rounding.
    radius_px
        Largest distance from the centroid, or from the voxel of the fulcrum, at which the mask is above 0.05.
    """

    centre_px: Tensor
    centroid_px: Tensor
    radius_px: float

    @classmethod
    def of(cls, mask: Tensor, fulcrum_px: Tensor | None = None) -> "BodyExtent":
        """Extent of a mask.

        Parameters
        ----------
        mask
            (N, N, N) values from 0 to 1, axes z, y, x.
        fulcrum_px
            (3,) x, y, z from voxel N/2 of a point to take for its centre; None: the centroid.

        Raises
        ------
        ValueError
            If nothing of it is above 0.05.
        """
        weights = mask.double()
        lines = [torch.arange(size, dtype=torch.float64, device=mask.device) - size // 2 for size in mask.shape]
        sums = [weights.sum((1, 2)), weights.sum((0, 2)), weights.sum((0, 1))]
        inside = (mask > _INSIDE).nonzero()
        if len(inside) == 0:
            raise ValueError(f"no value of the mask is above {_INSIDE}")
        centroid = torch.stack([line @ total / total.sum() for line, total in zip(lines, sums, strict=True)])
        points = torch.stack([line[inside[:, axis]] for axis, line in enumerate(lines)], 1)
        centre = _rounded(centroid.flip(0) if fulcrum_px is None else fulcrum_px.to(centroid))
        about = centroid if fulcrum_px is None else centre.flip(0)
        radius = float(torch.linalg.vector_norm(points - about, dim=1).max())
        return cls(centre, centroid.flip(0), radius)


def body_pose(
    view: Tensor, origin_angst: Tensor, rotation: Tensor, shift_angst: Tensor, centre_angst: Tensor
) -> tuple[Tensor, Tensor]:
    """Plain pose of a re-centred body: the inverse of `body_motion`.

    Parameters
    ----------
    view, origin_angst
        (..., 3, 3) and (..., 2) consensus poses A and o, o as in rlnOriginXAngst and rlnOriginYAngst.
    rotation
        (..., 3, 3) rotations R of the body in the frame of the consensus.
    shift_angst
        (..., 2) what is seen of the displacement, (A t)_xy: `seen_shift` makes it from t, as of `hinge_shift`.
    centre_angst
        (..., 3) centre c of the body.

    Returns
    -------
    (..., 3, 3) rotations A R, and (..., 2) origins o - (A c)_xy - (A t)_xy in Å.
    """
    return view @ rotation, origin_angst - seen_shift(view, centre_angst) - shift_angst


def body_motion(
    view: Tensor, origin_angst: Tensor, body_view: Tensor, body_origin_angst: Tensor, centre_angst: Tensor
) -> tuple[Tensor, Tensor]:
    """Motion of a body against the consensus, from both plain poses: the inverse of `body_pose`.

    Parameters
    ----------
    view, origin_angst
        (..., 3, 3) and (..., 2) consensus poses.
    body_view, body_origin_angst
        (..., 3, 3) and (..., 2) poses of the re-centred body.
    centre_angst
        (..., 3) centre of the body.

    Returns
    -------
    (..., 3, 3) rotations R, and (..., 2) seen shifts (A t)_xy in Å; the third component of t cannot be seen.
    """
    return view.mT @ body_view, origin_angst - seen_shift(view, centre_angst) - body_origin_angst


def seen_shift(view: Tensor, vector_angst: Tensor) -> Tensor:
    """What an image shows of a vector of the consensus frame: x and y of A v.

    Parameters
    ----------
    view
        (..., 3, 3) consensus orientations A.
    vector_angst
        (..., 3) vectors v, as displacements t or centres c.

    Returns
    -------
    (..., 2) x, y in the unit of the vectors.
    """
    return (view[..., :2, :] @ vector_angst[..., None])[..., 0]


def hinge_shift(rotation: Tensor, centre_angst: Tensor, hinge_angst: Tensor) -> Tensor:
    """Displacement t of a body's centre when it turns about a hinge: (R - 1)(c - h).

    Parameters
    ----------
    rotation
        (..., 3, 3) rotations R.
    centre_angst, hinge_angst
        (..., 3) centre c of the body and point h about which it turns.

    Returns
    -------
    (..., 3) in Å; `seen_shift` makes of it what an image shows.
    """
    arm = (centre_angst - hinge_angst)[..., None]
    return (rotation @ arm - arm)[..., 0]


def body_axis(centre_angst: Tensor, partner_angst: Tensor | None, name: str) -> Tensor:
    """Axis u of RELION's frame of a body: towards the body that it turns against, or towards the box centre.

    Parameters
    ----------
    centre_angst
        (3,) centre of the body.
    partner_angst
        (3,) centre of the body that it hinges with; None: the centre of the box.
    name
        The name of the body, for the error.

    Returns
    -------
    (3,) unit vector.

    Raises
    ------
    BlushError
        If both are one point: then no axis is defined.
    """
    line = -centre_angst if partner_angst is None else partner_angst - centre_angst
    length = torch.linalg.vector_norm(line)
    if length < 1e-6:
        other = "of the box" if partner_angst is None else "of the body that it hinges with"
        remedy = "name another body in hinge_with, or draw its mask anew"
        problem = Problem(f"its centre is that {other}, so that its axis of rotation is undefined", remedy, where=name)
        raise BlushError("a body has no axis", [problem])
    return line / length


def body_frame(axis: Tensor) -> Tensor:
    """RELION's rotation O that brings -u, the axis reversed, onto Z; `residual_rotation` refers to it.

    Parameters
    ----------
    axis
        (..., 3) unit vectors u of `body_axis`.

    Returns
    -------
    (..., 3, 3) rotations whose third rows are -u.
    """
    x, y, z = (-axis).unbind(-1)
    p = torch.hypot(y, z)
    zero, one = torch.zeros_like(p), torch.ones_like(p)
    along_x = p == 0
    q = torch.where(along_x, one, p)
    rows = [
        torch.stack([p, -x * y / q, torch.where(along_x, -x, -x * z / q)], -1),
        torch.stack([zero, torch.where(along_x, one, z / q), -y / q], -1),
        torch.stack([x, y, z], -1),
    ]
    return torch.stack(rows, -2)


def residual_rotation(euler_deg: Tensor, frame: Tensor) -> Tensor:
    """Rotation of a body from RELION's residual angles, O^T Y A(rot, tilt, psi) O: the inverse of `residual_euler`.

    Parameters
    ----------
    euler_deg
        (..., 3) rot, tilt, psi of a table data_images_body_N; (0, 90, 0) is no rotation.
    frame
        (3, 3) O of the body, of `body_frame`.

    Returns
    -------
    (..., 3, 3) rotations R in the frame of the consensus; the orientation of the body is A R.

    References
    ----------
    Nakane, Kimanius, Lindahl & Scheres 2018, doi:10.7554/eLife.36861.
    """
    return frame.mT @ _quarter(frame) @ matrix_from_euler(euler_deg) @ frame


def residual_euler(rotation: Tensor, frame: Tensor) -> Tensor:
    """RELION's residual angles of rotations of a body: the inverse of `residual_rotation`.

    Parameters
    ----------
    rotation
        (..., 3, 3) rotations R in the frame of the consensus.
    frame
        (3, 3) O of the body.

    Returns
    -------
    (..., 3) rot, tilt, psi in degrees.
    """
    return euler_from_matrix(_quarter(frame).mT @ frame @ rotation @ frame.mT)


def relion_offset(
    view: Tensor, origin_angst: Tensor, body_origin_angst: Tensor, centre_angst: Tensor, pixel_size_angst: float
) -> Tensor:
    """RELION's offset of a body from the origin of its plain pose: the inverse of `origin_from_relion`.

    RELION shifts an image by whole pixels first, n = round(o - (A c)_xy), and writes what is left, so that its
    offsets are -(A t)_xy - rho, with rho = n - (o - (A c)_xy) the residue of rounding.

    Parameters
    ----------
    view, origin_angst
        (..., 3, 3) and (..., 2) consensus poses.
    body_origin_angst
        (..., 2) origins of the re-centred body, of `body_pose`.
    centre_angst
        (..., 3) centre of the body, of whole voxels.

    Returns
    -------
    (..., 2) rlnOriginXAngst and rlnOriginYAngst of the table data_images_body_N.
    """
    return body_origin_angst - _whole_shift(view, origin_angst, centre_angst, pixel_size_angst)


def origin_from_relion(
    view: Tensor, origin_angst: Tensor, offset_angst: Tensor, centre_angst: Tensor, pixel_size_angst: float
) -> Tensor:
    """Origin of the plain pose of a re-centred body from RELION's offset: the inverse of `relion_offset`.

    Parameters
    ----------
    view, origin_angst
        (..., 3, 3) and (..., 2) consensus poses.
    offset_angst
        (..., 2) origins of the table data_images_body_N.
    centre_angst
        (..., 3) centre of the body, of whole voxels.

    Returns
    -------
    (..., 2) origins in Å; RELION's residue of rounding is no part of them.
    """
    return offset_angst + _whole_shift(view, origin_angst, centre_angst, pixel_size_angst)


def _whole_shift(view: Tensor, origin_angst: Tensor, centre_angst: Tensor, pixel_size_angst: float) -> Tensor:
    """(..., 2) Å: the shift by whole pixels that brings a body of the consensus next to the image centre."""
    return _rounded((origin_angst - seen_shift(view, centre_angst)) / pixel_size_angst) * pixel_size_angst


def _rounded(values: Tensor) -> Tensor:
    """Whole numbers, ties away from zero; 0 has no sign."""
    return values.sign() * (values.abs() + 0.5).floor() + 0.0


def _quarter(like: Tensor) -> Tensor:
    """Y in dtype and place of another matrix."""
    return torch.tensor(_QUARTER, dtype=like.dtype, device=like.device)
