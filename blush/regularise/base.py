"""The contract of a regulariser, and the driver that treats every one of them alike.

A regulariser gets both unregularised half-maps with their sums and spectra and returns the two references of the next
alignment. It never touches the reported maps or their FSC. The driver checks what it returns, keeps it behind the
measured resolution (`trailing`), and records per shell what it did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.errors import BlushError
from blush.fourier.backproject import Accumulator
from blush.regularise.trailing import cut_shell, trail

Floats = NDArray[np.float64]
LEAST_POWER = 1e-3
"""Shells with less of the half-map's power left hold leakage from the map's border, whose FSC says nothing."""
Coupling = Literal["none", "scalars", "field", "full"]


@dataclass(frozen=True)
class HalfMaps:
    """What a regulariser is given; index 0 and 1 are the half-sets.

    Attributes
    ----------
    sums
        D and W, symmetrised, lowest resolutions joined.
    fsc, fsc_unmasked
        (N/2 + 1,) solvent-corrected where a mask is used, and plain.
    tau2, sigma2_ref
        (2, N/2 + 1) signal and noise variance of each half-map per component.
    unregularised
        Makes the unregularised map of a half, (N, N, N): `unregularised(0)`.
    wiener
        Makes the Wiener-filtered map of a half.
    mask
        (N, N, N) solvent mask or None.
    iteration, local
        Number of the iteration, and whether searches have become local.
    """

    sums: tuple[Accumulator, Accumulator]
    fsc: Floats
    fsc_unmasked: Floats
    tau2: Floats
    sigma2_ref: Floats
    unregularised: Callable[[int], Tensor]
    wiener: Callable[[int], Tensor]
    pixel_size_angst: float
    particle_diameter_angst: float
    symmetry: str
    mask: Tensor | None
    iteration: int
    local: bool


class Regulariser(Protocol):
    """One way to make references from half-maps.

    Attributes
    ----------
    name
        As in `regulariser.name` of the configuration.
    couples
        What it shares between halves beyond the FSC: "none"; "scalars" or a "field" (a common spectrum or local
        resolution); "full" mixes the maps and is refused in gold-standard refinement.
    trails
        Whether the driver cuts its references behind the measured resolution. False only for what adds nothing
        beyond it, as the Wiener filter.
    """

    name: str
    couples: Coupling
    trails: bool

    def regularise(self, maps: HalfMaps) -> tuple[Tensor, Tensor]:
        """Return the two references, (N, N, N) each, at the scale of the half-maps."""
        ...


@dataclass(frozen=True)
class Regularised:
    """References and the record of what was done, shell by shell."""

    references: tuple[Tensor, Tensor]
    diagnostics: dict[str, object]


def drive(regulariser: Regulariser, maps: HalfMaps, *, trailing_shells: int | None) -> Regularised:
    """Run a regulariser on both halves and hold it to the contract.

    Parameters
    ----------
    trailing_shells
        Shells to stay behind FSC = 1/7, or None to switch trailing off.

    Raises
    ------
    BlushError
        If it mixes the halves, or returns a map that is not finite or has another shape.
    """
    if regulariser.couples == "full":
        raise BlushError(f"regulariser {regulariser.name} mixes the half-maps, which gold-standard refinement forbids")
    references = list(regulariser.regularise(maps))
    if len(references) != 2:
        raise BlushError(f"regulariser {regulariser.name} returned {len(references)} reference(s), not one per half")
    cut = cut_shell(maps.fsc, trailing_shells) if trailing_shells is not None and regulariser.trails else None
    for half, reference in enumerate(references):
        _check(regulariser.name, half, reference, maps.sums[half].box_px)
        if cut is not None:
            references[half] = trail(reference, cut)
    pair = (references[0], references[1])
    return Regularised(
        pair, {"name": regulariser.name, "couples": regulariser.couples, "trailing_shell": cut, **_diagnose(pair, maps)}
    )


def _check(name: str, half: int, reference: Tensor, box_px: int) -> None:
    if reference.shape != (box_px,) * 3:
        raise BlushError(
            f"regulariser {name} returned shape {tuple(reference.shape)} for half {half + 1}, not {(box_px,) * 3}"
        )
    if not bool(torch.isfinite(reference).all()):
        raise BlushError(f"regulariser {name} returned values that are not finite for half {half + 1}")


def _diagnose(references: tuple[Tensor, Tensor], maps: HalfMaps) -> dict[str, object]:
    from blush.fourier.fsc import fsc, power_spectrum

    before = [power_spectrum(maps.unregularised(half)) for half in (0, 1)]
    after = [power_spectrum(reference) for reference in references]
    ratio = [a / b.clamp_min(torch.finfo(b.dtype).tiny) for a, b in zip(after, before, strict=True)]
    present = torch.minimum(ratio[0], ratio[1]) > LEAST_POWER
    curve = [float(value) if kept else None for value, kept in zip(fsc(*references), present, strict=True)]
    return {
        "power_ratio": [r.tolist() for r in ratio],
        "fsc_in": maps.fsc_unmasked.tolist(),
        "fsc_out": curve,
    }
