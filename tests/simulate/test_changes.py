"""States of a model: removed, turned and partly present atoms."""

import numpy as np
import pytest
import torch
from small_models import chain_positions, write_model

from blush.errors import BlushError
from blush.geometry.symmetry import operators
from blush.simulate.atoms import Atoms, read_atoms, read_unit
from blush.simulate.changes import changed, whole
from blush.simulate.mixture_settings import Occupancy, Remove, Rotate
from blush.simulate.particle import build_structure
from blush.simulate.settings import SimulateConfig, Specimen


def remove(**select) -> Remove:
    return Remove.model_validate({"change": "remove", "select": select})


def rotate(select: dict, **content) -> Rotate:
    return Rotate.model_validate({"change": "rotate", "select": select, **content})


def occupancy(scale: float, **select) -> Occupancy:
    return Occupancy.model_validate({"change": "occupancy", "select": select, "scale": scale})


@pytest.fixture
def specimen(tmp_path) -> Specimen:
    """Chains A of 30 and B of 10 atoms."""
    path = write_model(tmp_path / "model.pdb.gz", {"A": chain_positions(1), "B": chain_positions(2, 10)})
    return Specimen(model=path, bfactor_angst2=100)


def in_c4(specimen: Specimen) -> Specimen:
    return specimen.model_copy(update={"symmetry": "C4", "copies": "expand"})


def test_without_a_change_the_structure_is_the_model(specimen):
    for one in (specimen, in_c4(specimen)):
        made, atoms = changed(read_unit(one), (), "x"), read_atoms(one)
        for name in ("element", "position_angst", "occupancy", "bfactor_angst2"):
            assert torch.equal(getattr(made.atoms, name), getattr(atoms, name))
        assert len(made.touched) == 0


def test_what_is_removed_is_gone_and_the_rest_stays_where_it_was(specimen):
    made, atoms = changed(read_unit(specimen), [remove(chains=["B"])], "x"), read_atoms(specimen)
    assert torch.equal(made.atoms.position_angst, atoms.position_angst[:30])
    assert torch.equal(made.touched.position_angst, atoms.position_angst[30:])


def test_residues_and_names_narrow_a_selection(specimen):
    unit = read_unit(specimen)
    part = changed(unit, [remove(chains=["A"], residues=[[3, 5], [30, 40]], residue_names=["ALA"])], "x")
    gone = [2, 3, 4, 29]
    kept = [k for k in range(40) if k not in gone]
    assert torch.equal(part.atoms.position_angst, read_atoms(specimen).position_angst[kept])


def test_one_copy_alone_is_changed(specimen):
    made = changed(read_unit(in_c4(specimen)), [remove(chains=["A"], copies=[2])], "x")
    every = read_atoms(in_c4(specimen)).position_angst.view(4, 40, 3)
    expected = torch.cat([every[0], every[1, 30:], every[2], every[3]])
    assert torch.equal(made.atoms.position_angst, expected)


def test_a_turn_is_right_handed_about_its_axis(specimen):
    """A quarter turn about z through (1, 2, any): (x, y) -> (1 - (y - 2), 2 + (x - 1))."""
    turn = rotate({"chains": ["B"]}, axis=[0, 0, 2], through=[1, 2, 50], angle_deg=90)
    made, atoms = changed(read_unit(specimen), [turn], "x").atoms, read_atoms(specimen)
    x, y, z = atoms.position_angst[30:].unbind(1)
    assert torch.equal(made.position_angst[:30], atoms.position_angst[:30])
    torch.testing.assert_close(made.position_angst[30:], torch.stack([3 - y, 1 + x, z], 1), atol=1e-12, rtol=0)


def test_an_axis_through_two_selections_leaves_their_middles(specimen):
    ends = [{"chains": ["A"], "residues": [[1, 1]]}, {"chains": ["A"], "residues": [[9, 9]]}]
    made, atoms = changed(read_unit(specimen), [rotate({}, axis=ends, angle_deg=50)], "x").atoms, read_atoms(specimen)
    moved = (made.position_angst - atoms.position_angst).norm(dim=1)
    assert moved[[0, 8]].max() < 1e-12
    assert moved[1:8].min() > 0.1
    torch.testing.assert_close(torch.pdist(made.position_angst), torch.pdist(atoms.position_angst))


