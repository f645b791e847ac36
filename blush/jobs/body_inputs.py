"""The bodies that a configuration describes, and checks of all that they start from."""

from __future__ import annotations

import torch

from blush.bodies.check_masks import Consensus, check_masks
from blush.config import RunConfig
from blush.config.multibody import Body
from blush.errors import BlushError, Problem, problems_of
from blush.fourier.filter import resize_volume
from blush.io.bodies import read_bodies
from blush.io.check_map import check_map
from blush.io.mrc import read_volume
from blush.io.optics import OpticsGroup

_LEARNED = ("blush", "cref")


def bodies_of(config: RunConfig, pixel_size_angst: float) -> tuple[tuple[Body, ...], list[Problem]]:
    """Bodies that a configuration or its body file lists, and what of that file is taken otherwise than it is written.

    Parameters
    ----------
    pixel_size_angst
        That of the consensus, for widths in pixels.

    Raises
    ------
    BlushError
        With every mistake of the body file.
    """
    if config.multibody.body_file is None:
        return config.multibody.bodies, []
    return read_bodies(config.multibody.body_file, pixel_size_angst, rest=config.multibody.rest)


def check_bodies(config: RunConfig, like: OpticsGroup) -> tuple[list[Problem], list[Problem]]:
    """Check masks of a multi-body run against its particles and the consensus map.

    Parameters
    ----------
    like
        Box and pixel size of the particles.

    Returns
    -------
    Problems, and warnings.
    """
    try:
        bodies, told = bodies_of(config, like.pixel_size_angst)
    except BlushError as error:
        return problems_of(error, "multibody.body_file"), []
    volume = None
    if not check_map(config.reference, "reference"):
        stored, header_angst = read_volume(config.reference)
        pixel = config.reference_pixel_size_angst or header_angst
        volume = resize_volume(torch.from_numpy(stored), pixel, like.box_px, like.pixel_size_angst)
    learned = bool(set(config.regulariser.used) & set(_LEARNED))
    consensus = Consensus(like, config.particle_diameter_angst, volume, learned)
    found = check_masks(bodies, consensus, rest=config.multibody.rest)
    return found.problems, told + found.warnings
