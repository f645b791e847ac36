"""Number, position and name of a half-set belong together."""

import json

import pytest

from blush.refine.subset import Subset


def test_each_half_has_its_place_and_its_name():
    assert [(s.value, s.index, s.infix, s.other.value) for s in Subset] == [(1, 0, "half1", 2), (2, 1, "half2", 1)]


def test_a_half_is_written_as_its_number():
    assert json.dumps(Subset(2)) == "2"
    assert f"run_it001_half{Subset(2)}_class001.mrc" == "run_it001_half2_class001.mrc"


@pytest.mark.parametrize("number", [0, 3])
def test_there_are_two_halves(number):
    with pytest.raises(ValueError, match="is not a valid Subset"):
        Subset(number)
