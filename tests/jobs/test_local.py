"""Local refinement: one body, what its mask leaves subtracted, about a chosen fulcrum."""

import json

import numpy as np
import pytest
import torch
from blob_set import BOX, KEPT, KEPT_AT, OTHER, mask, rotation, volume
from moving_blobs import config_of, make_set

from blush.bodies.motions import read_motions
from blush.errors import BlushError
from blush.geometry.bodies import origin_from_relion
from blush.geometry.rotation import matrix_from_euler
from blush.io.files import load_npz
from blush.io.mrc import read_volume, write_volume
from blush.io.star import read_star
from blush.jobs import importing, steps
from blush.jobs.autorefine import autorefine
from blush.jobs.body_runs import body_root
from blush.jobs.layout import RunFolder
from blush.jobs.other_bodies import others_of
from blush.jobs.settings import decisive_settings
from blush.refine.state import load_state

FULCRUM_PX = np.array([3, -2, 0])
FULCRUM_ANGST = (12.4, -9.0, 1.9)
"""Rounded to whole voxels of 4 Å, the point above."""


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blobs")
    make_set(folder)
    return folder


def local(folder, output, rest=True, **changes):
    """One body, the arm, about a point between both."""
    arm = {"name": "arm", "mask": folder / "mask2.mrc", "fulcrum_angst": FULCRUM_ANGST}
    halves = (folder / "half1.mrc", folder / "half2.mrc")
    multibody = {"half_maps": halves, "bodies": (arm,), "rest": rest} | changes
    return config_of(folder, output, multibody=multibody, refinement={"max_iterations": 2, "keep_iterations": 9})


@pytest.fixture(scope="module")
def run(blobs, tmp_path_factory):
    return autorefine(local(blobs, tmp_path_factory.mktemp("run")))


def test_rest_is_what_the_mask_leaves_of_the_solvent_mask(run):
    """Where there is density, masks add up to 1; rest is 0 inside the arm's mask, and far from everything."""
    rest = read_volume(run / "import/mask_body002.mrc")[0]
    density = volume(KEPT) + volume(OTHER)
    solid = density > 0.2 * density.max()
    np.testing.assert_allclose(rest[solid], 1 - mask()[solid], rtol=0, atol=1e-6)
    z, y, x = np.indices(rest.shape) - BOX // 2
    from_arm = np.sqrt((x - KEPT_AT[0]) ** 2 + (y - KEPT_AT[1]) ** 2 + (z - KEPT_AT[2]) ** 2)
    assert rest[from_arm < 6].max() == 0
    assert rest[volume(OTHER) > 0.2 * density.max()].min() == 1
    assert rest[np.abs(z) == 16].max() == 0
    assert 0 <= rest.min() < rest.max() == 1


def test_rest_is_subtracted_and_never_refined(run):
    known = json.loads((run / "import/bodies.json").read_text())["bodies"]
    assert [(one["name"], one["refine"]) for one in known] == [("arm", True), ("rest", False)]
    arm, rest = (RunFolder(body_root(run, index)) for index in (0, 1))
    assert load_state(arm.state(2)).converged
    assert rest.newest() == 0
    assert [other.index for other in others_of(arm, load_state(arm.state(1)))] == [1]
    assert read_motions(run / "motions.npz").refined.tolist() == [True, False]


def test_a_mask_of_rest_given_by_hand_leads_to_the_same(run, blobs, tmp_path, monkeypatch):
    """Bit for bit: everything after the import is that of any body which is not refined.

    In this narrow box the soft edge of rest touches the faces, which a mask that is given may not.
    """
    monkeypatch.setattr(importing, "check_bodies", lambda *_: ([], []))
    config = local(blobs, tmp_path)
    arm = config.multibody.model_dump()["bodies"][0]
    write_volume(tmp_path / "rest.mrc", read_volume(run / "import/mask_body002.mrc")[0], 4.0)
    given = {"name": "others", "mask": tmp_path / "rest.mrc", "refine": False}
    other = autorefine(local(blobs, tmp_path, rest=False, bodies=(arm, given)))
    for name in ("run_body001.mrc", "run_half1_body001_unfil.mrc", "run_body002.mrc"):
        np.testing.assert_array_equal(*(read_volume(root / name)[0] for root in (run, other)))
    first, second = (load_npz(root / "motions.npz") for root in (run, other))
    assert [name for name in first if name != "names" and not np.array_equal(first[name], second[name])] == []


