"""Lists of bodies, as RELION writes them and as its users do."""

from pathlib import Path

import numpy as np
import pytest

from blush.config.multibody import Body
from blush.errors import BlushError
from blush.io.bodies import read_bodies, write_bodies
from blush.io.star import read_star

PIXEL_ANGST = 1.5
GOOD = {
    "rlnBodyMaskName": ["core.mrc", "head.mrc"],
    "rlnBodyRotateRelativeTo": ["2", "1"],
    "rlnBodySigmaAngles": ["10", "15"],
    "rlnBodySigmaOffsetAngst": ["2", "5"],
}


def write(folder: Path, **changes: list[str] | None) -> Path:
    columns = {name: values for name, values in (GOOD | changes).items() if values is not None}
    for name in set(columns.get("rlnBodyMaskName", ())):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    rows = "\n".join(" ".join(row) for row in zip(*columns.values(), strict=True))
    path = folder / "bodies.star"
    path.write_text("data_\n\nloop_\n" + "".join(f"_{name}\n" for name in columns) + rows + "\n")
    return path


def told(folder: Path, **changes: list[str] | None) -> list[str]:
    with pytest.raises(BlushError) as caught:
        read_bodies(write(folder, **changes), PIXEL_ANGST)
    return [str(problem) for problem in caught.value.problems]


def test_a_list_of_relion_is_read(tmp_path):
    bodies, warnings = read_bodies(write(tmp_path), PIXEL_ANGST)
    assert [body.name for body in bodies] == ["core", "head"]
    assert [body.mask for body in bodies] == [tmp_path / "core.mrc", tmp_path / "head.mrc"]
    assert [body.hinge_with for body in bodies] == ["head", "core"]
    assert [(body.sigma_rotation_deg, body.sigma_offset_angst) for body in bodies] == [(10, 2), (15, 5)]
    assert all(body.refine for body in bodies)
    assert warnings == []


def test_a_body_is_called_after_its_mask(tmp_path):
    bodies, _ = read_bodies(write(tmp_path, rlnBodyMaskName=["mask_core.mrc", "run_body002_mask.mrc"]), PIXEL_ANGST)
    assert [body.name for body in bodies] == ["core", "run_body002"]


def test_masks_of_one_name_in_other_folders_are_numbered(tmp_path):
    bodies, _ = read_bodies(write(tmp_path, rlnBodyMaskName=["a/mask.mrc", "b/mask.mrc"]), PIXEL_ANGST)
    assert [body.name for body in bodies] == ["body1", "body2"]
    assert bodies[1].mask == tmp_path / "b/mask.mrc"


def test_widths_in_pixels_are_converted_and_told(tmp_path):
    changes = {"rlnBodySigmaOffsetAngst": None, "rlnBodySigmaOffset": ["2", "4"]}
    bodies, [warning] = read_bodies(write(tmp_path, **changes), PIXEL_ANGST)
    assert [body.sigma_offset_angst for body in bodies] == [3, 6]
    assert "rlnBodySigmaOffset is in pixels" in str(warning)
    assert "taken as 3, 6 Å" in str(warning)


def test_widths_of_tilt_and_psi_become_their_mean_square(tmp_path):
    changes = {"rlnBodySigmaAngles": None, "rlnBodySigmaTilt": ["6", "9"], "rlnBodySigmaPsi": ["6", "18"]}
    bodies, [warning] = read_bodies(write(tmp_path, **changes), PIXEL_ANGST)
    assert bodies[0].sigma_rotation_deg == pytest.approx(6)
    assert bodies[1].sigma_rotation_deg == pytest.approx(162**0.5)  # (81 + 81 + 324) / 3
    assert "rlnBodySigmaTilt and rlnBodySigmaPsi differ" in str(warning)


def test_a_body_without_any_width_is_fixed(tmp_path):
    changes = {"rlnBodySigmaAngles": ["10", "0"], "rlnBodySigmaOffsetAngst": ["2", "0.0001"]}
    bodies, _ = read_bodies(write(tmp_path, **changes), PIXEL_ANGST)
    assert [body.refine for body in bodies] == [True, False]


