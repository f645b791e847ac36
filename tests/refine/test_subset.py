"""Number and name of a subset belong together."""

import json

import pytest

from blush.refine.subset import HALVES, Subset


def test_each_half_has_its_name_and_its_other():
    assert [(half.value, half.infix, half.other.value) for half in HALVES] == [(1, "half1", 2), (2, "half2", 1)]


def test_all_images_have_no_other_half():
    assert (Subset.ALL.value, Subset.ALL.infix) == (0, "all")
    with pytest.raises(ValueError, match="no other half"):
        _ = Subset.ALL.other


def test_a_half_is_written_as_its_number():
    assert json.dumps(Subset(2)) == "2"
    assert f"run_it001_half{Subset(2)}_class001.mrc" == "run_it001_half2_class001.mrc"


def test_a_subset_is_found_by_its_name():
    assert [Subset.named(subset.infix) for subset in Subset] == list(Subset)
    with pytest.raises(ValueError, match="'half3' is none of all, half1, half2"):
        Subset.named("half3")


def test_there_are_two_halves():
    with pytest.raises(ValueError, match="is not a valid Subset"):
        Subset(3)
