"""Helical operators against `relion_helix_toolbox` 3.1.3: criterion and imposition, to its printed digits."""

import shutil

import numpy as np
import pytest
import torch

from blush.geometry.helix import Helix
from blush.helix.impose import impose
from blush.helix.masks import Tube, tube_mask
from blush.helix.pair_score import Central
from blush.helix.trilinear import impose_trilinear, variance
from blush.io.mrc import read_volume, write_volume

pytestmark = [
    pytest.mark.relion,
    pytest.mark.skipif(shutil.which("relion_helix_toolbox") is None, reason="relion_helix_toolbox is not on PATH"),
]
CENTRAL = Central(4.0, 0.4, Tube(150, 0, 0.9 * 64 * 4))
COMMON = ("--i", "helix.mrc", "--cyl_outer_diameter", 150, "--angpix", 4, "--z_percentage", 0.4)


@pytest.fixture(scope="module")
def volume(relion_project_folder) -> torch.Tensor:
    """Three Gaussians a unit on a screw of 21 Å and 37 degrees, 64 px of 4 Å."""
    axis = (torch.arange(64) - 32) * 4.0
    out = torch.zeros(64, 64, 64)
    for h in range(-13, 14):
        for radius, angle, height, sigma, weight in ((35, 0, 0, 6, 1), (18, 100, 5, 6, 1.2), (48, 220, -4, 7, 0.8)):
            q = np.deg2rad(angle + 37 * h)
            centre = height + 21 * h, radius * np.sin(q), radius * np.cos(q)
            z, y, x = (torch.exp(-((axis - c) ** 2) / (2 * sigma**2)) for c in centre)
            out += weight * z[:, None, None] * y[:, None] * x
    write_volume(relion_project_folder / "helix.mrc", out.numpy(), 4.0)
    return out


def test_the_criterion_equals_all_printed_digits(volume, run_relion):
    limits = ("--rise", 21, "--rise_min", 20, "--rise_max", 22, "--twist", 37, "--twist_min", 35, "--twist_max", 39)
    printed = run_relion("helix_toolbox", "--search", *COMMON, *limits, "--verb")
    lines = [line.split() for line in printed.splitlines() if line.strip().startswith("NEW")]
    assert len(lines) > 50
    for _, twist, rise, deviation in lines[::9]:
        assert f"{variance(volume, CENTRAL, Helix(float(rise), float(twist))):.6e}" == deviation


def test_the_imposition_is_the_same_and_its_hand_too(volume, run_relion, relion_project_folder):
    """Outside the last ring of voxels, which RELION has set to zero where others still read it."""
    helix, sphere = Helix(21.3, 36.6), ("--sphere_percentage", 0.9)
    run_relion("helix_toolbox", "--impose", *COMMON, *sphere, "--rise", 21.3, "--twist", 36.6, "--o", "imposed.mrc")
    theirs = torch.from_numpy(read_volume(relion_project_folder / "imposed.mrc")[0])
    inside = tube_mask(64, 4.0, Tube(150, 0, 0.85 * 64 * 4)) == 1
    ours = impose_trilinear(volume, CENTRAL, helix)
    assert (ours - theirs)[inside].abs().max() < 2e-6 * theirs.abs().max()
    assert (ours - theirs).norm() < 2e-3 * theirs.norm()
    sharper = impose(volume, 4.0, helix, 0.4, CENTRAL.tube)
    assert torch.corrcoef(torch.stack((sharper[inside], theirs[inside])))[0, 1] > 0.99
