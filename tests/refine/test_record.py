"""Records of any make: to JSON and back by what their annotations say."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest

from blush.refine.record import Axes, Floats, as_json, axis_lengths, freeze_arrays, from_json


@dataclass(frozen=True)
class Inner:
    name: str
    width: float | None


@dataclass(frozen=True)
class Other(Inner):
    count: int


@dataclass(frozen=True, eq=False)
class Outer:
    inner: Inner
    table: Annotated[Floats, Axes("rows", "columns")]
    marks: Annotated[tuple[float | None, ...], Axes("rows")]

    def __post_init__(self) -> None:
        freeze_arrays(self)


def outer(inner: Inner) -> Outer:
    return Outer(inner, np.arange(6).reshape(2, 3), (None, 1.5))


def test_a_record_and_those_in_it_come_back():
    given = outer(Inner("a", None))
    values = as_json(given)
    assert values == {
        "inner": {"name": "a", "width": None},
        "table": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]],
        "marks": [None, 1.5],
    }
    found = from_json(Outer, values)
    assert found.inner == given.inner
    assert np.array_equal(found.table, given.table)
    assert found.marks == given.marks


def test_a_member_can_be_a_record_that_the_annotation_does_not_name():
    values = as_json(outer(Other("b", 2.0, 3)))
    assert from_json(Outer, values, inner=Other).inner == Other("b", 2.0, 3)
    with pytest.raises(ValueError, match=r"inner\.count is unknown"):
        from_json(Outer, values)


def test_whole_numbers_are_taken_for_real_ones_and_not_the_other_way():
    assert repr(from_json(Other, {"name": "b", "width": 2, "count": 3}).width) == "2.0"
    with pytest.raises(ValueError, match=r"count is '3.0', not int"):
        from_json(Other, {"name": "b", "width": 2.0, "count": 3.0})


def test_the_caller_is_not_written_through():
    table = np.zeros((2, 3))
    record = Outer(Inner("a", 1.0), table, (1.0, 1.0))
    table[:] = 5.0
    assert not record.table.any()


def test_lengths_have_the_names_of_their_axes():
    lengths = list(axis_lengths(outer(Inner("a", None))))
    assert lengths == [("table", "rows", 2), ("table", "columns", 3), ("marks", "rows", 2)]


def test_an_array_of_other_axes_is_refused():
    with pytest.raises(ValueError, match=r"table has shape \(3,\), but its axes are rows, columns"):
        Outer(Inner("a", 1.0), np.zeros(3), (1.0,))
