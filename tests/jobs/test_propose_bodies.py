"""`blush propose-bodies`, from a map and a model to masks, lists of bodies and a page."""

import json
import sys
from pathlib import Path

import gemmi
import numpy as np
import pytest
from typer.testing import CliRunner

from blush.cli.main import app, main
from blush.config import load_config
from blush.io.bodies import read_bodies
from blush.io.mrc import Placement, read_volume, write_volume

sys.path.insert(0, str(Path(__file__).parents[1] / "bodies"))
from phantoms import BOX, PIXEL, TWO, atoms, density, overlap, regions

ORIGIN = (17.0, -40.0, 3.5)


def write_model(path: Path, positions: np.ndarray, domain: np.ndarray) -> Path:
    """Atoms of chains A and B, of which B takes in the last residues of A's domain; in the frame of the map."""
    structure, model = gemmi.Structure(), gemmi.Model(1)
    in_frame = positions + PIXEL * (BOX // 2) + np.array(ORIGIN)
    first = np.flatnonzero(domain == 0)
    chains = {"A": first[:-40], "B": np.concatenate([first[-40:], np.flatnonzero(domain == 1)])}
    for name, rows in chains.items():
        chain = gemmi.Chain(name)
        for number, row in enumerate(rows, 1):
            residue, atom = gemmi.Residue(), gemmi.Atom()
            residue.name, residue.seqid = "ALA", gemmi.SeqId(number, " ")
            atom.name, atom.element, atom.pos = "CA", gemmi.Element("C"), gemmi.Position(*in_frame[row])
            residue.add_atom(atom)
            chain.add_residue(residue)
        model.add_chain(chain)
    structure.add_model(model)
    structure.make_mmcif_document().write_file(str(path))
    return path


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """A map with an origin of its own, and its model."""
    folder = tmp_path_factory.mktemp("phantom")
    positions, domain = atoms(TWO)
    write_volume(folder / "map.mrc", density(positions, 0.1), PIXEL, Placement(origin_angst=ORIGIN))
    write_model(folder / "model.cif", positions, domain)
    return folder, positions, domain


def run(*words) -> str:
    done = CliRunner().invoke(app, ["propose-bodies", *map(str, words)])
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


def refused(monkeypatch, capsys, *words) -> str:
    monkeypatch.setattr(sys, "argv", ["blush", "propose-bodies", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    return capsys.readouterr().err


def masks(folder: Path, names=("body1", "body2")) -> np.ndarray:
    return np.stack([read_volume(folder / f"mask_{name}.mrc")[0] for name in names])


@pytest.mark.parametrize("with_model", [False, True])
def test_domains_are_proposed_and_the_lists_can_be_used(phantom, tmp_path, with_model):
    folder, positions, domain = phantom
    options = ["--model", folder / "model.cif"] if with_model else []
    said = run(folder / "map.mrc", "--output", tmp_path, "--diameter", "220", *options)
    assert "body1: about" in said
    assert "of the slow modes" in said
    assert min(overlap(masks(tmp_path) > 0.5, regions(positions, domain, 19.0))) > 0.78
    bodies, told = read_bodies(tmp_path / "bodies.star", PIXEL)
    assert [(body.name, body.hinge_with) for body in bodies] == [("body1", "body2"), ("body2", "body1")]
    assert told == []
    text = "name: x\njob: multibody\nparticles: p.star\nreference: r.mrc\nparticle_diameter_angst: 200\n"
    (tmp_path / "run.yaml").write_text(text + (tmp_path / "bodies.yaml").read_text())
    assert load_config(tmp_path / "run.yaml").multibody.bodies == bodies
    found = json.loads((tmp_path / "bodies.json").read_text())
    assert found["stands_out"]
    if with_model:
        base = found["bodies"][0]["residues"]
        assert base.startswith("A, B:1-")
        assert abs(int(base.split("-")[1].split(",")[0]) - 40) < 8
    page = (tmp_path / "bodies.html").read_text()
    assert page.count("data:image/png") == 6
    assert "hinge_with: body1" in page


def test_bodies_are_those_that_are_named(phantom, tmp_path):
    folder, positions, domain = phantom
    named = ["--body", "arm=B:41-5000", "--body", "base=*"]
    run(folder / "map.mrc", "--output", tmp_path, "--model", folder / "model.cif", *named)
    base, arm = masks(tmp_path, ("base", "arm"))
    assert min(overlap(np.stack([base, arm]) > 0.5, regions(positions, domain, 19.0))) > 0.78
    entries = json.loads((tmp_path / "bodies.json").read_text())["bodies"]
    assert [entry["name"] for entry in entries] == ["base", "arm"]  # the largest first
    assert entries[0]["residues"] == "A, B:1-40"
    assert entries[0]["centre_angst"][0] < -20 < 20 < entries[1]["centre_angst"][0]


def test_atoms_in_no_body_are_told(phantom, tmp_path):
    folder, *_ = phantom
    said = run(
        folder / "map.mrc", "--output", tmp_path, "--model", folder / "model.cif", "--body", "a=A", "--body", "b=B:1-40"
    )
    assert "part of the consensus map is in no mask" in said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--body", "a=A"], "bodies are named by parts of a model, and none is given; add --model"),
        (["--body", "a=A", "--count", "2"], "--body and --count exclude each other"),
        (["--body", "a", "--model", "MODEL"], "--body: is no body (found a); write NAME=CHAINS as arm=A,B:1-225"),
        (["--body", "a=A:x-3", "--model", "MODEL"], "--body: is no body (found a=A:x-3)"),
        (["--body", "a=Z", "--body", "b=*", "--model", "MODEL"], "body a: the model has chains ['A', 'B']"),
        (["--body", "a=A", "--body", "b=A:3-9", "--model", "MODEL"], "body b: has atoms that body a has already"),
        (["--body", "a=A,B", "--body", "b=*", "--model", "MODEL"], "body b: is to have the rest, and none is left"),
        (["--model", "none.cif"], "file does not exist"),
    ],
)
def test_what_cannot_be_used_is_told(phantom, tmp_path, monkeypatch, capsys, options, expected):
    folder, *_ = phantom
    words = [str(folder / "model.cif") if word == "MODEL" else word for word in options]
    assert expected in refused(monkeypatch, capsys, folder / "map.mrc", "--output", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_local_resolution_of_another_box_is_refused(phantom, tmp_path, monkeypatch, capsys):
    write_volume(tmp_path / "local.mrc", np.full((32, 32, 32), 7.0), PIXEL)
    words = [phantom[0] / "map.mrc", "--output", tmp_path / "out", "--local-resolution", tmp_path / "local.mrc"]
    said = refused(monkeypatch, capsys, *words)
    assert "local.mrc: has another box than the map (found 32 x 32 x 32); give that of this map" in said


def test_a_model_beside_the_map_is_refused(phantom, tmp_path, monkeypatch, capsys):
    _, positions, domain = phantom
    write_model(tmp_path / "far.cif", positions + np.array([90.0, 0, 0]), domain)
    words = [phantom[0] / "map.mrc", "--output", tmp_path / "out", "--model", tmp_path / "far.cif"]
    said = refused(monkeypatch, capsys, *words)
    assert "far.cif: lies beside the density of the map (found" in said
    assert "fit it into the map, as ChimeraX does (fitmap)" in said
