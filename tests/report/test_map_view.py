"""The map in 3D: what is packed into the page, and what a browser makes of it."""

import base64
import hashlib
import io
import json
import re
from importlib.resources import files
from shutil import copytree

import numpy as np
import pytest
from matplotlib.image import imread

from blush.io.mrc import read_volume, write_volume
from blush.report.map_view import map_view
from blush.report.page import write_report
from blush.report.run_data import read_run

SIZE = 24
PIXEL = 3.0


def scene_of(html):
    return json.loads(re.search(r'id="map3d-scene">(.*?)</script>', html, re.DOTALL)[1])


def unpacked(packed):
    kind = {16: "<u2", 8: "u1"}[packed["bits"]]
    whole = np.frombuffer(base64.b64decode(packed["values"]), kind).reshape(packed["side"][::-1])
    return packed["low"] + (packed["high"] - packed["low"]) * whole / packed["most"]


@pytest.fixture(scope="module")
def sphere_run(finished_run, tmp_path_factory):
    """A run whose map is a cone of density, 1 in the centre and 0 at 8 voxels from it: contours are spheres."""
    root = tmp_path_factory.mktemp("results") / "sphere"
    copytree(finished_run, root)
    z, y, x = np.indices((SIZE,) * 3) - SIZE // 2
    density = np.clip(1 - np.sqrt(x**2 + y**2 + z**2) / 8, 0, 1)
    for path in root.glob("postprocess/*.mrc"):
        path.unlink()
    write_volume(root / "postprocess/postprocess_masked.mrc", density, PIXEL)
    write_volume(root / "postprocess/mask.mrc", (density > 0).astype(np.float32), PIXEL)
    write_volume(root / "postprocess/locres.mrc", np.where(x < 0, 6.0, 9.0).astype(np.float32), PIXEL)
    return root


@pytest.fixture(scope="module")
def sphere_page(sphere_run):
    return write_report(sphere_run)


def test_the_viewer_is_the_one_that_was_noted():
    room = files("blush.report").joinpath("data")
    told = hashlib.sha256(room.joinpath("3Dmol-min.js").read_bytes()).hexdigest()
    assert told == "f7cc78921ae72e7623e89cdd111434f58c2efddd2ffda1cd212644b406fb8016"
    assert told in room.joinpath("README.md").read_text()
    assert "BSD-3-Clause" in room.joinpath("3Dmol.LICENSE.txt").read_text()
    assert "</script" not in room.joinpath("3Dmol-min.js").read_text()


def test_density_and_local_resolution_are_those_of_the_files(sphere_run):
    """The mask reaches from voxel 5 to 19, and 2 more are kept: every third place of the finer grid is a voxel."""
    scene = scene_of(map_view(read_run(sphere_run)))
    whole, _ = read_volume(sphere_run / "postprocess/postprocess_masked.mrc")
    shown = unpacked(scene["map"])
    assert scene["map"]["step_angst"] == pytest.approx(PIXEL / 3)
    voxels = shown[::3, ::3, ::3]
    assert voxels.shape == (19, 19, 19)
    span = scene["map"]["high"] - scene["map"]["low"]
    np.testing.assert_allclose(voxels, whole[3:22, 3:22, 3:22], rtol=0, atol=span / 65535)
    local = unpacked(scene["colour"])
    assert scene["colour"]["step_angst"] == pytest.approx(2 * PIXEL / 3)
    assert (scene["colour"]["low"], scene["colour"]["high"]) == (6, 9)
    np.testing.assert_allclose(local[0, 0, [0, -1]], [6, 9], rtol=0, atol=3 / 255)


