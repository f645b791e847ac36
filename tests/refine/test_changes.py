"""Pose changes, on rotations whose angle is known."""

import numpy as np
import pytest

from blush.refine.changes import pose_change

IDENTITY = np.eye(3)[None]


def poses(rot=0.0, tilt=0.0, psi=0.0, x=0.0, y=0.0, n=4, **more) -> dict[str, np.ndarray]:
    values = {"rot_deg": rot, "tilt_deg": tilt, "psi_deg": psi, "offset_x_angst": x, "offset_y_angst": y, **more}
    return {name: np.broadcast_to(np.asarray(v, dtype=float), (n,)).copy() for name, v in values.items()}


def about_z(n_fold: int) -> np.ndarray:
    a = 2 * np.pi * np.arange(n_fold) / n_fold
    zero, one = np.zeros(n_fold), np.ones(n_fold)
    return np.array([[np.cos(a), np.sin(a), zero], [-np.sin(a), np.cos(a), zero], [zero, zero, one]]).transpose(2, 0, 1)


@pytest.mark.parametrize("angle", [0.0, 1e-3, 10.0, 90.0])
@pytest.mark.parametrize("name", ["psi", "tilt"])
def test_a_turn_about_one_axis_counts_two_thirds(angle, name):
    """Two of the three axes turn by the angle, the third stays."""
    change = pose_change(poses(30.0), poses(30.0, **{name: angle}), IDENTITY)
    assert change.rotation_deg == pytest.approx(2 / 3 * angle, abs=2e-6)


def test_rot_and_psi_cancel_at_zero_tilt():
    change = pose_change(poses(rot=20.0, psi=10.0), poses(rot=-35.0, psi=65.0), IDENTITY)
    assert change.rotation_deg == pytest.approx(0.0, abs=2e-6)


def test_a_symmetry_mate_is_no_change():
    old, new = poses(10.0, 50.0, 20.0), poses(10.0 + 2 * 360 / 7, 50.0, 20.0)
    assert pose_change(old, new, about_z(7)).rotation_deg == pytest.approx(0.0, abs=2e-6)
    assert pose_change(old, new, IDENTITY).rotation_deg > 30.0


def test_each_particle_takes_its_own_closest_mate():
    old = poses(0.0, 90.0, 0.0, n=3)
    new = poses(np.array([2.0, 122.0, 239.0]), 90.0, 0.0, n=3)
    # turned about z by 2, 2 and 1 degrees: two of three axes move
    assert pose_change(old, new, about_z(3)).rotation_deg == pytest.approx(2 / 3 * 5 / 3, abs=1e-6)


def test_offsets_change_by_their_rms_per_axis():
    change = pose_change(poses(), poses(x=np.array([3.0, 0, 0, 0]), y=np.array([0, 4.0, 0, 0])), IDENTITY)
    assert change.offset_angst == pytest.approx(np.sqrt(25 / 8))


def test_classes_change_by_their_fraction():
    assert pose_change(poses(), poses(), IDENTITY).class_fraction == 0.0
    old, new = poses(class_number=1), poses(class_number=np.array([1, 2, 1, 1]))
    assert pose_change(old, new, IDENTITY).class_fraction == 0.25


def test_no_particles_do_not_move():
    change = pose_change(poses(n=0), poses(n=0), IDENTITY)
    assert (change.rotation_deg, change.offset_angst, change.class_fraction) == (0.0, 0.0, 0.0)


def test_pose_tables_of_different_length_are_refused():
    with pytest.raises(ValueError, match="4 old poses against 3 new ones"):
        pose_change(poses(n=4), poses(n=3), IDENTITY)


@pytest.mark.parametrize("symmetry", ["C1", "C3", "D7", "O", "I1"])
def test_numpy_and_torch_measure_the_same_rotation_change(symmetry):
    """This step writes rotations out in numpy to start without torch; the geometry room's are the reference."""
    import torch

    from blush.geometry.rotation import matrix_from_euler
    from blush.geometry.symmetry import operators

    rng = np.random.default_rng(4)
    angles = [dict(zip(("rot", "tilt", "psi"), rng.uniform(-180, 180, (3, 50)), strict=True)) for _ in range(2)]
    old, new = (poses(n=50, **a) for a in angles)
    matrices = [
        matrix_from_euler(torch.from_numpy(np.stack([p["rot_deg"], p["tilt_deg"], p["psi_deg"]], 1)))
        for p in (old, new)
    ]
    group = operators(symmetry)
    axes, mates = matrices[0][:, None], matrices[1][:, None] @ group
    cosines = (axes * mates).sum(-1).clamp(-1, 1)  # between corresponding image axes, (particles, mates, 3)
    expected = torch.rad2deg(torch.arccos(cosines)).mean(-1).amin(1).mean()
    assert pose_change(old, new, group.numpy()).rotation_deg == pytest.approx(float(expected), abs=1e-6)
