"""Local resolution of a map that is better in one half of space than in the other."""

import pytest
import torch

from blush.fourier.filter import low_pass
from blush.fourier.fsc import fsc, resolution_at
from blush.fourier.mask import soft_sphere
from blush.io.mrc import read_volume, write_volume
from blush.validate.local_resolution import LocalSettings, local_resolution, local_resolution_files, sphere_centres

BOX, PIXEL = 64, 2.0
SETTINGS = LocalSettings(sampling_angst=16.0, radius_angst=12.0, edge_angst=12.0)


@pytest.fixture(scope="module")
def half_maps():
    """White structure; noise is five times stronger where x > 0."""
    generator = torch.Generator().manual_seed(1)
    signal = low_pass(torch.randn(BOX, BOX, BOX, generator=generator), 5.0, PIXEL, edge_shells=20)
    x = (torch.arange(BOX) - BOX // 2).double()
    level = (0.1 + 0.4 * torch.sigmoid(x / 2)).float()
    return [signal + level * torch.randn(BOX, BOX, BOX, generator=generator) for _ in (1, 2)]


@pytest.fixture(scope="module")
def measured(half_maps):
    return local_resolution(*half_maps, PIXEL, seed=1, settings=SETTINGS)


def expected(level):
    """Resolution of white structure under white noise, from its own FSC over the whole box."""
    generator = torch.Generator().manual_seed(2)
    signal = low_pass(torch.randn(BOX, BOX, BOX, generator=generator), 5.0, PIXEL, edge_shells=20)
    first, second = (signal + level * torch.randn(BOX, BOX, BOX, generator=generator) for _ in (1, 2))
    return resolution_at(fsc(first, second), 0.143, BOX, PIXEL)


def test_each_side_has_its_own_resolution(measured):
    good = float(measured.resolution_angst[28:36, 28:36, 12:18].mean())
    poor = float(measured.resolution_angst[28:36, 28:36, 46:52].mean())
    # A sphere of 24 Å holds some hundred numbers per shell: the crossing moves by a few per cent from place to place.
    assert good == pytest.approx(expected(0.1), rel=0.02)
    assert poor == pytest.approx(expected(0.5), rel=0.08)
    assert poor > good + 0.3


def test_the_filtered_map_keeps_detail_only_where_there_is_some(measured, half_maps):
    """In the poor half the filter removes most of the noise; in the good half it keeps the average as it is."""
    average = (half_maps[0] + half_maps[1]) / 2
    good, poor = (slice(28, 36), slice(28, 36), slice(12, 18)), (slice(28, 36), slice(28, 36), slice(46, 52))
    kept_good, kept_poor = (float(measured.filtered[p].norm() / average[p].norm()) for p in (good, poor))
    assert kept_good > 0.9
    assert kept_poor < 0.75


def test_beyond_the_spheres_the_worst_value_stands(measured):
    assert float(measured.resolution_angst[0, 0, 0]) == 50.0
    assert float(measured.filtered[0, 0, 0]) == 0.0


def test_centres_cover_the_mask_and_stay_inside_the_box():
    every = sphere_centres(BOX, PIXEL, SETTINGS, None)
    assert float((every - BOX // 2).double().norm(dim=1).max()) <= BOX / 2 - 6
    mask = torch.roll(soft_sphere(BOX, 8, 0), 12, 2)
    near = sphere_centres(BOX, PIXEL, SETTINGS, mask)
    distance = (near - torch.tensor([32, 32, 44])).double().norm(dim=1)
    assert 0 < len(near) < len(every)
    assert float(distance.max()) < 8 + 3**0.5 * 6 + 1


def test_a_map_smaller_than_a_window_and_of_odd_size_is_measured():
    generator = torch.Generator().manual_seed(3)
    signal = torch.randn(25, 25, 25, generator=generator)
    first, second = (signal + 0.1 * torch.randn(25, 25, 25, generator=generator) for _ in (1, 2))
    local = local_resolution(first, second, 3.0, 1)
    assert local.resolution_angst.shape == (25, 25, 25)
    assert float(local.resolution_angst[12, 12, 12]) == pytest.approx(6.0, rel=0.1)


def test_files_are_written_beside_the_mask(tmp_path, half_maps):
    for index, volume in enumerate(half_maps, start=1):
        write_volume(tmp_path / f"half{index}.mrc", volume.numpy(), PIXEL)
    write_volume(tmp_path / "mask.mrc", soft_sphere(BOX, 6, 2).numpy(), PIXEL)
    local = local_resolution_files(tmp_path, tmp_path / "half1.mrc", tmp_path / "half2.mrc", 1, None, 0.0)
    written, pixel = read_volume(tmp_path / "locres.mrc")
    assert pixel == pytest.approx(PIXEL)
    assert written.min() == pytest.approx(float(local.resolution_angst.min()))
    assert (tmp_path / "locres_filtered.mrc").exists()
    assert "local resolution" in local.summary()
