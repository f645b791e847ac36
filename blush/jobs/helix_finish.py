"""After the last iteration of filaments: what a refinement leaves, compared in the central part; what filaments say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blush.helix.along import Along, tilt_from_track_deg
from blush.helix.masks import central_mask
from blush.io.filaments import units_per_segment
from blush.io.files import atomic_write, load_npz
from blush.io.mrc import read_volume, write_volume
from blush.io.particles import read_particles
from blush.jobs import finish
from blush.jobs.filament_table import filament_lines
from blush.jobs.helix_gauge import is_opposite
from blush.jobs.helix_maps import tube_of
from blush.jobs.inputs import read_frozen_particles
from blush.jobs.outputs import imported_blocks
from blush.jobs.sealed import checked, note, written
from blush.refine.control import HelixControl
from blush.refine.subset import HALVES
from blush.validate.helix_truth import TrueHelix, compare_helix_with_truth

FILE, TABLE = "central_mask.mrc", "filaments.tsv"
FAR_TILT = 1.5
"""Median distance of tilt from the track, in widths of the first prior, above which it is told. Where images tell
nothing of tilt it is that of the track, and tilts that scatter as the prior says have a median of 0.67."""
WRONG_SHARE = 0.02
"""Of segments that look against their filament, above which it is told."""


def postprocess(root: Path) -> Path:
    """Write RUN/postprocess and RUN/summary.json.

    Raises
    ------
    BlushError
        If the refinement has not finished.
    """
    return finish.postprocess(root, HelixEnding)


@dataclass
class HelixEnding(finish.Ending):
    """What is measured of filaments: symmetry, polarity, how far they are from ideal ones."""

    @property
    def control(self) -> HelixControl:
        """Of the end."""
        return self.state.control_of(HelixControl)

    def doubts_of_directions(self, warnings: list[str]) -> list[str]:
        """None: all views lie about the equator, and a map of one axis is no better along it than its units."""
        del warnings
        return []

    def mask(self) -> Path | None:
        """The central part of the tube, unless the user gave a mask."""
        given = super().mask()
        if given is not None:
            return given
        path = self.folder.root / "postprocess" / FILE
        with written(self.folder, path) as beside:
            write_volume(beside, self._central().numpy().astype(np.float32), self.state.facts.pixel_size_angst)
        return path

    def _central(self) -> Tensor:
        """The part of the tube that is compared."""
        facts = self.state.facts
        part = self.config.helix.central_fraction
        return central_mask(facts.box_px, facts.pixel_size_angst, tube_of(self.config), part)

    def compared(self) -> dict[str, Any]:
        """Map and poses against the truth, turned about the axis, moved along it and turned over, and nothing else."""
        truth = self.config.truth
        if truth is None:
            return {}
        volume, wanted = (torch.from_numpy(read_volume(path)[0]) for path in (self.final_map, truth.map))
        mask = self._central()
        if truth.mask is not None:
            mask = mask * torch.from_numpy(read_volume(truth.mask)[0])
        true, _ = read_particles(truth.particles, find_stacks=False)
        known = TrueHelix(wanted, mask.to(wanted), true, self.control.helix)
        return compare_helix_with_truth(volume, self.found, known, self.state.facts.pixel_size_angst)

    def measured(self) -> dict[str, Any]:
        """Rise, twist and filaments, for the summary."""
        control, helix, settings = self.control, self.control.helix, self.config.helix
        along = Along.of(self.found, helix)
        wrong = int(along.against_most.sum())
        tilt_deg = float(np.median(np.abs(tilt_from_track_deg(self.found))))
        slope, error = along.own_slopes()
        known = np.isfinite(slope)
        given = settings.units_per_segment
        particles = read_frozen_particles(self.folder.root)
        record: dict[str, Any] = {
            "rise_angst": control.rise_angst,
            "twist_deg": control.twist_deg,
            "slope_error_deg_per_angst": control.slope_error_deg_per_angst,
            "crossover_angst": helix.crossover_angst if np.isfinite(helix.crossover_angst) else None,
            "symmetry_imposed": settings.impose_symmetry,
            "central_fraction": settings.central_fraction,
            "units_per_segment": units_per_segment(particles, control.rise_angst) if given is None else given,
            "at_limit": list(control.at_limit),
            "filaments": len(along.count),
            "filaments_reversed": int(along.is_reversed.sum()),
            "segments_against_their_filament": wrong,
            "tilt_from_track_deg": tilt_deg,
            "phase_spread_deg": along.phase_spread_deg,
            "walk_deg_over_100_angst": [float(np.sqrt(100 * one)) for one in control.walk_deg2_per_angst],
            "own_slope_spread_deg_per_angst": float(np.std(slope[known])) if known.any() else None,
            "own_slope_error_deg_per_angst": float(np.median(error[known])) if known.any() else None,
        }
        self._write_table(along)
        return {"helix": record, "warnings": [*self._doubts(along, wrong, tilt_deg), *self._opposite_halves()]}

    def _write_table(self, along: Along) -> None:
        """Write what each filament says."""
        poses = load_npz(checked(self.folder, self.folder.poses(self.state.iteration)))
        segments = imported_blocks(self.folder.root)["particles"]
        text = filament_lines(segments, along, poses["polarity_log_odds"], self.control.helix)
        path = self.folder.root / "postprocess" / TABLE
        with atomic_write(path) as beside:
            beside.write_text(text, encoding="utf-8")
        note(self.folder, [path])

    def _doubts(self, along: Along, wrong: int, tilt_deg: float) -> list[str]:
        found = [
            f"The {name} ended at the limit of its range: widen helix.{name}_range_{unit}, or start from another value."
            for name, unit in (("rise", "angst"), ("twist", "deg"))
            if name in self.control.at_limit
        ]
        if wrong > WRONG_SHARE * len(along.filament):
            found.append(
                f"{wrong} of {len(along.filament)} segments look against their filament: its polarity is not certain."
            )
        if tilt_deg > FAR_TILT * self.config.helix.sigma_tilt_deg:
            found.append(
                f"Half of the segments are tilted by more than {tilt_deg:.0f} degrees from their tracks: filaments lie "
                "flat, so this is a sign of a wrong symmetry. Compare others with blush helix-evidence."
            )
        return found

    def _opposite_halves(self) -> list[str]:
        """What to say where the maps of the halves are alike only once one is turned over."""
        first, second = (
            torch.from_numpy(read_volume(checked(self.folder, self.folder.map(None, half, "unfiltered")))[0])
            for half in HALVES
        )
        pixel, rise = self.state.facts.pixel_size_angst, self.control.rise_angst
        if not is_opposite(first, second, self._central().to(first), pixel, rise):
            return []
        return [
            "The halves found opposite polarities: their maps agree better once one is turned over, and the resolution "
            "says nothing. Start from a reference of finer detail (initial_lowpass_angst), and set "
            "refinement.reference_is_greyscale where it has the grey scale of the images."
        ]
