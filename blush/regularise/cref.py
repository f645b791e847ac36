"""crefDenoiser as a regulariser: each half denoised alone, its amplitudes taken from the other half, shell by shell."""

from __future__ import annotations

import torch
from torch import Tensor

from blush.denoise.cref_unet import CrefUNet, denoise_with_cref
from blush.denoise.weights import Weights
from blush.errors import BlushError, Problem
from blush.regularise.base import HalfMaps, Outcome, Regulariser, RegulariserError


class Cref(Regulariser):
    """The network of crefDenoiser on each unregularised half-map (Agarwal et al. 2024, IUCrJ).

    Trained on correlations alone, it weights shells at will; the driver's cross-validated gain per shell, the only
    thing that the halves share, puts that right.

    Parameters
    ----------
    weights
        Those of `cref-unet`, from a file of the user: the published numbers carry no licence to be passed on.
    """

    name = "cref"
    couples = "scalars"
    equivariant = False
    amplitude = "cross_validated"
    learned = True
    looks_around = True

    def __init__(self, weights: Weights) -> None:
        if not isinstance(weights.network, CrefUNet):
            problem = Problem("are not those of crefDenoiser", file=str(weights.file), value=weights.card.arch)
            raise BlushError("cannot use these weights", [problem])
        self.network, self.weights = weights.network, weights

    def regularise(self, maps: HalfMaps) -> Outcome:
        """Each half denoised from its own unregularised map, as one piece and at its own voxel size."""
        self.network.to(maps.device)
        first, second = (self._denoised(maps.unregularised(half)) for half in (0, 1))
        return Outcome((first, second), {"weights_sha256": self.weights.sha256})

    def _denoised(self, volume: Tensor) -> Tensor:
        try:
            return denoise_with_cref(self.network, volume)
        except ValueError as error:
            raise RegulariserError(str(error)) from None
        except torch.OutOfMemoryError:
            text = f"a box of {volume.shape[0]} px, passed as one piece, does not fit the device's memory"
            raise RegulariserError(text) from None
