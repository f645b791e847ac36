"""A Wiener filter whose damping is learned, place by place and band by band.

A half-map x is taken apart into bands of resolution and put together again as y = M (x + sum F_k (m_k - 1) F_k x),
with sum F_k² = 1: a band that was scaled stays in its band. A small network reads from the half-map where a band
stands out from its noise, and gives a mask M of the particle and each band a local gain. With w the mean Wiener
weight of a band, m = sigmoid(q + logit w) / w, between 0 (nothing there) and 1 / w (no damping). It is led to 1 where
a band is nearly free of noise (w from 0.6 to 0.95), for there is nothing to gain and a bias to lose, and where it is
nothing but noise (w from 0.15, near which an FSC is taken to end, to 0.05): to scale that by the place of the signal
would make both halves alike. The mask is believed as far as the map shows a surface. The Wiener filter comes last, so
that what M and m leak into a shell without signal is damped with its noise. What is not in the half-map cannot come
out of it: the network scales what is there, and adds nothing. Local filters after Punjani et al. 2020
(doi:10.1038/s41592-020-00990-8) and Ramlaul et al. 2020 (doi:10.1107/S2052252520010458); that gains are learned from
truths is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

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
NOISE_TO, FREE_FROM, FREE_TO, CLEAN_FROM = 0.05, 0.15, 0.6, 0.95
"""Weights of a band between which its gains are the network's; up to the first and from the last on they are 1."""
MASK_BAND, MASK_FROM, MASK_TO = 3, 0.3, 0.7
"""The band that has to show the particle's surface, 16 to 11 Å, and its weights between which the mask comes in."""
PARTICLE = 5.0
"""Logit of the mask of a network that has learned nothing: nearly 1."""
SMALLEST = 1e-12
CPU = torch.device("cpu")


class GainNet(nn.Module):
    """From features on the grid of 4 Å to q of each band and the logit of the mask, less that of a new network.

    Three scales, no normalisation, a last layer that is 0 first.

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
        self.outc = nn.Conv3d(width, BANDS + 1, kernel_size=1)
        nn.init.zeros_(self.outc.weight)
        if self.outc.bias is not None:
            nn.init.zeros_(self.outc.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(b, FEATURES, d, h, w), sides multiples of 4, to (b, BANDS + 1, d, h, w)."""
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


@lru_cache(maxsize=2)
def band_filters(box: int, voxel_size_angst: float, device: torch.device = CPU) -> Tensor:
    """(BANDS, N, N, N / 2 + 1), read only: F_k, whose squares are raised cosines that add up to 1 as far as 4.2 Å."""
    radius = (radius_3d(box, device) / (box * voxel_size_angst)).float()
    below = torch.zeros_like(radius)
    made = []
    for edge_angst in EDGES_ANGST:
        centre, width = 1 / edge_angst, EDGE / edge_angst
        phase = ((radius - centre) / width + 0.5).clamp(0, 1)
        above = 0.5 + 0.5 * torch.cos(torch.pi * phase)
        made.append((above - below).clamp_min(0).sqrt())
        below = above
    return torch.stack(made)


def bands(volume: Tensor, filters: Tensor) -> Tensor:
    """(BANDS, N, N, N) F_k of a (N, N, N) map."""
    return torch.fft.irfftn(torch.fft.rfftn(volume) * filters, s=volume.shape)


def joined(parts: Tensor, filters: Tensor) -> Tensor:
    """Sum of F_k of (BANDS, N, N, N) parts, the adjoint of `bands`: (N, N, N)."""
    return torch.fft.irfftn((torch.fft.rfftn(parts, dim=(1, 2, 3)) * filters).sum(0), s=parts.shape[1:])