def test_the_fulcrum_is_the_centre_of_the_body(run, blobs):
    """The map about it, origins o - (A c)_xy, the radius from there, a circle that holds the body."""
    body = json.loads((run / "import/bodies.json").read_text())["bodies"][0]
    assert body["centre_px"] == FULCRUM_PX.tolist()
    z, y, x = (np.indices((BOX, BOX, BOX)) - BOX // 2)[:, mask() > 0.05]
    reach = np.sqrt(((np.stack([x, y, z], 1) - FULCRUM_PX) ** 2).sum(1)).max()
    assert body["radius_px"] == pytest.approx(reach, abs=1e-9)
    settings = json.loads((run / "body001/import/config.json").read_text())
    assert settings["particle_diameter_angst"] == pytest.approx(min(2 * (reach + 1) * 4, max(110, 2 * reach * 4)))
    reference = read_volume(RunFolder(body_root(run, 0)).first_map())[0]
    consensus = read_volume(blobs / "map.mrc")[0]
    np.testing.assert_array_equal(reference[11:21, 11:21, 11:21], consensus[11:21, 9:19, 14:24])
    tables = (blobs / "particles.star", run / "body001/import/particles.star")
    given, found = (read_star(path)["particles"] for path in tables)
    angles = zip(*(given[f"rlnAngle{name}"].astype(float) for name in ("Rot", "Tilt", "Psi")), strict=True)
    seen = np.array([rotation(*each) @ FULCRUM_PX * 4.0 for each in angles])
    for axis, name in enumerate(("rlnOriginXAngst", "rlnOriginYAngst")):
        expected = given[name].astype(float) - seen[:, axis]
        np.testing.assert_allclose(found[name].astype(float), expected, rtol=0, atol=1e-5)


def test_relion_is_told_the_motion_about_the_centroid(run):
    """From its table, the centroid of the mask is seen where the pose about the fulcrum has it."""
    blocks = read_star(run / "run_data.star")
    particles, table = blocks["particles"], blocks["images_body_1"]
    euler, origin, offset = (
        torch.from_numpy(np.stack([np.asarray(one[name], dtype=np.float64) for name in names], 1))
        for one, names in (
            (particles, ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")),
            (particles, ("rlnOriginXAngst", "rlnOriginYAngst")),
            (table, ("rlnOriginXAngst", "rlnOriginYAngst")),
        )
    )
    centroid = torch.from_numpy(KEPT_AT) * 4.0
    found = -origin_from_relion(matrix_from_euler(euler), origin, offset, centroid, 4.0).numpy()
    columns = load_npz(RunFolder(body_root(run, 0)).poses(2))
    angles = zip(*(columns[f"{name}_deg"] for name in ("rot", "tilt", "psi")), strict=True)
    arm = np.array([rotation(*each) @ (KEPT_AT - FULCRUM_PX) * 4.0 for each in angles])[:, :2]
    expected = arm - np.stack([columns["offset_x_angst"], columns["offset_y_angst"]], 1)
    assert np.abs(arm).max() > 10
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_body_file_of_one_body_takes_rest_too(run, blobs, tmp_path):
    (tmp_path / "bodies.star").write_text(
        f"data_\n\nloop_\n_rlnBodyMaskName\n_rlnBodySigmaAngles\n_rlnBodySigmaOffsetAngst\n{blobs}/mask2.mrc 10 3\n"
    )
    config = local(blobs, tmp_path, bodies=(), body_file=tmp_path / "bodies.star")
    steps.import_run(config)
    known = json.loads((config.run_dir / "import/bodies.json").read_text())["bodies"]
    assert [(one["name"], one["refine"]) for one in known] == [("mask2", True), ("rest", False)]
    mask_of_rest = "import/mask_body002.mrc"
    np.testing.assert_array_equal(*(read_volume(root / mask_of_rest)[0] for root in (config.run_dir, run)))
    with pytest.raises(BlushError, match=r"body mask2 is the only one; set multibody\.rest: true"):
        steps.import_run(local(blobs, tmp_path, rest=False, bodies=(), body_file=tmp_path / "bodies.star"))


def test_a_run_is_of_its_rest_and_of_its_fulcrum(blobs, tmp_path):
    config = local(blobs, tmp_path)
    arm = config.multibody.bodies[0].model_copy(update={"fulcrum_angst": None})
    moved = config.multibody.model_copy(update={"bodies": (arm,)})
    alone = config.multibody.model_copy(update={"rest": False})
    own = decisive_settings(config)
    for name, other in (("multibody.bodies", moved), ("multibody.rest", alone)):
        changed = decisive_settings(config.model_copy(update={"multibody": other}))
        assert [key for key in own if own[key] != changed[key]] == [name]
