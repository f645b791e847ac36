"""The half plane of an image transform as one list of pixels, from low to high frequency.

A real image has redundant coefficients; one of each Friedel pair is kept (kx >= 0, and ky >= 0 where kx = 0;
ky = +N/2 stands for both signs). The list is ordered by |k|, so every smaller image size is a prefix of it:
`Packed.count(r)` pixels lie in rounded shells 0..r, and `Packed.inside(r)` within |k| <= r, where a model
cut at radius r is not zero. Pixel 0 is the origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from blush.io.upload import uploaded


@dataclass(frozen=True)
class Packed:
    """Pixels of an N x N image within N/2, ordered by squared frequency (ties by ky, then kx).

    Attributes
    ----------
    box_px
        N, even.
    kx, ky
        Integer frequencies, (p,) int64, in cycles per box.
    shell
        |k| rounded half up, (p,) int64.
    index
        Position of each pixel in the flattened (N, N/2 + 1) rfft2 array, (p,) int64.
    """

    box_px: int
    kx: Tensor
    ky: Tensor
    shell: Tensor
    index: Tensor

    def count(self, radius: int) -> int:
        """Pixels in rounded shells 0..radius: k^2 < (radius + 1/2)^2."""
        return int((packed(self.box_px).k2 <= radius * radius + radius).sum())

    def inside(self, radius: int) -> int:
        """Pixels with |k| <= radius."""
        return int((packed(self.box_px).k2 <= radius * radius).sum())

    @property
    def k2(self) -> Tensor:
        """Squared frequency, (p,) int64, ascending."""
        return self.kx * self.kx + self.ky * self.ky

    def to(self, device: torch.device) -> Packed:
        """The same pixels on another device."""
        return Packed(self.box_px, *(uploaded(t, device) for t in (self.kx, self.ky, self.shell, self.index)))


@lru_cache(maxsize=16)
def packed(box_px: int, device: str = "cpu") -> Packed:
    """Build the pixel list of an image of `box_px` pixels on `device`.

    Raises
    ------
    ValueError
        If the box is odd.
    """
    if box_px % 2:
        raise ValueError(f"box {box_px} is odd; crop or pad the images to an even box first")
    half = box_px // 2
    rows = torch.arange(box_px)
    ky = torch.where(rows <= half, rows, rows - box_px)[:, None].expand(box_px, half + 1)
    kx = torch.arange(half + 1)[None, :].expand(box_px, half + 1)
    k2 = (kx * kx + ky * ky).flatten()
    kept = ((kx > 0) | (ky >= 0)).flatten() & (k2 <= half * half + half)
    index = torch.nonzero(kept).squeeze(1)
    key = (k2[index] * (4 * box_px) + ky.flatten()[index] + box_px) * (2 * box_px) + kx.flatten()[index]
    index = index[torch.argsort(key)]
    shell = torch.floor(k2[index].double().sqrt() + 0.5).long()
    return Packed(box_px, kx.flatten()[index], ky.flatten()[index], shell, index).to(torch.device(device))


def shell_sums(values: Tensor, shell: Tensor, n_shells: int) -> Tensor:
    """Sum `values` (..., p) into shells, in float64: (..., n_shells)."""
    out = torch.zeros(*values.shape[:-1], n_shells, dtype=torch.float64, device=values.device)
    return out.index_add_(-1, shell[: values.shape[-1]], values.double())
