"""Tables of cryoSPARC: read as what they say, written as what was read, refused where they say what cannot be used."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from blush.errors import BlushError
from blush.geometry.rotation import angular_distance_deg, matrix_from_euler
from blush.io.check import check_particles
from blush.io.cs_fields import CsOptions
from blush.io.cs_poses import euler_from_pose, pose_from_euler
from blush.io.cs_write import cs_rows, write_cs
from blush.io.mrc import write_stack
from blush.io.particles import read_particles
from blush.io.star import read_star, write_star

BOX, PIXEL_ANGST, N = 16, 3.0, 8
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
REAL = SHARED / "incoming" / "cryosparc-cs"
TWIN = SHARED / "particles" / "fixtures-small" / "empiar10076-7"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no shared data beside the repository")
SCALARS = {
    "ctf/accel_kv": 300.0, "ctf/cs_mm": 2.7, "ctf/amp_contrast": 0.1, "ctf/df1_A": 12_000.0, "ctf/df2_A": 11_500.0,
    "ctf/df_angle_rad": 0.5, "ctf/phase_shift_rad": 0.0, "ctf/scale": 1.0, "ctf/bfactor": 0.0, "blob/psize_A": 3.0,
    "blob/sign": 1.0, "alignments3D/psize_A": 3.0,
}  # fmt: skip
VECTORS = {"ctf/shift_A": 2, "ctf/tilt_A": 2, "ctf/trefoil_A": 2, "ctf/tetra_A": 4, "ctf/anisomag": 4}


def table(**changes: object) -> np.ndarray:
    """Rows as cryoSPARC has them; keywords replace fields, `__` for the stroke of their names, None takes one away."""
    columns: dict[str, np.ndarray] = {
        "uid": np.arange(100, 100 + N, dtype=np.uint64),
        "blob/path": np.array([b">J1/first.mrc"] * 4 + [b">J1/second.mrc"] * 4),
        "blob/idx": np.tile(np.arange(4, dtype=np.uint32), 2),
        "blob/shape": np.full((N, 2), BOX, dtype=np.uint32),
        "ctf/exp_group_id": np.repeat(np.array([3, 7], dtype=np.uint32), 4),
        "alignments3D/split": np.tile(np.array([0, 1], dtype=np.uint32), 4),
        "alignments3D/pose": np.linspace(-1, 1, 3 * N, dtype=np.float32).reshape(N, 3),
        "alignments3D/shift": np.linspace(-2, 2, 2 * N, dtype=np.float32).reshape(N, 2),
        **{name: np.full(N, value, dtype=np.float32) for name, value in SCALARS.items()},
        **{name: np.zeros((N, width), dtype=np.float32) for name, width in VECTORS.items()},
    }
    for key, value in changes.items():
        name = key.replace("__", "/")
        if value is None:
            del columns[name]
        else:
            columns[name] = np.asarray(value)
    kinds = [(name, column.dtype, column.shape[1:]) for name, column in columns.items()]
    rows = np.zeros(len(columns["uid"]), dtype=kinds)
    for name, column in columns.items():
        rows[name] = column
    return rows


def saved(path: Path, rows: np.ndarray) -> Path:
    with path.open("wb") as stream:
        np.save(stream, rows, allow_pickle=False)
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A project of cryoSPARC with two stacks, bright on dark, and a job of its own for tables."""
    axis = np.arange(BOX) - BOX // 2
    disc = 2.0 * (np.hypot(axis[:, None], axis) <= 3)
    for seed, name in enumerate(("first", "second")):
        noise = np.random.default_rng(seed).standard_normal((4, BOX, BOX))
        write_stack(tmp_path / f"P1/J1/{name}.mrc", (noise + disc).astype(np.float32), PIXEL_ANGST)
    (tmp_path / "P1/J2").mkdir()
    return tmp_path / "P1/J2"


def told(path: Path, options: CsOptions | None = None) -> str:
    with pytest.raises(BlushError) as raised:
        read_particles(path, False, options or CsOptions())
    return str(raised.value)


