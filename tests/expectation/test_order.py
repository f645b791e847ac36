"""Sorting and compaction of small integers against torch's own."""

import pytest
import torch

from blush.expectation.order import compact, stable_order

RADIX_LIMIT = 65536
"""Values of the 16-bit integers that numpy sorts by radix."""


@pytest.mark.parametrize("limit", [1, 7, RADIX_LIMIT, RADIX_LIMIT + 1, 10**6])
@pytest.mark.parametrize("count", [0, 1, 5000])
def test_order_sorts_and_keeps_equals_in_place(limit, count):
    key = torch.randint(0, limit, (count,), generator=torch.Generator().manual_seed(count + limit))
    order = stable_order(key, limit)
    assert order.dtype == torch.int64
    assert order.tolist() == sorted(range(count), key=lambda i: int(key[i]))


def test_the_largest_key_of_the_radix_sort_does_not_wrap():
    key = torch.tensor([RADIX_LIMIT - 1, 0, RADIX_LIMIT - 1, 1])
    assert stable_order(key, RADIX_LIMIT).tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize(("limit", "count"), [(1, 3), (50, 0), (50, 1), (50, 2000), (10**5, 40)])
def test_compact_is_unique_with_its_inverse(limit, count):
    index = torch.randint(0, limit, (count,), generator=torch.Generator().manual_seed(count))
    values, position = compact(index, limit)
    expected_values, expected_position = torch.unique(index, return_inverse=True)
    assert torch.equal(values, expected_values)
    assert torch.equal(position, expected_position)
