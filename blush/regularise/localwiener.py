"""The Wiener filter with learned local gains, on each half alone."""

from __future__ import annotations

import torch
from torch import Tensor

from blush.denoise.apply import model_box
from blush.denoise.local_wiener import VOXEL_ANGST, GainNet, filter_locally, seen
from blush.denoise.weights import Weights
from blush.errors import BlushError, Problem
from blush.fourier.filter import resize_volume
from blush.fourier.mask import soft_sphere
from blush.maximization.reconstruct import refiltered
from blush.regularise.base import HalfMaps, Outcome, Regulariser

EDGE_PX = 3.0


class LocalWiener(Regulariser):
    """Each half masked, its bands scaled locally, both by what a network sees in that half, and Wiener-filtered.

    It works inside the sphere of the particle's diameter; what lies outside is lost, as with the Blush network.

    Shared between halves: the FSC, as with the Wiener filter.

    Parameters
    ----------
    weights
        Those of a network `local-wiener`.
    """

    name = "localwiener"
    couples = "none"
    reads = ("maps", "weights")
    equivariant = False
    learned = True
    looks_around = True

    def __init__(self, weights: Weights) -> None:
        if not isinstance(weights.network, GainNet):
            problem = Problem("are not those of local-wiener", file=str(weights.file), value=weights.card.arch)
            raise BlushError("cannot use these weights", [problem])
        self.network, self.weights = weights.network, weights

    def regularise(self, maps: HalfMaps) -> Outcome:
        """Each half from its own maps."""
        self.network.to(maps.device)
        first, second = (self._filtered(maps, half) for half in (0, 1))
        return Outcome((first, second), {"weights_sha256": self.weights.sha256})

    def _filtered(self, maps: HalfMaps, half: int) -> Tensor:
        box, pixel = maps.box_px, maps.pixel_size_angst
        raw = maps.unregularised(half)
        coarse = model_box(box, pixel, VOXEL_ANGST)
        voxel = box * pixel / coarse
        radius_px = min(maps.particle_diameter_angst / (2 * voxel), coarse / 2 - EDGE_PX)
        sphere = soft_sphere(coarse, radius_px, EDGE_PX, maps.device, torch.float32)
        fsc = torch.from_numpy(maps.fsc.copy()).to(sphere)
        # Shells are those of the box in Å, the same for both grids.
        small = resize_volume(raw, pixel, coarse, voxel).float()
        added, mask = filter_locally(self.network, seen(small, fsc, sphere, voxel), small)
        added, mask = (resize_volume(values.to(raw.dtype), voxel, box, pixel) for values in (added, mask * sphere))
        return refiltered(mask.clamp(0, 1) * (raw + added), maps.sums[half], maps.tau2[half])
