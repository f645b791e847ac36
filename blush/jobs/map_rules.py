"""What a job knows of its maps beyond the sums of the halves: how they repeat, and where they are density."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from blush.config import RunConfig
from blush.fourier.backproject import Accumulator
from blush.fourier.filter import low_pass
from blush.fourier.mask import auto_mask, soft_sphere
from blush.io.mrc import read_volume, write_volume
from blush.io.upload import uploaded
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import checked
from blush.maximization.halves import shared_part
from blush.maximization.reconstruct import reconstruct
from blush.refine.state import State
from blush.refine.subset import Subset

MASK_EDGE_PX = 5.0
Pair = tuple[Accumulator, Accumulator]


@dataclass
class MapRules:
    """Those of a single particle: it does not repeat, and both halves are compared where they are density.

    A job whose maps obey other rules has a class of its own, which its step of maps names.

    Attributes
    ----------
    state
        The one before the iteration that makes the maps.
    """

    folder: RunFolder
    config: RunConfig
    state: State

    def symmetric(self, halves: Pair) -> Pair:
        """Sums of both halves with every symmetry that the sums of shards do not have yet."""
        return halves

    def solvent_mask(self, total: Accumulator, shell: int) -> Tensor:
        """The mask that flattens references; what of it is made from the maps is written to the iteration's folder.

        With `mask: auto` it is made from the shells that both halves share anyway (`join_low_resolution`), so that it
        carries nothing from one half to the other.

        Parameters
        ----------
        total
            Sums of all images.
        shell
            Up to which both halves hold the same.
        """
        mask = self.made_mask(total, shell)
        if self.config.mask == "auto":
            path = self.folder.iteration(self.state.iteration + 1) / "mask.mrc"
            write_volume(path, mask.cpu().numpy(), self.state.facts.pixel_size_angst)
        return mask

    def made_mask(self, total: Accumulator, shell: int) -> Tensor:
        """The same, and nothing is written."""
        folder, config, facts = self.folder, self.config, self.state.facts
        n, pixel = facts.box_px, facts.pixel_size_angst
        like = total.grid
        radius_px = facts.particle_diameter_angst / (2 * pixel)
        sphere = soft_sphere(n, radius_px, MASK_EDGE_PX, like.device).to(like)
        if config.mask == "sphere":
            return sphere
        if config.mask != "auto":
            given, _ = read_volume(checked(folder, folder.imported / "mask.mrc"))
            return uploaded(given, like.device, like.dtype)
        lowpass_angst = n * pixel / shell
        shared = low_pass(reconstruct(shared_part(total, shell)), lowpass_angst, pixel)
        return auto_mask(shared * sphere, pixel, facts.particle_diameter_angst, lowpass_angst).to(like) * sphere

    def after_cross_correlation(self, half: Subset, reference: Tensor) -> Tensor:
        """The reference that follows a comparison by cross-correlation alone, from the map of that iteration."""
        del half
        return low_pass(reference, self.config.initial_lowpass_angst, self.state.facts.pixel_size_angst)

    def fsc_mask(self, solvent: Tensor) -> Tensor:
        """Where the halves are compared."""
        return solvent

    def continued(self) -> Callable[[Tensor], Tensor] | None:
        """What fills the poorly seen ends of a map that repeats, for regularisers that look around; None: nothing."""
        return None

    def repeated(self, reference: Tensor) -> Tensor:
        """A reference with what repeats made equal."""
        return reference

    def found(self) -> dict[str, np.ndarray]:
        """What was measured on the way, by the name under which it is kept among the iteration's spectra."""
        return {}
