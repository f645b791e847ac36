"""A filament as a chain: polarity and rot of its segments by exact forward-backward recursions.

A filament has one polarity p, with the sign s = +1 or -1. On an ideal one the reduced rot of a segment at track d is
rho = theta + s slope d; on a real one theta walks along the filament, with a variance that grows in proportion to the
distance. Bins of theta are a circle on which the walk is the diffusion of a discrete heat kernel: it has this variance
exactly, composes over gaps of any length, and is diagonal under Fourier transforms. See docs/algorithm.md, section 12.

References
----------
Rabiner 1989, doi:10.1109/5.18626, for the recursions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blush.helix.filaments import Filaments, Ints

Floats = NDArray[np.float64]
SIGNS = np.array([1.0, -1.0])
"""Of polarities 0 and 1."""

LEAST_MESSAGE = 1e-18
"""Of the sum over bins: below it a message is rounding."""

DOUBT = 0.01
"""Share of a prior of rot that is flat, for segments at which a filament does what no chain knows."""

MOST_LOG_ODDS = 30.0
"""Of a polarity. Beyond, nothing more is ever gained."""


@dataclass(frozen=True)
class Motion:
    """How rot goes along a filament.

    Parameters
    ----------
    slope_deg_per_angst
        The true slow twist.
    walk_deg2_per_angst
        Variance per distance about it.
    period_deg
        Rotation that is one with none.
    """

    slope_deg_per_angst: float
    walk_deg2_per_angst: float
    period_deg: float


@dataclass(frozen=True)
class Evidence:
    """What the segments of some filaments say, each alone.

    Attributes
    ----------
    log_likelihood
        (n, 2, bins) by place: of each polarity and reduced rot, in shares that count once what boxes share.
    log_odds
        (filaments,) of polarity 0 against 1 but for this evidence.
    both
        (filaments,) whether all segments were compared with both polarities. Else the polarity stays as it was.
    """

    filaments: Filaments
    log_likelihood: Floats
    log_odds: Floats
    both: NDArray[np.bool_]

    @classmethod
    def of(
        cls, filaments: Filaments, rot_evidence: NDArray[np.float32], first_log_odds: Floats, log_odds: Floats
    ) -> Evidence:
        """Evidence of some filaments from what is known of all segments.

        Parameters
        ----------
        rot_evidence
            (all segments, 2, bins) log likelihoods. A polarity of a segment with values that are not finite was not
            looked at, and says nothing.
        first_log_odds, log_odds
            (all segments,) of their filaments: before anything was seen, and as last known.
        """
        said = np.ascontiguousarray(rot_evidence[filaments.rows], dtype=np.float64)  # sums follow the layout
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(said).all(2))
        said = np.where(finite[..., None], said, 0.0) * filaments.weight[:, None, None]
        both = np.ones(len(filaments.last), dtype=bool)
        np.logical_and.at(both, filaments.filament, finite.all(1))
        row = filaments.rows[filaments.last]
        return cls(filaments, said, np.where(both, first_log_odds[row], log_odds[row]), both)

    @property
    def bins(self) -> int:
        """Bins of the period."""
        return self.log_likelihood.shape[2]

    def along(self, motion: Motion) -> Floats:
        """(n, 2, bins) log likelihood of theta instead of rho."""
        return turned(self.log_likelihood, self.turn(motion))

    def turn(self, motion: Motion) -> Floats:
        """(n, 2) rho - theta in bins."""
        per_angst = motion.slope_deg_per_angst * self.bins / motion.period_deg
        return per_angst * self.filaments.position_angst[:, None] * SIGNS


@dataclass(frozen=True)
class Smoothed:
    """What filaments say of their segments, by place.

    Attributes
    ----------
    log_prior
        (n, 2, bins) log density of polarity and reduced rot of each segment by all others that show other noise, of a
        mean of 1 over all entries.
    log_odds
        (n,) of polarity 0 against 1 of its filament, by all segments.
    rho_deg, spread_deg
        (n,) mean of the reduced rot in the more probable polarity, by all segments, and its standard deviation, at most
        that of rots of which nothing is known.
    """

    log_prior: Floats
    log_odds: Floats
    rho_deg: Floats
    spread_deg: Floats


def turned(values: Floats, shift: Floats) -> Floats:
    """Periodic functions (n, 2, bins) read `shift` (n, 2) bins further on: a cubic that is exact for parabolas.

    References
    ----------
    Keys 1981, doi:10.1109/TASSP.1981.1163711.
    """
    whole = np.floor(shift)
    f = (shift - whole)[..., None]
    weights = (
        f * (-0.5 + f * (1 - 0.5 * f)),
        1 + f * f * (-2.5 + 1.5 * f),
        f * (0.5 + f * (2 - 1.5 * f)),
        f * f * (-0.5 + 0.5 * f),
    )
    bins = values.shape[2]
    first = np.arange(bins) + whole.astype(np.int64)[..., None] - 1
    total = np.zeros_like(values)
    for step, weight in enumerate(weights):
        total += weight * np.take_along_axis(values, (first + step) % bins, 2)
    return total


def _spread_turned(density: Floats, shift: Floats) -> Floats:
    """Densities read `shift` bins further on, by straight lines: they stay positive."""
    whole = np.floor(shift)
    f = (shift - whole)[..., None]
    index = np.arange(density.shape[2]) + whole.astype(np.int64)[..., None]
    one, two = (np.take_along_axis(density, (index + k) % density.shape[2], 2) for k in (0, 1))
    return (1 - f) * one + f * two


def diffused(message: Floats, gap_angst: Floats, motion: Motion) -> Floats:
    """Messages (n, 2, bins) after a walk over gaps (n,)."""
    bins = message.shape[2]
    rate = motion.walk_deg2_per_angst * (bins / motion.period_deg) ** 2
    decay = 1 - np.cos(2 * np.pi * np.arange(bins // 2 + 1) / bins)
    kept = np.exp(-rate * gap_angst[:, None] * decay)[:, None]
    return np.maximum(np.fft.irfft(np.fft.rfft(message, axis=2) * kept, bins, axis=2), LEAST_MESSAGE)


def filtered(
    filaments: Filaments, log_likelihood: Floats, motion: Motion, *, backward: bool = False
) -> tuple[Floats, Floats]:
    """Density of theta by a segment and all before it; `backward`: and all after it.

    Parameters
    ----------
    log_likelihood
        (n, 2, bins) of theta, by place.

    Returns
    -------
    (n, 2, bins) densities of sum 1, and (n, 2) logs of the evidence as far as there.
    """
    place = filaments.mirror if backward else np.arange(len(filaments.mirror))
    log_likelihood, position = log_likelihood[place], filaments.position_angst[place]
    greatest = log_likelihood.max(2)
    density = np.exp(log_likelihood - greatest[..., None])
    norm = greatest - np.log(density.shape[2])
    _normalise(density, norm, slice(0, int(filaments.starts[1])))
    for now, before in filaments.walk():
        gap = np.abs(position[now] - position[before])
        density[now] *= diffused(density[before], gap, motion) * density.shape[2]
        norm[now] += norm[before]
        _normalise(density, norm, now)
    return density[place], norm[place]


def _normalise(density: Floats, norm: Floats, places: slice) -> None:
    total = density[places].sum(2)
    density[places] /= total[..., None]
    norm[places] += np.log(total)


def log_evidence(evidence: Evidence, motion: Motion) -> Floats:
    """(filaments, 2) log of the evidence of each polarity."""
    _, norm = filtered(evidence.filaments, evidence.along(motion), motion)
    return norm[evidence.filaments.last]


def smooth(evidence: Evidence, motion: Motion) -> Smoothed:
    """What the filaments say of each of their segments."""
    filaments, said = evidence.filaments, evidence.along(motion)
    forward, forward_norm = filtered(filaments, said, motion)
    backward, backward_norm = filtered(filaments, said, motion, backward=True)
    whole = forward_norm[filaments.last] @ SIGNS
    odds = _clipped(evidence.log_odds + np.where(evidence.both, whole, 0.0))[filaments.filament]
    beyond = _reached(filaments, backward, backward_norm, filaments.following, motion)[0]
    rho_deg, spread_deg = _rot(evidence, motion, forward * beyond, odds)
    left, left_norm = _reached(filaments, forward, forward_norm, filaments.before, motion)
    right, right_norm = _reached(filaments, backward, backward_norm, filaments.after, motion)
    others = left * right
    total = others.sum(2)
    told = (left_norm + right_norm + np.log(total)) @ SIGNS
    told = np.where(evidence.both[filaments.filament], told, 0.0) + evidence.log_odds[filaments.filament]
    shares = _spread_turned(others / total[..., None], -evidence.turn(motion))
    shares = (1 - DOUBT) * shares + DOUBT / evidence.bins
    of_polarity = -np.logaddexp(0.0, -_clipped(told)[:, None] * SIGNS)
    log_prior = np.log(shares) + of_polarity[..., None] + np.log(2 * evidence.bins)
    return Smoothed(log_prior, odds, rho_deg, spread_deg)


def _clipped(log_odds: Floats) -> Floats:
    return np.clip(log_odds, -MOST_LOG_ODDS, MOST_LOG_ODDS)


def _reached(
    filaments: Filaments, density: Floats, norm: Floats, source: Ints, motion: Motion
) -> tuple[Floats, Floats]:
    """What each place hears from another, (n, 2, bins) and (n, 2); of -1 it hears that all is possible."""
    gap = np.where(source < 0, 0.0, np.abs(filaments.position_angst - filaments.position_angst[source]))
    heard = diffused(density[source], gap, motion)
    silent = (source < 0)[:, None]
    return np.where(silent[..., None], 1 / density.shape[2], heard), np.where(silent, 0.0, norm[source])


def _rot(evidence: Evidence, motion: Motion, density: Floats, log_odds: Floats) -> tuple[Floats, Floats]:
    """Circular mean of the reduced rot in the more probable polarity, in [0, period), and its standard deviation."""
    likely = (log_odds < 0).astype(np.int64)
    places = np.arange(len(likely))
    angle = 2 * np.pi * np.arange(evidence.bins) / evidence.bins
    chosen = density[places, likely]
    vector = (chosen * np.exp(1j * angle)).sum(1) / chosen.sum(1)
    turn = evidence.turn(motion)[places, likely] * motion.period_deg / evidence.bins
    scale = motion.period_deg / (2 * np.pi)
    spread = np.sqrt(-2 * np.log(np.clip(np.abs(vector), 1e-12, 1.0))) * scale
    return (np.angle(vector) * scale + turn) % motion.period_deg, np.minimum(spread, motion.period_deg / np.sqrt(12))