def test_fields_become_columns(place):
    particles, blocks = read_particles(saved(place / "p.cs", table()))
    assert [Path(stack).name for stack in particles.stacks] == ["first.mrc", "second.mrc"]
    assert blocks["particles"]["rlnImageName"][5] == "000002@J1/second.mrc"
    assert particles.image_index.tolist() == [0, 1, 2, 3] * 2
    assert particles.half.tolist() == [1, 2] * 4
    assert [group.name for group in particles.optics] == ["exposureGroup3", "exposureGroup7"]
    assert particles.optics_index.tolist() == [0] * 4 + [1] * 4
    assert [group.amplitude_contrast for group in particles.optics] == [0.1, 0.1]
    assert particles.defocus_angle_deg == pytest.approx(np.full(N, 28.647890), abs=1e-6)
    assert particles.offset_x_angst[0] == pytest.approx(-2 * PIXEL_ANGST)
    assert blocks["particles"]["blushCryosparcUid"].tolist() == [str(uid) for uid in range(100, 108)]
    assert particles.images().shape == (N, BOX, BOX)


def test_pose_takes_the_frame_of_the_image_into_that_of_the_volume():
    """The formula of Rodrigues by hand, against the matrix that projection uses, which goes the other way."""
    random = np.random.default_rng(3)
    pose = random.normal(size=(200, 3))
    image_to_volume = matrix_from_euler(torch.from_numpy(euler_from_pose(pose))).mT.numpy()
    for vector, matrix in zip(pose, image_to_volume, strict=True):
        angle = np.linalg.norm(vector)
        axis, point = vector / angle, random.normal(size=3)
        turned = (
            point * np.cos(angle) + np.cross(axis, point) * np.sin(angle) + axis * (axis @ point) * (1 - np.cos(angle))
        )
        assert matrix @ point == pytest.approx(turned, abs=1e-12)


def test_a_quarter_turn_in_the_plane_is_minus_psi_of_the_axis_z():
    """A pose of +90° about z: the image's x axis is the volume's y, so psi + rot is +90°."""
    rot, tilt, psi = euler_from_pose(np.array([[0, 0, np.pi / 2]]))[0]
    assert tilt == 0
    assert rot + psi == pytest.approx(90)


@pytest.mark.parametrize("tilt", [0.0, 1e-3, 90.0, 180.0 - 1e-3, 180.0])
def test_angles_come_back_within_a_ten_thousandth_of_a_degree(tilt):
    random = np.random.default_rng(1)
    euler = np.stack([random.uniform(-180, 180, 500), np.full(500, tilt), random.uniform(-180, 180, 500)], 1)
    again = euler_from_pose(pose_from_euler(euler).astype(np.float32).astype(np.float64))
    distance = angular_distance_deg(
        matrix_from_euler(torch.from_numpy(euler)), matrix_from_euler(torch.from_numpy(again))
    )
    assert float(distance.max()) < 1e-4


def test_a_table_and_its_star_file_are_the_same_numbers(place):
    particles, blocks = read_particles(saved(place / "p.cs", table()))
    write_star(place / "p.star", blocks)
    again, other = read_particles(place / "p.star")
    particles.save(place / "cs.npz")
    again.save(place / "star.npz")
    assert (place / "cs.npz").read_bytes() == (place / "star.npz").read_bytes()
    assert {name: list(table) for name, table in other.items()} == {name: list(table) for name, table in blocks.items()}


