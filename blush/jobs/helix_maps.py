"""The maps of a helix: rise and twist from both halves, sums of the units that a segment adds, the central average."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blush.config import RunConfig
from blush.fourier.backproject import Accumulator
from blush.geometry.helix import Helix
from blush.helix.impose import continue_tube, impose
from blush.helix.masks import Tube, central_mask, tube_mask
from blush.helix.pair_score import Central, widest_fraction
from blush.helix.rise_search import search_rise
from blush.helix.search import search_symmetry
from blush.helix.symmetrise import symmetrise_helix
from blush.io.filaments import units_per_segment
from blush.io.mrc import read_volume
from blush.jobs import denoise_and_trail as refinement
from blush.jobs.helix_gauge import as_the_first
from blush.jobs.inputs import read_frozen_particles
from blush.jobs.map_rules import MapRules, Pair
from blush.jobs.sealed import checked
from blush.maximization.reconstruct import reconstruct
from blush.refine.control import HelixControl
from blush.refine.subset import Subset

SEARCHED_FROM = 2
"""First iteration in which rise and twist are searched: the first map holds those that it was made with."""
AT_END = 1e-6
"""Å or degrees from the end of a range at which a search has ended there."""
FREE_UNTIL = 4
"""Last iteration whose maps have no symmetry, where the rise is searched: while maps are poor, a rise that is imposed
comes back from those of segments that were fitted to it."""
SEARCHED_FRACTION = 0.65
"""Of the box along the axis, in which rise and twist are searched: places that lie far apart tell them best."""


def denoise_and_trail(root: Path, iteration: int) -> Path:
    """Make the maps of an iteration; after the last, joined one, the final maps, which no average has touched."""
    return refinement.denoise_and_trail(root, iteration, HelixRules)


@dataclass
class HelixRules(MapRules):
    """Those of a helix, of rise and twist as they are found on the way.

    Both halves get one rise and one twist: two numbers that they share (docs/algorithm.md, section 8).
    """

    helix: Helix = field(init=False)
    at_limit: tuple[str, ...] = field(init=False, default=())
    turned_over: tuple[float, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        self.helix = self.state.control_of(HelixControl).helix

    def symmetric(self, halves: Pair) -> Pair:
        """Sums of both halves over the units that a segment adds, the second lying as the first."""
        halves = self._alike(halves)
        if not self.is_imposed:
            return halves
        if self.is_searched:
            self._search(halves)
        given = self.config.helix.units_per_segment
        particles = read_frozen_particles(self.folder.root)
        count = units_per_segment(particles, self.helix.rise_angst) if given is None else given
        screw = replace(self.helix, fold=1)  # shards were summed over the fold already
        pixel = self.state.facts.pixel_size_angst
        first, second = (symmetrise_helix(half, screw, pixel, count) for half in halves)
        return first, second

    def _alike(self, halves: Pair) -> Pair:
        """The halves with the second turned over, where that makes them alike and polarity is still searched."""
        search, control = self.state.search, self.state.control_of(HelixControl)
        if search.local or search.first_cc or self.state.final:
            return halves
        facts, part = self.state.facts, self.config.helix.central_fraction
        mask = central_mask(facts.box_px, facts.pixel_size_angst, tube_of(self.config), part)
        turned = as_the_first(*halves, mask, facts.pixel_size_angst, control.rise_angst)
        if turned is None:
            return halves
        self.turned_over = (turned.angle_deg, turned.shift_angst)
        return halves[0], turned.sums

    @property
    def is_warming_up(self) -> bool:
        """Whether the map may find a rise that it was not given: it is searched, and these are the first iterations."""
        is_early = self.state.iteration + 1 <= FREE_UNTIL and not self.state.final
        return is_early and self.config.helix.rise_range_angst is not None

    @property
    def is_searched(self) -> bool:
        """Whether this iteration searches rise or twist."""
        ranges = (self.config.helix.rise_range_angst, self.config.helix.twist_range_deg)
        return self.state.iteration + 1 >= SEARCHED_FROM and any(one is not None for one in ranges)

    def _search(self, halves: Pair) -> None:
        settings = self.config.helix
        maps = reconstruct(halves[0], None), reconstruct(halves[1], None)
        part = min(max(settings.central_fraction, SEARCHED_FRACTION), widest_fraction(self.state.facts.box_px))
        central = Central(self.state.facts.pixel_size_angst, part, tube_of(self.config))
        if self.state.control_of(HelixControl).slope_error_deg_per_angst is None:  # filaments do not tell it yet
            found = search_symmetry(maps, central, self.helix, None, settings.twist_range_deg)
            self.helix, self.at_limit = found.helix, tuple(name.partition("_")[0] for name in found.at_limit)
        self._search_rise(maps, central)

    def _search_rise(self, maps: tuple[Tensor, Tensor], central: Central) -> None:
        """The rise alone, where filaments tell the slow twist."""
        limits = self.config.helix.rise_range_angst
        if limits is None:
            return
        twists = self.config.helix.twist_range_deg
        found = search_rise(maps, central, self.helix, limits, twists)
        if found is None:  # the twist of filaments is beyond its range at every rise
            self.at_limit = tuple(sorted({*self.at_limit, "twist"}))
            return
        self.helix = found
        reached = (("rise", found.rise_angst, limits), ("twist", found.twist_deg, twists))
        ended = {
            name for name, value, ends in reached if ends is not None and min(abs(value - e) for e in ends) < AT_END
        }
        self.at_limit = tuple(sorted({*self.at_limit, *ended}))

    def solvent_mask(self, total: Accumulator, shell: int) -> Tensor:
        """The tube in the sphere, or the mask that the user gave."""
        if isinstance(self.config.mask, Path):
            return super().solvent_mask(total, shell)
        return tube_mask(self.state.facts.box_px, self.state.facts.pixel_size_angst, tube_of(self.config)).to(
            total.grid
        )

    def after_cross_correlation(self, half: Subset, reference: Tensor) -> Tensor:
        """The first reference at the grey scale of the images, which is all that this iteration is to tell.

        Correlations choose one pose of every segment, of which many look the wrong way: a map of these has lost the
        polarity that the first reference had, and the halves may find it again each in its own way.
        """
        made = super().after_cross_correlation(half, reference)
        first, _ = read_volume(checked(self.folder, self.folder.map(self.state.iteration, half, "reference")))
        given = torch.from_numpy(first).to(made)
        scale = float((made * given).sum() / given.square().sum())
        if scale <= 0:
            sys.stderr.write(
                f"blush: warning: {half.infix}: the images are unlike the first reference, so the map that they made "
                "takes its place; look whether its contrast is inverted\n"
            )
            return made
        return given * scale

    def fsc_mask(self, solvent: Tensor) -> Tensor:
        """The central part: the ends of the box hold the same units, seen by fewer segments."""
        facts = self.state.facts
        central = central_mask(
            facts.box_px, facts.pixel_size_angst, tube_of(self.config), self.config.helix.central_fraction
        )
        return solvent * central.to(solvent)

    @property
    def is_imposed(self) -> bool:
        """Whether the maps of this iteration get the symmetry."""
        return self.config.helix.impose_symmetry and not self.is_warming_up

    def continued(self) -> Callable[[Tensor], Tensor] | None:
        """The tube continued from its central part, where symmetry is imposed."""
        if not self.is_imposed:
            return None
        pixel, part = self.state.facts.pixel_size_angst, self.config.helix.central_fraction
        return lambda volume: continue_tube(volume, pixel, self.helix, part, tube_of(self.config))

    def repeated(self, reference: Tensor) -> Tensor:
        """The reference filled from its central part."""
        if not self.is_imposed:
            return reference
        pixel = self.state.facts.pixel_size_angst
        return impose(reference, pixel, self.helix, self.config.helix.central_fraction, tube_of(self.config))

    def found(self) -> dict[str, np.ndarray]:
        """Rise and twist, which the next iteration takes up, and those that ended at a limit of their range."""
        return {
            "rise_angst": np.array(self.helix.rise_angst),
            "twist_deg": np.array(self.helix.twist_deg),
            "at_limit": np.array(self.at_limit, dtype="U16"),
            "turned_over": np.array(self.turned_over, dtype=np.float64),
        }


def tube_of(config: RunConfig) -> Tube:
    """Where the filament is, within the sphere of the segment.

    Raises
    ------
    ValueError
        If the settings name no tube, which the checks of the input refuse.
    """
    settings = config.helix
    if settings.tube_diameter_angst is None:
        raise ValueError("helix.tube_diameter_angst is missing")
    return Tube(settings.tube_diameter_angst, settings.tube_inner_diameter_angst, config.particle_diameter_angst)
