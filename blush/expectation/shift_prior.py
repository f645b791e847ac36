"""What is known of images' offsets and references before they are compared."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from blush.expectation.block import Block
from blush.expectation.model import Model
from blush.io.particles import ParticleSet
from blush.io.upload import uploaded


def log_prior_shift(block: Block, model: Model) -> Tensor:
    """(b, t) log prior of the coarse shifts."""
    whole_angst = block.shift_px[:, None] * model.pixel_size_angst
    offsets = whole_angst + model.offsets_angst
    prior = -offsets.square().sum(-1) / (2 * model.sigma_offset_angst**2)
    return prior - torch.logsumexp(prior, 1, keepdim=True) + math.log(prior.shape[1])  # mean 1 over the search


def confined(particles: ParticleSet, model: Model, device: torch.device) -> Tensor | None:
    """(b,) the one reference that each image is compared with; None: all.

    Raises
    ------
    ValueError
        If there is no such reference.
    """
    to, n = particles.confined_to, len(model.component.references)
    if to is None:
        return None
    if len(to) and not 0 <= to.min() <= to.max() < n:
        raise ValueError(f"images confined to references {to.min()} to {to.max()} of 0 to {n - 1}")
    return uploaded(to, device)
