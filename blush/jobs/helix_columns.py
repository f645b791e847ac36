"""Columns of the segments of filaments in `poses.npz`: what the expectation step finds, and what it is told."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.geometry.helix import STARTS, Helix, from_frame, in_frame, nearest_zero, polarity
from blush.helix.chain import MOST_LOG_ODDS, SIGNS
from blush.io.particles import POSE, ParticleSet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Arrays = dict[str, NDArray[Any]]

FOUND = ("rot_evidence", "polarity_pose", "across_mean", "across_square")
"""By the expectation step: log likelihoods (n, 2, bins), best poses (n, 2, 5), moments of the offset across (n,)."""


def first_columns(particles: ParticleSet, bins: int) -> Arrays:
    """What is known of segments before the first iteration: their tracks, and the polarity that the table expects.

    Parameters
    ----------
    bins
        In which the period of rot is divided.
    """
    _, _, psi, tilt = tracks_of(particles)
    odds = first_log_odds(particles)
    poses = np.full((len(psi), 2, len(POSE)), np.nan)
    if particles.has_poses:
        given = pose_of(vars(particles))
        poses[np.arange(len(psi)), polarity(given[:, 2], psi)] = given
    return {
        "filament_prior": np.stack((psi, tilt, np.zeros(len(psi))), 1),
        "rot_log_prior": flat_prior(odds, bins),
        "polarity_pose": poses,
        "polarity_log_odds": odds,
        "across_mean": np.zeros(len(psi)),
        "across_square": np.zeros(len(psi)),
        "chain_rho_deg": np.zeros(len(psi)),
        "chain_spread_deg": np.zeros(len(psi)),
    }


def flat_prior(log_odds: Floats, bins: int) -> NDArray[np.float32]:
    """(n, 2, bins) log density of a mean of 1, by the log odds of polarity 0 alone."""
    of_polarity = np.log(2.0) - np.logaddexp(0.0, -log_odds[:, None] * SIGNS)
    return np.repeat(of_polarity[..., None], bins, 2).astype(np.float32)


def resampled(log_prior: NDArray[np.float32], bins: int) -> NDArray[np.float32]:
    """The same log density in another number of bins, by straight lines between the old ones."""
    old = log_prior.shape[2]
    if bins == old:
        return log_prior
    place = np.arange(bins) * old / bins
    lower = np.floor(place).astype(np.int64)
    share = (place - lower).astype(np.float32)
    found = log_prior[..., lower] * (1 - share) + log_prior[..., (lower + 1) % old] * share
    return np.asarray(found, dtype=np.float32)


def tracks_of(particles: ParticleSet) -> tuple[Ints, Floats, Floats, Floats]:
    """Filament of each segment, its distance along it, and psi and tilt of the track.

    Raises
    ------
    ValueError
        The particles are no segments of filaments.
    """
    filament, track = particles.filament, particles.track_angst
    psi, tilt = particles.track_psi_deg, particles.track_tilt_deg
    if filament is None or track is None or psi is None or tilt is None:
        raise ValueError("these particles are no segments of filaments")
    return filament.astype(np.int64), track, psi, tilt


def first_log_odds(particles: ParticleSet) -> Floats:
    """(n,) log odds of polarity 0 of each segment's filament by the mean of its flip ratios; of none given, even."""
    filament, *_ = tracks_of(particles)
    ratio = np.full(len(filament), 0.5) if particles.psi_flip_ratio is None else particles.psi_flip_ratio
    mean = np.bincount(filament, ratio) / np.maximum(np.bincount(filament), 1)
    least = np.exp(-MOST_LOG_ODDS)
    return np.log(np.clip(1 - mean, least, 1) / np.clip(mean, least, 1))[filament]


def pose_of(columns: dict[str, Any]) -> Floats:
    """(n, 5) poses of columns."""
    return np.stack([np.asarray(columns[name], dtype=np.float64) for name in POSE], 1)


def canonical(poses: Floats, track_psi_deg: Floats, helix: Helix) -> Floats:
    """The same projections with offsets along the filament within half a rise of 0.

    Parameters
    ----------
    poses
        (..., 5); NaN stays.
    track_psi_deg
        (...)
    """
    along, _, sign = _along(poses, track_psi_deg)
    return _turned(poses, track_psi_deg, helix, helix.canonical(np.zeros_like(along), along, sign)[1] - along)


def nearest_alike(poses: Floats, old: Floats, track_psi_deg: Floats, helix: Helix, radius_angst: float) -> Floats:
    """(n, 5) of the same projections those nearest to `old`, by how far a point at a radius moves along and around.

    By the offset alone a screw 2_1 would be turned by 180 degrees where the offset moved by a little more than half a
    rise, 1.2 Å of an amyloid.
    """
    nearest = np.round((_along(old, track_psi_deg)[0] - _along(poses, track_psi_deg)[0]) / helix.rise_angst)
    units = nearest + np.arange(-max(STARTS), max(STARTS) + 1)[:, None]
    every = np.broadcast_to(poses, (len(units), *poses.shape))
    alike = _turned(every, np.broadcast_to(track_psi_deg, units.shape), helix, units * helix.rise_angst)
    around = np.radians(nearest_zero(alike[..., 0] - old[:, 0], 360.0 / helix.fold)) * radius_angst
    moved = np.hypot(_along(alike, track_psi_deg)[0] - _along(old, track_psi_deg)[0], around)
    return np.asarray(alike[moved.argmin(0), np.arange(len(poses))])


def _turned(poses: Floats, track_psi_deg: Floats, helix: Helix, shift_angst: Floats) -> Floats:
    """Poses moved by whole units along the screw."""
    along, across, sign = _along(poses, track_psi_deg)
    units = np.round(shift_angst / helix.rise_angst)
    moved = np.stack((along + units * helix.rise_angst, across), -1)
    rot = nearest_zero(poses[..., 0] - sign * units * helix.twist_deg, 360.0)
    psi = poses[..., 2] + np.where(sign < 0, 180.0, 0.0)
    found = np.concatenate((rot[..., None], poses[..., 1:3], from_frame(moved, psi)), -1)
    return np.where(units[..., None] == 0, poses, found)


def _along(poses: Floats, track_psi_deg: Floats) -> tuple[Floats, Floats, Floats]:
    """Offsets along and across the axis that a pose sees, and the sign of its polarity."""
    against = polarity(poses[..., 2], track_psi_deg)
    frame = in_frame(poses[..., 3:], poses[..., 2] + 180.0 * against)
    return frame[..., 0], frame[..., 1], SIGNS[against]