def test_what_is_not_used_is_told(tmp_path):
    axis = {f"rlnBodyRotateDirection{name}": ["0", "1"] for name in "XYZ"}
    changes = axis | {"rlnBodyReferenceName": ["None", "start.mrc"]}
    _, warnings = read_bodies(write(tmp_path, **changes), PIXEL_ANGST)
    assert ["rlnBodyRotateDirectionX, Y and Z are not used" in str(one) for one in warnings] == [True, False]
    assert "rlnBodyReferenceName is not used: every body starts from the consensus (found start.mrc)" in str(
        warnings[1]
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rlnBodyMaskName": None}, "bodies, rlnBodyMaskName: column is missing; add it"),
        ({"rlnBodySigmaAngles": None}, "rlnBodySigmaTilt: column is missing"),
        ({"rlnBodySigmaOffsetAngst": None}, "rlnBodySigmaOffsetAngst: column is missing"),
        ({"rlnBodySigmaAngles": ["10", "0"]}, "bodies row 2: prior of angles has no width (found 0.0)"),
        ({"rlnBodySigmaOffsetAngst": ["-2", "5"]}, "bodies row 1: rlnBodySigmaOffsetAngst is negative (found -2.0)"),
        ({"rlnBodyRotateRelativeTo": ["2", "3"]}, "row 2: rlnBodyRotateRelativeTo names no other body (found 3.0)"),
        ({"rlnBodyRotateRelativeTo": ["1", "1"]}, "row 1: rlnBodyRotateRelativeTo names no other body (found 1.0)"),
        ({"rlnBodyRotateRelativeTo": ["2", "x"]}, "row 2: rlnBodyRotateRelativeTo is not a finite number (found x)"),
        (
            {"rlnBodySigmaAngles": ["0", "0"], "rlnBodySigmaOffsetAngst": ["0", "0"]},
            "no body is refined",
        ),
    ],
)
def test_mistakes_are_told_with_their_row(tmp_path, changes, expected):
    assert any(expected in line for line in told(tmp_path, **changes))


def test_a_mask_that_is_not_there_is_told(tmp_path):
    path = write(tmp_path)
    (tmp_path / "head.mrc").unlink()
    with pytest.raises(BlushError, match=r"bodies row 2, rlnBodyMaskName: mask does not exist \(found head\.mrc\)"):
        read_bodies(path, PIXEL_ANGST)


def test_another_table_is_refused(tmp_path):
    path = tmp_path / "model.star"
    path.write_text("data_a\n\nloop_\n_rlnA\n1\n\ndata_b\n\nloop_\n_rlnB\n1\n")
    with pytest.raises(BlushError, match="has no table, or several, with rlnBodyMaskName"):
        read_bodies(path, PIXEL_ANGST)


def test_what_is_written_is_read_again(tmp_path):
    (tmp_path / "masks").mkdir()
    for name in ("core", "head", "belt"):
        (tmp_path / f"masks/{name}.mrc").write_bytes(b"")
    bodies = (
        Body(name="core", mask=tmp_path / "masks/core.mrc", sigma_rotation_deg=8, sigma_offset_angst=2.5),
        Body(name="head", mask=tmp_path / "masks/head.mrc", hinge_with="core", sigma_rotation_deg=15),
        Body(name="belt", mask=tmp_path / "masks/belt.mrc", refine=False),
    )
    write_bodies(tmp_path / "bodies.star", bodies)
    again, warnings = read_bodies(tmp_path / "bodies.star", PIXEL_ANGST)
    assert [body.model_dump(exclude={"hinge_with"}) for body in again] == [
        body.model_dump(exclude={"hinge_with"}) for body in bodies
    ]
    assert warnings == []
    table = read_star(tmp_path / "bodies.star")["bodies"]
    assert list(table["rlnBodyMaskName"]) == ["masks/core.mrc", "masks/head.mrc", "masks/belt.mrc"]
    np.testing.assert_array_equal(table["rlnBodyRotateRelativeTo"], [2, 1, 1])  # RELION 3.1.3 stops at a 0
    np.testing.assert_array_equal(table["rlnBodySigmaAngles"], [8, 15, 0])


def test_bodies_without_any_hinge_are_written_without_the_column(tmp_path):
    for name in ("core", "head"):
        (tmp_path / f"{name}.mrc").write_bytes(b"")
    bodies = tuple(Body(name=name, mask=tmp_path / f"{name}.mrc") for name in ("core", "head"))
    write_bodies(tmp_path / "bodies.star", bodies)
    assert "rlnBodyRotateRelativeTo" not in read_star(tmp_path / "bodies.star")["bodies"]
    assert read_bodies(tmp_path / "bodies.star", PIXEL_ANGST) == (bodies, [])
