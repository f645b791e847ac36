"""What is wrong with the input of a classification is told at import: all at once, by file, value and remedy."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from blush.errors import BlushError
from blush.io.mrc import read_volume, write_volume
from blush.io.star import read_star, write_star
from blush.jobs import steps
from blush.jobs.class_inputs import check_folds
from blush.jobs.importing import check_run
from blush.jobs.layout import RunFolder


@pytest.fixture
def make_classes(make_config, simulated, tmp_path):
    """Configuration of a classification at the true poses; the first dictionary changes its section."""

    def make(classification, **changes):
        given = {"job": "classify", "particles": simulated / "truth.star"} | changes
        return make_config(tmp_path / "out", classification=classification, **given)

    return make


@pytest.fixture
def maps(tmp_path):
    """Writes maps by name; gives their paths."""

    def write(pixel=6.5, **volumes):
        for name, volume in volumes.items():
            write_volume(tmp_path / f"{name}.mrc", volume.astype(np.float32), pixel)
        return [tmp_path / f"{name}.mrc" for name in volumes]

    return write


def lumps(seed: int, box: int = 32) -> np.ndarray:
    """Density without any symmetry, about 12 voxels wide."""
    points = np.zeros((box, box, box))
    at = np.random.default_rng(seed).integers(-6, 7, (12, 3)) + box // 2
    points[tuple(at.T)] = np.random.default_rng(seed).uniform(0.5, 1.5, 12)
    return gaussian_filter(points, 1.5)


def texts(problems) -> list[str]:
    return [str(problem) for problem in problems]


def table(simulated, tmp_path, **columns):
    """The true table with more columns; the path of a copy beside links to the stacks."""
    blocks = read_star(simulated / "truth.star")
    blocks["particles"] = blocks["particles"] | columns
    if not (tmp_path / "stacks").exists():
        (tmp_path / "stacks").symlink_to(simulated / "stacks")
    write_star(tmp_path / "labelled.star", blocks)
    return tmp_path / "labelled.star"


def test_good_input_is_not_spoken_of_but_for_its_size(make_classes):
    found = check_run(make_classes({"classes": 2}))
    assert found.problems == []
    (warning,) = texts(found.warnings)
    assert "has fewer than 100 images for a class (found 48 for 2 classes); use at most 1 classes" in warning


def test_all_mistakes_are_told_at_once(make_classes, simulated, maps, tmp_path):
    (flat,), (small,) = maps(flat=np.ones((32, 32, 32))), maps(7.0, small=lumps(1, 16))
    config = make_classes(
        {"references": [flat, small, tmp_path / "gone.mrc"], "search": "local", "folds": 10},
        particles=simulated / "particles.star", mask=flat,
    )  # fmt: skip
    with pytest.raises(BlushError) as refused:
        steps.import_run(config)
    said = str(refused.value)
    for mistake in (
        "flat.mrc, reference of class 1 values: reference of class 1 is constant (found 1); give a map with density",
        "small.mrc, header: reference of class 2 is 112 Å wide, and the particle 170 Å",
        "gone.mrc: file does not exist",
        "classification.search: has no poses (found local); use classification.search: global",
        "mask is constant",
    ):
        assert mistake in said
    assert not (tmp_path / "out").exists()


def test_a_regulariser_needs_halves(make_classes):
    config = make_classes(
        {"classes": 2, "prior": "spectrum", "folds": 1, "start_from": "random"}, regulariser={"name": "none"}
    )
    (problem,) = texts(check_run(config).problems)
    assert problem.startswith("regulariser.name: needs two halves of the images")
    assert check_run(make_classes({"classes": 2}, regulariser={"name": "none"})).problems == []


def test_too_few_images_for_folds_and_classes_are_refused(make_classes):
    (problem,) = texts(check_run(make_classes({"classes": 7, "folds": 8})).problems)
    assert "has too few images (found 48 for 7 classes in 8 folds); give more images, or fewer classes" in problem


def test_references_of_another_box_are_resampled_each(make_classes, maps):
    config = make_classes({"references": maps(one=np.pad(lumps(1), 4), other=lumps(2))})
    assert check_run(config).problems == []
    steps.import_run(config)
    folder = RunFolder(config.run_dir)
    for k, seed in ((0, 1), (1, 2)):
        volume, pixel = read_volume(folder.first_map(k))
        assert volume.shape == (32, 32, 32)
        assert pixel == pytest.approx(6.5)
        np.testing.assert_allclose(volume, lumps(seed), atol=1e-4 * lumps(seed).max())


@pytest.mark.parametrize("scale", [1, 3])
def test_two_references_that_are_one_map_are_refused(scale, make_classes, maps):
    paths = maps(one=lumps(1), other=lumps(2), again=scale * lumps(1) + 0.1)
    (problem,) = texts(check_run(make_classes({"references": paths})).problems)
    assert "again.mrc, classification.references: is the same map as one.mrc after the first filter" in problem
    assert "(found classes 1 and 3)" in problem


def test_maps_that_differ_beyond_the_first_filter_alone_are_one_map(make_classes, maps):
    """At 32 px and 6.5 Å a checkerboard is at Nyquist, 13 Å; the filter is at 40 Å."""
    checks = 0.05 * lumps(1) * (np.indices((32, 32, 32)).sum(0) % 2 - 0.5)
    paths = maps(one=lumps(1), fine=lumps(1) + checks)
    assert "would never part" in str(*check_run(make_classes({"references": paths})).problems)


@pytest.mark.parametrize("axes", [(0,), (2,), (0, 1, 2)])
def test_a_reference_of_the_other_hand_is_warned_of(axes, make_classes, maps):
    variant = lumps(1) + 0.2 * lumps(3)
    mirrored = np.roll(np.flip(variant, axes), [1] * len(axes), axes)
    found = check_run(make_classes({"references": maps(one=lumps(1), mirrored=mirrored)}))
    assert found.problems == []
    (warning,) = [text for text in texts(found.warnings) if "mirrored" in text]
    assert "mirrored.mrc, classification.references: is more like one.mrc when it is mirrored" in warning


@pytest.mark.parametrize("other", [lumps(1) + 0.2 * lumps(3), lumps(2), lumps(1)[::-1, ::-1]])
def test_variants_strangers_and_maps_turned_over_are_of_no_other_hand(other, make_classes, maps):
    found = check_run(make_classes({"references": maps(one=lumps(1), other=other)}))
    assert not [text for text in texts(found.warnings) if "hand" in text]


def test_labels_have_to_be_those_of_the_classes(make_classes, simulated, tmp_path):
    where = {"classes": 3, "start_from": "labels"}
    (problem,) = texts(check_run(make_classes(where)).problems)
    assert "truth.star, data_particles: has no rlnClassNumber to start from; use classification.start_from: random" in (
        problem
    )
    for first, last in ((1, 4), (0, 2)):
        star = table(simulated, tmp_path, rlnClassNumber=np.arange(48) % (last + 1 - first) + first)
        (problem,) = texts(check_run(make_classes(where, particles=star)).problems)
        assert "labelled.star, data_particles, rlnClassNumber: numbers classes beyond those asked for" in problem
        assert f"(found {first} to {last}, for 3 classes); set classification.classes to {last}" in problem


def test_a_class_without_labels_is_warned_of(make_classes, simulated, tmp_path):
    star = table(simulated, tmp_path, rlnClassNumber=np.arange(48) % 2 * 2 + 1)
    found = check_run(make_classes({"classes": 3, "start_from": "labels"}, particles=star))
    assert found.problems == []
    assert any("gives some classes no image" in text and "(found 2)" in text for text in texts(found.warnings))


def test_folds_that_copies_make_unequal_are_warned_of():
    plan = {"operators": np.eye(3)[None], "rows_all": np.arange(48), "edges_all": np.array([0, 20, 30, 39, 48])}
    (warning,) = check_folds(plan | {"folds_all": np.arange(4)})
    assert "folds of all differ in size" in str(warning)
    assert "(found 9 to 20 rows)" in str(warning)
    even = plan | {"edges_all": np.array([0, 6, 12, 24, 37, 48]), "folds_all": np.array([0, 0, 1, 2, 3])}
    assert check_folds(even) == []


def test_classes_of_a_refinement_are_told_to_be_unused(make_config, tmp_path):
    (warning,) = texts(check_run(make_config(tmp_path, classification={"classes": 4})).warnings)
    assert "classification: describes classes, and the job makes none (found refine); set job: classify" in warning
    assert check_run(make_config(tmp_path)).warnings == []
