"""Where several maps lie side by side."""

import pytest
import torch

from blush.fourier.lanes import aligned_zeros, by_lane, groups_and_lanes


@pytest.mark.parametrize(
    ("n_maps", "expected"),
    [(1, (1, 1)), (2, (1, 2)), (3, (1, 4)), (4, (1, 4)), (5, (1, 8)), (8, (1, 8)), (9, (2, 8)), (16, (2, 8)),
     (17, (3, 8))],
)  # fmt: skip
def test_lanes_are_a_power_of_two_or_groups_of_eight(n_maps, expected):
    assert groups_and_lanes(n_maps) == expected


def test_no_map_has_no_lanes():
    with pytest.raises(ValueError, match="0 maps cannot be stored side by side; give at least one"):
        groups_and_lanes(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(0,), (3, 5), (300, 1000, 7)])
def test_storage_is_zero_and_begins_with_a_line_of_the_cache(shape, dtype):
    for _ in range(3):  # one allocation may be aligned by chance
        zeros = aligned_zeros(shape, dtype, "cpu")
        assert zeros.shape == shape
        assert zeros.dtype == dtype
        assert zeros.data_ptr() % 64 == 0
        assert not zeros.any()
        zeros += 1  # its memory may be given out again
        assert zeros.sum() == zeros.numel()


def test_shares_get_a_zero_for_every_empty_lane():
    found = by_lane(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), 3)
    assert found.tolist() == [[1, 2, 3, 0], [4, 5, 6, 0]]
    assert by_lane(torch.ones(2, 9), 9).shape == (2, 16)


@pytest.mark.parametrize("shape", [(2, 4), (3,), (2, 3, 1)])
def test_shares_for_other_maps_are_refused(shape):
    with pytest.raises(ValueError, match=r"shares of shape .* for 3 maps; give \(images, 3\)"):
        by_lane(torch.ones(shape), 3)
