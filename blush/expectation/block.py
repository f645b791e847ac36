"""Some images with everything that both passes of the expectation step need of them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from blush.expectation.prepare import Images
from blush.io.particles import ParticleSet


@dataclass(frozen=True)
class Block:
    """Some particles of a shard with everything the two passes need.

    Attributes
    ----------
    images
        Masked and unmasked transforms within the current size.
    transfer
        (b, n) what multiplies the reference to predict an image: the CTF, or CTF^2 where images are premultiplied.
    data_factor
        (b, n) what multiplies an image to back-project it: s CTF / sigma^2, or 1 / sigma^2 where premultiplied.
    inverse_noise
        (b, n) 1 / sigma^2.
    scale
        (b,) group scale.
    shift_px
        (b, 2) whole-pixel shift already applied.
    old_px
        (b, 2) the offset that the particle came with, of which `shift_px` is the whole part.
    """

    particles: ParticleSet
    images: Images
    transfer: Tensor
    data_factor: Tensor
    inverse_noise: Tensor
    scale: Tensor
    shift_px: Tensor
    old_px: Tensor
    group: Tensor
    optics: Tensor
