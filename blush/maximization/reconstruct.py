"""Maps from back-projected sums by direct division, with or without a Wiener prior (refinement.md 3.3)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.fourier.backproject import Accumulator
from blush.fourier.transform import Sphere, inverse_transform
from blush.maximization.spectra import radial_average, shells_of_cells

WEIGHT_FLOOR = 1e-3  # of the radial average of the denominator
FIRST_REGULARISED_SHELL = 5


def divide(
    sums: Accumulator,
    tau2: NDArray[np.float64] | None,
    *,
    fudge: float = 1.0,
    first_shell: int = FIRST_REGULARISED_SHELL,
) -> Sphere:
    """D / max(W + 1/(pad^3 T tau^2), 10^-3 of its radial average), zero outside r_max.

    Parameters
    ----------
    tau2
        (N/2 + 1,) signal variance per component, or None for an unregularised map. Where it is 0 the prior term is
        1000 / W, which removes the signal.
    fudge
        T.
    first_shell
        Shells below are not regularised.
    """
    weight = sums.weight.clone()
    if tau2 is not None:
        weight += _prior(weight, tau2, shells_of_cells(sums), sums, fudge, first_shell)
    floors = shells_of_cells(sums, floor=True)
    average = radial_average(weight, floors, sums.r_max + 2)
    least = (WEIGHT_FLOOR * average).to(weight.dtype).clamp_min(torch.finfo(weight.dtype).tiny)
    torch.maximum(weight, least[floors], out=weight)
    values = sums.data
    values /= weight
    values.masked_fill_(floors > sums.r_max, 0)  # the rim and beyond
    return Sphere(values, sums.box_px, sums.r_max, sums.pad)


def _prior(
    weight: Tensor, tau2: NDArray[np.float64], shell: Tensor, sums: Accumulator, fudge: float, first_shell: int
) -> Tensor:
    signal = torch.zeros(sums.r_max + 2, dtype=torch.float64, device=weight.device)
    used = min(len(tau2), sums.r_max + 1)
    signal[:used] = torch.from_numpy(np.asarray(tau2[:used]))
    term = (1 / (sums.pad**3 * fudge * signal)).to(weight.dtype)[shell]
    annihilate = 1 / (1e-3 * weight).clamp_min(torch.finfo(weight.dtype).tiny)
    term = torch.where((signal > 0)[shell], term, annihilate)
    return torch.where(shell >= first_shell, term, torch.zeros_like(term))


def reconstruct(sums: Accumulator, tau2: NDArray[np.float64] | None = None, *, fudge: float = 1.0) -> Tensor:
    """The (N, N, N) map of the sums: Wiener-filtered with `tau2`, unregularised without."""
    return inverse_transform(divide(sums, tau2, fudge=fudge))
