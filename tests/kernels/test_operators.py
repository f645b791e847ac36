"""Operators tell the shapes of their results where there is nothing to compute with, and say what they change."""

import pytest
import torch

from blush.kernels.accumulate import accumulate
from blush.kernels.insert import insert
from blush.kernels.insert_fixed import insert_fixed
from blush.kernels.project import project
from blush.kernels.score import score

B, T, U, C, P, N, R = 3, 2, 4, 8, 5, 11, 6


def of(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def counts(*shape: int) -> torch.Tensor:
    return of(*shape, dtype=torch.int64)


def test_slices_have_a_row_for_each_matrix():
    values = of(9, 9, 5, dtype=torch.complex64)
    slices, dots = project(values, of(R, 3, 3), counts(N), counts(N), 2, None)
    assert (slices.shape, dots.shape, slices.dtype) == ((R, 2, N), (0,), torch.float32)
    assert project(values, of(R, 3, 3), counts(N), counts(N), 2, of(2, N))[1].shape == (R,)


def test_scores_are_of_every_child_of_every_pair():
    pairs = (counts(P), counts(P), counts(P))
    shifts = (of(T, 4, 2), counts(N), counts(N), 16)
    found = score(of(B, 2, N), of(B, N), of(U, C, 2, N), *shifts, *pairs, of(P), False, 0)
    assert (found.shape, found.device.type) == ((P, 4, C), "meta")
    sums = (of(U * C, 2, N), of(U * C, N), of(B, 2, N), of(B, N))
    accumulate(of(P, 4, C), of(B, 2, N), of(B, N), of(U, C, 2, N), *shifts, *pairs, *sums)


def test_insertion_asks_for_nothing_but_shapes():
    slices = (of(R, 3, 3), counts(N), counts(N), 2, of(R, 2, N), of(R, N))
    insert(of(9, 9, 5, 4), *slices)
    insert_fixed(counts(9, 9, 5, 3), *slices, 1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "changed"),
    [("project", []), ("score", []), ("accumulate", ["data_sum", "weight_sum", "mean", "square"]),
     ("insert", ["grid"]), ("insert_fixed", ["grid"])],
)  # fmt: skip
def test_what_is_changed_in_place_is_declared(name, changed):
    schema = getattr(torch.ops.blush, name).default._schema
    assert [one.name for one in schema.arguments if one.alias_info is not None and one.alias_info.is_write] == changed
