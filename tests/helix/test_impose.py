"""Imposition: helices in closed form, copies of a slow float64 oracle, and noise that two filaments do not share."""

import numpy as np
import pytest
import torch
from helices import GLOBULAR, helix_map, unit_of_chain
from scipy.ndimage import map_coordinates

from blush.geometry.helix import Helix
from blush.helix.impose import continue_tube, impose
from blush.helix.masks import Tube, central_weight, tube_mask
from blush.helix.pair_score import Central
from blush.helix.trilinear import impose_trilinear

SETS = {
    "globular": (48, 4.0, Helix(21, 37), GLOBULAR, 130),
    "amyloid": (64, 1.5, Helix(4.75, -1.2), unit_of_chain(0), 76),
    "screw": (64, 1.5, Helix(2.4, 179.4), unit_of_chain(1), 76),
    "fold": (48, 4.0, Helix(20, -30, 3), GLOBULAR[:2], 130),
}


@pytest.mark.parametrize("kind", SETS)
def test_a_helix_is_left_as_it_is_within_its_tube(kind):
    """Trilinear copies, as beside it, lose many times more of an amyloid's detail."""
    box, pixel, helix, unit, diameter = SETS[kind]
    volume, tube = helix_map(box, pixel, helix, unit), Tube(diameter)
    truth = volume * tube_mask(box, pixel, tube)
    imposed = impose(volume, pixel, helix, 0.3, tube)
    assert (imposed - truth).norm() < 5e-3 * truth.norm()
    if kind == "amyloid":
        assert (impose_trilinear(volume, Central(pixel, 0.3, tube), helix) - truth).norm() > 0.03 * truth.norm()


def slow_imposition(volume: np.ndarray, helix: Helix, pixel: float, fraction: float) -> np.ndarray:
    """Mean over h of splined copies, weighted by the height that they come from: voxel by voxel, without the mask."""
    n = len(volume)
    z, y, x = np.meshgrid(*(np.arange(n, dtype=float) - n // 2,) * 3, indexing="ij")
    total, weights = np.zeros_like(volume), np.zeros_like(volume)
    for h in range(-8, 9):
        q, height = np.deg2rad(h * helix.twist_deg), z + h * helix.rise_angst / pixel
        weight = central_weight(torch.from_numpy(height), n, fraction).numpy()
        if weight.max() > 0:
            turned = (height, x * np.sin(q) + y * np.cos(q), x * np.cos(q) - y * np.sin(q))
            total += weight * map_coordinates(volume, np.stack(turned) + n // 2, order=5)
            weights += weight
    return total / weights


@pytest.mark.parametrize("helix", [Helix(9.0, 25.0), Helix(11.0, -140.0)])
def test_any_map_becomes_the_mean_of_the_copies_from_its_centre(helix):
    """Which ones, turned which way: a map without any symmetry shows each mistake."""
    generator = torch.Generator().manual_seed(1)
    rough = torch.randn(40, 40, 40, generator=generator, dtype=torch.float64)
    k = torch.fft.fftfreq(40)[:, None, None] ** 2 + torch.fft.fftfreq(40)[:, None] ** 2 + torch.fft.rfftfreq(40) ** 2
    volume = torch.fft.irfftn(torch.fft.rfftn(rough) * torch.exp(-60 * k), s=rough.shape)
    tube, mask = Tube(40), tube_mask(40, 2.0, Tube(40)).double()
    expected = torch.from_numpy(slow_imposition(volume.numpy(), helix, 2.0, 0.4)) * mask
    found = impose(volume, 2.0, helix, 0.4, tube)
    assert (found - expected).norm() < 5e-3 * expected.norm()
    mirrored = impose(volume, 2.0, Helix(helix.rise_angst, -helix.twist_deg), 0.4, tube)
    assert (mirrored - expected).norm() > 0.3 * expected.norm()


def test_a_constant_stays_one_wherever_the_central_part_reaches():
    tube = Tube(50, 10, 110)
    out = impose(torch.full((60, 60, 60), 3.0), 2.0, Helix(5.3, 17.0), 0.2, tube)
    assert (out - 3 * tube_mask(60, 2.0, tube)).abs().max() < 3 * 2e-3  # the splines' error at the cut of the tube


def test_a_central_part_without_a_whole_unit_is_refused():
    with pytest.raises(ValueError, match=r"central fraction 0\.2 is less than one rise; take 0\.333 or more"):
        impose(torch.zeros(30, 30, 30), 2.0, Helix(20.0, 10.0), 0.2, Tube(40))


def test_a_tube_goes_on_to_the_faces_of_the_box_and_its_surroundings_stay():
    """Noise takes the place of the ends; they come back from the middle, the hollow too, in the tube alone."""
    box, pixel, helix, unit, diameter = SETS["globular"]
    truth = helix_map(box, pixel, helix, unit)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(2)).to(truth) * truth.std()
    middle = (torch.arange(box) - box // 2).abs() <= 12
    given = torch.where(middle[:, None, None], truth, noise)
    made = continue_tube(given, pixel, helix, 0.3, Tube(diameter, 20, 150))
    inside = tube_mask(box, pixel, Tube(diameter, 0, 1e4), edge_px=0.1) > 0.99
    assert (made - truth)[inside].norm() < 1e-2 * truth[inside].norm()
    assert (given - truth)[inside].norm() > 0.5 * truth[inside].norm()
    outside = tube_mask(box, pixel, Tube(diameter, 0, 1e4)) == 0
    assert torch.equal(made[outside], given[outside])
