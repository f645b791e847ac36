"""Particles whose images hold no signal beyond a resolution: what is reported beyond it is false.

Chen et al. 2013 (doi:10.1016/j.ultramic.2013.06.004) randomise the phases of the images before refinement. This tells
more than randomising those of the half-maps: it also finds what alignment itself makes of noise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blush.fourier.grid import radius_2d
from blush.io.mrc import map_stack, write_stack
from blush.io.particles import read_particles
from blush.io.star import write_star

IMAGES_AT_ONCE = 1024
"""Images that are drawn together; a part of the result, as the random numbers of an image depend on it."""


def randomise_images(images: Tensor, beyond_px: float, generator: np.random.Generator) -> Tensor:
    """Give every coefficient at |k| > `beyond_px` the phase of white noise, uniform and independent; keep amplitudes.

    Parameters
    ----------
    images
        (n, N, N) real.
    beyond_px
        In cycles per box.
    """
    noise = torch.from_numpy(generator.standard_normal(images.shape, dtype=np.float32)).to(images)
    spectrum, random = torch.fft.rfft2(images), torch.fft.rfft2(noise)
    turned = torch.polar(spectrum.abs(), random.angle())
    kept = radius_2d(images.shape[-1]) <= beyond_px
    return torch.fft.irfft2(torch.where(kept, spectrum, turned), s=images.shape[-2:])


def randomise_particles(star: Path, folder: Path, beyond_angst: float, seed: int) -> Path:
    """Write the particles of `star` anew, their phases beyond `beyond_angst` drawn at random, image by image.

    Every image of every stack is treated on its own, so the half-sets have no more in common than before.

    Parameters
    ----------
    folder
        Gets particles.star, with all columns and rows of the input, and a stack for each of its stacks.

    Returns
    -------
    folder/particles.star.

    Raises
    ------
    BlushError
        If the particles cannot be read.
    """
    particles, blocks = read_particles(star)
    pixel_of_stack = np.zeros(len(particles.stacks))
    pixel_of_stack[particles.stack_index] = np.array([g.pixel_size_angst for g in particles.optics])[
        particles.optics_index
    ]
    names = []
    for number, stack in enumerate(particles.stacks):
        names.append(f"stacks/{number + 1:06d}_{Path(stack).stem}.mrcs")
        pixel = float(pixel_of_stack[number])
        _randomise_stack(Path(stack), folder / names[-1], pixel, beyond_angst, np.random.default_rng([seed, number]))
    images = [
        f"{image + 1:06d}@{names[stack]}"
        for image, stack in zip(particles.image_index.tolist(), particles.stack_index.tolist(), strict=True)
    ]
    table = {**blocks["particles"], "rlnImageName": np.array(images, dtype=object)}
    write_star(folder / "particles.star", {**blocks, "particles": table})
    return folder / "particles.star"


def _randomise_stack(
    source: Path, target: Path, pixel_size_angst: float, beyond_angst: float, generator: np.random.Generator
) -> None:
    """Copy a stack, a part at a time; the result is float32."""
    images = map_stack(source)
    beyond_px = images.shape[-1] * pixel_size_angst / beyond_angst
    parts = []
    for first in range(0, len(images), IMAGES_AT_ONCE):
        part = torch.from_numpy(images[first : first + IMAGES_AT_ONCE].astype(np.float32))
        parts.append(randomise_images(part, beyond_px, generator).numpy())
    write_stack(target, np.concatenate(parts), pixel_size_angst)
