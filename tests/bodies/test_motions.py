"""The record of motions: it comes back as it was written, and nothing impossible is taken up."""

from dataclasses import fields, replace

import numpy as np
import pytest
from drawn import EQUAL, hinge, seen
from scipy.spatial.transform import Rotation

from blush.bodies.motions import exponential, mask_extent, read_motions, right_jacobian, write_motions
from blush.errors import BlushError


@pytest.fixture
def motions():
    return seen(EQUAL, hinge(EQUAL, np.linspace(-10, 10, 20)), seed=1)


def test_a_record_comes_back_and_equal_records_have_equal_bytes(motions, tmp_path):
    write_motions(tmp_path / "a.npz", motions)
    write_motions(tmp_path / "b.npz", read_motions(tmp_path / "a.npz"))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = read_motions(tmp_path / "b.npz")
    assert again.names == ("core", "head")
    assert again.n_images == 20
    for field in fields(motions)[1:]:
        np.testing.assert_array_equal(getattr(again, field.name), getattr(motions, field.name))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (lambda m: {"half": m.half + 1}, "neither 1 nor 2"),
        (lambda m: {"half": m.half[:-1]}, r"half: has another shape than \(20,\) \(found \(19,\)\)"),
        (lambda m: {"covariance": 0 * m.covariance}, "without width"),
        (lambda m: {"rotations": 1.1 * m.rotations}, "no rotations"),
        (lambda m: {"refined": ~m.refined}, "no body whose poses were refined"),
        (lambda m: {"shift_angst": m.shift_angst + np.nan}, "not finite"),
        (lambda m: {"prior": -m.prior}, "no covariance"),
        (lambda m: {"volume_angst3": 0 * m.volume_angst3}, "without extent"),
    ],
)
def test_what_cannot_be_is_refused(motions, tmp_path, changed, told):
    with pytest.raises(BlushError, match=told) as refused:
        write_motions(tmp_path / "a.npz", replace(motions, **changed(motions)))
    assert "a.npz" in str(refused.value)


def test_another_npz_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", poses=np.zeros(3))
    with pytest.raises(BlushError, match="is no record of motions"):
        read_motions(tmp_path / "a.npz")


def test_a_box_has_the_extent_of_a_box():
    """Of sides 6, 4 and 2 voxels of 2 Å along x, y, z; its middle lies 1/2 voxel before c along every axis."""
    mask = np.zeros((16, 16, 16), dtype=np.float32)
    mask[10:12, 6:10, 4:10] = 1
    centre = np.array([-1.0, 0.0, 3.0]) * 2
    volume, middle, spread = mask_extent(mask, centre, 2.0)
    assert volume == 48 * 8
    squares = [4 * ((side**2 - 1) / 12 + 0.25) for side in (6, 4, 2)]
    np.testing.assert_allclose(spread, np.diag(squares) + (1 - np.eye(3)) * 4 * 0.25, rtol=1e-12)
    np.testing.assert_allclose(middle, [-1, -1, -1], rtol=1e-12)


def test_a_record_from_before_fulcrums_has_its_centres_in_the_middle(motions, tmp_path):
    write_motions(tmp_path / "a.npz", replace(motions, middle_angst=motions.middle_angst + 1))
    assert (read_motions(tmp_path / "a.npz").middle_angst == 1).all()
    with np.load(tmp_path / "a.npz") as arrays:
        np.savez(tmp_path / "b.npz", **{name: arrays[name] for name in arrays if name != "middle_angst"})
    assert (read_motions(tmp_path / "b.npz").middle_angst == 0).all()


def test_the_right_jacobian_is_that_of_finite_differences():
    """exp(w + d) = exp(w) exp(J d)."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(20, 3)) * np.geomspace(1e-6, 1, 20)[:, None]
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = 1e-6
        moved = exponential(vectors).transpose(0, 2, 1) @ exponential(vectors + step)
        found = Rotation.from_matrix(moved).as_rotvec() / 1e-6
        np.testing.assert_allclose(found, right_jacobian(vectors)[:, :, axis], rtol=0, atol=1e-5)
