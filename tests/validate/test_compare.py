"""A map against the truth: thresholds, and turning a drifted map back."""

import math

import pytest
import torch

from blush.fourier.filter import low_pass
from blush.fourier.fsc import fsc, resolution_at
from blush.fourier.mask import soft_sphere
from blush.geometry.rotation import matrix_from_euler
from blush.validate.compare import into_true_frame, true_resolution
from blush.validate.poses import Drift

PIXEL = 2.0
TRUTH_THRESHOLD = math.sqrt(2 * 0.143 / 1.143)
"""C_ref of Rosenthal & Henderson (2003) at FSC = 0.143 between the halves."""


def blobs(box, rotation, shift_angst):
    """Gaussians at fixed places, seen from a frame: V(x) = V0(R x + c)."""
    centres = torch.tensor([[10.0, 2, -6], [-8, 9, 3], [0, -12, 8], [5, 6, 11], [-9, -4, -9]], dtype=torch.float64)
    widths = torch.tensor([4.0, 5.0, 6.0, 4.5, 5.5], dtype=torch.float64)
    x = (torch.arange(box, dtype=torch.float64) - box // 2) * PIXEL
    z, y, x = torch.meshgrid(x, x, x, indexing="ij")
    points = torch.stack([x, y, z], -1) @ rotation.T + shift_angst
    squares = (points[..., None, :] - centres).square().sum(-1)
    return torch.exp(-squares / (2 * widths**2)).sum(-1)


@pytest.mark.parametrize("box", [32, 33])
def test_a_drifted_map_comes_back_onto_the_truth(box):
    rotation = matrix_from_euler(torch.tensor([[20.0, 35.0, -50.0]], dtype=torch.float64))[0]
    drift = Drift(rotation, torch.tensor([1.3, -2.1, 0.7], dtype=torch.float64))
    identity = torch.eye(3, dtype=torch.float64)
    truth = blobs(box, identity, torch.zeros(3, dtype=torch.float64))
    moved = blobs(box, rotation, drift.shift_angst)
    back = into_true_frame(moved, drift, PIXEL)
    inside = soft_sphere(box, 12, 0).bool()
    assert float((moved - truth)[inside].abs().max()) > 0.3
    torch.testing.assert_close(back[inside], truth[inside], atol=1e-3, rtol=0)


def test_no_drift_changes_nothing():
    """Quintic splines on twice as fine a grid pass shells up to 0.8 of Nyquist: FSC and amplitude."""
    white = torch.randn(32, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    volume = low_pass(white, 2 * PIXEL / 0.8, PIXEL)
    still = Drift(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(into_true_frame(volume, still, PIXEL), volume, atol=1e-9, rtol=0)


def test_the_threshold_is_the_one_of_half_maps():
    """Independent noise in two halves: where they correlate 0.143, their average correlates 0.5 with the truth."""
    generator = torch.Generator().manual_seed(2)
    truth, noise1, noise2 = (torch.randn(64, 64, 64, generator=generator) for _ in range(3))
    level = math.sqrt((1 - 0.143) / 0.143)  # per half: FSC = 1 / (1 + level²) = 0.143
    half = fsc(truth + level * noise1, truth + level * noise2)[10:].mean()
    whole = fsc(truth + level * (noise1 + noise2) / 2, truth)[10:].mean()
    assert float(half) == pytest.approx(0.143, abs=0.01)  # sd 1 / sqrt(n / 2), n = 150,000 numbers: 0.004
    assert float(whole) == pytest.approx(TRUTH_THRESHOLD, abs=0.01)


def test_true_resolution_reports_plain_numbers():
    generator = torch.Generator().manual_seed(3)
    truth = torch.randn(32, 32, 32, generator=generator)
    noisy = 3 * low_pass(truth, 8.0, PIXEL) + 0.2 * torch.randn(32, 32, 32, generator=generator)
    mask = soft_sphere(32, 10, 4)
    result = true_resolution(noisy, truth, mask, PIXEL)
    assert result["resolution_angst"] == resolution_at(fsc(noisy * mask, truth * mask), TRUTH_THRESHOLD, 32, PIXEL)
    assert result["unmasked_resolution_angst"] == pytest.approx(8.0, abs=1.0)
    assert len(result["fsc"]) == 17


def test_an_unrelated_map_resolves_nothing():
    generator = torch.Generator().manual_seed(4)
    first, second = (torch.randn(16, 16, 16, generator=generator) for _ in range(2))
    assert true_resolution(first, second, None, PIXEL)["resolution_angst"] is None
