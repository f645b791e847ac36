"""Images of one kind of particle or of two, in closed form, with the truth as their classes."""

from pathlib import Path

import numpy as np
from blob_set import BOX, KEPT, OTHER, PIXEL, particle_table, projections, write_blob_set

from blush.io.mrc import write_stack
from blush.io.star import read_star, write_star

DIAMETER = 100.0


def write_two_kinds(folder: Path, n: int, share: float, noise: float = 2.0) -> Path:
    """`particles.star`: this share of the images shows one part of the particle alone, as class 2 says.

    Poses are those of the images, and halves are left out.
    """
    write_blob_set(folder, 4)
    table = particle_table(n)
    del table["rlnRandomSubset"]
    rng = np.random.default_rng(11)
    is_second = rng.random(n) < share
    images = projections(KEPT, table) + projections(OTHER, table) * ~is_second[:, None, None]
    images += noise * rng.normal(size=(n, BOX, BOX))
    write_stack(folder / "images.mrcs", images.astype(np.float32), PIXEL)
    optics = read_star(folder / "particles.star")["optics"]
    write_star(folder / "particles.star", {"optics": optics, "particles": table | {"rlnClassNumber": is_second + 1}})
    return folder / "particles.star"