def test_star_to_cs_to_star_keeps_poses_shifts_and_ctf(place):
    random = np.random.default_rng(7)
    _, blocks = read_particles(saved(place / "p.cs", table()))
    columns = blocks["particles"]
    for name, low, high in (("AngleRot", -180, 180), ("AngleTilt", 1, 179), ("AnglePsi", -180, 180)):
        columns[f"rln{name}"] = random.uniform(low, high, N).round(6)
    for axis in "XY":
        columns[f"rlnOrigin{axis}Angst"] = random.uniform(-30, 30, N).round(6)
    columns |= {"rlnPhaseShift": random.uniform(0, 180, N), "rlnDefocusU": random.uniform(5e3, 4e4, N)}
    write_star(place / "in.star", blocks)
    first, known = read_particles(place / "in.star")
    rows = cs_rows(first, known["particles"], [f">{stack}" for stack in first.stacks])
    write_cs(place / "out.cs", rows, "test")
    second, _ = read_particles(place / "out.cs")
    angles = ["rot_deg", "tilt_deg", "psi_deg"]
    turns = [matrix_from_euler(torch.from_numpy(np.stack([getattr(p, a) for a in angles], 1))) for p in (first, second)]
    assert float(angular_distance_deg(*turns).max()) < 1e-4
    for name in angles:
        away = abs(getattr(first, name) - getattr(second, name))
        assert np.minimum(away, 360 - away).max() < 1e-4
    for name in ("offset_x_angst", "offset_y_angst"):
        assert abs(getattr(first, name) - getattr(second, name)).max() / PIXEL_ANGST < 1e-3
    for name in (
        "defocus_u_angst",
        "defocus_v_angst",
        "defocus_angle_deg",
        "phase_shift_deg",
        "ctf_bfactor",
        "ctf_scale",
    ):
        assert getattr(second, name) == pytest.approx(getattr(first, name), rel=1e-7, abs=1e-5)
    assert [vars(group) | {"name": ""} for group in second.optics] == [
        vars(group) | {"name": ""} for group in first.optics
    ]
    assert second.half.tolist() == first.half.tolist()
    assert rows["uid"].tolist() == list(range(100, 108))


def test_shifts_are_in_pixels_of_the_alignment(place):
    rows = table(alignments3D__psize_A=np.full(N, 1.5, np.float32))
    particles, _ = read_particles(saved(place / "p.cs", rows))
    assert particles.offset_x_angst[0] == pytest.approx(-3.0)


def test_dark_images_are_multiplied_by_minus_one(place):
    bright, _ = read_particles(saved(place / "bright.cs", table()))
    path = saved(place / "dark.cs", table(blob__sign=np.full(N, -1, np.float32)))
    dark, blocks = read_particles(path)
    np.testing.assert_array_equal(dark.images(), -bright.images())
    write_star(place / "dark.star", blocks)
    np.testing.assert_array_equal(read_particles(place / "dark.star")[0].images(), dark.images())
    warnings = [warning.message for warning in check_particles(path).warnings]
    assert "images are dark on bright (blob/sign -1), and are multiplied by -1 whenever they are read here" in warnings
    assert "particles are darker than their background" in warnings  # they are, once they are multiplied


def test_images_of_one_stack_may_differ_in_sign(place):
    """Contrast is judged after the multiplication, image by image."""
    name = place.parent / "J1/first.mrc"
    images = mrcfile.read(name)
    images[::2] *= -1
    write_stack(name, images, PIXEL_ANGST)
    sign = np.ones(N, np.float32)
    sign[:4:2] = -1
    findings = check_particles(saved(place / "p.cs", table(blob__sign=sign)))
    assert [warning.message for warning in findings.warnings if "darker" in warning.message] == []
    assert (findings.particles.images()[:, 8, 8] > 0).sum() >= 6


def test_a_sign_of_another_size_is_refused(place):
    assert "blob/sign is neither 1 nor -1" in told(saved(place / "p.cs", table(blob__sign=np.full(N, 2, np.float32))))


