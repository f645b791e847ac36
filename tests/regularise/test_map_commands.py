"""`blush denoise` and `blush lafter`, as a user types them."""

import json

import numpy as np
import pytest
import torch
from problem import blobs
from typer.testing import CliRunner

from blush.cli.main import app
from blush.config.regulariser import RegulariserSettings
from blush.errors import BlushError
from blush.fourier.fsc import power_spectrum
from blush.io.mrc import read_volume, write_volume
from blush.regularise.select import MAKERS

BOX, PIXEL_ANGST = 32, 3.0


@pytest.fixture
def halves(tmp_path):
    paths, draw = [], torch.Generator().manual_seed(1)
    for half in (1, 2):
        volume = blobs(box=BOX, count=16) + 0.15 * torch.randn(BOX, BOX, BOX, generator=draw, dtype=torch.float64)
        paths.append(tmp_path / f"half{half}_unfil.mrc")
        write_volume(paths[-1], volume.numpy(), PIXEL_ANGST)
    return paths


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.parametrize("method", ["nonuniform", "sidesplitter", "wiener", "lowpass", "none", "red"])
def test_a_method_writes_both_references_and_the_record_of_the_driver(halves, tmp_path, method):
    out = tmp_path / method
    changes = ("--set", "red.denoiser=nonuniform") if method == "red" else ()
    result = run("denoise", *halves, "--method", method, "--diameter", 60, "-o", out, *changes)
    assert "half-maps: FSC 0.143 at" in result.stdout
    record = json.loads((out / "diagnostics.json").read_text())
    assert record["name"] == method
    assert len(record["fsc_in"]) == BOX // 2 + 1
    for half in (1, 2):
        volume, pixel = read_volume(out / f"half{half}.mrc")
        assert volume.shape == (BOX,) * 3
        assert pixel == pytest.approx(PIXEL_ANGST)
        given = torch.from_numpy(read_volume(halves[half - 1])[0])
        kept = power_spectrum(torch.from_numpy(volume)) / power_spectrum(given)
        assert 0.7 < float(kept[1:4].mean()) < 1.2
        if record["trailing_shell"] is not None:
            assert float(kept[record["trailing_shell"] + 2 :].max()) < 1e-6


def test_settings_and_trailing_are_those_asked_for(halves, tmp_path):
    run("denoise", *halves, "--method", "nonuniform", "-o", tmp_path / "a")
    run("denoise", *halves, "--method", "nonuniform", "-o", tmp_path / "b", "--set", "nonuniform.awf=3")
    run("denoise", *halves, "--method", "nonuniform", "-o", tmp_path / "c", "--no-trailing")
    first, second, third = (read_volume(tmp_path / name / "half1.mrc")[0] for name in "abc")
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, third)
    assert json.loads((tmp_path / "c/diagnostics.json").read_text())["trailing_shell"] is None


def test_the_same_command_writes_the_same_bytes(halves, tmp_path):
    for name in "ab":
        run("denoise", *halves, "--method", "nonuniform", "-o", tmp_path / name)
    for file in ("half1.mrc", "half2.mrc", "diagnostics.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "magic"), "(?s)has 1 mistake.*name: has to be"),
        (("--method", "cref"), "name: cref needs regulariser.cref.weights"),
        (("--set", "awf=1.5"), r"is not SECTION.NAME=VALUE \(found awf=1.5\)"),
        (("--set", "nonuniform.awf=1"), "nonuniform.awf: has to be at least 1.5"),
        (("--symmetry", "Q7"), "the symmetry cannot be used"),
        (("--device", "nonsense"), "the device cannot be used"),
        (("--pixel-size", "3", "--mask", "missing.mrc"), "missing.mrc: file does not exist"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(halves, tmp_path, options, message):
    with pytest.raises(BlushError, match=message):
        run("denoise", *halves, "-o", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_every_regulariser_can_be_asked_for():
    assert set(MAKERS) == set(RegulariserSettings.model_json_schema()["properties"]["name"]["enum"])


def test_lafter_writes_an_upsampled_map_and_its_check(halves, tmp_path):
    result = run("lafter", *halves, "--diameter", 60, "-o", tmp_path / "lafter.mrc")
    volume, pixel = read_volume(tmp_path / "lafter.mrc")
    assert volume.shape == (2 * BOX,) * 3
    assert pixel == pytest.approx(PIXEL_ANGST / 2)
    assert np.isfinite(volume).all()
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["shell", "resolution", "Cref", "FSC", "with", "the", "sum"]
    assert len([line for line in lines if " Å  " in line]) == BOX // 2
    assert "Cref on average" in result.stdout


def test_lafter_refuses_a_mask_without_a_core(halves, tmp_path):
    write_volume(tmp_path / "mask.mrc", np.full((BOX,) * 3, 0.6), PIXEL_ANGST)
    with pytest.raises(BlushError, match=r"(?s)cannot be filtered.*no voxel of the mask exceeds 0.99"):
        run("lafter", *halves, "--mask", tmp_path / "mask.mrc", "-o", tmp_path / "lafter.mrc")
    assert not (tmp_path / "lafter.mrc").exists()
