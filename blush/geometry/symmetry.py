"""Point groups in RELION's settings, and the directions that are unique under them."""

import math
import re
from functools import lru_cache

import torch
from torch import Tensor

from blush.geometry.healpix import angular_step_deg, pixel_count, pixel_directions
from blush.geometry.rotation import direction

_GOLDEN = (1 + math.sqrt(5)) / 2
_SHORT, _LONG = 1 / math.hypot(1, _GOLDEN), _GOLDEN / math.hypot(1, _GOLDEN)  # 0.5257, 0.8507

# A generator: fold and axis x, y, z.
_Generator = tuple[int, tuple[float, float, float]]
_CUBIC_AND_ICOSAHEDRAL: dict[str, list[_Generator]] = {
    "T": [(3, (0, 0, 1)), (2, (0, math.sqrt(2 / 3), math.sqrt(1 / 3)))],
    "O": [(4, (0, 0, 1)), (3, (1, 1, 1))],
    "I1": [(2, (0, 0, 1)), (5, (_LONG, 0, _SHORT))],
    "I2": [(2, (0, 0, 1)), (5, (_SHORT, 0, _LONG))],
    "I3": [(5, (0, 0, 1)), (2, (-_SHORT, 0, _LONG))],
    "I4": [(5, (0, 0, 1)), (2, (_SHORT, 0, _LONG))],
}
# No symmetry axis or mirror plane of any group above passes through this direction.
_GENERIC_DIRECTION = (0.41230817, 0.16974319, 0.89508817)


@lru_cache(maxsize=32)
def operators(name: str) -> Tensor:
    """Rotations of a point group, the identity first.

    Parameters
    ----------
    name
        Cn, Dn, T, O, I (which is I2), I1, I2, I3 or I4, in upper or lower case.
        Dn has a 2-fold on x; T a 3-fold on z; O a 4-fold on z; I1 and I2 2-folds on x, y and z.

    Returns
    -------
    (o, 3, 3) float64. A volume of this symmetry has V(S x) = V(x), so orientation A equals A S.

    Raises
    ------
    ValueError
        If the name is of no point group.
    """
    return _close(torch.stack([_rotation(fold, axis) for fold, axis in _generators(name)]))


def asymmetric_unit_directions(order: int, symmetry: str) -> Tensor:
    """Nested HEALPix pixels that cover the sphere once, up to symmetry.

    Of each set of symmetry mates the direction nearest a fixed generic direction is kept. On a coarse grid, where
    a whole neighbourhood can fall between the pixels kept, further pixels are added until every direction of the
    full grid lies within one step of a mate of a kept one.

    Parameters
    ----------
    order
        HEALPix order.
    symmetry
        Name of the point group.

    Returns
    -------
    (p,) int64 nested indices, ascending.
    """
    return _asymmetric_unit(order, symmetry).clone()


@lru_cache(maxsize=16)
def _asymmetric_unit(order: int, symmetry: str) -> Tensor:
    """The same, once for every order and group: each step of each iteration asks for it."""
    mates = operators(symmetry)
    views = direction(*pixel_directions(order))
    generic = torch.tensor(_GENERIC_DIRECTION, dtype=torch.float64)
    closeness = views @ (mates @ generic).T
    # The identity comes first; a fixed point of an operator ties with itself and stays.
    kept = closeness[:, 0] >= closeness.amax(1) - 1e-9
    # Where the unit is smaller than a pixel none may lie inside it.
    kept[closeness[:, 0].argmax()] = True
    if pixel_count(order) < 4000:
        kept = _cover(views, mates, kept, math.cos(math.radians(angular_step_deg(order))))
    return kept.nonzero()[:, 0]


def _cover(views: Tensor, mates: Tensor, kept: Tensor, cosine: float) -> Tensor:
    """Add the first uncovered direction until each of `views` is within the step of a kept one's mate."""
    kept = kept.clone()
    nearest = torch.full((len(views),), -1.0, dtype=views.dtype)
    for mate in mates:
        nearest = torch.maximum(nearest, (views @ (views[kept] @ mate).T).amax(1))
    while bool((nearest < cosine).any()):
        added = int((nearest < cosine).nonzero()[0, 0])
        kept[added] = True
        nearest = torch.maximum(nearest, (views @ (views[added] @ mates).T).amax(1))
    return kept


def _generators(name: str) -> list[_Generator]:
    """Folds and axes that generate the group."""
    upper = name.upper()
    upper = "I2" if upper == "I" else upper
    if upper in _CUBIC_AND_ICOSAHEDRAL:
        return _CUBIC_AND_ICOSAHEDRAL[upper]
    match = re.fullmatch(r"([CD])([1-9][0-9]{0,2})", upper)
    if match is None:
        raise ValueError(f"symmetry {name!r} is not a point group; use Cn, Dn, T, O, I, I1, I2, I3 or I4")
    axes: list[_Generator] = [(int(match[2]), (0, 0, 1))]
    return axes if match[1] == "C" else [*axes, (2, (1, 0, 0))]


def _rotation(fold: int, axis: tuple[float, float, float]) -> Tensor:
    """Rotation by 360 / fold degrees about an axis (Rodrigues)."""
    unit = torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=0)
    angle = 2 * math.pi / fold
    cross = torch.linalg.cross(unit.expand(3, 3), torch.eye(3, dtype=torch.float64))
    outer = unit[:, None] * unit
    return math.cos(angle) * torch.eye(3, dtype=torch.float64) - math.sin(angle) * cross + (1 - math.cos(angle)) * outer


def _close(generators: Tensor) -> Tensor:
    """All products of the generators, each once, the identity first."""
    group = newest = torch.eye(3, dtype=torch.float64)[None]
    while len(newest):
        # products of older members are known already
        candidates = torch.cat([group, (newest[:, None] @ generators).reshape(-1, 3, 3)])
        same = (candidates[len(group) :, None] - candidates).abs().amax((-1, -2)) < 1e-6
        first = same.double().argmax(1) == torch.arange(len(group), len(candidates))
        newest = candidates[len(group) :][first]
        group = torch.cat([group, newest])
    return group
