"""What a run of several bodies leaves: motions, RELION's maps and tables, summary."""

import json

import numpy as np
import pytest
import torch
from moving_blobs import config_of, make_set
from scipy.spatial.transform import Rotation

from blush.bodies.motions import read_motions
from blush.geometry.bodies import body_axis, body_frame, origin_from_relion, residual_rotation
from blush.geometry.rotation import matrix_from_euler
from blush.io.bodies import read_bodies
from blush.io.files import load_npz
from blush.io.mrc import read_volume
from blush.io.noted import check_own
from blush.io.star import read_star
from blush.jobs.autorefine import autorefine
from blush.jobs.body_runs import body_root
from blush.jobs.layout import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run of two bodies and one that is only subtracted."""
    folder = tmp_path_factory.mktemp("blobs")
    make_set(folder)
    bodies = (
        {"name": "base", "mask": folder / "mask1.mrc", "refine": False},
        {"name": "arm", "mask": folder / "mask2.mrc", "hinge_with": "base", "sigma_rotation_deg": 12.0},
    )
    halves = (folder / "half1.mrc", folder / "half2.mrc")
    return autorefine(config_of(folder, folder, multibody={"half_maps": halves, "bodies": bodies}))


def matrices(table):
    return matrix_from_euler(torch.from_numpy(np.stack(
        [np.asarray(table[f"rlnAngle{name}"], dtype=np.float64) for name in ("Rot", "Tilt", "Psi")], 1
    )))  # fmt: skip


def origins(table):
    return torch.from_numpy(
        np.stack([np.asarray(table[f"rlnOrigin{axis}Angst"], dtype=np.float64) for axis in "XY"], 1)
    )


def test_relion_reads_the_poses_that_were_found(run):
    """Residual angles and offsets of the second body lead back to its plain poses, the first has not moved."""
    blocks = read_star(run / "run_data.star")
    view, origin = matrices(blocks["particles"]), origins(blocks["particles"])
    centre = torch.tensor([6.0, -3.0, 2.0], dtype=torch.float64) * 4.0
    other = torch.tensor([-5.0, 3.0, -2.0], dtype=torch.float64) * 4.0
    known = json.loads((run / "import/bodies.json").read_text())["bodies"]
    assert known[1]["centre_px"] == [6, -3, 2]
    other = torch.tensor(known[0]["centre_px"], dtype=torch.float64) * 4.0
    frame = body_frame(body_axis(centre, other, "arm"))
    table = blocks["images_body_2"]
    euler = torch.from_numpy(
        np.stack([np.asarray(table[f"rlnAngle{name}"], dtype=np.float64) for name in ("Rot", "Tilt", "Psi")], 1)
    )
    folder = RunFolder(body_root(run, 1))
    columns = load_npz(folder.poses(3))
    plain = matrix_from_euler(torch.from_numpy(np.stack([columns[f"{n}_deg"] for n in ("rot", "tilt", "psi")], 1)))
    torch.testing.assert_close(view @ residual_rotation(euler, frame), plain, rtol=0, atol=1e-6)
    found = origin_from_relion(view, origin, origins(table), centre, 4.0)
    plain_origin = np.stack([columns["offset_x_angst"], columns["offset_y_angst"]], 1)
    np.testing.assert_allclose(found.numpy(), plain_origin, rtol=0, atol=1e-5)
    still = blocks["images_body_1"]
    np.testing.assert_allclose(np.asarray(still["rlnAngleTilt"], dtype=float), 90, rtol=0, atol=1e-5)
    assert np.abs(origins(still).numpy()).max() <= 2.0 + 1e-6  # half a pixel, RELION's rounding


def test_maps_lie_where_the_consensus_has_them(run):
    """The body's own map moved back by its centre, and its half-maps; of what is fixed, the consensus."""
    own = read_volume(body_root(run, 1) / "run_class001.mrc")[0]
    whole = read_volume(run / "run_body002.mrc")[0]
    np.testing.assert_array_equal(whole[8:28, 8:24, 12:28], own[6:26, 11:27, 6:22])
    assert {path.name for path in run.glob("run_*.mrc")} == {
        "run_body001.mrc", "run_body002.mrc", "run_body001_mask.mrc", "run_body002_mask.mrc",
        "run_half1_body002_unfil.mrc", "run_half2_body002_unfil.mrc",
    }  # fmt: skip
    for path in run.glob("run_*"):
        check_own(path)


def test_tables_name_bodies_masks_and_what_is_fixed(run):
    model = read_star(run / "run_model.star")
    assert int(np.asarray(model["model_general"]["rlnNrBodies"]).flat[0]) == 2
    assert list(np.asarray(model["model_bodies"]["rlnBodyKeepFixed"], dtype=int)) == [1, 0]
    assert {"model_body_1", "model_body_2", "model_groups", "model_pdf_orient_body_2"} <= set(model)
    bodies, _ = read_bodies(run / "run_bodies.star", 4.0)
    assert [(body.refine, body.hinge_with) for body in bodies] == [(False, bodies[1].name), (True, bodies[0].name)]


def test_motions_are_means_of_posteriors(run):
    motions = read_motions(run / "motions.npz")
    columns = load_npz(RunFolder(body_root(run, 1)).poses(3))
    vectors = Rotation.from_matrix(motions.rotations[1]).as_rotvec()
    np.testing.assert_allclose(vectors, columns["motion_mean"][:, :3], rtol=0, atol=1e-9)
    np.testing.assert_allclose(motions.shift_angst[1], columns["motion_mean"][:, 3:], rtol=0, atol=1e-12)
    assert motions.refined.tolist() == [False, True]
    assert np.linalg.eigvalsh(motions.covariance).min() > 0
    assert np.abs(motions.rotations[0] - np.eye(3)).max() < 1e-12
    summary = json.loads((run / "summary.json").read_text())
    assert [body["refined"] for body in summary["bodies"]] == [False, True]
    assert summary["bodies"][1]["resolution_angst"] is not None
