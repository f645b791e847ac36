"""`blush helix-start`: a cylinder, units of a model, the section of averages or filaments; errors are told."""

from collections.abc import Sequence

import gemmi
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from blush.cli.main import app
from blush.errors import BlushError
from blush.fourier.filter import low_pass
from blush.helix.starts import turned_sections
from blush.io.mrc import read_volume, write_stack
from blush.simulate.particle_set import simulate
from blush.simulate.settings import load_settings

SIZE = ["--box", "48", "--pixel-size", "3"]


def written(path, *options: object, size: Sequence[str] = SIZE) -> np.ndarray:
    told = CliRunner().invoke(app, ["helix-start", str(path), *size, *map(str, options)])
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


@pytest.fixture(scope="module")
def amyloids(tmp_path_factory):
    """Ten filaments of two chains, half of which run against their tracks; 713 Å from one cross-over to the next."""
    out = tmp_path_factory.mktemp("amyloids")
    chain = {"beads": 24, "spacing_angst": 5, "sigma_angst": 2.5, "extent_angst": 20, "height_angst": 0}
    filaments = {"rise_angst": 4.75, "twist_deg": -1.2, "count": 10, "segments": 10, "units_per_segment": 6}
    filaments |= {"reversed": 5, "chain": chain, "radius_angst": 16}
    imaging = {"box_px": 48, "pixel_size_angst": 4.0, "defocus_min_angst": 6000, "defocus_max_angst": 16000}
    simulate(load_settings(None, {"filaments": filaments, "imaging": imaging, "noise": {"snr": 0.5}, "output": out}))
    return out


def alike(found: np.ndarray, true: np.ndarray, rows: tuple[int, ...]) -> tuple[float, ...]:
    """Correlations with the sections of the truth at `rows`, turned as the first fits best, either way up."""
    angles, best = torch.arange(0, 360, 3, dtype=torch.float64).deg2rad(), (0.0,)
    for volume in (found, np.roll(found[::-1, ::-1], (1, 1), (0, 1)).copy()):
        turned = turned_sections(torch.from_numpy(volume[list(rows)]), angles)
        correlations = np.array(
            [
                [np.corrcoef(each.numpy().ravel(), true[row].ravel())[0, 1] for each in turns]
                for row, turns in zip(rows, turned, strict=True)
            ]
        )
        best = max(best, tuple(correlations[:, correlations[0].argmax()]))
    return best


@pytest.mark.parametrize("hand", [(), ("--right-handed",)])
def test_segments_make_a_map_of_their_filament(tmp_path, amyloids, hand):
    """Filaments are left-handed; 60 Å from the middle the sections of the other hand are turned by 30 degrees."""
    options = ("--particles", amyloids / "particles.star", "--crossover", 712.5, "--diameter", 80, "--shift", 6)
    written(
        tmp_path / "start.mrc",
        *options,
        "--resolution",
        16,
        "--beginnings",
        8,
        *hand,
        size=["--box", "48", "--pixel-size", "4"],
    )
    found = read_volume(tmp_path / "start.mrc")[0]
    true = low_pass(torch.from_numpy(read_volume(amyloids / "true_map.mrc")[0]).float(), 16, 4.0).numpy()
    middle, *ends = alike(found, true, (24, 9, 39))
    assert middle > 0.7
    assert (min(ends) > 0.65) == (not hand), (middle, ends)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--diameter", 200), r"does not fit \(found 200\); give .* at most the box, 144 Å"),
        (("--diameter", 60, "--classes", "x.mrcs"), "the cross-over is missing"),
        (("--diameter", 60, "--model", "x.pdb"), "rise or twist of the model is missing"),
        (("--diameter", 60, "--classes", "x.mrcs", "--model", "x.pdb"), "--classes and --model exclude each other"),
        (("--diameter", 60, "--particles", "x.star", "--model", "x.pdb"), "--particles and --model exclude each other"),
        (("--diameter", 60, "--particles", "x.star"), "the cross-over is missing"),
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
