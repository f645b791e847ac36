"""What is found of classes, in words, as a table and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.classes.differences import SMALLEST_SHARE, Difference
from blush.classes.merging import LEAST_NATS, Estimate, Members

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
FORMAT = 1
"""Version of the JSON form."""
REPRODUCED = 0.2
"""Kappa from which a class is found again; less is called slight (Landis & Koch 1977, doi:10.2307/2529310)."""


@dataclass(frozen=True)
class Agreement:
    """Adjusted Rand index of two divisions.

    Attributes
    ----------
    low, high
        Bootstrap interval of 95 %.
    chance
        What labels that are permuted exceed in 1 of 100 cases.
    """

    value: float
    low: float
    high: float
    chance: float

    @property
    def is_beyond_chance(self) -> bool:
        """Whether chance explains it in fewer than 1 of 100 cases."""
        return self.value > self.chance

    def content(self) -> dict[str, float]:
        """For JSON."""
        return {"value": self.value, "low": self.low, "high": self.high, "chance": self.chance}


@dataclass(frozen=True)
class ClassFound:
    """One class.

    Attributes
    ----------
    share
        Fraction of the images of each half.
    reproduced
        Cohen's kappa of the labels by either half's maps, in or not in this class.
    given
        Number of the given class that it agrees with best; None where there are fewer of them.
    """

    share: tuple[float, float]
    reproduced: float
    given: int | None


@dataclass(frozen=True)
class Verified:
    """The verdict, and what it follows from.

    Attributes
    ----------
    resolution_angst
        Finest resolution at which images were compared.
    agreement
        Agreement of labels of all images by maps of half 1 and of half 2; its own half's are without its fold.
    gain, gain_by_half
        Tempered log likelihood per image of all classes over their mean, by maps of the other half.
    supported, gain_supported
        Classes that are left once those are merged that predict nothing apart, and their gain.
    costs
        What merging any two of them would cost, in tempered log likelihood per image.
    evidence
        Log likelihood of all images under 2, 3, ... classes over that under one, in nats; what classes are is
        integrated out.
    given
        Agreement of given labels and those by maps of the other half.
    rows, labels, posterior
        Row of each image in the table that was given, its class by the other half's maps, and its (n, K) posterior.
    """

    n_images: int
    n_classes: int
    temperature: float
    resolution_angst: float
    agreement: Agreement
    gain: Estimate
    gain_by_half: list[Estimate]
    gain_supported: Estimate
    supported: list[Members]
    costs: list[tuple[Members, Members, Estimate]]
    evidence: list[float]
    classes: list[ClassFound]
    differences: list[Difference]
    given: Agreement
    rows: Labels
    labels: Labels
    posterior: Floats

    @property
    def n_supported(self) -> int:
        """Classes that the images support; 1 where they do not support any division."""
        return len(self.supported) if self.are_found_again else self.n_evident

    @property
    def are_found_again(self) -> bool:
        """Whether halves of the images support classes, each for itself."""
        return len(self.supported) > 1 and self.agreement.is_beyond_chance and self.gain_supported.is_decisive

    @property
    def n_evident(self) -> int:
        """Classes that all images together have most evidence for; 1 where it is not decisive."""
        most = int(np.argmax(self.evidence))
        return most + 2 if self.evidence[most] >= LEAST_NATS else 1

    @property
    def verdict(self) -> str:
        """One sentence."""
        found = f"{self.agreement.value:.2f} (95 % {self.agreement.low:.2f} to {self.agreement.high:.2f})"
        agree = f"independent halves of the images agree on classes with an adjusted Rand index of {found}"
        if self.n_supported == 1:
            told = f"{self.gain.mean:+.3f} ± {self.gain.error:.3f} in log likelihood per image"
            is_lost = self.gain_supported.is_decisive and not self.agreement.is_beyond_chance
            why = "are not found again" if is_lost else "predict unseen images no better than one"
            return f"Not supported: {self.n_classes} classes {why} ({told}); {agree}."
        number = f"{self.n_supported} of {self.n_classes} classes are"
        if self.n_supported == self.n_classes:
            number = f"All {self.n_classes} classes are"
        if not self.are_found_again:
            told = f"all images together speak for {self.n_supported} ({max(self.evidence):.1f} nats over one class)"
            return f"{number} supported by evidence alone: {told}, but {agree}: they are too few to find them again."
        told = f"{self.gain_supported.mean:+.3f} ± {self.gain_supported.error:.3f} in log likelihood per image"
        return f"{number} supported: they predict unseen images better than one ({told}), and {agree}."

    def group(self, k: int) -> list[int]:
        """Classes that class k is one with, from 1, its own number included."""
        if not self.are_found_again:
            return list(range(1, self.n_classes + 1))
        return [j + 1 for j in sorted(next(one for one in self.supported if k in one))]

    def lines(self) -> list[str]:
        """The verdict, then what it follows from, and tables of classes and differences."""
        gain, halves = self.gain, ", ".join(f"{half.mean:+.4f}" for half in self.gain_by_half)
        told = [
            self.verdict,
            "",
            f"{self.n_images} images up to {self.resolution_angst:.1f} Å, temperature {self.temperature:.2f}",
            f"agreement between halves: {_interval(self.agreement)}",
            f"agreement of the given classes with those by the other half's maps: {_interval(self.given)}",
            f"gain of {self.n_classes} classes over one: {gain.mean:+.4f} ± {gain.error:.4f} (halves {halves})",
            "evidence of all images, nats over one class: "
            + ", ".join(f"{value:+.1f} for {k}" for k, value in enumerate(self.evidence, 2)),
            "",
            "class  given  half 1  half 2   kappa  found again  one with",
            *map(self._line, range(self.n_classes)),
        ]
        if self.differences:
            told += ["", "difference  correlation between halves"]
            told += [f"{one.label:<10}  {one.correlation:.3f}" for one in self.differences]
        return told

    def _line(self, k: int) -> str:
        """Class k in the table."""
        one = self.classes[k]
        others = ", ".join(str(j) for j in self.group(k) if j != k + 1)
        given = "-" if one.given is None else one.given
        again = "yes" if self.is_reproduced(k) else "no"
        shares = "".join(f"{share:>8.1%}" for share in one.share)
        return f"{k + 1:<5}  {given:>5}{shares}  {one.reproduced:>6.2f}  {again:<11}  {others or '-'}"

    def is_reproduced(self, k: int) -> bool:
        """Whether either half's maps find class k as the other's do."""
        one = self.classes[k]
        return one.reproduced >= REPRODUCED and min(one.share) > SMALLEST_SHARE

    def content(self) -> dict[str, Any]:
        """For JSON: docs/classification.md."""
        return {
            "format": FORMAT,
            "verdict": self.verdict,
            "supported_classes": self.n_supported,
            "n_classes": self.n_classes,
            "n_images": self.n_images,
            "temperature": self.temperature,
            "resolution_angst": self.resolution_angst,
            "agreement_between_halves": self.agreement.content(),
            "agreement_of_given_labels": self.given.content(),
            "gain": _estimate(self.gain),
            "gain_by_half": [_estimate(one) for one in self.gain_by_half],
            "gain_of_supported": _estimate(self.gain_supported),
            "evidence": [{"classes": k, "nats": value} for k, value in enumerate(self.evidence, 2)],
            "classes": [
                {
                    "class": k + 1,
                    "given_class": one.given,
                    "share_by_half": list(one.share),
                    "kappa": one.reproduced,
                    "found_again": self.is_reproduced(k),
                    "one_with": self.group(k),
                }
                for k, one in enumerate(self.classes)
            ],
            "merging_costs": [
                {"first": [k + 1 for k in sorted(a)], "second": [k + 1 for k in sorted(b)], **_estimate(cost)}
                for a, b, cost in self.costs
            ],
            "differences": [
                {"classes": [k + 1 for k in one.classes], "correlation": one.correlation, "fsc": one.fsc}
                for one in self.differences
            ],
        }


def _estimate(value: Estimate) -> dict[str, float]:
    return {"mean": value.mean, "error": value.error, "z": value.z}


def _interval(agreement: Agreement) -> str:
    found = f"{agreement.value:.3f} (95 % {agreement.low:.3f} to {agreement.high:.3f}"
    return f"adjusted Rand index {found}; chance up to {agreement.chance:.3f})"
