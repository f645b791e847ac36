"""Segments of filaments whose rot and polarity are known, and what images of a stated strength would say of them."""

from dataclasses import dataclass, replace

import numpy as np

from blush.helix.slow_twist import Half

SIGN = np.array([1.0, -1.0])


@dataclass(frozen=True)
class Chains:
    """Filaments in the order of their segments."""

    filament: np.ndarray
    track_angst: np.ndarray
    polarity: np.ndarray
    rho_deg: np.ndarray
    slope_deg_per_angst: float
    period_deg: float

    @classmethod
    def drawn(
        cls,
        seed: int,
        *,
        filaments: int = 16,
        segments: int = 12,
        step_angst: float = 21.0,
        slope: float = 37 / 21,
        period_deg: float = 360.0,
        walk: float = 0.0,
    ) -> "Chains":
        """Filaments of which 7 of 16 are reversed, and which walk with a variance per Å."""
        random = np.random.default_rng(seed)
        filament = np.repeat(np.arange(filaments), segments)
        track = np.tile(np.arange(segments) * step_angst, filaments) + random.uniform(0, 50)
        polarity = (random.permutation(filaments) < filaments * 7 // 16).astype(int)[filament]
        steps = random.normal(size=(filaments, segments)) * np.sqrt(walk * step_angst)
        theta = random.uniform(0, period_deg, (filaments, 1)) + np.cumsum(steps, 1)
        rho = (theta.ravel() + SIGN[polarity] * slope * track) % period_deg
        return cls(filament, track, polarity, rho, slope, period_deg)

    def measured(self, seed: int, sigma_deg: float, bins: int) -> np.ndarray:
        """Log likelihoods of Gaussian measurements of rho in the true polarity; none is of the other."""
        random = np.random.default_rng(seed)
        seen = self.rho_deg + random.normal(size=len(self.rho_deg)) * sigma_deg
        gap = wrapped(np.arange(bins) * self.period_deg / bins - seen[:, None], self.period_deg)
        said = np.full((len(seen), 2, bins), -20.0)
        said[np.arange(len(seen)), self.polarity] = np.maximum(-((gap / sigma_deg) ** 2) / 2, -20.0)
        return said.astype(np.float32)

    def images(self, seed: int, power: float, bins: int) -> np.ndarray:
        """Log likelihoods of noisy signals of 60 numbers, each a smooth function of rho, for either polarity another.

        `power` is the squared length of a signal in units of the variance of the noise.
        """
        random, features = np.random.default_rng(seed), np.random.default_rng(99)
        orders = np.array([1, 2, 3, 5])
        mixing = features.normal(size=(2, 60, 2 * len(orders)))

        def signal(polarity, rho_deg):
            phase = 2 * np.pi * np.multiply.outer(rho_deg / self.period_deg, orders)
            found = np.einsum("...kf,...f->...k", mixing[polarity], np.concatenate((np.cos(phase), np.sin(phase)), -1))
            return found * np.sqrt(power / (60 * len(orders)))

        fine = np.arange(4 * bins) * self.period_deg / (4 * bins)
        known = np.stack([signal(p, fine) for p in (0, 1)])
        noisy = signal(self.polarity, self.rho_deg) + random.normal(size=(len(self.rho_deg), 60))
        said = -((noisy[:, None, None] - known) ** 2).sum(-1) / 2
        shares = np.exp(said - said.max((1, 2), keepdims=True))
        near = 4 * np.arange(bins)[:, None] + np.arange(-2, 3)
        shares = (shares[:, :, near % (4 * bins)] * [0.5, 1, 1, 1, 0.5]).sum(-1) / 4
        return np.log(np.maximum(shares / shares.mean((1, 2), keepdims=True), 1e-4)).astype(np.float32)

    def half(self, said: np.ndarray, extent_angst: float = 21.0) -> Half:
        """All of it as one half."""
        even = np.zeros(len(said))
        return Half(said, np.arange(len(said)), self.filament, self.track_angst, extent_angst, even, even)

    def shuffled(self, order: np.ndarray) -> "Chains":
        """The same in another order of rows, with filaments of other numbers."""
        names = np.random.default_rng(5).permutation(self.filament.max() + 1)
        columns = {n: getattr(self, n)[order] for n in ("track_angst", "polarity", "rho_deg")}
        return replace(self, filament=names[self.filament[order]], **columns)


def wrapped(angle_deg: np.ndarray, period_deg: float) -> np.ndarray:
    return (angle_deg + period_deg / 2) % period_deg - period_deg / 2


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
