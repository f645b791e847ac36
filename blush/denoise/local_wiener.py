"""A Wiener filter whose damping is learned, place by place and band by band.

The Wiener-filtered map W is taken apart into bands of resolution, b_k, and put together again as W + sum (m_k - 1) b_k.
A small network reads from the half-map where a band stands out from its noise, and gives each band a local gain: with
w the mean Wiener weight of the band, m = sigmoid(q + logit w) / w, between 0 (nothing there) and 1 / w (no damping).
With q = 0 everywhere the result is the Wiener map. What is not in the half-map cannot come out of it: the network
scales what is there, and adds nothing. Local filters after Punjani et al. 2020 (doi:10.1038/s41592-020-00990-8) and
Ramlaul et al. 2020 (doi:10.1107/S2052252520010458); that gains are learned from truths is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from blush.fourier.grid import radius_3d, shell_index_3d

VOXEL_ANGST = 2.0
EDGES_ANGST = (40.0, 24.0, 16.0, 11.0, 8.0, 6.0, 4.2)
"""Upper ends of the bands, in Å; the last band ends near the grid's own limit."""
BANDS = len(EDGES_ANGST)
SIGNED = 4
"""Bands whose values the network sees, coarse enough for its grid of 4 Å; of the others it sees the local power."""
FEATURES = 2 * BANDS + SIGNED + 1
EDGE = 0.3
LEAST_WEIGHT, MOST_WEIGHT = 0.03, 0.98
SMALLEST = 1e-12