def test_fields_that_the_table_lacks_come_from_its_passthrough_file(place):
    whole = table()
    order = np.random.default_rng(0).permutation(N)
    saved(place / "J2_passthrough_particles.cs", whole[order])
    names = ["uid", *(name for name in whole.dtype.names if name.startswith("alignments3D"))]
    path = saved(place / "J2_particles.cs", np.array(whole[names]))
    particles, _ = read_particles(path)
    wanted, _ = read_particles(saved(place.parent / "whole.cs", whole))
    for name in ("image_index", "stack_index", "optics_index", "defocus_u_angst", "rot_deg"):
        np.testing.assert_array_equal(getattr(particles, name), getattr(wanted, name))
    moved = saved(place.parent / "alone.cs", np.array(whole[names]))
    assert "has no blob/path, blob/idx" in told(moved)
    named = CsOptions(passthrough=(place / "J2_passthrough_particles.cs",))
    assert len(read_particles(moved, cs=named)[0]) == N
    few = saved(place.parent / "few.cs", whole[:3])
    assert f"{few}, uid: lacks rows of the table (found 5 of 8)" in told(moved, CsOptions(passthrough=(few,)))


def test_several_classes_give_each_image_its_most_probable_one(place):
    rows = table(
        alignments3D__pose=None, alignments3D__shift=None, alignments3D__split=None, alignments3D__psize_A=None,
        **{f"alignments_class_{k}__pose": np.full((N, 3), 0.1 * (k + 1), np.float32) for k in (0, 1)},
        **{f"alignments_class_{k}__shift": np.full((N, 2), k, np.float32) for k in (0, 1)},
        alignments_class_0__class_posterior=np.linspace(0, 1, N, dtype=np.float32),
        alignments_class_1__class_posterior=np.linspace(1, 0, N, dtype=np.float32),
    )  # fmt: skip
    particles, blocks = read_particles(saved(place / "p.cs", rows))
    assert blocks["particles"]["rlnClassNumber"].tolist() == [2] * 4 + [1] * 4
    assert particles.offset_x_angst.tolist() == [PIXEL_ANGST] * 4 + [0.0] * 4
    assert not particles.half.any()


def test_segments_of_a_filament_are_told_and_may_not_be_in_both_halves(place):
    rows = table(filament__filament_uid=np.repeat(np.array([2**63 + 5, 7], np.uint64), 4))
    findings = check_particles(saved(place / "p.cs", rows))
    assert findings.blocks["particles"]["rlnHelicalTubeID"].tolist() == [2] * 4 + [1] * 4
    assert any("filament (filament_uid) are in both halves" in problem.message for problem in findings.problems)


def test_traced_filaments_have_their_tracks(place):
    """`filament_pose` in radians has the other sign than psi; positions start anywhere; coordinates are fractions."""
    rows = table(
        filament__filament_uid=np.repeat(np.array([9, 7], np.uint64), 4),
        filament__filament_pose=np.full(N, 0.5, np.float32),
        filament__position_A=np.tile(np.float32([30, 60, 90, 120]), 2),
        location__center_x_frac=np.linspace(0, 0.7, N, dtype=np.float32),
        location__center_y_frac=np.full(N, 0.25, np.float32),
        location__micrograph_shape=np.tile(np.array([4000, 6000], np.uint32), (N, 1)),
    )
    found = check_particles(saved(place / "p.cs", rows)).blocks["particles"]
    assert found["rlnHelicalTrackLengthAngst"].tolist() == [0, 30, 60, 90] * 2
    np.testing.assert_allclose(found["rlnAnglePsiPrior"], -28.6478898)
    np.testing.assert_allclose(found["rlnCoordinateX"], np.linspace(0, 4200, N), atol=1e-3)
    assert found["rlnCoordinateY"].tolist() == [1000.0] * N


def test_micrographs_are_told_by_path_or_by_uid(place):
    paths = np.array([b">J0/a.mrc"] * 4 + [b">J0/b.mrc"] * 4)
    particles, blocks = read_particles(saved(place / "p.cs", table(location__micrograph_path=paths)))
    assert blocks["particles"]["rlnMicrographName"][4] == "J0/b.mrc"
    assert particles.group_index.tolist() == [0] * 4 + [1] * 4
    uids = np.repeat(np.array([2**64 - 1, 3], np.uint64), 4)
    _, blocks = read_particles(saved(place / "q.cs", table(location__micrograph_uid=uids)))
    assert blocks["particles"]["rlnMicrographName"][0] == str(2**64 - 1)


