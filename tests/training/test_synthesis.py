"""What simulated half-maps are: their level of noise, its independence, and the frame they are in."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_problem import BOX_PX, VOXEL_ANGST, blob

from blush.fourier.fsc import fsc
from blush.training import spectra
from blush.training.batches import BatchMaker
from blush.training.draws import cube_rotations, draw, pose_errors, random_rotation
from blush.training.library import Library, sharpened
from blush.training.sampling import patch_positions, sample, small_rotations, turned_halves
from blush.training.store import open_store
from blush.training.synthesis import simulated_pair

CPU = torch.device("cpu")


def library(store: Path, channel: str) -> Library:
    opened = open_store(store)
    pairs = [e for e in opened.entries if ("half1" in e.channels) == (channel == "half1")]
    return Library(opened, pairs, CPU)


def test_gaussian_is_a_seventh_at_d_along_the_axis_and_at_d_over_the_ratio_across_it() -> None:
    grid = spectra.frequencies(60, 1.0, "cpu")
    values = spectra.gaussian(grid, [6.0], torch.tensor([[0.0, 0.0, 1.0]]), [2.0])[0]
    assert values[10, 0, 0].item() == pytest.approx(1 / 7, rel=1e-5)  # z is the axis, 10/60 is 1/6 Å
    assert values[0, 20, 0].item() == pytest.approx(1 / 7, rel=1e-5)
    assert values[0, 0, 20].item() == pytest.approx(1 / 7, rel=1e-5)


def test_coverage_is_1_on_the_average_and_least_along_the_axis_of_the_views() -> None:
    grid = spectra.frequencies(32, 1.0, "cpu")
    seen = spectra.coverage(grid, torch.tensor([[0.0, 0.0, 1.0]]), [0.8], [4.0])[0]
    assert seen.mean().item() == pytest.approx(1, abs=0.01)
    assert seen[8, 0, 0] < 0.5 < 1 < seen[0, 8, 0]


def test_streaks_lie_on_central_slices_and_have_a_mean_of_1() -> None:
    pattern = spectra.streaks(24, "cpu")
    assert pattern.shape == (spectra.PATTERNS, 24, 24, 13)
    torch.testing.assert_close(pattern.mean((1, 2, 3)), torch.ones(spectra.PATTERNS))
    shell = pattern[0][:, :, 8]
    assert (shell == 0).float().mean() > 0.05
    assert shell.max() > 2


@pytest.mark.parametrize("resolution_angst", [6.0, 12.0])
def test_noise_puts_a_seventh_at_the_resolution(resolution_angst: float) -> None:
    """By its definition: noise over signal of 6 in the mask. Checked on the known signal and noise, not by an FSC."""
    truth, mask = blob(1)
    ratios = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        half1, half2, _ = simulated_pair(truth, mask, VOXEL_ANGST, random, resolution_angst)
        shell = round(BOX_PX * VOXEL_ANGST / resolution_angst)
        f1, f2 = torch.fft.rfftn(half1 - half2).abs().square(), torch.fft.rfftn(truth).abs().square()
        grid = spectra.frequencies(BOX_PX, VOXEL_ANGST, "cpu")
        there = (grid.squared.sqrt() * BOX_PX * VOXEL_ANGST).round() == shell
        ratios.append(float(f1[there].mean() / 2 / (f2[there].mean() / mask.mean())))
    # B-factors and pose errors only lower the signal, bulges and streaks raise the noise: medians within 6 and a bit.
    assert 0.2 < np.median(ratios) / 6 < 2.5


def test_halves_share_their_signal_and_not_their_noise() -> None:
    truth, mask = blob(1)
    curves, shared = [], []
    for seed in range(12):
        half1, half2, clean = simulated_pair(truth, mask, VOXEL_ANGST, np.random.default_rng(seed), 8.0)
        assert not torch.equal(half1, half2)
        residual1 = half1 - clean
        curves.append(fsc(residual1, half2 - clean)[1:])
        shared.append(float(fsc(half1 * mask, truth * mask)[1:5].mean()))
    assert np.median(shared) > 0.7
    # Pose errors of half 1 leave a little of the signal in its residual; the noise beyond it has no part in common.
    assert abs(float(torch.stack(curves).mean(0)[-6:].mean())) < 0.05


def test_rotations_of_the_cube_are_24_and_bring_voxels_onto_voxels(store: Path) -> None:
    rotations = cube_rotations()
    assert len(rotations) == 24
    assert len({r.tobytes() for r in np.abs(rotations) * (1 + (rotations < 0))}) == 24
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    volume = torch.randn(1, 21, 21, 21, generator=torch.Generator().manual_seed(1))
    entry = library(store, "half1")[0]
    quarter = next(r for r in rotations if np.array_equal(r, [[0, -1, 0], [1, 0, 0], [0, 0, 1]]))
    drawn = replace(
        draw(np.random.default_rng(1), 0, entry, VOXEL_ANGST, 0), rotation=quarter, centre_px=np.zeros(3), scale=1.0
    )
    made = sample(volume, patch_positions(drawn, 21, CPU)[None], 21)[0, 0]
    # x' = -y, y' = x: value at (y, x) comes from (x, -y)
    torch.testing.assert_close(made, volume[0].transpose(1, 2).flip(1), atol=1e-4, rtol=0)


def test_random_rotations_are_rotations_and_uniform() -> None:
    random = np.random.default_rng(3)
    made = np.array([random_rotation(random) for _ in range(3000)])
    np.testing.assert_allclose(made @ made.transpose(0, 2, 1), np.broadcast_to(np.eye(3), made.shape), atol=1e-12)
    assert np.abs(made.mean(0)).max() < 0.05
    assert np.mean(np.trace(made, axis1=1, axis2=2) ** 2) == pytest.approx(1, abs=0.1)  # <chi^2> = 1 over SO(3)


def test_sharpening_undoes_what_trilinear_interpolation_takes() -> None:
    box, k = 32, 5
    x = torch.arange(box) - box // 2
    wave = torch.cos(2 * math.pi * k * x / box).expand(box, box, box)
    positions = torch.zeros(box**3, 3)
    positions[:, 0] = (x + 0.5).repeat(box * box)
    positions[:, 1] = x.repeat_interleave(box).repeat(box)
    positions[:, 2] = x.repeat_interleave(box * box)
    between = sample(sharpened(wave)[None], positions[None], box)[0, 0, 8, 8, 4:-4]
    onto = sample(sharpened(wave)[None], (positions - torch.tensor([0.5, 0, 0]))[None], box)[0, 0, 8, 8, 4:-4]
    gain = torch.sinc(torch.tensor(k / box)) ** -2
    torch.testing.assert_close(onto, gain * wave[8, 8, 4:-4], atol=1e-4, rtol=0)
    wanted = gain * math.cos(math.pi * k / box) * torch.cos(2 * math.pi * k * (x + 0.5) / box)[4:-4]
    torch.testing.assert_close(between, wanted, atol=1e-4, rtol=0)


def test_small_rotations_are_those_of_their_vectors() -> None:
    turn = small_rotations(torch.tensor([[0.0, 0.0, math.pi / 2]]))[0]
    torch.testing.assert_close(turn @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)


def test_pose_errors_share_three_tenths_of_their_variance() -> None:
    random = np.random.default_rng(1)
    errors = np.array([pose_errors(random, 1.0) for _ in range(4000)])
    first, second = errors[:, 0, :, 3:], errors[:, 1, :, 3:]
    assert (first * second).mean() / (first**2).mean() == pytest.approx(0.3, abs=0.02)


def test_misaligned_halves_differ_and_aligned_ones_do_not(store: Path) -> None:
    entry = library(store, "truth")[0]
    drawn = draw(np.random.default_rng(1), 0, entry, VOXEL_ANGST, 0)
    positions = patch_positions(drawn, 20, CPU)
    random = np.random.default_rng(2)
    first, second, _ = turned_halves(entry.maps, replace(drawn, pose_error=pose_errors(random, 2.0)), positions, 20)
    assert not torch.equal(first, second)
    first, second, _ = turned_halves(entry.maps, replace(drawn, pose_error=None), positions, 20)
    assert torch.equal(first, second)


def maker(store: Path, **changes: float) -> BatchMaker:
    return BatchMaker(library(store, "truth"), library(store, "half1"), voxel_size_angst=VOXEL_ANGST, seed=1, **changes)


def test_a_patch_does_not_depend_on_which_process_makes_it(store: Path) -> None:
    make = maker(store)
    for step in range(4):
        for patch in range(3):
            alone = make(step, 16, [patch])
            again = maker(store)(step, 16, [patch])
            assert torch.equal(alone.inputs, again.inputs)
    together = make(1, 16, range(4))
    apart = torch.cat([make(1, 16, [patch]).target for patch in range(4)])
    order = [int((together.target - target).abs().sum((1, 2, 3)).argmin()) for target in apart]
    assert sorted(order) == [0, 1, 2, 3]
    torch.testing.assert_close(together.target[order], apart, atol=1e-5, rtol=1e-5)


def test_the_target_knows_nothing_of_the_noise_of_the_input(store: Path) -> None:
    """Only through the signal: at frequencies where the truth has none, input and target do not correlate."""
    make = maker(store, simulated_share=1.0, noise2noise_share=1.0)
    sums = torch.zeros(3, dtype=torch.float64)
    for step in range(30):
        batch = make(step, 24, range(2))
        f, g = (torch.fft.rfftn(values.double(), dim=(1, 2, 3)) for values in (batch.inputs[:, 0], batch.target))
        high = spectra.frequencies(24, VOXEL_ANGST, "cpu").squared > 0.21**2
        cross = (f * g.conj()).real[:, high].sum()
        sums += torch.stack([cross, f.abs().square()[:, high].sum(), g.abs().square()[:, high].sum()])
    assert abs(float(sums[0] / (sums[1] * sums[2]).sqrt())) < 0.1
    batch = make(0, 24, range(4))
    assert batch.inputs.shape == (4, 2, 24, 24, 24)
    assert batch.target.shape == batch.mask.shape == batch.seen.shape == (4, 24, 24, 24)
    assert (batch.inputs[:, 1] >= 0).all()
