"""Random subsets at fixed poses resolve what signal over noise says they should; what makes no halves is refused."""

import json

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from typer.testing import CliRunner

from blush.cli.main import app
from blush.errors import BlushError
from blush.io.mrc import write_stack, write_volume
from blush.io.star import read_star, write_star
from blush.jobs.reslog import Wanted, measure_subsets
from blush.report.page import write_report

BOX, PIXEL, IMAGES, ATOMS, BFACTOR, NOISE = 40, 2.0, 1600, 60, 250.0, 24.0
"""Decay of the amplitude exp(-B q²/4), standard deviation of a pixel's noise."""


def rotations(n, generator):
    """(n, 3, 3) uniform, with the RELION angles that they stand for."""
    rot, psi = (360 * torch.rand(n, generator=generator, dtype=torch.float64) - 180 for _ in range(2))
    tilt = torch.rad2deg(torch.acos(2 * torch.rand(n, generator=generator, dtype=torch.float64) - 1))
    a, b, c = (torch.deg2rad(one) for one in (rot, tilt, psi))
    zero, one = torch.zeros_like(a), torch.ones_like(a)

    def about_z(q):
        rows = [torch.stack([q.cos(), q.sin(), zero], -1), torch.stack([-q.sin(), q.cos(), zero], -1)]
        return torch.stack([*rows, torch.stack([zero, zero, one], -1)], -2)

    rows = [torch.stack([b.cos(), zero, -b.sin()], -1), torch.stack([zero, one, zero], -1)]
    about_y = torch.stack([*rows, torch.stack([b.sin(), zero, b.cos()], -1)], -2)
    return about_z(c) @ about_y @ about_z(a), rot, tilt, psi


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Point atoms blurred by one B-factor, seen from everywhere without a lens, in white noise: their power is flat."""
    folder, generator = tmp_path_factory.mktemp("reslog"), torch.Generator().manual_seed(3)
    matrices, rot, tilt, psi = rotations(IMAGES, generator)
    directions = torch.randn(ATOMS, 3, generator=generator, dtype=torch.float64)
    radius = 26 * torch.rand(ATOMS, 1, generator=generator, dtype=torch.float64) ** (1 / 3)
    places = radius * directions / directions.norm(dim=1, keepdim=True)
    seen = (matrices[:, :2] @ places.T).transpose(1, 2)  # (n, atoms, 2) x, y in Å
    ky, kx = torch.fft.fftfreq(BOX, PIXEL).double(), torch.fft.rfftfreq(BOX, PIXEL).double()
    along_x = torch.exp(-2j * np.pi * seen[..., :1] * kx)
    along_y = torch.exp(-2j * np.pi * seen[..., 1:] * ky)
    field = torch.einsum("nay,nax->nyx", along_y, along_x)
    field *= torch.exp(-BFACTOR / 4 * (ky[:, None] ** 2 + kx**2))
    images = torch.fft.fftshift(torch.fft.irfft2(field, s=(BOX, BOX)), dim=(1, 2)) * BOX
    images += NOISE * torch.randn(images.shape, generator=generator, dtype=torch.float64)
    write_stack(folder / "stack.mrcs", images.float().numpy(), PIXEL)
    numbers = np.arange(1, IMAGES + 1)
    optics = {
        "rlnOpticsGroup": [1], "rlnOpticsGroupName": ["one"], "rlnVoltage": [300.0],
        "rlnSphericalAberration": [0.0], "rlnAmplitudeContrast": [0.1], "rlnImagePixelSize": [PIXEL],
        "rlnImageSize": [BOX], "rlnImageDimensionality": [2],
    }  # fmt: skip
    particles = {
        "rlnImageName": [f"{n:06d}@stack.mrcs" for n in numbers],
        "rlnOpticsGroup": np.ones(IMAGES, int),
        **dict.fromkeys(("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"), np.zeros(IMAGES)),
        "rlnPhaseShift": np.full(IMAGES, 90 - np.degrees(np.arcsin(0.1))),  # a transfer of 1 at every frequency
        **dict(zip(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"), (rot, tilt, psi), strict=True)),
        **dict.fromkeys(("rlnOriginXAngst", "rlnOriginYAngst"), np.zeros(IMAGES)),
        "rlnRandomSubset": 1 + numbers % 2,
    }
    tables = {"optics": optics, "particles": particles}
    columns = {name: {key: np.asarray(one) for key, one in table.items()} for name, table in tables.items()}
    columns["optics"]["rlnOpticsGroupName"] = np.array(["one"], dtype=object)
    columns["particles"]["rlnImageName"] = np.array(particles["rlnImageName"], dtype=object)
    write_star(folder / "run_data.star", columns)
    write_volume(folder / "sphere.mrc", sphere().astype(np.float32), PIXEL)
    return folder


def sphere():
    """1 around all atoms, with a soft edge."""
    z, y, x = np.indices((BOX,) * 3) - BOX // 2
    return 0.5 + 0.5 * np.cos(np.pi * ((np.sqrt(x**2 + y**2 + z**2) - 14.5) / 2).clip(0, 1))


def expected_angst(particles):
    """Where FSC of half-maps is 0.143: their signal over noise is a sixth.

    A component at shell k of a half-map is the mean of n/2 slices' 2πk of the 4πk² on that shell, so of n / 4k values,
    each of signal ATOMS exp(-B q²/2) BOX² over noise NOISE² BOX². The mask leaves the signal, and of the noise what is
    in it.
    """

    def over(shell):
        q = shell / (BOX * PIXEL)
        ratio = particles / (4 * shell) * ATOMS * np.exp(-BFACTOR * q**2 / 2) / NOISE**2 / (sphere() ** 2).mean()
        return np.log(ratio / (0.143 / 0.857))

    return BOX * PIXEL / brentq(over, 1, BOX)


def measured(folder, *options):
    words = ["reslog", folder / "run_data.star", "--mask", folder / "sphere.mrc", "--diameter", "80"]
    told = CliRunner().invoke(app, [str(word) for word in (*words, *options)])
    if told.exception is not None:
        raise told.exception
    return told.output


def test_subsets_resolve_what_signal_over_noise_says(sources, tmp_path):
    said = measured(sources, "--output", tmp_path, "--draws", 4)
    record = json.loads((tmp_path / "reslog.json").read_text())
    by_number = {}
    for point in record["points"]:
        assert point["counted"]
        by_number.setdefault(point["particles"], []).append(point["resolution_angst"])
    assert {n: len(found) for n, found in by_number.items()} == {100: 4, 200: 4, 400: 4, 800: 4, 1600: 1}
    apart = {n: [BOX * PIXEL * (1 / d - 1 / expected_angst(n)) for d in found] for n, found in by_number.items()}
    # In shells. Chance moves one draw by 0.7: the FSC of the 400 free components of such a shell is off by 0.05, and
    # falls by 0.07 a shell.
    assert all(abs(np.mean(found)) < 1.1 for found in apart.values())
    assert abs(np.mean(np.concatenate(list(apart.values())))) < 0.5
    slope = np.polyfit(np.log(list(by_number)), [expected_angst(n) ** -2 for n in by_number], 1)[0]
    low, high = record["bfactor_interval_angst2"]
    assert low < 2 / slope < high
    assert high - low < 0.5 * 2 / slope
    assert record["bfactor_angst2"] == pytest.approx(2 / slope, rel=0.2)
    assert record["twice_as_many_angst"] == pytest.approx(expected_angst(2 * IMAGES), rel=0.1)
    assert f"B-factor of the line ln n = B / 2d²: {record['bfactor_angst2']:.0f} Å²" in said
    page = (tmp_path / "reslog.html").read_text(encoding="utf-8")
    assert "inserted at the poses of the whole refinement" in page
    assert "<svg" in page


def test_the_same_seed_draws_the_same_subsets(sources, tmp_path):
    for name in ("a", "b"):
        measured(sources, "--output", tmp_path / name, "--draws", 2, "--fewest", 400)
    assert (tmp_path / "a/reslog.json").read_bytes() == (tmp_path / "b/reslog.json").read_bytes()


def test_what_makes_no_two_halves_is_refused(sources, tmp_path):
    blocks = read_star(sources / "run_data.star")
    names = [name.replace("@", f"@{sources}/") for name in blocks["particles"]["rlnImageName"]]
    table = blocks["particles"] | {"rlnImageName": np.array(names, dtype=object)}
    for change, message in (
        ({"rlnRandomSubset": None}, "rlnRandomSubset: has no half-sets"),
        (
            {"rlnClassNumber": 1 + np.arange(IMAGES) % 2},
            "has several classes; refine the images of one: `blush select`",
        ),
        ({"rlnAngleRot": None}, "has no poses"),
    ):
        changed = {name: column for name, column in (table | change).items() if column is not None}
        write_star(tmp_path / "odd.star", blocks | {"particles": changed})
        with pytest.raises(BlushError, match=message):
            measure_subsets(tmp_path / "odd.star", Wanted(particle_diameter_angst=80))
    with pytest.raises(BlushError, match=r"too few particles for subsets \(found 1600\); four times --fewest, 500"):
        measure_subsets(sources / "run_data.star", Wanted(particle_diameter_angst=80, fewest=500))
    with pytest.raises(BlushError, match="nothing says how large the particle is"):
        measure_subsets(sources / "run_data.star", Wanted())


def test_a_run_has_it_on_its_page(run):
    told = CliRunner().invoke(app, ["reslog", str(run), "--fewest", "10", "--draws", "2"])
    assert told.exit_code == 0, repr(told.exception)
    record = json.loads((run / "reslog/reslog.json").read_text())
    assert (record["symmetry"], record["poses"]) == ("D4", "fixed")
    assert sorted({point["particles"] for point in record["points"]}) == [12, 24, 48]
    page = write_report(run).read_text(encoding="utf-8")
    assert "<h2>Particles against resolution</h2>" in page


def test_filaments_are_refused(still_run):
    with pytest.raises(BlushError, match=r"is a run of another job \(found helix\)"):
        measure_subsets(still_run, Wanted(fewest=10))