def test_a_map_of_many_voxels_is_made_coarser_and_stays_small(sphere_run, tmp_path):
    root = tmp_path / "large"
    copytree(sphere_run, root)
    z, y, x = np.indices((160,) * 3, dtype=np.float32) - 80
    for path in root.glob("postprocess/*.mrc"):
        path.unlink()
    write_volume(root / "postprocess/postprocess_masked.mrc", np.exp(-(x**2 + y**2 + z**2) / 800), 1.0)
    write_volume(root / "postprocess/mask.mrc", np.ones((160,) * 3, np.float32), 1.0)
    html = map_view(read_run(root))
    shown = scene_of(html)["map"]
    assert shown["side"] == [128, 128, 128]
    assert shown["step_angst"] == pytest.approx(159 / 127)
    assert len(html) < 15e6
    middle = unpacked(shown)[64, 64, :]
    place = np.arange(128) * 159 / 127 - 80
    expected = np.exp(-(place**2 + 2 * (64 * 159 / 127 - 80) ** 2) / 800)
    np.testing.assert_allclose(middle, expected, rtol=0, atol=2e-3)  # blurred by half a place of the new grid


def drawn(browser, background):
    """Pixels of the 3D view, and which of them are the map."""
    box = browser.value("(({x, y, width, height}) => [x, y + scrollY, width, height])"
                        "(document.getElementById('map3d').getBoundingClientRect())")  # fmt: skip
    image = imread(io.BytesIO(browser.screenshot(clip=box)))[..., :3]
    return image, np.abs(image - np.array(background) / 255).max(-1) > 0.05


WASH = {False: (246, 247, 249), True: (28, 32, 36)}


SCREENS = [(420, True), (1280, False), (1920, True)]
OTHERS = [(420, False), (1280, True), (1920, False)]


@pytest.mark.parametrize(("width", "dark"), SCREENS + [pytest.param(*one, marks=pytest.mark.slow) for one in OTHERS])
def test_the_page_opens_offline_draws_the_map_and_complains_of_nothing(browser, sphere_page, width, dark):
    path = sphere_page
    assert path.stat().st_size < 15e6
    browser.show(path, width, dark)
    browser.wait("'triangles' in document.getElementById('map3d').dataset")
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith("data:")] == [f"file://{path}"]
    assert browser.value("document.documentElement.scrollWidth") <= width
    image, seen = drawn(browser, WASH[dark])
    assert 0.05 < seen.mean() < 0.6
    left, right = (image[part][seen[part]].mean(0) for part in (np.s_[:, : seen.shape[1] // 2 - 9],
                                                               np.s_[:, seen.shape[1] // 2 + 9 :]))  # fmt: skip
    assert left[0] > left[2] + 0.2  # 6 Å is yellow
    assert right[2] > right[0]  # 9 Å is violet


def test_the_contour_is_where_the_slider_says(browser, sphere_page):
    """At density 1/2 the sphere has a radius of 4 voxels, 12 Å: 7.24 nm³, and 6.0 kDa at 1.21 Å³ for each."""
    browser.show(sphere_page, 900)
    browser.wait("'triangles' in document.getElementById('map3d').dataset")
    before = browser.value("document.getElementById('map3d').dataset.triangles")
    browser.value("{ const s = document.getElementById('map3d-level'); s.step = 'any'; s.value = 0.5;"
                  "s.dispatchEvent(new Event('input')); }")  # fmt: skip
    browser.wait("document.getElementById('map3d').dataset.level === '0.5'")
    assert browser.value("document.getElementById('map3d').dataset.triangles") != before
    told = browser.value("document.getElementById('map3d-told').textContent")
    volume, mass = map(float, re.match(r"Contour 0\.500: encloses (\S+) nm³, as (\S+) kDa", told).groups())
    assert volume == 7
    assert mass == pytest.approx(5.98, rel=0.03)
    box = browser.value("document.getElementById('map3d').getBoundingClientRect().toJSON()")
    _, seen = drawn(browser, WASH[False])
    assert seen.any(0).sum() == pytest.approx(seen.any(1).sum(), abs=3)  # round
    assert seen.sum() == pytest.approx(np.pi / 4 * seen.any(0).sum() ** 2, rel=0.03)
    assert seen.any(1).sum() < box["height"]
    assert browser.complaints() == []
