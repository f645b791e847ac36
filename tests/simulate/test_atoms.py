"""Reading atomic models, and finding their symmetry."""

import gzip

import gemmi
import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from small_models import chain_positions, write_model

from blush.errors import BlushError
from blush.geometry.rotation import matrix_from_euler
from blush.geometry.symmetry import operators
from blush.simulate.atoms import Atoms, read_atoms
from blush.simulate.settings import Specimen
from blush.simulate.symmetry_frame import superpose, symmetry_frame


def test_water_and_hydrogen_go_bfactors_come_into_range_and_the_mass_is_centred(tmp_path):
    path = write_model(tmp_path / "model.pdb.gz", {"A": chain_positions()})
    atoms = read_atoms(Specimen(model=path, bfactor_min_angst2=20, bfactor_max_angst2=100))
    assert atoms.element.unique().tolist() == [6]
    assert len(atoms) == 30
    assert (float(atoms.bfactor_angst2.min()), float(atoms.bfactor_angst2.max())) == (20.0, 100.0)
    assert atoms.position_angst.mean(0).abs().max() < 1e-9


def test_one_bfactor_for_all(tmp_path):
    path = write_model(tmp_path / "model.pdb.gz", {"A": chain_positions()})
    assert read_atoms(Specimen(model=path, bfactor_angst2=33)).bfactor_angst2.unique().tolist() == [33.0]


def test_chains_are_chosen_and_missing_ones_named(tmp_path):
    path = write_model(tmp_path / "model.pdb.gz", {"A": chain_positions(), "B": chain_positions(1, 12)})
    assert len(read_atoms(Specimen(model=path, chains=("B",)))) == 12
    with pytest.raises(BlushError, match=r"name some of them.*|Q"):
        read_atoms(Specimen(model=path, chains=("B", "Q")))


@pytest.mark.parametrize("wrong", ["missing.cif", "text.cif", "assembly"])
def test_unusable_models_are_refused(tmp_path, wrong):
    (tmp_path / "text.cif").write_text("no model")
    good = write_model(tmp_path / "good.pdb.gz", {"A": chain_positions()})
    specimen = Specimen(model=good, assembly="7") if wrong == "assembly" else Specimen(model=tmp_path / wrong)
    with pytest.raises(BlushError, match="cannot use an atomic model"):
        read_atoms(specimen)


@pytest.mark.parametrize("number", ["     nan", "   1e308"])
def test_coordinates_that_are_no_numbers_are_refused(tmp_path, number):
    path = tmp_path / "model.pdb"
    text = gzip.decompress(write_model(path, {"A": chain_positions()}).read_bytes()).decode()
    place = text.index("ATOM") + 30
    path.write_text(f"{text[:place]}{number}{text[place + 8 :]}")
    with pytest.raises(BlushError, match=r"model\.pdb: has coordinates.*that are no numbers.*\(found 1 atoms\)"):
        read_atoms(Specimen(model=path))


@pytest.mark.parametrize("change", [(b"ALA A", b"ALA \xa0"), (b"ALA A   2", b"ALA A    ")])
def test_names_that_are_no_text_are_refused(tmp_path, change):
    path = tmp_path / "model.pdb"
    content = gzip.decompress(write_model(path, {"A": chain_positions()}).read_bytes())
    assert change[0] in content
    path.write_bytes(content.replace(*change))
    with pytest.raises(BlushError, match=r"model\.pdb: has chains or residues whose names are no text, or residues"):
        read_atoms(Specimen(model=path))


def test_a_file_without_anything_is_refused(tmp_path):
    (tmp_path / "empty.cif").touch()
    with pytest.raises(BlushError, match=r"empty\.cif: is not a readable model"):
        read_atoms(Specimen(model=tmp_path / "empty.cif"))


@pytest.mark.parametrize("symmetry", ["C2", "C3", "C4", "D2", "D3", "D4", "T", "O", "I"])
def test_averaged_copies_have_the_symmetry_wherever_the_model_lay(tmp_path, symmetry):
    unit = torch.from_numpy(chain_positions())
    turn = matrix_from_euler(torch.tensor([31.0, 77.0, -145.0], dtype=torch.float64))
    placed = torch.einsum("ij,ojk,nk->oni", turn, operators(symmetry), unit) + torch.tensor([5.0, -3.0, 20.0])
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    path = write_model(tmp_path / "model.pdb.gz", dict(zip(letters, placed.numpy(), strict=False)))
    atoms = read_atoms(Specimen(model=path, symmetry=symmetry, copies="average"))
    assert float(atoms.occupancy.sum()) == pytest.approx(len(operators(symmetry)) * len(unit))
    # All copies of all chains lie on the copies of the first: the frame is exact, to rounding in the PDB file.
    copies = atoms.position_angst.view(len(operators(symmetry)), -1, 3)
    first = cKDTree(copies[:, : len(unit)].reshape(-1, 3).numpy())
    assert first.query(atoms.position_angst.numpy())[0].max() < 0.02


def test_a_model_without_the_symmetry_is_refused(tmp_path):
    unit = chain_positions()
    turned = unit @ np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]).T
    path = write_model(tmp_path / "model.pdb.gz", {"A": unit, "B": turned})
    with pytest.raises(BlushError, match="cannot align an atomic model"):
        read_atoms(Specimen(model=path, symmetry="C3", copies="average"))


def test_unlike_chains_have_no_frame():
    traces = [{str(i): p for i, p in enumerate(chain_positions(s))} for s in (1, 2)]
    with pytest.raises(ValueError, match="no two chains"):
        symmetry_frame(traces, operators("C2").numpy())


def test_superposition_undoes_a_rotation_and_keeps_the_hand():
    points = chain_positions()
    turn = matrix_from_euler(torch.tensor([10.0, 20.0, 30.0], dtype=torch.float64)).numpy()
    rotation, shift, rmsd = superpose(points, points @ turn.T + 4)
    np.testing.assert_allclose(rotation, turn, atol=1e-12)
    np.testing.assert_allclose(shift, 4, atol=1e-10)
    assert rmsd < 1e-10
    assert superpose(points, -points)[2] > 1  # a mirror image has no rotation


def test_demo_model_is_rubisco():
    atoms = read_atoms(Specimen(symmetry="D4", copies="expand"))
    mass = sum(gemmi.Element(int(z)).weight * int((atoms.element == z).sum()) for z in atoms.element.unique())
    assert 470e3 < mass < 490e3  # 514 kDa with its hydrogens and disordered ends
    assert isinstance(atoms, Atoms)
    assert atoms.radius_angst < 70
