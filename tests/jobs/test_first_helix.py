"""`blush helix-start`: a cylinder, units of a model, the section of class averages; what cannot be made is told."""

import gemmi
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from blush.cli.main import app
from blush.errors import BlushError
from blush.io.mrc import read_volume, write_stack

SIZE = ["--box", "48", "--pixel-size", "3"]


def written(path, *options: object) -> np.ndarray:
    told = CliRunner().invoke(app, ["helix-start", str(path), *SIZE, *map(str, options)])
    if told.exception is not None:
        raise told.exception
    assert told.stdout.splitlines()[-1] == str(path)
    return read_volume(path)[0]


def test_without_more_it_is_a_cylinder(tmp_path):
    volume = written(tmp_path / "start.mrc", "--diameter", 60, "--inner-diameter", 30)
    assert volume[24, 24, 24 + 8] == 1
    assert volume[24 + 15, 24 - 8, 24] == 1
    assert volume[24, 24, 24] < 1
    assert volume[24, 24, 24 + 16] == 0


@pytest.fixture
def model(tmp_path):
    """One heavy atom at (22, 4, 7) in a frame whose axis is at (10, 4)."""
    structure, chain, residue = gemmi.Structure(), gemmi.Chain("A"), gemmi.Residue()
    structure.add_model(gemmi.Model(1))
    atom = gemmi.Atom()
    atom.name, atom.element, atom.pos, atom.b_iso = "FE", gemmi.Element("Fe"), gemmi.Position(22, 4, 7), 60
    residue.name, residue.seqid = "GLY", gemmi.SeqId(1, " ")
    residue.add_atom(atom)
    chain.add_residue(residue)
    structure[0].add_chain(chain)
    structure.write_pdb(str(tmp_path / "unit.pdb"))
    return tmp_path / "unit.pdb"


def test_units_of_a_model_lie_on_the_screw(tmp_path, model):
    """12 Å from the axis, 18 Å = 6 sections apart, a quarter of a turn each: along x, y, -x."""
    options = ("--model", model, "--axis", 10, 4, "--rise", 18, "--twist", 90, "--diameter", 80)
    volume = written(tmp_path / "start.mrc", *options)
    for row, y, x in ((24, 24, 28), (30, 28, 24), (36, 24, 20), (18, 20, 24)):
        assert np.unravel_index(volume[row].argmax(), (48, 48)) == (y, x)
    assert volume[24].max() > 3 * volume[27].max()


@pytest.mark.parametrize(("hand", "sign"), [((), -1), (("--right-handed",), 1)])
def test_class_averages_make_a_map_of_their_hand(tmp_path, hand, sign):
    """Averages of a section of two unlike blobs, drawn as they are projected at tilt 90: rot grows by slope x."""
    pixel, crossover, box = 3.0, 180.0, 64
    x, y = (torch.arange(box) - box // 2) * pixel, (torch.arange(box)[:, None] - box // 2) * pixel
    averages = []
    for place in (0.0, 60.0, 150.0, 250.0):
        rot = torch.deg2rad(place + sign * 180 / crossover * x)
        image = torch.zeros(box, box)
        for radius, angle, weight in ((24.0, 0.0, 1.0), (15.0, 1.9, 2.0)):
            image += weight * torch.exp(-((y - radius * torch.sin(angle - rot)) ** 2) / (2 * 5.0**2))
        averages.append(image.numpy())
    write_stack(tmp_path / "classes.mrcs", np.stack(averages).astype(np.float32), pixel)
    options = ("--classes", tmp_path / "classes.mrcs", "--crossover", crossover, "--diameter", 84, "--resolution", 12)
    volume = written(tmp_path / "start.mrc", *options, "--shift", 3, "--beginnings", 12, *hand)
    peaks = [np.array(np.unravel_index(volume[row].argmax(), (48, 48))) - 24 for row in (20, 24, 28)]
    turns = np.unwrap([np.arctan2(*peak) for peak in peaks])
    assert np.rad2deg(np.diff(turns)) == pytest.approx([sign * 12.0] * 2, abs=12)
    assert np.sign(turns[2] - turns[0]) == sign
    assert np.hypot(*peaks[1]) == pytest.approx(5, abs=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--diameter", 200), r"does not fit \(found 200\); give .* at most the box, 144 Å"),
        (("--diameter", 60, "--classes", "x.mrcs"), "the cross-over is missing"),
        (("--diameter", 60, "--model", "x.pdb"), "rise or twist of the model is missing"),
        (("--diameter", 60, "--classes", "x.mrcs", "--model", "x.pdb"), "exclude each other"),
        (("--diameter", 60, "--classes", "x.mrcs", "--crossover", 200), r"x\.mrcs"),
    ],
)
def test_what_cannot_be_made_is_told(tmp_path, options, message):
    with pytest.raises(BlushError, match=message):
        written(tmp_path / "start.mrc", *options)


def test_averages_that_do_not_fit_are_told_at_once(tmp_path):
    write_stack(tmp_path / "classes.mrcs", np.zeros((2, 32, 32), np.float32), 3.0)
    options = ("--classes", tmp_path / "classes.mrcs", "--crossover", 200, "--diameter", 60, "--class", 3)
    with pytest.raises(BlushError, match=r"no such class \(found \[3\]\); choose from 1 to 2\n.*6\.0 Å to a quarter"):
        written(tmp_path / "start.mrc", *options, "--resolution", 4)
