"""Spectral trailing: where references are cut, and that nothing of them is left beyond."""

import numpy as np
import pytest
import torch

from blush.fourier.fsc import power_spectrum
from blush.fourier.grid import shell_index_3d
from blush.regularise.trailing import FSC_LIMIT, cut_shell, trail


@pytest.mark.parametrize(
    ("fsc", "shells", "expected"),
    [
        ([1, 1, 0.9, 0.5, 0.2, 0.1, 0.0], 2, 3),  # first below 1/7 is shell 5
        ([1, 1, 0.9, 0.5, 0.2, 0.1, 0.0], 0, 5),
        ([1, 1, 0.1, 0.9, 0.9, 0.9, 0.9], 2, 1),  # the first drop counts, and at least shell 1 is left
        ([0, 1, 0.9, 0.9, 0.9, 0.1, 0.0], 2, 3),  # the origin says nothing
        ([1, 1, 1, 1, 1, 1, 1], 2, 5),  # never below: counts as past the last shell
        ([1, 0, 0, 0, 0, 0, 0], 2, 1),
        ([1, 1, FSC_LIMIT, 0.1], 1, 2),  # at the limit is not below it
    ],
)
def test_the_cut_is_behind_the_first_shell_below_a_seventh(fsc, shells, expected):
    assert cut_shell(np.array(fsc, dtype=float), shells) == expected


@pytest.mark.parametrize("box", [16, 18, 17])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shells_pass_below_the_cut_by_half_at_it_and_not_beyond(box, dtype):
    volume = torch.randn(box, box, box, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    cut = 4
    before, after = torch.fft.rfftn(volume), torch.fft.rfftn(trail(volume, cut))
    shell = shell_index_3d(box)
    eps = 20 * torch.finfo(dtype).eps * before.abs().max()
    assert (after - before)[shell < cut].abs().max() < eps
    assert (after - before / 2)[shell == cut].abs().max() < eps
    assert after[shell > cut].abs().max() < eps  # beyond c + 1, and at it


def test_a_second_cut_changes_nothing_below_the_first():
    volume = torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    once, twice = trail(volume, 4), trail(trail(volume, 4), 7)
    torch.testing.assert_close(twice, once, rtol=0, atol=1e-14)
    assert float(power_spectrum(once)[5:].max()) < 1e-28
