"""Particles with random phases: everything up to a resolution stays, nothing beyond it is signal, repeatably."""

import numpy as np
import pytest
import torch

from blush.errors import BlushError
from blush.fourier.grid import radius_2d
from blush.io.mrc import write_stack
from blush.io.particles import read_particles
from blush.io.star import read_star, write_star
from blush.validate.randomise_particles import randomise_images, randomise_particles

BOX, PIXEL = 16, 4.0


@pytest.fixture
def star(tmp_path):
    """Six images of one pattern, in two stacks, the second one in half precision and in another order."""
    pattern = np.random.default_rng(1).standard_normal((BOX, BOX)).astype(np.float32)
    write_stack(tmp_path / "a.mrcs", np.repeat(pattern[None], 3, 0), PIXEL)
    write_stack(tmp_path / "b.mrcs", np.repeat(pattern[None], 3, 0).astype(np.float16), PIXEL)
    optics = {
        "rlnOpticsGroup": [1], "rlnVoltage": [300.0], "rlnSphericalAberration": [2.7], "rlnAmplitudeContrast": [0.1],
        "rlnImagePixelSize": [PIXEL], "rlnImageSize": [BOX], "rlnImageDimensionality": [2],
    }  # fmt: skip
    names = ["1@a.mrcs", "3@b.mrcs", "2@a.mrcs", "1@b.mrcs", "3@a.mrcs", "2@b.mrcs"]
    table = {
        "rlnImageName": names, "rlnOpticsGroup": [1] * 6, "rlnDefocusU": [1e4] * 6, "rlnDefocusV": [1e4] * 6,
        "rlnDefocusAngle": [0.0] * 6, "someoneElsesColumn": list(range(6)),
    }  # fmt: skip
    blocks = {"optics": optics, "particles": table}
    write_star(tmp_path / "in.star", {b: {k: np.array(v) for k, v in t.items()} for b, t in blocks.items()})
    return tmp_path / "in.star"


def spectra(star):
    images = read_particles(star)[0].images()
    return torch.fft.rfft2(torch.from_numpy(images).double())


def test_low_frequencies_and_all_amplitudes_stay(star, tmp_path):
    before, after = spectra(star), spectra(randomise_particles(star, tmp_path / "out", 16.0, seed=1))
    low = radius_2d(BOX) <= BOX * PIXEL / 16.0
    assert 0 < int(low.sum()) < low.numel()
    torch.testing.assert_close(after[:, low], before[:, low], rtol=0, atol=1e-4)
    torch.testing.assert_close(after.abs(), before.abs(), rtol=0, atol=1e-4)


def test_equal_images_have_nothing_in_common_beyond(star, tmp_path):
    after = spectra(randomise_particles(star, tmp_path / "out", 16.0, seed=1))
    high = radius_2d(BOX) > BOX * PIXEL / 16.0
    high[:, [0, -1]] = False  # columns of Friedel pairs would count twice
    unit = after[:, high] / after[:, high].abs()
    correlation = (unit @ unit.mH).real / int(high.sum())
    others = correlation[~torch.eye(6, dtype=torch.bool)]
    assert others.abs().max() < 5 / (2 * int(high.sum())) ** 0.5


def test_rows_and_columns_stay(star, tmp_path):
    before, after = read_star(star), read_star(randomise_particles(star, tmp_path / "out", 16.0, seed=1))
    assert list(after["particles"]) == list(before["particles"])
    for name in before["particles"]:
        if name != "rlnImageName":
            np.testing.assert_array_equal(after["particles"][name], before["particles"][name])
    np.testing.assert_array_equal(after["optics"]["rlnImagePixelSize"], [PIXEL])


def test_the_seed_decides_the_bytes(star, tmp_path):
    def stacks(folder, seed):
        randomise_particles(star, tmp_path / folder, 16.0, seed)
        return [path.read_bytes() for path in sorted((tmp_path / folder).rglob("*.mrcs"))]

    first = stacks("one", 1)
    assert len(first) == 2
    assert first == stacks("two", 1)
    assert first != stacks("three", 2)


def test_white_noise_stays_white():
    images = torch.from_numpy(np.random.default_rng(2).standard_normal((200, BOX, BOX), dtype=np.float32))
    turned = randomise_images(images, 4.0, np.random.default_rng(3))
    assert float(turned.std()) == pytest.approx(float(images.std()), rel=1e-3)


def test_a_missing_stack_is_named(star, tmp_path):
    (tmp_path / "b.mrcs").unlink()
    with pytest.raises(BlushError, match=r"b\.mrcs"):
        randomise_particles(star, tmp_path / "out", 16.0, seed=1)
