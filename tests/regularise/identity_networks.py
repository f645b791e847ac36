"""Networks that give back what they are given, and files of their weights."""

from pathlib import Path

import torch

from blush.denoise.card import BLUSH, CREF, LOCAL_WIENER, Card
from blush.denoise.cref_unet import CrefUNet
from blush.denoise.local_wiener import GainNet
from blush.denoise.unet import UNet3d
from blush.denoise.weights import save_weights

CREF_CARD = Card(CREF, norm="none", voxel_size_angst=None, block_px=0, stride_px=0)


def random_unet(width: int = 2, depth: int = 2, seed: int = 1) -> UNet3d:
    """A network with numbers of its own, in eval mode; the global generator is left alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return UNet3d(width, depth).requires_grad_(False).eval()


def identity_unet(width: int = 1, depth: int = 1) -> UNet3d:
    """A Blush network whose noise is zero everywhere, and which sees the particle everywhere."""
    network = random_unet(width, depth)
    network.outc.weight.zero_()
    network.outc.bias[0], network.outc.bias[1] = 0, 20
    return network


def write_identity_unet(
    path: Path, *, width: int = 1, depth: int = 1, block_px: int = 64, voxel_size_angst: float = 1.5
) -> Path:
    """Weights of `identity_unet`; returns the path."""
    card = Card(BLUSH, width, depth, block_px=block_px, voxel_size_angst=voxel_size_angst)
    save_weights(path, identity_unet(width, depth).state_dict(), card)
    return path


def identity_cref(gain: float = 1.0) -> CrefUNet:
    """A crefDenoiser whose output is `gain` times its input.

    Its last block sees the input itself: with h the leaky ReLU of slope 0.1, h(x) - h(-x) = 1.1 x. Two convolutions
    carry x as the pair h(x), h(-x), and the last one joins it again.
    """
    network = CrefUNet().requires_grad_(False).eval()
    for parameter in network.parameters():
        parameter.zero_()
    centre = (1, 1, 1)
    network.conv15.weight[0, 0][centre], network.conv15.weight[1, 0][centre] = 1, -1
    for channel, sign in enumerate((1, -1)):
        network.conv16.weight[channel, 0][centre] = sign / 1.1
        network.conv16.weight[channel, 1][centre] = -sign / 1.1
        network.conv17.weight[0, channel][centre] = sign * gain / 1.1
    return network


def write_identity_cref(path: Path) -> Path:
    """Weights of `identity_cref`; returns the path."""
    save_weights(path, identity_cref().state_dict(), CREF_CARD)
    return path


def write_identity_gains(path: Path) -> Path:
    """Weights of a local Wiener filter all of whose gains are 1; returns the path."""
    card = Card(LOCAL_WIENER, 2, 2, norm="none", voxel_size_angst=2.0, block_px=0, stride_px=0)
    save_weights(path, GainNet(2).state_dict(), card)
    return path
