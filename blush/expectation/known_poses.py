"""What is known of an image's pose before it is seen, where images have lists of poses of their own.

An expectation step asks a `PosePriors` which coarse orientations to score for every image, how probable they are, and,
once it is known which of them matter, how probable their children are and what else to tell of them. That is all it
knows of local searches, of parts that move against the rest of a particle, and of filaments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from blush.expectation.block import Block
from blush.expectation.fine import LogPrior, Posterior
from blush.expectation.model import Model
from blush.expectation.offsets import FineShifts
from blush.expectation.shared_slices import SharedLists
from blush.io.upload import uploaded


@dataclass(frozen=True)
class PriorMass:
    """What the whole prior of images comes to.

    Attributes
    ----------
    log_total
        (b,) ln of its sum over all fine samples.
    by_bin
        (b, 2, bins) its sum by polarity and reduced rot, that of these two left out, over the whole sum.
    """

    log_total: Tensor
    by_bin: Tensor

    def taken(self, chosen: slice) -> PriorMass:
        """Of some images."""
        return PriorMass(self.log_total[chosen], self.by_bin[chosen])


@dataclass(frozen=True)
class Candidates:
    """Coarse poses to score: l lists of orientations for every image, and the shifts of each list.

    Attributes
    ----------
    orientation
        (b, l, m) indices of the grid; -1 where a list is shorter.
    log_prior
        (b, 1 or t, m) of each shift, where it depends on it; those of the first list first.
    mass
        Sums of the prior, where its second pass needs them.
    shared
        What these orientations are, where slices of them serve many images.
    """

    orientation: Tensor
    log_prior: Tensor
    mass: PriorMass | None = None
    shared: SharedLists | None = None


class FinePrior(Protocol):
    """The prior at the fine samples of the second pass."""

    @property
    def log_density(self) -> LogPrior | None:
        """Log prior of the children of pairs; None: that of their coarse poses."""

    def columns(self, posterior: Posterior, n_images: int) -> dict[str, Tensor]:
        """What it finds of every image, by name."""


class PosePriors(Protocol):
    """Priors of any block of images."""

    covers_offsets: bool
    """Whether it is the prior of the offset, too."""
    orientations: int
    """Coarse orientations of one image, or a bound."""
    shared_rows: int
    """Orientations whose slices serve all images; 0: every image has slices of its own."""

    def candidates(self, block: Block) -> Candidates:
        """Coarse poses and their priors, of a mean of 1 over those that are searched or a sum of 1."""

    def fine(self, block: Block, mass: PriorMass | None, shifts: FineShifts) -> FinePrior:
        """The prior of the second pass, of some of the images that had candidates."""


class CoarsePrior:
    """Children are as probable as their coarse pose, and nothing else is told."""

    log_density = None

    def columns(self, posterior: Posterior, n_images: int) -> dict[str, Tensor]:
        """Nothing."""
        del posterior, n_images
        return {}


class Neighbourhoods:
    """A Gaussian about the pose that each image has."""

    covers_offsets = False
    shared_rows = 0

    def __init__(self, model: Model, device: torch.device, orientations: int) -> None:
        self.model, self.device, self.orientations = model, device, orientations

    def candidates(self, block: Block) -> Candidates:
        """Orientations near the previous one, with a prior of mean 1 over them."""
        orientation, log_prior = neighbours(self.model, block, self.device)
        count = (orientation >= 0).sum(1, keepdim=True).to(log_prior)
        log_prior = (log_prior + count.log())[:, None]  # mean 1 over the search
        return Candidates(orientation[:, None], log_prior)

    def fine(self, block: Block, mass: PriorMass | None, shifts: FineShifts) -> FinePrior:
        """That of the coarse poses."""
        del block, mass, shifts
        return CoarsePrior()


def neighbours(model: Model, block: Block, device: torch.device) -> tuple[Tensor, Tensor]:
    """(b, m) orientations near the poses that images have, and their log priors of sum 1.

    Raises
    ------
    ValueError
        Where the search has no width.
    """
    if model.local_sigma_deg is None:
        raise ValueError("neither a global nor a local search was prepared")
    names = ("rot_deg", "tilt_deg", "psi_deg")
    # On the host, which has nothing else to do: on a GPU it would wait a dozen times for the lengths of lists.
    rot, tilt, psi = (torch.from_numpy(getattr(block.particles, name)) for name in names)
    orientation, log_prior = model.component.grid.local_neighbours(rot, tilt, psi, model.local_sigma_deg)
    return uploaded(orientation, device), uploaded(log_prior, device)
