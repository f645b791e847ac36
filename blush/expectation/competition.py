"""How an image is shared among the references that compete for it, once its poses are summed over."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.expectation.component import Component
from blush.expectation.sparse import Pairs


@dataclass(frozen=True)
class Contest:
    """Samples of images by the reference that they belong to.

    Attributes
    ----------
    image
        (p,) image of each list of samples.
    owner
        (p,) its image and reference in one, image x references + reference.
    """

    image: Tensor
    owner: Tensor
    n_images: int
    n_references: int

    @classmethod
    def of(cls, pairs: Pairs, row: Tensor, component: Component, n_images: int) -> Contest:
        """Contest over coarse poses whose orientations count `row`."""
        n = len(component.references)
        owner = pairs.image if n == 1 else pairs.image * n + component.reference(row)[pairs.orientation]
        return cls(pairs.image, owner, n_images, n)

    def tops(self, scores: Tensor) -> Tensor:
        """(images x references,) largest of the samples (p, m) of each; -inf where there are none."""
        top = torch.full((self.n_images * self.n_references,), -torch.inf, dtype=scores.dtype, device=scores.device)
        return top.scatter_reduce(0, self.owner, scores.amax(1), "amax")

    def best(self, scores: Tensor) -> Tensor:
        """(b, references) flat position of the best sample of each, the first of equals.

        A reference that an image has no sample of takes the image's best one.
        """
        row_top, child = scores.max(1)
        top = self.tops(scores)
        place = torch.arange(len(scores), device=scores.device).masked_fill(row_top != top[self.owner], len(scores))
        none = torch.full(top.shape, len(scores), dtype=torch.int64, device=scores.device)
        first = none.scatter_reduce(0, self.owner, place, "amin").view(self.n_images, -1)
        leader = top.view(self.n_images, -1).argmax(1, keepdim=True)
        row = torch.where(first < len(scores), first, first.gather(1, leader))
        return row * scores.shape[1] + child[row]

    def shares(self, weight: Tensor) -> Tensor:
        """(b, references) posterior of the references, float64, from the weights (p, m) of all samples."""
        if self.n_references == 1:
            return torch.ones(self.n_images, 1, dtype=torch.float64, device=weight.device)
        total = torch.zeros(self.n_images * self.n_references, dtype=torch.float64, device=weight.device)
        total.index_add_(0, self.owner, weight.double().flatten(1).sum(1))
        total = total.view(self.n_images, -1)
        return total / total.sum(1, keepdim=True)


def tempered_shares(log_evidence: Tensor, log_prior: Tensor, temperature: float) -> Tensor:
    """Posterior of references whose log likelihood is divided by the temperature; their prior is taken as it is.

    The map of a class holds part of the noise of its own images, and the noise of a masked image is correlated, so a
    likelihood taken at its word is too sure of a label; at a temperature above 1 labels are free to move (deterministic
    annealing: Ueda & Nakano 1998, doi:10.1016/S0893-6080(97)00133-0).

    Parameters
    ----------
    log_evidence
        (b, references) log of prior times likelihood, summed over poses.
    log_prior
        (references,) the prior of each reference in it.

    Returns
    -------
    (b, references); 0 where the evidence is -inf: no prior, or nothing that was compared.
    """
    tempered = (log_evidence - log_prior) / temperature + log_prior
    return torch.softmax(tempered.masked_fill(log_evidence.isneginf(), -torch.inf), 1)
