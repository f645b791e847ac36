"""Central slices of a map: its Fourier transform at any frequency, to a few parts in 100 000.

The map is divided by the transform of a Kaiser-Bessel kernel, padded twofold and transformed; each slice pixel is
then a sum over the 6 x 6 x 6 nearest grid points. (Trilinear interpolation would err by percents at this padding.)

References
----------
Beatty, Nishimura & Pauly 2005, doi:10.1109/TMI.2005.848376 (kernel width and shape).
"""

import math

import torch
from torch import Tensor

_PADDING = 2
_WIDTH = 6
_SHAPE = math.pi * math.sqrt((_WIDTH / _PADDING) ** 2 * (_PADDING - 0.5) ** 2 - 0.8)
_PIXELS_AT_ONCE = 1 << 15


def kaiser_bessel(distance: Tensor) -> Tensor:
    """Kernel at a distance in grid steps; 0 beyond half its width."""
    inside = (1 - (2 * distance / _WIDTH) ** 2).clamp(min=0)
    return torch.special.i0(_SHAPE * inside.sqrt()) / _WIDTH * (distance.abs() <= _WIDTH / 2)


def kernel_transform(position: Tensor) -> Tensor:
    """Fourier transform of the kernel, at positions in cycles per grid step."""
    root = torch.sqrt(_SHAPE**2 - (math.pi * _WIDTH * position) ** 2)
    return torch.sinh(root) / root


class Slicer:
    """A map ready to be sliced.

    Parameters
    ----------
    spectrum
        (M, M, M/2 + 1) transform about the centre, rfftn layout, of a map that fades before the edge of its box.
    """

    def __init__(self, spectrum: Tensor) -> None:
        self.box_px = spectrum.shape[0]
        self.padded_px = _PADDING * self.box_px
        self._row = self.padded_px // 2 + 1 + _WIDTH
        self._grid = self._with_margins(torch.fft.rfftn(self._padded(spectrum))).flatten()

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self._grid.nbytes

    def _padded(self, spectrum: Tensor) -> Tensor:
        """Map over the kernel's transform, in a larger box, the origin at index 0."""
        n, half = self.box_px, self.box_px // 2
        volume = torch.fft.irfftn(spectrum, s=(n, n, n))
        axis = torch.arange(n, dtype=torch.float64, device=spectrum.device)
        position = torch.where(axis < half, axis, axis - n)
        weight = (1 / kernel_transform(position / self.padded_px)).to(volume.dtype)
        volume = volume * weight[:, None, None] * weight[None, :, None] * weight
        padded = volume.new_zeros((self.padded_px,) * 3)
        rows = position.long() % self.padded_px
        padded[rows[:, None, None], rows[None, :, None], rows] = volume
        return padded

    def _with_margins(self, half: Tensor) -> Tensor:
        """Columns beyond both ends of kx, by Friedel's law, so that a kernel never leaves the array."""
        margin, last = _WIDTH // 2, self.padded_px // 2
        below = half[:, :, 1 : margin + 1]
        above = half[:, :, last - margin : last]
        mates = [torch.roll(part.flip((0, 1, 2)), (1, 1), (0, 1)).conj() for part in (below, above)]
        return torch.cat([mates[0], half, mates[1]], 2)

    def slices(self, rotations: Tensor, kx: Tensor, ky: Tensor) -> Tensor:
        """Transform of projections.

        Parameters
        ----------
        rotations
            (n, 3, 3), volume to image.
        kx, ky
            (p,) frequencies in cycles per box, inside M/2.

        Returns
        -------
        (n, p) complex, phases about the centre.
        """
        plane = torch.stack([kx, ky], -1).to(rotations.dtype)
        points = torch.einsum("pi,nij->npj", plane, rotations[:, :2]).reshape(-1, 3)
        values = torch.cat([self._at(part) for part in torch.split(points, _PIXELS_AT_ONCE)])
        return values.view(len(rotations), len(kx))

    def _at(self, points: Tensor) -> Tensor:
        """Transform at (m, 3) frequencies x, y, z in cycles per box."""
        mirrored = points[:, 0] < 0
        place = torch.where(mirrored[:, None], -points, points) * _PADDING
        index = torch.floor(place).long()[..., None] + torch.arange(1 - _WIDTH // 2, 1 + _WIDTH // 2).to(points.device)
        weight = kaiser_bessel(place[..., None] - index).to(self._grid.real.dtype)
        x = index[:, 0] + _WIDTH // 2
        y, z = index[:, 1] % self.padded_px, index[:, 2] % self.padded_px
        flat = ((z[:, :, None] * self.padded_px + y[:, None, :]) * self._row)[..., None] + x[:, None, None, :]
        near = torch.view_as_real(self._grid[flat])
        values = torch.einsum("mzyxc,mz,my,mx->mc", near, weight[:, 2], weight[:, 1], weight[:, 0])
        values = torch.view_as_complex(values.contiguous())
        return torch.where(mirrored, values.conj(), values)
