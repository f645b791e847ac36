"""Maps from back-projected sums by direct division, with or without a Wiener prior (docs/algorithm.md, section 5)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.fourier.backproject import Accumulator
from blush.fourier.transform import Sphere, gridding_correction, inverse_transform, transform
from blush.io.upload import uploaded
from blush.maximization.spectra import radial_average, shells_of_cells

WEIGHT_FLOOR = 1e-3  # of the radial average of the denominator
FIRST_REGULARISED_SHELL = 5


def divide(
    sums: Accumulator,
    tau2: NDArray[np.float64] | None,
    *,
    fudge: float = 1.0,
    first_shell: int = FIRST_REGULARISED_SHELL,
    expected: Tensor | None = None,
) -> Sphere:
    """D / max(W + 1/(pad^3 T tau^2), 10^-3 of its radial average), zero outside r_max.

    With an expected map E this is (D + E/(pad^3 T tau^2)) / max(...): the prior is centred on E and not on zero.

    Parameters
    ----------
    tau2
        (N/2 + 1,) signal variance per component, or None for an unregularised map. Where it is 0 the prior term is
        1000 / W, which removes the signal.
    fudge
        T.
    first_shell
        Shells below are not regularised.
    expected
        (d, d, h) transform of the map that the prior expects, as `transform_of_map` makes it; None: zero. Shells
        whose tau^2 is 0 take nothing from it: there the prior's term is a way to empty them, not a variance.
    """
    weight, pull = sums.weight.clone(), None
    if tau2 is not None:
        pull = _add_prior(weight, tau2, sums, fudge, first_shell, expected)
    floors = shells_of_cells(sums, floor=True)
    average = radial_average(weight, floors, sums.r_max + 2)
    least = (WEIGHT_FLOOR * average).to(weight.dtype).clamp_min(torch.finfo(weight.dtype).tiny)
    torch.maximum(weight, least[floors], out=weight)
    values = sums.data
    if pull is not None:
        values += pull
    values /= weight
    values.masked_fill_(floors > sums.r_max, 0)  # the rim and beyond
    return Sphere(values, sums.box_px, sums.r_max, sums.pad)


def _add_prior(
    weight: Tensor,
    tau2: NDArray[np.float64],
    sums: Accumulator,
    fudge: float,
    first_shell: int,
    expected: Tensor | None,
) -> Tensor | None:
    """Add the prior's term to `weight`, and return its pull on the data towards what it expects."""
    shell = shells_of_cells(sums)
    prior = _prior(weight, tau2, shell, sums, fudge, first_shell)
    weight += prior
    if expected is None:
        return None
    has_signal = (_signal(tau2, sums) > 0)[shell]
    return torch.where(has_signal, prior, torch.zeros_like(prior)) * expected


def _prior(
    weight: Tensor, tau2: NDArray[np.float64], shell: Tensor, sums: Accumulator, fudge: float, first_shell: int
) -> Tensor:
    signal = _signal(tau2, sums)
    term = (1 / (sums.pad**3 * fudge * signal)).to(weight.dtype)[shell]
    annihilate = 1 / (1e-3 * weight).clamp_min(torch.finfo(weight.dtype).tiny)
    term = torch.where((signal > 0)[shell], term, annihilate)
    return torch.where(shell >= first_shell, term, torch.zeros_like(term))


def _signal(tau2: NDArray[np.float64], sums: Accumulator) -> Tensor:
    """tau^2 of every shell of the sums, 0 from the rim on: (r_max + 2,) float64."""
    signal = torch.zeros(sums.r_max + 2, dtype=torch.float64)
    used = min(len(tau2), sums.r_max + 1)
    signal[:used] = torch.from_numpy(np.asarray(tau2[:used]))
    return uploaded(signal, sums.grid.device)


def transform_of_map(volume: Tensor, sums: Accumulator) -> Tensor:
    """The D / W that `reconstruct` turns into `volume`: (d, d, h) complex on the cells of `sums`.

    `inverse_transform` divides the map by the gridding correction, so it is multiplied by it here. Exact for maps
    that are flat from radius N/2 on, where `inverse_transform` blends into a mean.
    """
    blurred = volume * gridding_correction(sums.box_px, sums.pad, like=volume)
    return transform(blurred, sums.r_max, sums.pad, corrected=False).values


def refiltered(volume: Tensor, sums: Accumulator, tau2: NDArray[np.float64]) -> Tensor:
    """Another map under the Wiener filter of these sums, W / (W + 1/(pad^3 tau^2)) of each component: (N, N, N).

    Parameters
    ----------
    volume
        (N, N, N), at the scale of the unregularised map; that map itself gives the Wiener map.
    """
    grid = torch.empty_like(sums.grid)
    grid[..., :2] = torch.view_as_real(transform_of_map(volume, sums) * sums.weight)
    grid[..., 2:] = sums.grid[..., 2:]
    return reconstruct(Accumulator(grid, sums.box_px, sums.r_max, sums.pad), tau2)


def reconstruct(
    sums: Accumulator,
    tau2: NDArray[np.float64] | None = None,
    *,
    fudge: float = 1.0,
    expected: Tensor | None = None,
) -> Tensor:
    """The (N, N, N) map of the sums: Wiener-filtered with `tau2`, unregularised without.

    `expected` as `divide` takes it; with it, the map is drawn towards what is expected and not towards zero.
    """
    return inverse_transform(divide(sums, tau2, fudge=fudge, expected=expected))