def test_copies_turn_about_their_own_image_of_the_axis(specimen):
    """The second copy is the first one, turned by symmetry after its hinge, and the z offset does not matter."""
    turn = rotate({"chains": ["B"]}, axis=[1, 0, 1], through=[20, 10, 0], angle_deg=30)
    one, _ = changed(read_unit(in_c4(specimen)), [turn], "x").atoms.position_angst.view(4, 40, 3), None
    torch.testing.assert_close(one[1], one[0] @ operators("C4")[1].T)
    alone = changed(
        read_unit(in_c4(specimen)),
        [turn.model_copy(update={"select": turn.select.model_copy(update={"copies": (3,)})})],
        "x",
    ).atoms.position_angst.view(4, 40, 3)
    torch.testing.assert_close(alone[2], one[2])
    assert torch.equal(alone[0], read_atoms(in_c4(specimen)).position_angst.view(4, 40, 3)[0])
    direction = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    along = (one[0] - alone[0]) @ direction
    assert along.abs().max() < 1e-12  # nothing moves along the axis


def test_changes_follow_each_other(specimen):
    turn = rotate({"chains": ["B"]}, axis=[0, 0, 1], through=[0, 0, 0], angle_deg=45)
    twice = changed(read_unit(specimen), [turn, turn], "x")
    once = changed(read_unit(specimen), [turn.model_copy(update={"angle_deg": 90.0})], "x")
    torch.testing.assert_close(twice.atoms.position_angst, once.atoms.position_angst)
    assert len(twice.touched) == 20  # where B was, and where it is


def test_a_quarter_occupancy_is_a_quarter_of_the_particles(specimen):
    """Density and solvent both: the mean over particles with and without the chain."""
    settings = SimulateConfig.model_validate(
        {"specimen": specimen.model_dump(), "imaging": {"box_px": 32, "pixel_size_angst": 4.0}}
    )
    unit = read_unit(specimen)
    kinds = ([], [remove(chains=["B"])], [occupancy(0.25, chains=["B"])])
    full, without, part = (build_structure(changed(unit, kind, "x"), None, settings).volume() for kind in kinds)
    expected = 0.25 * full + 0.75 * without
    assert (full - without).norm() > 0.1 * full.norm()
    assert (part - expected).norm() < 1e-3 * (full - without).norm()


def test_align_turns_a_model_into_the_frame_of_its_symmetry_and_keeps_it_as_it_is(tmp_path):
    unit = chain_positions(5)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    turn = turn * torch.linalg.det(turn)
    copies = [(unit @ rotation.numpy().T) @ turn.numpy().T for rotation in operators("C4")]
    path = write_model(tmp_path / "ring.pdb.gz", dict(zip("ABCD", copies, strict=True)))
    aligned, averaged = (read_atoms(Specimen(model=path, symmetry="C4", copies=how)) for how in ("align", "average"))
    assert len(averaged) == 4 * len(aligned) == 480
    torch.testing.assert_close(aligned.position_angst, averaged.position_angst[:120])
    from scipy.spatial import cKDTree

    places = aligned.position_angst.numpy()
    assert cKDTree(places).query(places @ operators("C4")[1].numpy().T)[0].max() < 0.01


def test_a_frame_of_another_model_keeps_superposed_models_superposed(tmp_path):
    both = {"A": chain_positions(1), "B": chain_positions(2, 10)}
    first = read_unit(Specimen(model=write_model(tmp_path / "ab.pdb.gz", both)))
    alone = Specimen(model=write_model(tmp_path / "b.pdb.gz", {"B": both["B"]}))
    kept = changed(read_unit(alone, first.frame), (), "x").atoms.position_angst
    torch.testing.assert_close(kept, changed(first, (), "x").atoms.position_angst[30:])
    assert read_atoms(alone).position_angst.mean(0).norm() < 1e-9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove(chains=["A", "Q"]), r"species x, change 1: the model has chains \['A', 'B'\] \(found Q\)"),
        (remove(chains=["B"], residues=[[11, 99]]), "change 1: selects no atom"),
        (remove(residue_names=["ATP"]), r"selects no atom \(found residue_names: \('ATP',\)\)"),
        (remove(chains=["A"], copies=[2]), "symmetry puts the model into 1 places"),
        (remove(), "no atom is left"),
        (rotate({}, axis=[{"chains": ["A"]}, {"chains": ["A"]}], angle_deg=5), "both ends of the axis are one point"),
        (rotate({}, axis=[1, 0, 0], through={"chains": ["C"]}, angle_deg=5), "the model has chains"),
    ],
)
def test_changes_that_cannot_be_are_refused(specimen, change, message):
    with pytest.raises(BlushError, match=message):
        changed(read_unit(specimen), [change], "x")


def test_an_unchanged_structure_touches_nothing():
    atoms = Atoms(torch.tensor([6, 7]), torch.zeros(2, 3).double(), torch.ones(2).double(), torch.ones(2).double())
    assert np.array_equal(whole(atoms).presence, [1, 1])
    assert len(whole(atoms).touched) == 0
