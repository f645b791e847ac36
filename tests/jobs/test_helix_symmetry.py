"""`blush helix-symmetry` from files to a record, a page and an imposed map, and what it refuses."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from blush.cli.main import app
from blush.errors import BlushError
from blush.io.mrc import read_volume, write_volume

START = ["--rise", "20.5", "--twist", "36", "--diameter", "110", "--central-fraction", "0.6"]


def gaussians_on_a_screw(box: int = 40, pixel: float = 4.0) -> torch.Tensor:
    """A helix of rise 21 Å and twist 37 degrees, of two Gaussians a unit."""
    axis = (torch.arange(box) - box // 2) * pixel
    out = torch.zeros(box, box, box)
    for h in range(-9, 10):
        for radius, angle in ((35, 0), (18, 100)):
            q = np.deg2rad(angle + 37 * h)
            z, y, x = (torch.exp(-((axis - c) ** 2) / 72) for c in (21 * h, radius * np.sin(q), radius * np.cos(q)))
            out += z[:, None, None] * y[:, None] * x
    return out


@pytest.fixture
def halves(tmp_path):
    generator, volume = torch.Generator().manual_seed(1), gaussians_on_a_screw()
    paths = [tmp_path / f"half{i}.mrc" for i in (1, 2)]
    for path in paths:
        write_volume(path, (volume + 0.02 * torch.randn(volume.shape, generator=generator)).numpy(), 4.0)
    return paths


def test_a_search_tells_and_writes_what_it_found(tmp_path, halves):
    out, imposed = tmp_path / "out", tmp_path / "imposed.mrc"
    told = CliRunner().invoke(
        app, ["helix-symmetry", *map(str, halves), *START, "--out", str(out), "--imposed", str(imposed)]
    )
    assert told.exit_code == 0, told.output
    record = json.loads((out / "helix_symmetry.json").read_text())
    assert record["found"]["rise_angst"] == pytest.approx(21, abs=0.05)
    assert record["found"]["twist_deg"] == pytest.approx(37, abs=0.1)
    assert record["found"]["at_limit"] == []
    assert f"{record['found']['rise_angst']:.4f}" in told.output
    assert record["trilinear_variance"]["found"] < record["trilinear_variance"]["start"]
    assert "<svg" in (out / "helix_symmetry.html").read_text()
    truth, found = gaussians_on_a_screw()[12:28, 20, 22:30], torch.from_numpy(read_volume(imposed)[0])[12:28, 20, 22:30]
    assert (found - truth).norm() < 0.1 * truth.norm()


def test_a_limit_that_is_reached_is_a_warning(halves):
    told = CliRunner().invoke(app, ["helix-symmetry", *map(str, halves), *START, "--rise-range", "20", "20.7"])
    assert told.exit_code == 0
    assert "warning: rise_angst is at its limit" in told.stderr


def test_one_map_is_searched_with_a_warning(halves):
    told = CliRunner().invoke(app, ["helix-symmetry", str(halves[0]), *START])
    assert told.exit_code == 0
    assert "one map cannot tell signal from what was imposed on it" in told.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rise", "0"], "a rise above 0 Å, not 0"),
        (["--diameter", "900"], r"no diameter of a filament in this box \(found 900\); give .* at most the box, 160 Å"),
        (["--central-fraction", "1.5"], "is no part of the box"),
        (["--rise-range", "30", "40"], r"rise_angst 20\.5 is not within its limits 30\.0 to 40\.0"),
        (["--central-fraction", "0.1", "--rise-range", "20", "60"], "shorter than two rises of 60"),
    ],
)
def test_what_cannot_be_used_is_told(halves, options, message):
    told = CliRunner().invoke(app, ["helix-symmetry", *map(str, halves), *START, *options])
    assert isinstance(told.exception, BlushError)
    with pytest.raises(BlushError, match=message):
        raise told.exception
