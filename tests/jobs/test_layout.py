"""Names of a run's files, which RELION and the rules know."""

from pathlib import Path

import pytest

from blush.jobs.layout import RunFolder
from blush.refine.subset import HALVES, Subset

FOLDER = RunFolder(Path("run"))


@pytest.mark.parametrize(
    ("subset", "k", "without", "name"),
    [
        (Subset.FIRST, 0, None, "run_it007_half1_class001.mrc"),
        (Subset.SECOND, 11, None, "run_it007_half2_class012.mrc"),
        (Subset.ALL, 1, None, "run_it007_class002.mrc"),
        (Subset.ALL, 0, 2, "it007/without2_class001.mrc"),
        (Subset.ALL, 2, 0, "it007/without0_class003.mrc"),
        (Subset.FIRST, 0, 3, "it007/half1_without3_class001.mrc"),
    ],
)
def test_references_are_named_by_iteration_subset_class_and_the_fold_left_out(subset, k, without, name, tmp_path):
    path = FOLDER.map(7, subset, "reference", k, without)
    assert str(path.relative_to("run")) == name
    here = RunFolder(tmp_path)
    here.iteration(7).mkdir()
    here.map(7, subset, "reference", k, without).touch()
    for other in ("run_it017_class001.mrc", "run_it007_half1_class001_angdist.bild", "run_class001.mrc"):
        (tmp_path / other).touch()
    assert here.present_references(7) == [tmp_path / name]


def test_maps_of_the_end_are_named_as_by_relion():
    names = [path.name for path in FOLDER.final_maps(HALVES, 1)]
    assert names == ["run_half1_class001_unfil.mrc", "run_half2_class001_unfil.mrc", "run_class001.mrc"]
    assert [path.name for path in FOLDER.final_maps((Subset.ALL,), 2)] == ["run_class001.mrc", "run_class002.mrc"]
    assert len(FOLDER.final_maps(HALVES, 3)) == 9


@pytest.mark.parametrize(
    ("n", "kind", "without"),
    [(None, "reference", None), (3, "final", None), (3, "unfiltered", None), (None, "final", 1)],
)
def test_a_map_that_cannot_be_is_not_named(n, kind, without):
    with pytest.raises(ValueError, match="references belong to an iteration"):
        FOLDER.map(n, Subset.FIRST, kind, 0, without)


def test_each_fold_has_sums_of_its_own():
    names = [path.name for path in FOLDER.reduced(3, Subset.ALL, 3)]
    assert names == ["all_sums.npz", "all_sums_fold1.npz", "all_sums_fold2.npz", "all_statistics.npz"]
    assert [path.name for path in FOLDER.reduced(3, Subset.SECOND, 1)] == ["half2_sums.npz", "half2_statistics.npz"]