def test_one_split_for_all_has_halves_drawn_with_a_warning(place):
    path = saved(place / "p.cs", table(alignments3D__split=np.zeros(N, np.uint32)))
    findings = check_particles(path)
    assert not findings.particles.half.any()
    assert any("all rows are of one split" in warning.message for warning in findings.warnings)


@pytest.mark.parametrize(
    ("field", "size"), [("tilt_A", 4000.0), ("trefoil_A", 4000.0), ("tetra_A", 1e6), ("shift_A", 1)]
)
def test_aberrations_that_count_are_refused_by_field_and_small_ones_are_not(place, field, size):
    values = np.zeros((N, VECTORS[f"ctf/{field}"]), np.float32)
    values[2, 0] = size
    large = {f"ctf__{field}": values, "blob__psize_A": np.ones(N, np.float32)}
    assert f"p.cs, ctf/{field}: is an aberration that cannot be converted" in told(
        saved(place / "p.cs", table(**large))
    )
    left = check_particles(place / "p.cs", cs=CsOptions(leave_out_aberrations=True))
    assert any(warning.where == f"ctf/{field}" for warning in left.warnings)
    small = {f"ctf__{field}": values * 1e-3, "blob__psize_A": np.ones(N, np.float32)}
    assert len(read_particles(saved(place / "q.cs", table(**small)))[0]) == N
    [told_of] = [one for one in check_particles(place / "q.cs").warnings if one.where == f"ctf/{field}"]
    [refused] = [one for one in left.warnings if one.where == f"ctf/{field}"]
    sizes = [float(one.value.split()[2]) for one in (told_of, refused)]
    assert sizes[0] == pytest.approx(1e-3 * sizes[1], rel=0.05)  # of two digits
    assert "1 rows" in told_of.value
    assert "is left out" in told_of.message
    assert not [one for one in check_particles(saved(place / "r.cs", table())).warnings if "ctf" in (one.where or "")]


def test_the_bound_of_a_tilt_is_that_of_the_phase_that_refinement_would_use():
    """2π A λ² q³ is what a tilt of A / Cs does along its own axis."""
    from blush.ctf.aberration import odd_phase_rad

    length_angst, frequency = 1000.0, 0.3
    tilt_mrad = 1e3 * length_angst / (2.7e7)
    phase = odd_phase_rad(torch.tensor([frequency]), torch.zeros(1), (), tilt_mrad, 0.0, 300.0, 2.7)
    wavelength = 0.019687
    assert abs(float(phase)) == pytest.approx(2 * np.pi * length_angst * wavelength**2 * frequency**3, rel=1e-3)


def test_anisotropic_magnification_is_refused_by_field(place):
    values = np.tile(np.array([0.01, 0, 0, 0], np.float32), (N, 1))
    assert "ctf/anisomag: anisotropic magnification cannot be refined" in told(
        saved(place / "p.cs", table(ctf__anisomag=values))
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blob__idx": np.zeros(N, np.float32)}, "blob/idx: is not what this field holds"),
        ({"alignments3D__pose": np.zeros((N, 4), np.float32)}, "alignments3D/pose: is not what this field holds"),
        ({"blob__path": np.full(N, b"a\nb.mrc")}, "blob/path: is no path"),
        ({"alignments3D__pose": np.full((N, 3), np.nan, np.float32)}, "alignments3D/pose is no number of a pose"),
        ({"ctf__df1_A": np.full(N, np.nan, np.float32)}, "ctf/df1_A is not a finite number"),
        ({"blob__psize_A": np.zeros(N, np.float32)}, "blob/psize_A must be above 0"),
        ({"ctf__accel_kv": np.full(N, 3e5, np.float32)}, "ctf/accel_kv must be above 0 kV"),
    ],
)
def test_values_that_are_none_are_refused_by_field(place, changes, message):
    assert message in told(saved(place / "p.cs", table(**changes)))


