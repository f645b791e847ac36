"""Classes as occupancies of the parts of a map: a mixture, and the evidence for it.

How much the classes differ in a part has a prior of its own for every part, whose variance the images decide: parts in
which they do not differ fall out, and many parts may be offered (automatic relevance determination: MacKay 1992,
doi:10.1162/neco.1992.4.3.415; Bishop, Pattern Recognition and Machine Learning, 2006, sections 3.5 and 7.2). What is
left of the likelihood once occupancies are integrated out says whether there are classes at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

OCCUPANCY_SD = 0.5
"""Expected deviation of an occupancy that all classes have from that of the mean map; of a class from it, at first."""
LARGEST_VARIANCE, LEAST_VARIANCE = 1.0, 1e-6
"""Of a part. At the least one, occupancies differ by less than any images tell."""
STEPS = 300
SOFT_STEPS, SOFTEST = 36, 0.2
"""Steps over which posteriors are sharpened in half of the starts, and what log likelihoods count at first."""
TRIED_STEPS, KEPT_STARTS = 60, 2
"""Steps of all starts, and how many of them go on."""
TOLERANCE = 3e-6
"""Gain of the log likelihood per image with which a mixture has settled."""


@dataclass(frozen=True)
class Occupancies:
    """Classes as occupancies of parts.

    Attributes
    ----------
    occupancy
        (classes, parts); 1 is that of the mean map. All are equal where there is no evidence for classes.
    share
        (classes,) fraction of the images.
    evidence
        Log likelihood of the images under the classes, their occupancies integrated out, over that under a single
        class; 0 where it is no better.
    """

    occupancy: Tensor
    share: Tensor
    evidence: float


def fit_occupancies(overlap: Tensor, gram: Tensor, n_classes: int, seed: int, starts: int) -> Occupancies:
    """The most probable of several mixtures of classes, each from a random start, by expectation-maximisation.

    Parameters
    ----------
    overlap
        (n, parts) float64: <X, CTF P_b> / sigma^2 of every image with the projection of every part.
    gram
        (n, parts (parts + 1) / 2) float64: <CTF P_b, CTF P_c> / sigma^2, the upper triangle by rows.

    Notes
    -----
    With o = 1 + c + d, c of all classes, the log likelihood of image i over that of 1 + c is d z_i - d G_i d / 2 with
    z_i = y_i - G_i (1 + c).
    """
    parts = overlap.shape[1]
    pairs = _Pairs(gram, parts)
    base = torch.ones(parts, dtype=torch.float64, device=overlap.device)
    surprise = overlap - pairs.times(base)
    total = pairs.square(gram.sum(0)[None])[0]
    total.diagonal().add_(1 / OCCUPANCY_SD**2)
    common = torch.linalg.solve(total, surprise.sum(0))
    mixtures = _Mixtures(surprise - pairs.times(common), pairs, n_classes, [seed * starts + i for i in range(starts)])
    for step in range(STEPS):
        if not mixtures.step(step):
            break
    change, share, evidence = mixtures.best()
    if not evidence > 0:  # one class: the others hold nothing
        n = len(overlap)
        share = torch.full_like(share, 1 / n)
        share[0] = 1 - (n_classes - 1) / n
        return Occupancies((base + common).expand_as(change), share, 0.0)
    return Occupancies(base + common + change, share, evidence)


class _Pairs:
    """Gram matrices of all images, of which the upper triangle is kept."""

    def __init__(self, gram: Tensor, parts: int) -> None:
        self.gram, self.parts = gram, parts
        self.row, self.column = torch.triu_indices(parts, parts, device=gram.device)
        self.twice = torch.where(self.row == self.column, 1.0, 2.0).double()

    def forms(self, vectors: Tensor) -> Tensor:
        """(n, m) of d G d for m vectors d, (m, parts)."""
        return self.gram @ (vectors[:, self.row] * vectors[:, self.column] * self.twice).T

    def times(self, vector: Tensor) -> Tensor:
        """(n, parts) of G d."""
        found = torch.zeros(len(self.gram), self.parts, dtype=self.gram.dtype, device=self.gram.device)
        found.index_add_(1, self.row, self.gram * vector[self.column])
        below = self.row != self.column
        return found.index_add_(1, self.column[below], self.gram[:, below] * vector[self.row[below]])

    def square(self, packed: Tensor) -> Tensor:
        """(m, parts, parts) of m triangles."""
        whole = torch.empty(len(packed), self.parts, self.parts, dtype=packed.dtype, device=packed.device)
        whole[:, self.row, self.column] = whole[:, self.column, self.row] = packed
        return whole


class _Mixtures:
    """Mixtures from several random starts, all of which take a step at once: they read the same products.

    Half of them are sharpened slowly: softened at first a mixture forgets a bad start; but where signal is weak, also
    every difference.
    """

    def __init__(self, surprise: Tensor, pairs: _Pairs, n_classes: int, seeds: Sequence[int]) -> None:
        self.surprise, self.pairs = surprise, pairs
        parts, device, starts = surprise.shape[1], surprise.device, len(seeds)
        draws = [torch.randn(n_classes, parts, generator=_seeded(one), dtype=torch.float64) for one in seeds]
        self.change = (torch.stack(draws) * (OCCUPANCY_SD / 2)).to(device)
        self.share = torch.full((starts, n_classes), 1 / n_classes, dtype=torch.float64, device=device)
        self.variance = torch.full((starts, parts), OCCUPANCY_SD**2, dtype=torch.float64, device=device)
        self.softest = torch.tensor([1.0 if i % 2 else SOFTEST for i in range(starts)], dtype=torch.float64)
        self.likelihood, self.evidence = (torch.full((starts,), -torch.inf, dtype=torch.float64) for _ in range(2))
        self.active = torch.arange(starts)

    def step(self, number: int) -> bool:
        """One step of all mixtures that still change; whether any does."""
        active, n = self.active, len(self.surprise)
        change, share, variance = self.change[active], self.share[active], self.variance[active]
        softest = self.softest[active]
        sharpness = (softest + (1 - softest) * number / SOFT_STEPS).clamp_max(1.0)
        flat = change.flatten(0, 1)
        score = (self.surprise @ flat.T - self.pairs.forms(flat) / 2).view(n, *share.shape)
        penalty = (change.square() / variance[:, None]).sum((1, 2)) / 2
        likelihood = (torch.logsumexp(score + share.log(), 2).sum(0) - penalty).cpu()
        posterior = torch.softmax(sharpness.to(score)[:, None] * score + share.log(), 2)
        share = posterior.mean(0).clamp_min(1 / n)
        self.share[active] = share / share.sum(1, keepdim=True)
        columns = posterior.flatten(1).T
        normal = self.pairs.square(columns @ self.pairs.gram).view(*change.shape, -1)
        normal.diagonal(dim1=-2, dim2=-1).add_(1 / variance[:, None])
        factor = torch.linalg.cholesky(normal)
        weighted = (columns @ self.surprise).view_as(change)
        self.change[active] = torch.cholesky_solve(weighted[..., None], factor)[..., 0]
        volume = factor.diagonal(dim1=-2, dim2=-1).log().sum((1, 2)) + variance.log().sum(1) * change.shape[1] / 2
        is_sharp = sharpness == 1
        self.evidence[active] = torch.where(is_sharp, likelihood - volume.cpu(), -torch.inf)
        if number >= SOFT_STEPS // 3:
            spread = torch.cholesky_inverse(factor).diagonal(dim1=-2, dim2=-1)
            wider = (self.change[active].square() + spread).mean(1).clamp(LEAST_VARIANCE, LARGEST_VARIANCE)
            self.variance[active] = torch.where(is_sharp.to(wider.device)[:, None], wider, variance)
        settled = is_sharp & ((likelihood - self.likelihood[active]).abs() < TOLERANCE * n)
        self.likelihood[active] = torch.where(is_sharp, likelihood, -torch.inf)
        self.active = active[~settled] if number > SOFT_STEPS else active
        if number == TRIED_STEPS:
            first = torch.argsort(self.evidence, descending=True, stable=True)[:KEPT_STARTS]
            self.active = self.active[torch.isin(self.active, first)]
        return len(self.active) > 0

    def best(self) -> tuple[Tensor, Tensor, float]:
        """Changes and shares of the most probable one, its classes from large to small, and the evidence for it."""
        k = int(self.evidence.argmax())
        order = torch.argsort(self.share[k], descending=True, stable=True)
        return self.change[k, order], self.share[k, order], float(self.evidence[k])


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
