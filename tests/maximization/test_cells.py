"""Sums and maps on lists of cells, held against those on whole spheres, and maps in smaller boxes."""

import numpy as np
import pytest
import torch

from blush.fourier.backproject import Accumulator, empty_accumulator, hermitian
from blush.fourier.fsc import fsc
from blush.fourier.transform import inverse_transform
from blush.maximization.cells import Cells, add, divided, map_size, noise_of
from blush.maximization.halves import fsc_of_near, half_sum_fsc, near_sums
from blush.maximization.reconstruct import divide, reconstruct, transform_of_map
from blush.maximization.spectra import reference_noise

BOX = 24


def random_sums(radius: int, seed: int = 0) -> Accumulator:
    generator = torch.Generator().manual_seed(seed)
    like = empty_accumulator(BOX, radius, dtype=torch.float64)
    grid = torch.randn(like.grid.shape, generator=generator, dtype=torch.float64)
    grid[..., 2] = 50 * grid[..., 2].abs()
    return hermitian(Accumulator(grid, BOX, radius))


def spectrum(radius: int) -> np.ndarray:
    """A signal variance that is 0 in one shell."""
    tau2 = np.linspace(0.02, 0.001, BOX // 2 + 1)
    tau2[radius - 3] = 0
    return tau2


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return float((one - other).abs().max()) < 1e-12 * float(other.abs().max())


@pytest.mark.parametrize("radius", [9, BOX // 2])
def test_maps_and_transforms_are_those_of_the_whole_sphere(radius):
    sums, tau2 = random_sums(radius), spectrum(radius)
    cells = Cells.of(sums)
    packed = cells.pack(sums)
    for given in (None, tau2):
        assert close(cells.map(divided(packed, given)), reconstruct(sums, given))
    volume = reconstruct(random_sums(radius, 1))
    whole, mine = transform_of_map(volume, sums), cells.transform(volume)
    inner = cells.shell <= radius
    assert close(mine[inner], whole.flatten()[cells.place.long()][inner])
    drawn = divided(packed, tau2, first_shell=1, expected=mine)
    assert close(cells.map(drawn), inverse_transform(divide(sums, tau2, first_shell=1, expected=whole)))


def test_spectra_are_those_of_the_whole_sphere():
    first, second = random_sums(9), random_sums(9, 1)
    second = Accumulator(first.grid + second.grid / 4, BOX, 9)
    cells = Cells.of(first)
    one, two = cells.pack(first), cells.pack(second)
    assert np.array_equal(noise_of(one), reference_noise(first))
    found = fsc_of_near(cells, near_sums(one), near_sums(two))
    assert 0.3 < found[5] < 0.999
    np.testing.assert_allclose(found, half_sum_fsc(first, second), rtol=1e-12)


def test_sums_come_back_from_their_cells():
    sums = random_sums(9)
    packed = Cells.of(sums).pack(sums)
    twice = add([packed, packed]).accumulator()
    held = twice.grid[..., 2] != 0
    assert held.sum() == len(packed.weight)
    assert torch.equal(twice.grid[held], 2 * sums.grid[held] * torch.tensor([1, 1, 1, 0]))


def test_a_smaller_box_holds_the_same_map():
    """Shells 0 to 6 of 24 pixels, in 16 voxels: the same density at the same places, and the same transform."""
    sums = random_sums(6)
    whole, small = Cells.of(sums), Cells.of(sums, 16)
    values = divided(whole.pack(sums), spectrum(6))
    fine, coarse = whole.map(values), small.map(values)
    window = torch.hann_window(BOX, periodic=True, dtype=torch.float64).square()
    window = window[:, None, None] * window[:, None] * window  # the boxes differ in how their corners are flattened
    assert fsc(fine * window, small.full(coarse) * window)[1:5].min() > 0.99
    middle = slice(BOX // 2 - 3, BOX // 2 + 4)
    error = (fine - small.full(coarse))[middle, middle, middle]
    assert float(error.abs().max()) < 0.02 * float(fine.abs().max())
    smooth = whole.map(divided(whole.pack(sums), spectrum(6))) * window
    inner = whole.shell <= 5
    one, other = whole.transform(smooth)[inner], small.transform(small.fit(smooth))[inner]
    assert float((one - other).abs().max()) < 0.02 * float(one.abs().max())


def test_boxes_are_small_even_and_good_for_transforms():
    assert map_size(256, 40) == 90
    assert map_size(64, 32) == 64
    assert map_size(64, 22) == 54
    assert map_size(64, 27) == 64  # a box of 64 is not worth the trouble
    with pytest.raises(ValueError, match="maps of 10 voxels do not hold 6 shells"):
        Cells.of(random_sums(6), 10)
