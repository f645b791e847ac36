"""Sets of a molecule in bodies: images are those of atoms that were moved as the truth says."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from small_models import chain_positions, digest, write_model
from typer.testing import CliRunner

from blush.cli.main import app
from blush.errors import BlushError
from blush.geometry.bodies import body_axis, body_frame, origin_from_relion, residual_rotation
from blush.geometry.rotation import matrix_from_euler
from blush.io.bodies import read_bodies
from blush.io.mrc import read_volume
from blush.io.particles import read_particles
from blush.io.star import read_star
from blush.simulate.acquisition import draw_acquisition
from blush.simulate.atoms import Atoms, read_unit
from blush.simulate.bodies import build_bodies
from blush.simulate.body_motions import draw_motions
from blush.simulate.body_set import BodyImages
from blush.simulate.images import clean_images
from blush.simulate.particle import build_particle_of
from blush.simulate.particle_set import simulate
from blush.simulate.settings import SimulateConfig, load_settings
from blush.simulate.slices import Slicer

ROOT = Path(__file__).parents[2]
HINGE = {"chains": ["A"], "residues": [[1, 4]]}
TURN = {"motion": "turn", "through": HINGE, "width_deg": 8}
BODIES = [
    {"name": "base"},
    {"name": "arm", "select": {"chains": ["A"]}, "motions": [TURN, {"motion": "shift", "width_angst": 1.5}]},
    {
        "name": "hand",
        "select": {"chains": ["C"]},
        "rides_on": "arm",
        "motions": [
            {"motion": "turn", "through": [4, 3, 2], "axis": [0, 0, 2], "spread": "bimodal", "separation_deg": 30,
             "width_deg": 1, "first_share": 0.3}
        ],
    },
]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Chains A, B and C of 30, 30 and 12 atoms, some 25 Å apart."""
    shifts = {"A": (0, 0, 0), "B": (-22, -14, 5), "C": (12, -20, -14)}
    chains = {
        name: chain_positions(seed, 12 if name == "C" else 30) * 0.6 + np.array(shift)
        for seed, (name, shift) in enumerate(shifts.items())
    }
    return write_model(tmp_path_factory.mktemp("model") / "model.pdb.gz", chains)


def settings(model: Path, output: Path, **changes) -> SimulateConfig:
    content = {
        "specimen": {"model": model, "bfactor_angst2": 120, "solvent_density": 0},
        "bodies": BODIES,
        "imaging": {"n_particles": 40, "box_px": 32, "pixel_size_angst": 3.5, "particles_per_micrograph": 15},
        "noise": {"snr": 5},
        "output": output,
    }
    return SimulateConfig.model_validate(content | changes)


@pytest.fixture(scope="module")
def chosen(model, tmp_path_factory) -> SimulateConfig:
    return settings(model, tmp_path_factory.mktemp("bodies"))


@pytest.fixture(scope="module")
def made(chosen) -> Path:
    return simulate(chosen).parent


@pytest.fixture(scope="module")
def truth(made):
    return read_star(made / "truth.star")["particles"]


def derived(made: Path):
    return json.loads((made / "simulation.json").read_text())["derived"]


def true_motion(truth, number: int):
    """(n, 3, 3) rotations and (n, 3) displacements of a body, from the table."""
    turn = np.stack([truth[f"blushBody{number}Turn{axis}"] for axis in "XYZ"], 1)
    shift = np.stack([truth[f"blushBody{number}Shift{axis}Angst"] for axis in "XYZ"], 1)
    return Rotation.from_rotvec(turn, degrees=True).as_matrix(), shift


def resting(chosen) -> tuple[Atoms, np.ndarray]:
    """Atoms of the model, and the chain of each."""
    unit = read_unit(chosen.specimen)
    position = unit.placed(unit.atoms.position_angst)
    return Atoms(unit.atoms.element, position, unit.atoms.occupancy, unit.atoms.bfactor_angst2), unit.names.chain


