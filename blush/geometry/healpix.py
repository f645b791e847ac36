"""HEALPix pixel centres in nested order: the grid of viewing directions.

References
----------
Górski et al. 2005, doi:10.1086/427976, section 5.
"""

import torch
from torch import Tensor


def pixel_count(order: int) -> int:
    """Number of pixels of the whole sphere at `order`: 12 * 4**order."""
    return 12 * 4**order


def angular_step_deg(order: int) -> float:
    """Nominal spacing of directions at `order`, which is also the step of psi: 60 degrees / 2**order."""
    return 60.0 / 2**order


def pixel_directions(order: int, index: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Centres of nested pixels.

    Parameters
    ----------
    order
        0, 1, 2, ...; the side of a base pixel holds 2**order pixels.
    index
        (p,) nested indices, all of the sphere by default. Pixel p of one order has the children 4p to 4p + 3.

    Returns
    -------
    rot_deg, tilt_deg
        (p,) float64 longitude in [0, 360) and colatitude in (0, 180).
    """
    if not 0 <= order <= 12:
        raise ValueError(f"HEALPix order {order} is outside 0 to 12")
    if index is None:
        index = torch.arange(pixel_count(order))
    side = 2**order
    face, within = index // side**2, index % side**2
    column, row = _even_bits(within), _even_bits(within >> 1)
    ring = (face // 4 + 2) * side - column - row - 1
    # Pixels on the ring per quarter turn: growing in the caps, constant between them.
    quarter = torch.minimum(torch.minimum(ring, 4 * side - ring), torch.full_like(ring, side))
    face_longitude = 2 * (face % 4) - face // 4 % 2 + 1
    rot_deg = 45.0 * (face_longitude + (column - row) / quarter.double())
    return torch.remainder(rot_deg, 360.0), torch.rad2deg(_colatitude(ring.double(), side))


def children(index: Tensor) -> Tensor:
    """(..., 4) nested indices of the four children, at the next order, of (...) pixels."""
    return 4 * index[..., None] + torch.arange(4, device=index.device)


def _colatitude(ring: Tensor, side: int) -> Tensor:
    """Radians from the north pole to the centres on a ring, 1 <= ring < 4 side."""
    from_pole = torch.minimum(ring, 4 * side - ring)
    # Half-angle form: 1 - z is exact in the cap, where the arc cosine of z would lose digits.
    cap = 2 * torch.asin(from_pole / (6.0**0.5 * side))
    cap = torch.where(ring <= 2 * side, cap, torch.pi - cap)
    belt = torch.acos(((4 - 2 * ring / side) / 3).clamp(-1, 1))
    return torch.where(from_pole < side, cap, belt)


def _even_bits(number: Tensor) -> Tensor:
    """Pack bits 0, 2, 4, ... of each integer into bits 0, 1, 2, ..."""
    number = number & 0x5555555555555555
    for shift, mask in (
        (1, 0x3333333333333333),
        (2, 0x0F0F0F0F0F0F0F0F),
        (4, 0x00FF00FF00FF00FF),
        (8, 0x0000FFFF0000FFFF),
        (16, 0x00000000FFFFFFFF),
    ):
        number = (number | number >> shift) & mask
    return number
