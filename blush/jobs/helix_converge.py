"""The checkpoint of filaments: that of a refinement, and what segments of a filament say together. No torch here.

Each half has its chains, its tracks and their widths for itself, as a filament is whole in one half. Of the symmetry,
two numbers that both halves share, rise comes from the maps, and twist from the chains of both where it is searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blush.config import RunConfig
from blush.geometry.helix import Helix
from blush.helix.chain import Motion, smooth
from blush.helix.slow_twist import Half, SlowTwist, fit_slow_twist, fit_walk
from blush.helix.tracks import Track
from blush.io.files import load_npz
from blush.io.particles import POSE, ParticleSet
from blush.jobs import converge as refinement
from blush.jobs.helix_columns import (
    FOUND,
    Arrays,
    canonical,
    first_log_odds,
    flat_prior,
    nearest_alike,
    pose_of,
    resampled,
    tracks_of,
)
from blush.jobs.helix_turned import turned_columns
from blush.jobs.inputs import TABLE_COLUMNS, read_config, read_frozen_particles, read_plan
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import checked
from blush.refine.control import HelixControl
from blush.refine.filament_sampling import sampled
from blush.refine.state import State, load_state

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LEAST_ACROSS_ANGST = 0.5
"""Width of the prior of offsets across a filament."""


def converge(root: Path, iteration: int) -> State:
    """Write poses, what filaments say of their segments, and the state of an iteration."""

    def alike(old: Arrays, new: Arrays) -> Arrays:
        helix = _before(root, iteration).control_of(HelixControl).helix
        _, _, psi, _ = tracks_of(read_frozen_particles(root))
        tube = read_config(root).helix.tube_diameter_angst
        if tube is None:
            raise ValueError("helix.tube_diameter_angst is missing")
        poses = nearest_alike(pose_of(new), pose_of(old), psi, helix, tube / 2)
        return new | dict(zip(POSE, poses.T, strict=True))

    def then(state: State, columns: Arrays) -> State:
        folder = RunFolder(root)
        spectra = load_npz(checked(folder, folder.spectra(iteration)))
        old = load_npz(checked(folder, folder.poses(iteration - 1)))
        config, particles, rows = read_config(root), read_frozen_particles(root), read_plan(root).rows
        return FilamentStep(config, particles, rows, _before(root, iteration), state, spectra, old, columns).told()

    return refinement.converge(root, iteration, refinement.Keeping((*TABLE_COLUMNS, *FOUND), then, alike))


def _before(root: Path, iteration: int) -> State:
    folder = RunFolder(root)
    return load_state(checked(folder, folder.state(iteration - 1)))


@dataclass
class FilamentStep:
    """What an iteration says of all filaments.

    Attributes
    ----------
    rows
        Import rows of each half.
    before, state
        Before the iteration, and after it but for what is of filaments.
    spectra
        What was measured of the maps.
    old, columns
        By name, of all segments in import order: after the last iteration, and after this one. Of the latter, what the
        expectation step found is replaced by what the next one is told.
    """

    config: RunConfig
    particles: ParticleSet
    rows: Sequence[Ints]
    before: State
    state: State
    spectra: Arrays
    old: Arrays
    columns: Arrays

    def __post_init__(self) -> None:
        self.control = self.before.control_of(HelixControl)
        self.filament, self.track, psi, tilt = tracks_of(self.particles)
        self.picked = Track(psi, tilt, np.zeros(len(psi)))

    def told(self) -> State:
        """State of the next iteration; the columns are changed on the way."""
        halves = self._halves()
        control = self._symmetric(self.state.control_of(HelixControl), self._slow_twist(halves))
        walks = np.array([fit_walk(*pair) for pair in zip(halves, self._motions(control), strict=True)])
        control = sampled(replace(control, walk_deg2_per_angst=walks), self.state.search)
        self._chains(halves, control)
        widths = self._tracks()
        if self._turned_over.size:
            self.columns |= turned_columns(self.columns, self.rows[1], POSE, self._turned_over)
        self._canonical(control.helix)
        images = replace(self.state.images, sigma_offset_angst=self._across())
        control = replace(control, sigma_psi_deg=widths[:, 0], sigma_tilt_deg=widths[:, 1])
        return replace(self.state, control=control, images=images)

    @property
    def _turned_over(self) -> Floats:
        """Angle and shift by which the map of the second half was laid as that of the first; of none, empty."""
        return np.asarray(self.spectra.get("turned_over", ()), dtype=np.float64)

    def _halves(self) -> list[Half]:
        said, extent = self.columns.pop("rot_evidence"), self.config.particle_diameter_angst
        odds = first_log_odds(self.particles), self.old["polarity_log_odds"]
        return [Half(said, rows, self.filament, self.track, extent, *odds) for rows in self.rows]

    def _motions(self, control: HelixControl) -> list[Motion]:
        """Motion of each half, over the circle of the bins that were measured."""
        slope, period = control.helix.slope_deg_per_angst, self.control.helix.chain_period_deg
        return [Motion(slope, float(walk), period) for walk in control.walk_deg2_per_angst]

    def _slow_twist(self, halves: Sequence[Half]) -> SlowTwist | None:
        """What the chains say of it within the twists that are searched; None where it is kept."""
        helix, allowed = self.control.helix, self.config.helix.twist_range_deg
        if allowed is None or self.before.final:
            return None
        low, high = (helix.slope_deg_per_angst + (one - helix.twist_deg) / helix.rise_angst for one in allowed)
        return fit_slow_twist(halves, self._motions(self.control), (low, high))

    def _symmetric(self, control: HelixControl, found: SlowTwist | None) -> HelixControl:
        """Control with the rise of the maps, and the twist of the chains where they know it better than its range.

        After the last iteration it is the symmetry that its maps have.
        """
        old, allowed = control.helix, self.config.helix.twist_range_deg
        rise = float(self.spectra.get("rise_angst", old.rise_angst))
        twist = float(self.spectra.get("twist_deg", old.twist_deg))
        limits = {str(name).partition("_")[0] for name in self.spectra.get("at_limit", ())}
        error = control.slope_error_deg_per_angst if self.before.final else None
        if allowed is not None and found is not None and found.is_known:
            error = found.error_deg_per_angst
            about = old.twist_deg - old.slope_deg_per_angst * old.rise_angst
            free = found.slope_deg_per_angst * rise + about
            twist = min(max(free, allowed[0]), allowed[1])
            limits = limits - {"twist"} | ({"twist"} if found.at_limit or twist != free else set())
        found_at = tuple(sorted(limits))
        symmetric = replace(control, rise_angst=rise, twist_deg=twist, at_limit=found_at)
        return replace(symmetric, slope_error_deg_per_angst=error)

    def _chains(self, halves: Sequence[Half], control: HelixControl) -> None:
        """What the filaments say of each segment's polarity and rot."""
        helix, old, n = control.helix, self.control.helix, len(self.filament)
        bins = halves[0].rot_evidence.shape[2]
        prior = np.zeros((n, 2, bins), np.float32)
        odds, rho, spread = np.zeros(n), np.zeros(n), np.zeros(n)
        for half, motion in zip(halves, self._motions(control), strict=True):
            for evidence in half.blocks():
                found, rows = smooth(evidence, motion), evidence.filaments.rows
                prior[rows], odds[rows] = found.log_prior, found.log_odds
                rho[rows], spread[rows] = found.rho_deg, found.spread_deg
        if helix.chain_period_deg != old.chain_period_deg:  # bins of another circle: polarity alone is still known
            prior = flat_prior(odds, bins)
        known = {"polarity_log_odds": odds, "chain_rho_deg": rho, "chain_spread_deg": spread}
        if self._turned_over.size:  # the second half's map is another way up now: none of this holds
            second = self.rows[1]
            odds[second] = first_log_odds(self.particles)[second]
            prior[second] = flat_prior(odds[second], prior.shape[2])
        self.columns |= known | {"rot_log_prior": resampled(prior, control.bins)}

    def _tracks(self) -> Floats:
        """Where segments are expected next; (subsets, 2) widths of psi and tilt about that, learned by each half."""
        poses, settings = pose_of(self.columns), self.config.helix
        length = self.state.facts.box_px * self.state.facts.pixel_size_angst
        seen = Track.of(poses, self.picked.psi_deg)
        expected = seen.smoothed(self.picked, self.filament, self.track, settings.smooth_angst or length)
        self.columns["filament_prior"] = expected.stacked()
        first = (settings.sigma_psi_deg, settings.sigma_tilt_deg)
        widths = [
            seen.taken(rows).widths(expected.taken(rows), first, float(last))
            for rows, last in zip(self.rows, self.control.sigma_tilt_deg, strict=True)
        ]
        return np.array(widths)

    def _across(self) -> Floats:
        """(subsets,) width of the prior across a filament about where segments were expected: one degree of freedom."""
        if self.before.search.first_cc:
            return self.state.images.sigma_offset_angst
        centre, mean = self.old["filament_prior"][:, 2], self.columns["across_mean"]
        square = self.columns["across_square"] - 2 * centre * mean + centre**2
        variance = [float(square[rows].mean()) if len(rows) else 0.0 for rows in self.rows]
        return np.maximum(np.sqrt(np.maximum(variance, 0.0)), LEAST_ACROSS_ANGST)

    def _canonical(self, helix: Helix) -> None:
        """Offsets along filaments within half a rise of 0, in poses and in the best of each polarity."""
        psi = self.picked.psi_deg
        self.columns |= dict(zip(POSE, canonical(pose_of(self.columns), psi, helix).T, strict=True))
        found, old = self.columns["polarity_pose"], self.old["polarity_pose"]
        either = np.where(np.isnan(found).any(2, keepdims=True), old, found)
        self.columns["polarity_pose"] = canonical(either, psi[:, None], helix)