def test_every_image_is_that_of_atoms_moved_as_the_truth_says(chosen, made, truth):
    """Bodies are turned as densities; here atoms are turned, and their density is made anew."""
    atoms, chain = resting(chosen)
    seen = draw_acquisition(chosen)
    scale = derived(made)["grey_scale"]
    images = torch.from_numpy(read_particles(made / "particles.star")[0].images())
    for row in (0, 17, 39):
        position = atoms.position_angst.numpy().copy()
        for number, name in enumerate("BAC", 1):
            centre = np.array(derived(made)["bodies"][number - 1]["centre_angst"])
            rotation, shift = (column[row] for column in true_motion(truth, number))
            mine = chain == name
            position[mine] = (position[mine] - centre) @ rotation.T + centre + shift
        moved = Atoms(atoms.element, torch.from_numpy(position), atoms.occupancy, atoms.bfactor_angst2)
        particle = build_particle_of(moved, None, chosen)
        clean = scale * clean_images(Slicer(particle.spectrum), seen.take(slice(row, row + 1)), chosen.imaging)[0]
        bodies = build_bodies(read_unit(chosen.specimen), chosen)
        shown = BodyImages(bodies, draw_motions(read_unit(chosen.specimen), bodies, chosen), seen, chosen)
        found = scale * shown.micrograph(row // 15)[row % 15]
        assert float((found - clean).norm() / clean.norm()) < 2e-4
        # and that is what the noisy image holds
        assert float((images[row] * clean).sum() / clean.square().sum()) == pytest.approx(1, abs=0.25)


def test_bodies_at_rest_are_the_molecule(model, tmp_path):
    """Without solvent between them, densities add up."""
    still = [{"name": body["name"], "select": body.get("select")} for body in BODIES]
    few = {"imaging": settings(model, tmp_path).imaging.model_dump() | {"n_particles": 10}}
    simulate(settings(model, tmp_path / "still", bodies=still, **few))
    simulate(settings(model, tmp_path / "whole", bodies=[], **few))
    first, second = (read_particles(tmp_path / name / "particles.star")[0].images() for name in ("still", "whole"))
    np.testing.assert_allclose(first, second, atol=2e-4)
    maps = [torch.from_numpy(read_volume(tmp_path / name / "true_map.mrc")[0]) for name in ("still", "whole")]
    torch.testing.assert_close(*maps, atol=1e-5, rtol=1e-5)


def test_maps_masks_and_lists_of_bodies_belong_together(made):
    maps = [read_volume(made / f"true_map_body00{b}.mrc")[0] for b in (1, 2, 3)]
    masks = [read_volume(made / f"mask_body00{b}.mrc")[0] for b in (1, 2, 3)]
    np.testing.assert_allclose(read_volume(made / "true_map.mrc")[0], sum(maps), atol=1e-5)
    for density, mask in zip(maps, masks, strict=True):
        assert (density**2 * mask).sum() > 0.95 * (density**2).sum()
        assert mask.max() == 1
    assert np.minimum(masks[0], masks[1]).max() > 0.5
    bodies, told = read_bodies(made / "bodies.star", 3.5)
    assert told == []
    assert [body.mask.name for body in bodies] == [f"mask_body00{b}.mrc" for b in (1, 2, 3)]
    assert [body.hinge_with for body in bodies] == ["body002", "body001", "body002"]
    assert [entry["n_atoms"] for entry in derived(made)["bodies"]] == [30, 30, 12]
    assert derived(made)["bodies"][2]["mass_kda"] == 0.144  # 12 of carbon
    section = (made / "bodies.yaml").read_text()
    assert "- {name: hand, mask: mask_body003.mrc, hinge_with: arm, sigma_rotation_deg: " in section


def test_tables_of_relion_hold_the_same_motions(made, truth):
    """Orientations A R and origins o - (A c) - (A t), found again from RELION's angles and offsets."""
    blocks = read_star(made / "truth_bodies.star")
    bodies = derived(made)["bodies"]
    centre = [torch.tensor(body["centre_angst"], dtype=torch.float64) for body in bodies]
    view = matrix_from_euler(torch.from_numpy(np.stack([truth[f"rlnAngle{a}"] for a in ("Rot", "Tilt", "Psi")], 1)))
    origin = torch.from_numpy(np.stack([truth[f"rlnOrigin{a}Angst"] for a in "XY"], 1))
    assert not any(name.startswith("blush") for name in blocks["particles"])
    for number, partner in ((1, 2), (2, 1), (3, 2)):
        table = blocks[f"images_body_{number}"]
        rotation, shift = (torch.from_numpy(one) for one in true_motion(truth, number))
        frame = body_frame(body_axis(centre[number - 1], centre[partner - 1], "x"))
        euler = torch.from_numpy(np.stack([table[f"rlnAngle{a}"] for a in ("Rot", "Tilt", "Psi")], 1))
        torch.testing.assert_close(residual_rotation(euler, frame), rotation, atol=1e-6, rtol=0)
        offset = torch.from_numpy(np.stack([table[f"rlnOrigin{a}Angst"] for a in "XY"], 1))
        found = origin_from_relion(view, origin, offset, centre[number - 1], 3.5)
        seen = torch.einsum("nij,nj->ni", view, centre[number - 1] + shift)[:, :2]
        torch.testing.assert_close(found, origin - seen, atol=1e-4, rtol=0)
        assert (offset + torch.einsum("nij,nj->ni", view, shift)[:, :2]).abs().max() <= 1.75 + 1e-4  # half a pixel


def drawn(model: Path, motions: list, count: int = 4000, bodies: list | None = None):
    """Truth of motions of chain A against the rest, without images."""
    listed = bodies or [{"name": "base"}, {"name": "arm", "select": {"chains": ["A"]}, "motions": motions}]
    imaging = {"n_particles": count, "box_px": 48, "pixel_size_angst": 3.5, "particles_per_micrograph": 1000}
    one = settings(model, Path("none"), bodies=listed, imaging=imaging)
    unit = read_unit(one.specimen)
    made = build_bodies(unit, one)
    return made, draw_motions(unit, made, one)


def turns_deg(moved, number: int = 1) -> np.ndarray:
    return Rotation.from_matrix(moved.rotation[number].numpy()).as_rotvec(degrees=True)


def test_a_normal_turn_is_as_wide_about_every_axis(model):
    _, moved = drawn(model, [{"motion": "turn", "through": [0, 0, 0], "width_deg": 6}])
    turn = turns_deg(moved)
    np.testing.assert_allclose(turn.std(0), 6, rtol=0.05)
    np.testing.assert_allclose(turn.mean(0), 0, atol=0.4)
    assert abs(np.corrcoef(turn.T) - np.eye(3)).max() < 0.06
    assert not moved.mode.any()
    assert torch.equal(moved.rotation[0], torch.eye(3, dtype=torch.float64).expand(4000, 3, 3))
    assert float(moved.displacement_angst[0].abs().max()) < 1e-12


def test_uniform_and_bimodal_motions_have_their_ends_and_shares(model):
    axis = np.array([2, 1, -2]) / 3
    _, moved = drawn(model, [TURN | {"axis": [2, 1, -2], "spread": "uniform", "width_deg": 12}])
    turn = turns_deg(moved)
    assert abs(turn - np.outer(turn @ axis, axis)).max() < 1e-9
    assert abs(turn @ axis).max() < 12
    np.testing.assert_allclose((turn @ axis).std(), 12 / 3**0.5, rtol=0.03)
    bimodal = {"spread": "bimodal", "separation_angst": 9, "width_angst": 1, "first_share": 0.25}
    _, moved = drawn(model, [{"motion": "shift", "axis": [2, 1, -2]} | bimodal])
    along, mode = moved.displacement_angst[1].numpy() @ axis, moved.mode[1].numpy()
    assert set(mode) == {1, 2}
    np.testing.assert_allclose((mode == 1).mean(), 0.25, atol=0.03)
    for number, middle in ((1, -4.5), (2, 4.5)):
        np.testing.assert_allclose(along[mode == number].mean(), middle, atol=0.12)
        np.testing.assert_allclose(along[mode == number].std(), 1, rtol=0.06)


def test_a_hinge_stays_and_a_body_that_rides_goes_along(model):
    """The hinge of the arm is a point that both bodies leave in place; the hand moves with the arm."""
    hand = {"name": "hand", "select": {"chains": ["C"]}, "rides_on": "arm", "motions": [
        {"motion": "turn", "through": [5, -6, 3], "axis": [1, 0, 0], "width_deg": 10}]}  # fmt: skip
    listed = [{"name": "base"}, {"name": "arm", "select": {"chains": ["A"]}, "motions": [TURN]}, hand]
    made, moved = drawn(model, [], 50, listed)
    unit = read_unit(settings(model, Path("none")).specimen)
    hinge = unit.placed(unit.atoms.position_angst)[(unit.names.chain == "A") & (unit.names.residue <= 4)].mean(0)

    def placed(number, point):
        centre = made[number].centre_angst
        return moved.rotation[number] @ (point - centre) + centre + moved.displacement_angst[number]

    assert torch.allclose(placed(1, hinge), hinge.expand(50, 3), atol=1e-9)
    # on the axis of its own turn the hand goes where the arm goes
    for along in (0.0, 7.0):
        point = torch.tensor([5 + along, -6, 3], dtype=torch.float64)
        assert torch.allclose(placed(2, point), placed(1, point), atol=1e-9)
    assert not torch.allclose(placed(2, hinge), placed(1, hinge), atol=0.1)


def test_without_a_point_the_hinge_is_where_bodies_touch(tmp_path):
    first = np.array([[3.0 * k, 0, 0] for k in range(10)])
    second = np.array([[30.0 + 3 * k, 1, 0] for k in range(10)])
    path = write_model(tmp_path / "m.pdb.gz", {"A": first, "B": second}, water=False)
    listed = [{"name": "base"}, {"name": "arm", "select": {"chains": ["A"]}, "motions": [
        {"motion": "turn", "width_deg": 20}]}]  # fmt: skip
    made, moved = drawn(path, [], 20, listed)
    centre = made[1].centre_angst
    middle = np.concatenate([first, second]).mean(0)
    hinge = torch.from_numpy(first[9] - middle)  # 3.2 Å from the other chain, the next atom 6.1 Å
    placed = moved.rotation[1] @ (hinge - centre) + centre + moved.displacement_angst[1]
    assert torch.allclose(placed, hinge.expand(20, 3), atol=0.01)


def test_the_same_settings_give_the_same_bytes_and_fewer_images_the_beginning(chosen, made, model, tmp_path):
    simulate(settings(model, tmp_path / "again"))
    assert digest(tmp_path / "again") == digest(made)
    few = chosen.imaging.model_dump() | {"n_particles": 20}
    simulate(settings(model, tmp_path / "few", imaging=few))
    tables = [read_star(folder / "truth.star")["particles"] for folder in (made, tmp_path / "few")]
    assert all(np.array_equal(tables[0][name][:20], column) for name, column in tables[1].items())


def second(name: str = "b", **more) -> list[dict]:
    """A body of the rest, and another one."""
    return [{"name": "a"}, {"name": name} | more]


def moving(**motion) -> list[dict]:
    return second(select={"chains": ["A"]}, motions=[motion])


@pytest.mark.parametrize(
    ("bodies", "message"),
    [
        ([{"name": "a"}], "body a is the only one"),
        (second("a", select={"chains": ["A"]}), "a names two bodies"),
        (second(), "a, b all select the rest"),
        (
            [{"name": "a", "rides_on": "b"}, *second(select={"chains": ["A"]})[1:]],
            "a rides on b, which is no body listed before",
        ),
        (moving(motion="turn", width_deg=2, spread="bimodal"), "spread: bimodal has no axis"),
        (moving(motion="turn", width_deg=2, separation_deg=3), "separation belongs to spread: bimodal"),
        (moving(motion="turn", width_angst=2), "is no setting"),
        (moving(motion="shift", width_angst=2, axis=[0, 0, 0]), "points nowhere"),
    ],
)
def test_settings_that_make_no_whole_are_refused(tmp_path, bodies, message):
    (tmp_path / "wrong.yaml").write_text(json.dumps({"bodies": bodies}))
    with pytest.raises(BlushError, match=message):
        load_settings(tmp_path / "wrong.yaml")


def test_mixtures_and_micelles_are_refused(tmp_path):
    bodies = [{"name": "a"}, {"name": "b", "select": {"chains": ["A"]}}]
    (tmp_path / "wrong.yaml").write_text(json.dumps({"bodies": bodies, "junk": {"noise": 0.1}}))
    with pytest.raises(BlushError, match="exclude each other"):
        load_settings(tmp_path / "wrong.yaml")
    (tmp_path / "wrong.yaml").write_text(json.dumps({"bodies": bodies, "specimen": {"belt": {"center_z_angst": 0}}}))
    with pytest.raises(BlushError, match="bodies have no micelle"):
        load_settings(tmp_path / "wrong.yaml")


@pytest.mark.parametrize(
    ("bodies", "message"),
    [
        ([{"name": "a", "select": {"chains": ["C"]}}, *second(select={"chains": ["B"]})[1:]], "atoms in no body"),
        (second(select={"chains": ["Z"]}), r"body b: the model has chains \['A', 'B', 'C'\]"),
        (second(select={"chains": ["A", "B", "C"]}), "is to have the rest, and none is left"),
        (
            [*second(select={"chains": ["A"]}), {"name": "c", "select": {"residues": [[1, 2]]}}],
            r"body c: selects atoms that body b has already \(found 2 atoms, the first in chain A, residue 1\)",
        ),
        (moving(motion="shift", width_angst=40), r"body b reaches \d+ Å from the centre of a box of 112 Å; raise"),
        (moving(motion="turn", width_deg=4, through={"chains": ["Q"]}), "hinge of body b: the model has chains"),
        (moving(motion="turn", width_deg=4, axis=[{"chains": ["A"]}] * 2), "both ends of the axis are one point"),
    ],
)
def test_bodies_that_the_model_does_not_allow_are_refused(model, tmp_path, bodies, message):
    with pytest.raises(BlushError, match=message):
        simulate(settings(model, tmp_path, bodies=bodies))


def test_the_bodies_of_the_benchmarks_are_valid():
    """What they need of models is not here; their settings are."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from moving import MOVING
    finally:
        sys.path.pop(0)
    assert len(MOVING) >= 7
    for name, content in MOVING.items():
        assert name.startswith("bodies_")
        assert len(SimulateConfig.model_validate(content).bodies) in (2, 3)


def test_the_shipped_bodies_work(tmp_path):
    command = ["simulate", str(ROOT / "config/simulate_bodies.yaml"), "--out", str(tmp_path), "--particles", "10"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    lower, upper = derived(tmp_path)["bodies"]
    assert lower["mass_kda"] == upper["mass_kda"] > 200
    assert upper["centre_angst"][2] > 10
