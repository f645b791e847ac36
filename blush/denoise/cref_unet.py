"""The network of crefDenoiser, and how it is applied to a map.

Agarwal et al. 2024, "crefDenoiser", IUCrJ. Its weights carry no licence: they are read from a path of the user.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.1
DIVISOR_PX = 32
CHANNELS = (
    *((1, 16), (16, 16)),  # full grid
    *((16, 16),) * 5,  # 1/2 to 1/32
    *((32, 32), (32, 32)),  # 1/16
    *((48, 32), (32, 32)) * 3,  # 1/8, 1/4, 1/2
    *((33, 16), (16, 8), (8, 1)),  # full grid
)
"""Channels in and out of each convolution, in order of execution."""


class CrefUNet(nn.Module):
    """Convolutions conv00 to conv17 with zero padding and bias; 322,881 parameters.

    Its skips are taken after pooling, and the outermost one is the input itself.
    """

    def __init__(self) -> None:
        super().__init__()
        for number, (before, after) in enumerate(CHANNELS):
            self.add_module(f"conv{number:02d}", nn.Conv3d(before, after, kernel_size=3, padding=1))

    def _convolved(self, values: Tensor, *numbers: int) -> Tensor:
        """Convolutions of these numbers, each with its leaky ReLU."""
        for number in numbers:
            values = functional.leaky_relu(self.get_submodule(f"conv{number:02d}")(values), SLOPE)
        return values

    def forward(self, values: Tensor) -> Tensor:
        """(b, 1, d, h, w), standardised, sides multiples of 32, to (b, 1, d, h, w) of arbitrary amplitude."""
        if any(side % DIVISOR_PX or side == 0 for side in values.shape[2:]):
            raise ValueError(f"sides {tuple(values.shape[2:])} are not multiples of {DIVISOR_PX}; pad the map")
        skips = [values]
        values = functional.max_pool3d(self._convolved(values, 0, 1), 2)
        for number in range(2, 6):
            skips.append(values)
            values = functional.max_pool3d(self._convolved(values, number), 2)
        values = self._convolved(values, 6)
        for number in range(7, 17, 2):
            larger = functional.interpolate(values, scale_factor=2, mode="nearest")
            values = self._convolved(torch.cat([skips.pop(), larger], dim=1), number, number + 1)
        return self.get_submodule("conv17")(values)


def raw_output(network: nn.Module, volume: Tensor) -> Tensor:
    """Output of the network for a whole map, before any rescaling.

    The map is standardised, mirrored beyond its far ends up to multiples of 32, and passed as one piece. On the full
    grid the largest step holds 66 float32 channels beside each other: 264 bytes per padded voxel, 4.4 GB for 256³.

    Parameters
    ----------
    volume
        (d, h, w).

    Returns
    -------
    (d, h, w) float32.
    """
    std, mean = torch.std_mean(volume, correction=0)
    if not float(std) > 0:
        raise ValueError("the map is constant")
    padded = _mirrored((volume - mean) / std).float()
    with torch.inference_mode():
        found = network(padded[None, None])[0, 0]
    return found[tuple(slice(side) for side in volume.shape)].clone()


def denoise_with_cref(network: nn.Module, volume: Tensor) -> Tensor:
    """A map denoised by crefDenoiser, brought to the mean and standard deviation of the input.

    Shells of the result are weighted at will, since the network was trained on correlations alone.

    Parameters
    ----------
    network
        `CrefUNet` on the device of the map.
    volume
        (d, h, w), of any voxel size.

    Returns
    -------
    (d, h, w), dtype of the input.
    """
    found = raw_output(network, volume)
    out_std, out_mean = torch.std_mean(found, correction=0)
    if not float(out_std) > 0:
        raise ValueError("the network returned a constant map")
    std, mean = torch.std_mean(volume, correction=0)
    return ((found - out_mean) / out_std).to(volume.dtype) * std + mean


def _mirrored(volume: Tensor) -> Tensor:
    """Continue a map beyond its far ends by reflection, the border repeated, to sides that are multiples of 32."""
    for axis, side in enumerate(volume.shape):
        index = torch.arange(-(-side // DIVISOR_PX) * DIVISOR_PX, device=volume.device) % (2 * side)
        volume = volume.index_select(axis, torch.where(index < side, index, 2 * side - 1 - index))
    return volume
