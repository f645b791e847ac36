"""The contract of a regulariser: what it is given, what it returns, what it declares about itself.

A regulariser gets both unregularised half-maps with their sums and spectra and returns the two references of the next
alignment. It never touches the reported maps or their FSC. `blush.regularise.drive` runs it, holds it to this contract
and does what must be alike for all: trailing, cross-over, amplitudes, symmetry, checks, records.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.fourier.backproject import Accumulator

Floats = NDArray[np.float64]
Coupling = Literal["none", "scalars", "field", "full"]
Amplitude = Literal["keep", "cross_validated"]
Alone = Literal["wiener", "unregularised"]


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
    healpix_order
        That of the sampling that made these maps.
    current_size_px
        Size of the images that were aligned; the maps hold nothing beyond half of it.
    seed
        For whatever is random: seed of the run and iteration in one.
    scratch
        Folder of this iteration for what a method must write, as an external program's files; None: none is given.
    continued
        Fills the poorly seen ends of a map that repeats from its best part, (N, N, N) to (N, N, N); None: the map does
        not repeat.
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
    healpix_order: int = 2
    current_size_px: int | None = None
    seed: int = 0
    scratch: Path | None = None
    continued: Callable[[Tensor], Tensor] | None = None

    @property
    def box_px(self) -> int:
        """N."""
        return self.sums[0].box_px

    @property
    def device(self) -> torch.device:
        """Where the maps are."""
        return self.sums[0].grid.device


@dataclass(frozen=True)
class Outcome:
    """What a regulariser returns.

    Attributes
    ----------
    references
        One per half, (N, N, N), at the scale of the half-maps.
    notes
        What it found out, for the report: numbers, texts and lists that JSON can hold, the same for the same input.
    """

    references: tuple[Tensor, Tensor]
    notes: dict[str, Any] = field(default_factory=dict)


class Regulariser(ABC):
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
    equivariant
        Whether a symmetric map stays symmetric. Where False, the driver symmetrises the references.
    reads
        "maps", or also "sums": whether it looks at D and W, not only at the maps made from them; "weights": at W alone.
    nyquist_angst
        Finest period that it works at, where that is its own (a network of 1.5 Å voxels: 3 Å). Beyond it the driver
        crosses over to the Wiener map. None: as fine as the maps.
    amplitude
        "keep", or "cross_validated" for a method whose amplitudes mean nothing: the driver scales each shell so that
        the reference of one half predicts the other half best.
    takes_alone
        What is given to it as the unregularised map of a single map that has no other half, and so no FSC: "wiener",
        its Wiener map, as the published networks take it; "unregularised", for what knows the signal and noise of each
        shell from `tau2` and `sigma2_ref`.
    learned
        Whether it was learned from examples: what it makes of particles unlike them nobody knows, so the driver can
        certify its references (`blush.regularise.certificate`).
    looks_around
        Whether what it makes of a place depends on what it sees around it, beyond one filter for the whole map. Such a
        method takes a poorly seen end for an end of the particle, so the driver gives it maps that are continued, where
        they repeat.
    """

    name: ClassVar[str]
    couples: Coupling = "none"
    trails: ClassVar[bool] = True
    equivariant: bool = True
    reads: tuple[str, ...] = ("maps",)
    nyquist_angst: float | None = None
    amplitude: Amplitude = "keep"
    takes_alone: Alone = "wiener"
    learned: bool = False
    looks_around: bool = False

    def refuses(self, box_px: int, pixel_size_angst: float, particle_diameter_angst: float, device: str) -> str | None:
        """Why it cannot work on maps of this box and particle, where that is known before there are any; else None."""
        return None

    @abstractmethod
    def regularise(self, maps: HalfMaps) -> Outcome:
        """Return the two references, (N, N, N) each, at the scale of the half-maps.

        Raises
        ------
        RegulariserError
            Where it cannot: the driver falls back if that was asked for, and stops with the message otherwise.
        """


class RegulariserError(Exception):
    """A regulariser could not do its work on these maps; the text says why and what to do."""
