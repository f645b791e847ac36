"""The record of what moved: a rotation and a displacement of each body in each image, and how well they are known.

A point x of the consensus goes to R (x - c) + c + t, and in the image to A (...) - o: A and o are the consensus pose,
c is the centre of the body, R its rotation and t its displacement. Of t an image shows s = (A t)_xy. All points are
x, y, z in Å from the centre N/2 of the consensus box, all vectors in its frame.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from blush.errors import BlushError, Problem
from blush.io.files import load_npz, save_npz

Floats = NDArray[np.float64]
FORMAT = 1
"""Version of the file."""
TITLE = "the record of motions cannot be used"
_REMADE = "write it again with the multi-body run that it is of"
_SHAPES = {
    "centre_angst": "b3", "refined": "b", "volume_angst3": "b", "middle_angst": "b3", "spread_angst2": "b33",
    "prior": "2b66", "views": "n33", "rotations": "bn33", "shift_angst": "bn2", "covariance": "bn55", "grid": "b5",
    "half": "n",
}  # fmt: skip
"""Axes of each array: b bodies, n images."""


@dataclass(frozen=True)
class BodyMotions:
    """Motions of B bodies in n images, in the order of the particle table that was refined.

    Attributes
    ----------
    names
        What the bodies are called.
    centre_angst
        (B, 3) centres c.
    refined
        (B,) bool: whether poses of the body were searched; those that were not stay with the consensus.
    volume_angst3, middle_angst, spread_angst2
        (B,), (B, 3) and (B, 3, 3): integral of the body's mask, and the means of x - c and (x - c)(x - c)^T over it.
        x - c has a mean of its own where c is a chosen fulcrum.
    prior
        (2, B, 6, 6) covariance of the Gaussian prior of (log R, t), mean 0, that the posteriors of either half were
        computed under; rad and Å.
    views
        (n, 3, 3) consensus orientations A.
    rotations
        (B, n, 3, 3) rotations R.
    shift_angst
        (B, n, 2) seen displacements s.
    covariance
        (B, n, 5, 5) of each image's posterior in (w, s): the true orientation of the body is A R exp([w]x); rad and Å.
    grid
        (B, 5) variance within a cell of the grid that posteriors were sampled on; 0 where they are exact. Covariances
        are no less.
    half
        (n,) half-set of each image, 1 or 2.
    """

    names: tuple[str, ...]
    centre_angst: Floats
    refined: NDArray[np.bool_]
    volume_angst3: Floats
    middle_angst: Floats
    spread_angst2: Floats
    prior: Floats
    views: Floats
    rotations: Floats
    shift_angst: Floats
    covariance: Floats
    grid: Floats
    half: NDArray[np.int64]

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.views)

    def take(self, rows: NDArray[np.int64]) -> BodyMotions:
        """The record of some images."""
        by_body = {name: getattr(self, name)[:, rows] for name in ("rotations", "shift_angst", "covariance")}
        return replace(self, views=self.views[rows], half=self.half[rows], **by_body)


def write_motions(path: Path, motions: BodyMotions) -> None:
    """Write the record as one .npz (docs/file-formats.md); equal content gives equal bytes.

    Raises
    ------
    BlushError
        What it holds is no record of motions.
    """
    _check(path, motions)
    arrays = {field.name: np.asarray(getattr(motions, field.name)) for field in fields(motions)}
    save_npz(path, arrays | {"names": np.array(motions.names, dtype=np.str_), "format": np.array(FORMAT)})


def read_motions(path: Path) -> BodyMotions:
    """Read a record of motions.

    Raises
    ------
    BlushError
        The file is missing, damaged or of another kind, or an array has another shape or impossible values.
    """
    arrays = load_npz(path, _REMADE)
    if "centre_angst" in arrays and "middle_angst" not in arrays:  # from before a centre could be other than the middle
        arrays["middle_angst"] = np.zeros_like(arrays["centre_angst"])
    wanted = {"names", "format", *_SHAPES}
    if missing := sorted(wanted - set(arrays)):
        problem = Problem("is no record of motions: arrays are missing", _REMADE, str(path), value=", ".join(missing))
        raise BlushError(TITLE, [problem])
    if (found := arrays["format"]).shape != () or found.dtype.kind != "i" or int(found) != FORMAT:
        raise BlushError(TITLE, [Problem(f"has a format other than {FORMAT}", _REMADE, str(path), value=str(found))])
    kinds = {"refined": (np.bool_, "b"), "half": (np.int64, "iu")}
    problems: list[Problem] = []
    read: dict[str, NDArray[Any]] = {}
    for name in _SHAPES:
        dtype, kind = kinds.get(name, (np.float64, "fiu"))
        if arrays[name].dtype.kind not in kind:
            problems.append(Problem("holds values of another type", _REMADE, str(path), name, str(arrays[name].dtype)))
        else:
            read[name] = arrays[name].astype(dtype)
    if problems:
        raise BlushError(TITLE, problems)
    motions = BodyMotions(tuple(str(name) for name in np.atleast_1d(arrays["names"])), **read)
    _check(path, motions)
    return motions


def mask_extent(
    mask: NDArray[np.float32], centre_angst: Floats, pixel_size_angst: float
) -> tuple[float, Floats, Floats]:
    """Integral of a mask in Å³, and the means (3,) and (3, 3) of x - c and (x - c)(x - c)^T over it in Å and Å².

    Parameters
    ----------
    mask
        (N, N, N) values from 0 to 1, axes z, y, x.
    centre_angst
        (3,) c, as x, y, z from voxel N/2.

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    weight, total = mask.astype(np.float64), float(mask.sum(dtype=np.float64))
    if total <= 0:
        raise ValueError("a mask without any volume has no extent")
    x, y, z = (
        (np.arange(size) - size // 2) * pixel_size_angst - middle
        for size, middle in zip(mask.shape[::-1], centre_angst, strict=True)
    )
    in_yx, in_zx, in_zy = weight.sum(0), weight.sum(1), weight.sum(2)
    sums = [x @ in_yx.sum(0), y @ in_yx.sum(1), z @ in_zy.sum(1)]
    squares = [x**2 @ in_yx.sum(0), y**2 @ in_yx.sum(1), z**2 @ in_zy.sum(1)]
    moment = np.diag(squares)
    moment[0, 1] = moment[1, 0] = y @ in_yx @ x
    moment[0, 2] = moment[2, 0] = z @ in_zx @ x
    moment[1, 2] = moment[2, 1] = z @ in_zy @ y
    return total * pixel_size_angst**3, np.array(sums) / total, moment / total


def exponential(vectors: Floats) -> Floats:
    """(n, 3, 3) rotations exp([w]x) of rotation vectors (n, 3) in rad."""
    matrices: Floats = Rotation.from_rotvec(vectors).as_matrix()
    return matrices


def right_jacobian(vectors: Floats) -> Floats:
    """(n, 3, 3) J of rotation vectors (n, 3): exp([w + d]x) = exp([w]x) exp([J d]x) for small d."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    cross = np.zeros((len(vectors), 3, 3))
    x, y, z = vectors.T
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -z, y, -x
    cross -= cross.transpose(0, 2, 1)
    small = angle < 1e-4
    safe = np.where(small, 1.0, angle)
    first = np.where(small, 0.5, (1 - np.cos(safe)) / safe**2)
    second = np.where(small, 1 / 6, (safe - np.sin(safe)) / safe**3)
    jacobian: Floats = np.eye(3) - first * cross + second * cross @ cross
    return jacobian


def _check(path: Path, motions: BodyMotions) -> None:
    """Refuse arrays that do not fit together, and values that cannot be.

    Raises
    ------
    BlushError
        With each of them.
    """
    sizes = {"b": len(motions.names), "n": len(motions.views)}
    problems = []
    for name, axes in _SHAPES.items():
        found, expected = getattr(motions, name).shape, tuple(sizes.get(axis) or int(axis) for axis in axes)
        if found != expected:
            problems.append(Problem(f"has another shape than {expected}", _REMADE, str(path), name, str(found)))
        elif not np.isfinite(getattr(motions, name)).all():
            problems.append(Problem("holds values that are not finite", _REMADE, str(path), name))
    if not problems:
        problems = _impossible(path, motions)
    if problems:
        raise BlushError(TITLE, problems)


def _impossible(path: Path, motions: BodyMotions) -> list[Problem]:
    """Values that no refinement gives."""
    used, found = motions.refined, []
    turns = np.abs(motions.rotations @ motions.rotations.swapaxes(-1, -2) - np.eye(3)).max(initial=0)
    views = np.abs(motions.views @ motions.views.swapaxes(-1, -2) - np.eye(3)).max(initial=0)
    if max(turns, views) > 1e-3:
        found.append(Problem("holds matrices that are no rotations", _REMADE, str(path), "rotations, views"))
    if not used.any():
        found.append(
            Problem("holds no body whose poses were refined", "set refine: true for one", str(path), "refined")
        )
    if not (motions.volume_angst3 > 0).all() or not _positive(motions.spread_angst2).all():
        remedy = "give the body a mask of some volume"
        found.append(Problem("holds a body without extent", remedy, str(path), "volume_angst3, spread_angst2"))
    if not _positive(motions.prior[:, used]).all():
        found.append(Problem("holds a prior that is no covariance", _REMADE, str(path), "prior"))
    if n_bad := int((~_positive(motions.covariance[used])).sum()):
        remedy = "a pose on a grid is uncertain by its cell at least: add the variance of a cell"
        found.append(Problem("holds posteriors without width", remedy, str(path), "covariance", f"{n_bad} of them"))
    if (motions.grid < 0).any():
        found.append(Problem("holds negative variances", _REMADE, str(path), "grid"))
    if not np.isin(motions.half, (1, 2)).all():
        found.append(Problem("holds a half-set that is neither 1 nor 2", _REMADE, str(path), "half"))
    return found


def _positive(matrices: Floats) -> NDArray[np.bool_]:
    """(...) whether symmetric matrices (..., d, d) are positive definite."""
    scale = np.sqrt(np.abs(np.diagonal(matrices, axis1=-2, axis2=-1)).clip(min=1e-300))
    return np.linalg.eigvalsh(matrices / (scale[..., :, None] * scale[..., None, :])).min(-1) > 1e-9
