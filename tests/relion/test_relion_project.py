"""Geometry and CTF against relion_project; operators against relion_refine --print_symmetry_ops."""

import re

import mrcfile
import numpy as np
import pytest
import torch
from relion_data import BOX_PX, clean_transforms, transfer

from blush.expectation.prepare import packed_transform
from blush.fourier.packed import packed
from blush.geometry.symmetry import operators

pytestmark = pytest.mark.relion


@pytest.mark.parametrize("with_ctf", [False, True], ids=["plain", "ctf"])
def test_projections_are_the_same(data_set, run_relion, with_ctf):
    """Rotation, offset, Fourier slice, scale and CTF; below the corners, to the float32 of RELION's image files."""
    name = "projections_ctf" if with_ctf else "projections"
    run_relion(
        "project",
        "--i",
        "particles_map.mrc",
        "--o",
        name,
        "--ang",
        data_set.star.name,
        "--angpix",
        data_set.pixel_size_angst,
        *(["--ctf"] if with_ctf else []),
    )
    images = torch.from_numpy(mrcfile.read(data_set.folder / f"{name}.mrcs").astype(float))
    pixels = packed(BOX_PX)
    count = pixels.inside(BOX_PX // 2 - 1)
    theirs = packed_transform(images, pixels)[:, :count]
    ours = clean_transforms(data_set.volume, data_set.particles, data_set.pixel_size_angst)
    if with_ctf:
        ours = ours * transfer(data_set.particles, data_set.optics, pixels)
    # A float32 image rounds each of its N^2 pixels; the transform averages N of them.
    rounding = torch.finfo(torch.float32).eps * images.abs().max() / BOX_PX
    assert (ours[:, :count] - theirs).abs().max() < 2 * rounding


@pytest.mark.parametrize("name", ["C1", "C5", "D2", "D3", "D7", "T", "O", "I", "I1", "I2", "I3", "I4"])
def test_symmetry_operators_are_the_same_set(run_relion, name):
    """In any order; RELION prints five digits of axes it tabulates with as few."""
    printed = run_relion("refine", "--sym", name, "--print_symmetry_ops")
    blocks = re.split(r"R\(\d+\)=", printed)[1:]
    theirs = np.array([[float(word) for word in block.split()[:9]] for block in blocks]).reshape(-1, 1, 3, 3)
    ours = operators(name).numpy()
    distance = np.abs(theirs - ours).max((2, 3))
    assert len(theirs) == len(ours)
    assert distance.min(0).max() < 1e-5
    assert distance.min(1).max() < 1e-5