def band_weights(fsc: Tensor, filters: Tensor) -> Tensor:
    """Mean Wiener weight of each band, where the weight of a half-map is its FSC: (BANDS,).

    Parameters
    ----------
    fsc
        (M,) between the halves; above 1 or below 0 it counts as that. Where a map's pixels end before the grid does,
        the shells between are left out, for a band is as good as what there is of it. The corners of the grid count as
        0, as they did in training.
    """
    box = filters.shape[1]
    shell = shell_index_3d(box, filters.device)
    known = torch.cat([torch.nan_to_num(fsc).clamp(0, 1).to(filters), filters.new_zeros(1)])
    weight = known[shell.clamp_max(len(fsc))]
    power = filters.square() * ((shell < len(fsc)) | (shell > box // 2))
    mean = (power * weight).sum((1, 2, 3)) / power.sum((1, 2, 3)).clamp_min(SMALLEST)
    return mean.clamp(LEAST_WEIGHT, MOST_WEIGHT)


@dataclass(frozen=True)
class Seen:
    """What the network is given of one half-map, and what its gains belong to.

    Attributes
    ----------
    features
        (FEATURES, n, n, n) on every second voxel.
    weights
        (BANDS,) mean Wiener weights.
    filters
        (BANDS, N, N, N / 2 + 1) F_k.
    """

    features: Tensor
    weights: Tensor
    filters: Tensor


def seen(half: Tensor, fsc: Tensor, sphere: Tensor, voxel_size_angst: float) -> Seen:
    """Features of a half-map.

    Parameters
    ----------
    half
        (N, N, N) unregularised, voxels of about 2 Å, N even.
    fsc
        (N / 2 + 1,).
    sphere
        (N, N, N) mask of the particle's sphere.
    """
    filters = band_filters(len(half), voxel_size_angst, half.device)
    raw = bands(half, filters)
    weights = band_weights(fsc, filters)
    inside = sphere.sum().clamp_min(1)
    every = (slice(None), *(slice(None, None, 2),) * 3)
    power = (raw.square() * sphere).sum((1, 2, 3)) / inside
    local = local_power(raw * sphere.sqrt(), voxel_size_angst)[every]
    level = (local / power[:, None, None, None].clamp_min(SMALLEST) + 1e-3).log()
    signed = raw[:SIGNED] / power[:SIGNED, None, None, None].clamp_min(SMALLEST).sqrt() * sphere
    logit = torch.logit(weights)[:, None, None, None] / 3
    mask = sphere[None][every]
    constant = logit * mask
    return Seen(torch.cat([level * mask, signed[every], constant, mask]), weights, filters)


def local_power(parts: Tensor, voxel_size_angst: float) -> Tensor:
    """Each band's power under a Gaussian about as wide as its wavelength: (BANDS, N, N, N)."""
    values = parts.square()
    smooth = _gaussians(values.shape[-1], voxel_size_angst, values.device)
    return torch.fft.irfftn(torch.fft.rfftn(values, dim=(1, 2, 3)) * smooth, s=values.shape[1:]).clamp_min(0)


@lru_cache(maxsize=2)
def _gaussians(box: int, voxel_size_angst: float, device: torch.device) -> Tensor:
    """(BANDS, N, N, N / 2 + 1)."""
    radius2 = (radius_3d(box, device) / (box * voxel_size_angst)).float().square()
    sigma = torch.tensor([max(0.4 * edge, 4.0) for edge in EDGES_ANGST], device=device)
    return torch.exp(-2 * torch.pi**2 * sigma[:, None, None, None] ** 2 * radius2)


def gains(q: Tensor, weights: Tensor) -> Tensor:
    """Gains of the bands: 1 where q is 0, or the band is nearly free of noise, or nothing but noise.

    Parameters
    ----------
    q
        (..., BANDS, n, n, n).
    weights
        (..., BANDS).
    """
    w = weights[..., None, None, None]
    return 1 + freedom(w) * (torch.sigmoid(q + torch.logit(w)) / w - 1)


def freedom(weights: Tensor, free_to: float = FREE_TO, clean_from: float = CLEAN_FROM) -> Tensor:
    """How far bands are the network's, in [0, 1]: 0 for weights of bands nearly free of noise, or of noise alone."""
    not_clean = ((clean_from - weights) / (clean_from - free_to)).clamp(0, 1)
    not_noise = ((weights - NOISE_TO) / (FREE_FROM - NOISE_TO)).clamp(0, 1)
    return not_clean * not_noise


def mask_share(weights: Tensor) -> Tensor:
    """How far the mask is believed, in [0, 1]: it cuts every band, also one that is certain where others are not.

    Training believes it always, so that it is learned from maps of every resolution.
    """
    return ((weights[..., MASK_BAND] - MASK_FROM) / (MASK_TO - MASK_FROM)).clamp(0, 1)


def scaled(network: nn.Module, features: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Gains and logit of the mask.

    Parameters
    ----------
    features
        (b, FEATURES, n, n, n).
    weights
        (b, BANDS).

    Returns
    -------
    (b, BANDS, n, n, n), and (b, n, n, n).
    """
    side = features.shape[-1]
    made = network(padded(features))[..., :side, :side, :side]
    return gains(made[:, :BANDS], weights), made[:, BANDS] + PARTICLE


def padded(features: Tensor) -> Tensor:
    """Zeros at the far ends, to sides that are multiples of 4."""
    far = [(-side) % 4 for side in features.shape[-3:]]
    return functional.pad(features, (0, far[2], 0, far[1], 0, far[0]))


def filter_locally(network: nn.Module, given: Seen, volume: Tensor) -> tuple[Tensor, Tensor]:
    """What is added to a map, sum F_k (m_k - 1) F_k x, and the mask M that multiplies both: (N, N, N) each."""
    with torch.inference_mode():
        gain, logit = scaled(network, given.features[None], given.weights[None])
        mask = 1 - mask_share(given.weights) * (1 - torch.sigmoid(logit))
        fine = _interpolated(torch.cat([gain[0], mask]), volume.shape[-1])
        return joined((fine[:BANDS] - 1) * bands(volume, given.filters), given.filters), fine[BANDS]


def _interpolated(values: Tensor, box: int) -> Tensor:
    """(c, n, n, n) values of every second voxel at all of them: (c, N, N, N)."""
    # One more at the far end lets linear interpolation reach the last voxel.
    wide = functional.pad(values[None], (0, 1) * 3, mode="replicate")
    side = 2 * values.shape[-1] + 1
    return functional.interpolate(wide, size=(side,) * 3, mode="trilinear", align_corners=True)[0, :, :box, :box, :box]
