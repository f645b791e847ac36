"""Expected accuracies: the ladder of steps, and closed forms for shifts and radial maps."""

import math

import pytest
import torch

from blush.expectation import accuracy
from blush.expectation.accuracy import bytes_per_particle, expected_accuracy, ladder
from blush.fourier.packed import packed
from blush.fourier.project import project
from blush.fourier.transform import transform
from blush.geometry.rotation import matrix_from_euler

BOX, RADIUS = 32, 10
ROTATION_STEPS_DEG = ((0.2, 0.05), (1, 0.1), (2, 0.2), (5, 0.5), (10, 1), (20, 2), (30, 5))
SHIFT_STEPS_PX = ((1, 0.1), (2, 0.2), (5, 0.5), (10, 1))
"""The ladders of RELION: (up to, in steps of)."""


def speckle() -> torch.Tensor:
    axis = (torch.arange(BOX, dtype=torch.float64) - BOX // 2) ** 2
    ball = torch.exp(-(((axis[:, None, None] + axis[:, None] + axis) / 60) ** 2))
    return ball * torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def round_map() -> torch.Tensor:
    axis = (torch.arange(BOX, dtype=torch.float64) - BOX // 2) ** 2
    return torch.exp(-(axis[:, None, None] + axis[:, None] + axis) / (2 * 2.5**2))


def problem(volume: torch.Tensor, noise: float, count: int = 6):
    """Sphere, poses, transfer (all ones), noise spectra."""
    pixels = packed(BOX)
    generator = torch.Generator().manual_seed(3)
    poses = torch.rand(count, 3, generator=generator, dtype=torch.float64) * torch.tensor([360.0, 180.0, 360.0])
    transfer = torch.ones(count, pixels.inside(RADIUS), dtype=torch.float64)
    sigma2 = torch.full((count, BOX // 2 + 1), noise, dtype=torch.float64)
    return transform(volume, RADIUS), poses, transfer, sigma2, pixels


def test_the_ladder_climbs_in_growing_steps():
    rotations = ladder(ROTATION_STEPS_DEG).tolist()
    assert rotations[:4] == pytest.approx([0.05, 0.1, 0.15, 0.2])
    assert rotations[4:7] == pytest.approx([0.3, 0.4, 0.5])
    assert rotations[-2:] == pytest.approx([25, 30])
    assert ladder(SHIFT_STEPS_PX).tolist()[-3:] == pytest.approx([8, 9, 10])
    assert (ladder(ROTATION_STEPS_DEG).diff() > 0).all()


def test_shift_accuracy_is_where_the_moved_slice_differs_enough():
    """|S|^2 |e^{i phi} - 1|^2 = 2 |S|^2 (1 - cos phi), summed over 2 sigma^2 and compared with ln 100."""
    noise = 2e-3
    sphere, poses, transfer, sigma2, pixels = problem(speckle(), noise)
    found = expected_accuracy(sphere, poses, transfer, sigma2, pixels, RADIUS, seed=7)[1]
    n = transfer.shape[1]
    power = project(sphere, matrix_from_euler(poses), pixels, n).square().sum(1)
    power[:, 0] = 0
    generator = torch.Generator().manual_seed(7)
    torch.randint(0, 3, (len(poses),), generator=generator)
    axis = torch.randint(0, 2, (len(poses),), generator=generator)
    steps = ladder(SHIFT_STEPS_PX)
    expected = []
    for row, which in zip(power, axis.tolist(), strict=True):
        k = (pixels.kx, pixels.ky)[which][:n]
        ratio = [(row * 2 * (1 - torch.cos(2 * math.pi * k * t / BOX))).sum() / (2 * noise) for t in steps]
        expected.append(next(float(t) for t, r in zip(steps, ratio, strict=True) if r > math.log(100)))
    assert found == pytest.approx(sum(expected) / len(expected), abs=1e-12)
    assert 0.1 < found < 5  # neither end of the ladder


def test_rotation_accuracy_is_where_the_turned_slice_differs_enough():
    """An Euler angle of each particle, drawn from the seed, turns until sum |T (S' - S)|^2 / 2 sigma^2 > ln 100."""
    noise = 2e-3
    sphere, poses, transfer, sigma2, pixels = problem(speckle(), noise, count=9)
    n = transfer.shape[1]
    transfer = 0.3 + torch.rand(transfer.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found = expected_accuracy(sphere, poses, transfer, sigma2, pixels, RADIUS, seed=7)[0]
    which = torch.randint(0, 3, (len(poses),), generator=torch.Generator().manual_seed(7)).tolist()
    assert set(which) == {0, 1, 2}
    true, expected = project(sphere, matrix_from_euler(poses), pixels, n), []
    for row, angle in enumerate(which):
        for step in ladder(ROTATION_STEPS_DEG).tolist():
            turned = poses[row : row + 1].clone()
            turned[0, angle] += step
            other = project(sphere, matrix_from_euler(turned), pixels, n)[0]
            power = (other - true[row]).square().sum(0) * transfer[row] ** 2 / (2 * noise)
            if float(power[1:].sum()) > math.log(100):
                expected.append(step)
                break
    assert found == pytest.approx(sum(expected) / len(poses), abs=1e-12)
    assert 0.1 < found < 20  # neither end of the ladder


def test_a_round_map_has_no_rotation_accuracy():
    sphere, poses, transfer, sigma2, pixels = problem(round_map(), 1e-3)
    assert expected_accuracy(sphere, poses, transfer, sigma2, pixels, RADIUS, seed=1)[0] == 30


@pytest.mark.parametrize("quantity", [0, 1])
def test_less_noise_means_finer_accuracy(quantity):
    found = [expected_accuracy(*problem(speckle(), noise), RADIUS, seed=1)[quantity] for noise in (1e-4, 1e-3, 1e-2)]
    assert found[0] < found[1] < found[2]


def test_without_signal_both_are_the_last_step():
    assert expected_accuracy(*problem(torch.zeros(BOX, BOX, BOX), 1.0), RADIUS, seed=1) == (30, 10)


def test_the_same_seed_perturbs_the_same_axes(real):
    sphere, poses, transfer, sigma2, pixels = problem(speckle().to(real), 2e-3)
    one, two = (expected_accuracy(sphere, poses, transfer.to(real), sigma2, pixels, RADIUS, seed=5) for _ in range(2))
    assert one == two


def test_the_origin_does_not_count():
    """Its noise may be 0, which would make every ratio infinite or nothing."""
    sphere, poses, transfer, sigma2, pixels = problem(speckle(), 2e-3)
    first = expected_accuracy(sphere, poses, transfer, sigma2, pixels, RADIUS, seed=5)
    sigma2[:, 0] = 0
    assert expected_accuracy(sphere, poses, transfer, sigma2, pixels, RADIUS, seed=5) == first


def test_particles_a_few_at_a_time_give_the_same(monkeypatch):
    sphere, poses, transfer, sigma2, pixels = problem(speckle(), 2e-3, count=7)
    whole = expected_accuracy(sphere, poses, transfer, sigma2, pixels, RADIUS, seed=5)
    for at_once in (1, 3):
        monkeypatch.setattr(accuracy, "BYTES_AT_ONCE", at_once * bytes_per_particle(transfer.shape[1], 8))
        found = expected_accuracy(sphere, poses, transfer, sigma2, pixels, RADIUS, seed=5)
        assert found == pytest.approx(whole, rel=1e-12)


def test_what_one_particle_takes_is_counted():
    """35 rotations: slices and their copies in single precision, and two arrays of them in double."""
    slices = 35 * 1000 * 2
    assert bytes_per_particle(1000, 4) >= slices * 4 + 2 * slices * 8
