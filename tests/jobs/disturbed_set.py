"""A simulated set of which some images are others: what a half must not see."""

import shutil
from pathlib import Path

import numpy as np

from blush.io.mrc import map_stack, write_stack
from blush.io.particles import read_particles


def disturbed(simulated: Path, folder: Path, chosen: np.ndarray) -> Path:
    """A copy of the set in which the images of the chosen rows are others."""
    shutil.copytree(simulated, folder)
    particles, _ = read_particles(folder / "particles.star")
    for number, path in enumerate(particles.stacks):
        images = np.array(map_stack(path))
        index = particles.image_index[chosen[particles.stack_index[chosen] == number]]
        images[index] = 0.7 * images[index][:, ::-1] + 0.3
        write_stack(path, images, particles.optics[0].pixel_size_angst)
    return folder