class GainNet(nn.Module):
    """From features on the grid of 4 Å to q of each band: three scales, no normalisation, a last layer that is 0 first.

    Parameters
    ----------
    width
        Channels on the finest scale.
    """

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.width = width
        self.inc = _block(FEATURES, width, width)
        self.down1 = _block(width, 2 * width, 2 * width)
        self.down2 = _block(2 * width, 2 * width, 2 * width)
        self.up1 = _block(4 * width, 2 * width, 2 * width)
        self.up0 = _block(3 * width, width, width)
        self.outc = nn.Conv3d(width, BANDS, kernel_size=1)
        nn.init.zeros_(self.outc.weight)
        if self.outc.bias is not None:
            nn.init.zeros_(self.outc.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(b, FEATURES, d, h, w), sides multiples of 4, to (b, BANDS, d, h, w)."""
        fine = self.inc(features)
        middle = self.down1(functional.avg_pool3d(fine, 2))
        coarse = self.down2(functional.avg_pool3d(middle, 2))
        middle = self.up1(torch.cat([middle, _doubled(coarse)], 1))
        return self.outc(self.up0(torch.cat([fine, _doubled(middle)], 1)))


def _block(before: int, between: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(before, between, kernel_size=3, padding=1),
        nn.SiLU(),
        nn.Conv3d(between, after, kernel_size=3, padding=1),
        nn.SiLU(),
    )


def _doubled(values: Tensor) -> Tensor:
    return functional.interpolate(values, scale_factor=2, mode="trilinear", align_corners=False)


def band_filters(box: int, voxel_size_angst: float, device: torch.device | str = "cpu") -> Tensor:
    """(BANDS, N, N, N / 2 + 1): raised cosines that add up to 1 as far as 4.2 Å."""
    radius = (radius_3d(box, device) / (box * voxel_size_angst)).float()
    below = torch.zeros_like(radius)
    made = []
    for edge_angst in EDGES_ANGST:
        centre, width = 1 / edge_angst, EDGE / edge_angst
        phase = ((radius - centre) / width + 0.5).clamp(0, 1)
        above = 0.5 + 0.5 * torch.cos(torch.pi * phase)
        made.append(above - below)
        below = above
    return torch.stack(made)


def bands(volume: Tensor, filters: Tensor) -> Tensor:
    """(BANDS, N, N, N) parts of a (N, N, N) map."""
    return torch.fft.irfftn(torch.fft.rfftn(volume) * filters, s=volume.shape)


def band_weights(fsc: Tensor, filters: Tensor) -> Tensor:
    """Mean Wiener weight of each band, where the weight of a half-map is its FSC: (BANDS,).

    Parameters
    ----------
    fsc
        (N / 2 + 1,) between the halves; above 1 or below 0 it counts as that. Beyond it: 0.
    """
    box = filters.shape[1]
    shell = shell_index_3d(box, filters.device)
    known = torch.cat([torch.nan_to_num(fsc).clamp(0, 1).to(filters), filters.new_zeros(1)])
    weight = known[shell.clamp_max(len(fsc))]
    mean = (filters * weight).sum((1, 2, 3)) / filters.sum((1, 2, 3)).clamp_min(SMALLEST)
    return mean.clamp(LEAST_WEIGHT, MOST_WEIGHT)


@dataclass(frozen=True)
class Seen:
    """What the network is given of one half-map, and what its gains are multiplied with.

    Attributes
    ----------
    features
        (FEATURES, n, n, n) on every second voxel.
    parts
        (BANDS, N, N, N) bands of the Wiener map.
    weights
        (BANDS,) mean Wiener weights.
    """

    features: Tensor
    parts: Tensor
    weights: Tensor


def seen(half: Tensor, wiener: Tensor, fsc: Tensor, sphere: Tensor, voxel_size_angst: float) -> Seen:
    """Features of a half-map.

    Parameters
    ----------
    half, wiener
        (N, N, N) unregularised and Wiener-filtered, voxels of about 2 Å, N even.
    fsc
        (N / 2 + 1,).
    sphere
        (N, N, N) mask of the particle's sphere.
    """
    filters = band_filters(len(half), voxel_size_angst, half.device)
    raw, parts = bands(half, filters), bands(wiener, filters)
    weights = band_weights(fsc, filters)
    inside = sphere.sum().clamp_min(1)
    every = (slice(None), *(slice(None, None, 2),) * 3)
    power = (raw.square() * sphere).sum((1, 2, 3)) / inside
    local = _smoothed(raw.square() * sphere, voxel_size_angst)[every]
    level = (local / power[:, None, None, None].clamp_min(SMALLEST) + 1e-3).log()
    signed = raw[:SIGNED] / power[:SIGNED, None, None, None].clamp_min(SMALLEST).sqrt() * sphere
    logit = torch.logit(weights)[:, None, None, None] / 3
    mask = sphere[None][every]
    constant = logit * mask
    return Seen(torch.cat([level * mask, signed[every], constant, mask]), parts, weights)


def _smoothed(values: Tensor, voxel_size_angst: float) -> Tensor:
    """Each band's power under a Gaussian about as wide as its wavelength: (BANDS, N, N, N)."""
    box = values.shape[-1]
    radius2 = (radius_3d(box, values.device) / (box * voxel_size_angst)).float().square()
    sigma = torch.tensor([max(0.4 * edge, 4.0) for edge in EDGES_ANGST], device=values.device)
    decay = torch.exp(-2 * torch.pi**2 * sigma[:, None, None, None] ** 2 * radius2)
    return torch.fft.irfftn(torch.fft.rfftn(values, dim=(1, 2, 3)) * decay, s=values.shape[1:]).clamp_min(0)


def gains(q: Tensor, weights: Tensor) -> Tensor:
    """sigmoid(q + logit w) / w: 1 where q is 0; (..., BANDS, n, n, n) and (..., BANDS)."""
    w = weights[..., None, None, None]
    return torch.sigmoid(q + torch.logit(w)) / w


def padded(features: Tensor) -> Tensor:
    """Zeros at the far ends, to sides that are multiples of 4."""
    far = [(-side) % 4 for side in features.shape[-3:]]
    return functional.pad(features, (0, far[2], 0, far[1], 0, far[0]))


def filter_locally(network: nn.Module, given: Seen) -> Tensor:
    """What is added to the Wiener map, sum (m_k - 1) b_k: (N, N, N)."""
    box, side = given.parts.shape[-1], given.features.shape[-1]
    with torch.inference_mode():
        q = network(padded(given.features[None]))[0, :, :side, :side, :side]
        gain = gains(q, given.weights)
        # Gains belong to every second voxel; one more at the far end lets linear interpolation reach the last.
        wide = functional.pad(gain[None], (0, 1) * 3, mode="replicate")
        fine = functional.interpolate(wide, size=(2 * side + 1,) * 3, mode="trilinear", align_corners=True)[0]
        return ((fine[:, :box, :box, :box] - 1) * given.parts).sum(0)
