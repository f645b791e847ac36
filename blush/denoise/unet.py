"""The U-net of Blush: a map's patch and its local standard deviation in, the noise and a mask out.

Kimanius et al. 2024 (doi:10.1038/s41592-024-02304-8); names of parameters are those of the published weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

IN_CHANNELS, OUT_CHANNELS = 2, 2
SMALLEST_STD = 1e-12


class InstanceNorm(nn.InstanceNorm3d):
    """Instance normalisation of the current sample, its statistics in float32 also where activations are shorter."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, values: Tensor) -> Tensor:
        """(b, c, d, h, w), each sample and channel to mean `bias` and standard deviation `weight`."""
        wide = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
        return functional.instance_norm(wide, weight=self.weight, bias=self.bias, eps=self.eps).to(values.dtype)


class DoubleConv(nn.Module):
    """Twice: 3³ convolution, instance norm, SiLU."""

    def __init__(self, channels_in: int, channels_mid: int, channels_out: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential()
        for number, (before, after) in enumerate(((channels_in, channels_mid), (channels_mid, channels_out)), start=1):
            self.double_conv.add_module(f"conv{number}", nn.Conv3d(before, after, kernel_size=3, padding=1))
            self.double_conv.add_module(f"norm{number}", InstanceNorm(after))
            self.double_conv.add_module(f"act{number}", nn.SiLU(inplace=True))

    def forward(self, values: Tensor) -> Tensor:
        """(b, channels_in, d, h, w) to (b, channels_out, d, h, w)."""
        return self.double_conv(values)


class Down(DoubleConv):
    """Half the grid by max-pooling, then a block."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, channels_out)

    def forward(self, values: Tensor) -> Tensor:
        """(b, channels_in, d, h, w) to (b, channels_out, d/2, h/2, w/2)."""
        return super().forward(functional.max_pool3d(values, 2))


class Up(nn.Module):
    """Twice the grid by trilinear interpolation, the skip of that grid beside it, then a block."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = DoubleConv(channels_in, channels_in // 2, channels_out)

    def forward(self, values: Tensor, skip: Tensor) -> Tensor:
        """(b, channels_in / 2, d, h, w) and its skip of the doubled grid to (b, channels_out, 2d, 2h, 2w)."""
        larger = functional.interpolate(values, scale_factor=2, mode="trilinear", align_corners=True)
        return self.conv(torch.cat([skip, larger], dim=1))


class UNet3d(nn.Module):
    """The network of Blush, and smaller ones of the same form.

    Parameters
    ----------
    width
        Channels on the full grid; they double on every coarser one but the last.
    depth
        Number of halvings of the grid. Width 16 and depth 5 are the published network, 12,974,578 parameters.
    """

    def __init__(self, width: int = 16, depth: int = 5) -> None:
        super().__init__()
        if width < 1 or depth < 1:
            raise ValueError(f"a U-net has a width and a depth of at least 1, not {width} and {depth}")
        self.width, self.depth = width, depth
        channels = [width * 2**level for level in range(depth)]
        channels.append(channels[-1])
        self.inc = DoubleConv(IN_CHANNELS, width, width)
        self.down = nn.ModuleList(Down(channels[level], channels[level + 1]) for level in range(depth))
        finer = [*channels[depth - 2 :: -1], width] if depth > 1 else [width]
        self.up = nn.ModuleList(Up(2 * channels[depth - 1 - level], finer[level]) for level in range(depth))
        self.outc = nn.Conv3d(width, OUT_CHANNELS, kernel_size=1)

    @property
    def divisor_px(self) -> int:
        """What the sides of a patch have to be multiples of."""
        return 2**self.depth

    def forward(self, inputs: Tensor) -> Tensor:
        """(b, 2, d, h, w) standardised map and local deviation to (b, 2, d, h, w): noise, and logit of the mask."""
        if any(side % self.divisor_px or side < 2 * self.divisor_px for side in inputs.shape[2:]):
            sides = tuple(inputs.shape[2:])
            raise ValueError(f"sides {sides} are not multiples of {self.divisor_px} from {2 * self.divisor_px} on")
        values = self.inc(inputs)
        skips = []
        for down in self.down:
            skips.append(values)
            values = down(values)
        for up, skip in zip(self.up, reversed(skips), strict=True):
            values = up(values, skip)
        return self.outc(values)

    def forward_flop(self, side_px: int) -> float:
        """Floating-point operations of the convolutions for one cubic patch; a multiplication and addition are two."""
        total = 2.0 * self.outc.in_channels * OUT_CHANNELS * side_px**3
        blocks: list[tuple[nn.Module, int]] = [(self.inc, 0)]
        blocks += [(block, level + 1) for level, block in enumerate(self.down)]
        blocks += [(block, self.depth - 1 - level) for level, block in enumerate(self.up)]
        for block, level in blocks:
            convolutions = [part for part in block.modules() if isinstance(part, nn.Conv3d)]
            pairs = sum(part.in_channels * part.out_channels for part in convolutions)
            total += 2.0 * 27 * pairs * (side_px / 2**level) ** 3
        return total


def denoise_patches(network: nn.Module, patches: Tensor) -> tuple[Tensor, Tensor]:
    """Denoised patches and the logit of the mask.

    Each patch is brought to mean 0 and standard deviation 1, the network says what in it is noise, and the rest is
    brought back.

    Parameters
    ----------
    patches
        (b, 2, d, h, w): the map, and its local standard deviation.

    Returns
    -------
    (b, 1, d, h, w) each, at the scale of the patch.
    """
    values, local_std = patches[:, :1], patches[:, 1:]
    std, mean = torch.std_mean(values, dim=(1, 2, 3, 4), keepdim=True)
    scale = std + SMALLEST_STD
    grid = (values - mean) / scale
    found = network(torch.cat([grid, local_std], dim=1)).to(patches.dtype)
    return (grid - found[:, :1]) * scale + mean, found[:, 1:]