def test_stacks_are_found_from_the_project_that_is_named(place, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = saved(elsewhere / "p.cs", table())
    with pytest.raises(BlushError, match="give the project's folder"):
        read_particles(path)
    assert len(read_particles(path, cs=CsOptions(project=place.parent))[0]) == N


def test_an_array_without_fields_of_objects_or_of_another_size_is_refused(place):
    path = place / "p.cs"
    saved(path, np.zeros(3))
    assert "it holds float64, and no fields" in told(path)
    with path.open("wb") as stream:
        np.save(stream, np.array([({},)], dtype=[("uid", "O")]), allow_pickle=True)
    assert "its field 'uid' holds object, neither numbers nor text" in told(path)
    path.write_bytes(saved(path, table()).read_bytes()[:-1])
    assert "says 8 rows of" in told(path)
    for version in (b"\x94", b"\x95"):
        path.write_bytes(version + b"CSDAT" + bytes(100))
        assert "it is in cryoSPARC's packed format; save it with cryosparc-tools" in told(path)


@needs_real
@pytest.mark.shared
def test_a_real_table_and_its_star_file_say_the_same():
    found, blocks = read_particles(REAL / "empiar_10076_7.cs", find_stacks=False)
    wanted, _ = read_particles(TWIN / "empiar_10076_7.star")
    for name in ("image_index", "defocus_u_angst", "defocus_v_angst", "defocus_angle_deg", "phase_shift_deg"):
        assert getattr(found, name) == pytest.approx(getattr(wanted, name), rel=1e-6)
    (group,), (twin,) = found.optics, wanted.optics
    for name in ("voltage_kv", "spherical_aberration_mm", "amplitude_contrast", "pixel_size_angst", "box_px"):
        assert getattr(group, name) == pytest.approx(getattr(twin, name), rel=1e-5)
    assert blocks["optics"]["blushImageSign"].tolist() == [-1]  # the published stack is dark on bright


@needs_real
@pytest.mark.shared
def test_the_dark_images_of_a_real_table_are_bright_when_they_are_read():
    findings = check_particles(REAL / "empiar_10076_7.cs", cs=CsOptions(project=TWIN))
    assert not findings.problems
    assert ["blob/sign -1" in warning.message for warning in findings.warnings] == [True]  # none of dark particles
    images = findings.particles.images()
    axis = np.arange(images.shape[1]) - images.shape[1] // 2
    radius = np.hypot(axis[:, None], axis)
    assert (images[:, radius < 60].mean(1) > images[:, radius > 130].mean(1)).all()


@needs_real
@pytest.mark.shared
@pytest.mark.parametrize("name", [path.name for path in sorted(REAL.glob("*.cs"))] if REAL.is_dir() else ["none"])
def test_real_tables_go_to_star_and_back(name, tmp_path):
    stored = np.load(REAL / name, allow_pickle=False)
    first, blocks = read_particles(REAL / name, find_stacks=False)
    write_star(tmp_path / "p.star", blocks)
    again, _ = read_particles(tmp_path / "p.star", find_stacks=False)
    rows = cs_rows(again, read_star(tmp_path / "p.star")["particles"], [f">{stack}" for stack in again.stacks])
    for field in set(rows.dtype.names) & set(stored.dtype.names):
        if field.startswith(("uid", "blob/idx", "blob/shape", "blob/sign", "blob/psize", "alignments3D/split")):
            np.testing.assert_allclose(rows[field].astype(float), stored[field].astype(float), rtol=1e-6)
        elif field in ("ctf/df1_A", "ctf/df2_A", "ctf/df_angle_rad", "ctf/accel_kv", "ctf/cs_mm", "ctf/amp_contrast"):
            np.testing.assert_allclose(rows[field], stored[field], rtol=1e-6, atol=1e-7)
        elif field == "alignments3D/shift":
            assert abs(rows[field] - stored[field]).max() < 1e-3
        elif field == "alignments3D/pose":
            ours, theirs = (
                matrix_from_euler(torch.from_numpy(euler_from_pose(one[field].astype(float)))) for one in (rows, stored)
            )
            assert float(angular_distance_deg(ours, theirs).max()) < 1e-4
    assert len(first) == len(stored)
