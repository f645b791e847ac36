"""Sources of a subtraction in RELION's tables: maps of every class, scales of groups, and what may be wrong."""

import dataclasses

import numpy as np
import pytest
from blob_set import BOX, KEPT, OTHER, PIXEL, volume, write_blob_set

from blush.errors import BlushError
from blush.io.mrc import write_stack, write_volume
from blush.io.particles import read_particles
from blush.io.star import read_star, write_star
from blush.jobs.subtract import Subtraction, subtract
from blush.jobs.subtracted_table import revert
from blush.refine.subset import Subset

N = 24
SCALES = {3: 0.5, 5: 1.5}


@pytest.fixture
def classified(tmp_path):
    """Two classes, one of them with a map of half the height, and images to match; groups 3 and 5 of unlike contrast.

    Images of group g and class k are scale_g x height_k x norm / average of what the full map predicts.
    """
    classes, groups = np.arange(N) % 2 + 1, np.where(np.arange(N) % 3 == 0, 3, 5)
    norm = np.where(np.arange(N) % 4 == 0, 1.2, 0.9)
    columns = {"rlnClassNumber": classes, "rlnGroupNumber": groups, "rlnNormCorrection": norm}
    data = write_blob_set(tmp_path, N, **columns)
    height = np.array([1.0, 0.5])[classes - 1]
    each = (height * np.where(groups == 3, 0.5, 1.5) * norm / 2.0)[:, None, None]
    write_stack(tmp_path / "images.mrcs", ((data.kept + data.other) * each).astype(np.float32), PIXEL)
    blocks = read_star(data.star)
    del blocks["particles"]["rlnRandomSubset"]
    write_star(tmp_path / "run_it025_data.star", blocks)
    write_volume(tmp_path / "class1.mrc", volume(KEPT) + volume(OTHER), PIXEL)
    write_volume(tmp_path / "class2.mrc", 0.5 * (volume(KEPT) + volume(OTHER)), PIXEL)
    write_star(tmp_path / "model.star", model())
    names = {"rlnExperimentalDataStarFile": "run_it025_data.star", "rlnModelStarFile": "model.star"}
    write_star(tmp_path / "run_it025_optimiser.star", {"optimiser_general": names})
    return tmp_path, data.kept * each, data.other * each


def model(**changes):
    blocks = {
        "model_general": {"rlnNormCorrectionAverage": 2.0},
        "model_classes": {"rlnReferenceImage": ["class1.mrc", "class2.mrc"]},
        "model_groups": {"rlnGroupNumber": list(SCALES), "rlnGroupScaleCorrection": list(SCALES.values())},
    }
    return blocks | changes


def wanted(folder, **changes):
    return Subtraction(folder / "mask.mrc", folder / "out", **changes)


def test_every_class_loses_what_its_own_map_predicts(classified):
    folder, kept, other = classified
    particles, _ = read_particles(subtract(folder / "run_it025_optimiser.star", wanted(folder)))
    assert np.square(particles.images() - kept).sum() < 5e-4 * np.square(other).sum()
    assert len(list((folder / "out").glob("subtracted_class00[12]_0001.mrcs"))) == 2


def test_every_half_loses_what_its_own_class_predicts(classified):
    """Half 2's model has empty maps: its images stay as they are, to the bit."""
    folder, kept, other = classified
    blocks = read_star(folder / "run_it025_data.star")
    half = np.arange(N) // 2 % 2 + 1
    blocks["particles"]["rlnRandomSubset"] = half
    write_star(folder / "run_it025_data.star", blocks)
    write_volume(folder / "empty.mrc", 1e-30 * volume(KEPT), PIXEL)
    write_star(folder / "model2.star", model(model_classes={"rlnReferenceImage": ["empty.mrc"] * 2}))
    names = {"rlnModelStarFile": "model.star", "rlnModelStarFile2": "model2.star"}
    general = names | {"rlnExperimentalDataStarFile": "run_it025_data.star"}
    write_star(folder / "run_it025_optimiser.star", {"optimiser_general": general})
    before = read_particles(folder / "run_it025_data.star")[0].images()
    images = read_particles(subtract(folder / "run_it025_optimiser.star", wanted(folder)))[0].images()
    np.testing.assert_array_equal(images[half == 2], before[half == 2])
    assert np.square((images - kept)[half == 1]).sum() < 5e-4 * np.square(other[half == 1]).sum()
    assert len(list((folder / "out").glob("subtracted_half[12]_class00[12]_0001.mrcs"))) == 4


def test_one_map_for_all_classes_has_to_be_asked_for(classified):
    folder, _, _ = classified
    star = folder / "run_it025_data.star"
    with pytest.raises(BlushError, match="rows of several classes, but one map"):
        subtract(star, wanted(folder, maps=(folder / "class1.mrc",)))
    told = []
    subtract(star, wanted(folder, maps=(folder / "class1.mrc",), ignore_class=True), told.append)
    assert told[0].startswith("amplitude ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_groups": {"rlnGroupNumber": [3], "rlnGroupScaleCorrection": [1.0]}}, "groups without a scale"),
        ({"model_groups": {"rlnGroupNumber": [3, 5]}}, "data_model_groups, rlnGroupScaleCorrection: column is missing"),
        ({"model_groups": {"rlnGroupNumber": [3, 5], "rlnGroupScaleCorrection": [1.0, 0.0]}}, "must be above 0"),
        ({"model_classes": {"rlnReferenceImage": ["class1.mrc"]}}, "row 2: the model has 1 classes"),
        ({"model_classes": {"rlnReferenceImage": ["class1.mrc", "no.mrc"]}}, "names as rlnReferenceImage does not"),
        ({"model_general": {"rlnNrClasses": 2}}, "rlnNormCorrectionAverage: column is missing"),
    ],
)
def test_models_that_do_not_belong_to_the_particles_are_refused(classified, changes, message):
    folder, _, _ = classified
    write_star(folder / "model.star", model(**changes))
    with pytest.raises(BlushError, match=message):
        subtract(folder / "run_it025_optimiser.star", wanted(folder))
    assert not (folder / "out").exists()


def test_two_models_need_half_sets_and_two_maps_are_not_the_same(classified):
    folder, _, _ = classified
    names = dict.fromkeys(("rlnModelStarFile", "rlnModelStarFile2"), "model.star")
    general = names | {"rlnExperimentalDataStarFile": "run_it025_data.star"}
    write_star(folder / "run_it025_optimiser.star", {"optimiser_general": general})
    with pytest.raises(BlushError, match="has no half-sets"):
        subtract(folder / "run_it025_optimiser.star", wanted(folder))
    maps = (folder / "class1.mrc", folder / "class1.mrc")
    with pytest.raises(BlushError, match="is the same map as"):
        subtract(folder / "particles.star", wanted(folder, maps=maps, ignore_class=True))
    with pytest.raises(BlushError, match="is no folder of a refinement"):
        subtract(folder, wanted(folder))


def test_a_run_without_halves_is_read_from_its_tables(run, monkeypatch):
    from blush.jobs import subtraction_source

    plan = subtraction_source.read_plan(run)
    everything = dataclasses.replace(plan, subsets=(Subset.ALL,))
    monkeypatch.setattr(subtraction_source, "read_plan", lambda root: everything)
    with pytest.raises(BlushError, match=r"one map in two halves; give its _optimiser\.star"):
        subtract(run, wanted(run))


def test_priors_of_origins_move_along_and_files_of_the_detector_are_found(tmp_path):
    """A table written elsewhere names the detector's table by its absolute path; reverting moves priors back."""
    prior = np.linspace(-5, 5, N)
    data = write_blob_set(tmp_path / "project", N, rlnOriginXPriorAngst=prior, rlnOriginYPriorAngst=-prior)
    (data.folder / "mtf.star").write_text("data_\nloop_\n_rlnResolutionInversePixel\n_rlnMtfValue\n0 1\n0.5 0.4\n")
    blocks = read_star(data.star)
    blocks["optics"]["rlnMtfFileName"] = np.array(["mtf.star"], dtype=object)
    write_star(data.star, blocks)
    changes = {"maps": (data.folder / "map.mrc",), "scale": "given", "recentre": (4.0, 0.0, 0.0)}
    star = subtract(data.star, Subtraction(data.folder / "mask.mrc", tmp_path / "out", **changes))
    found = read_star(star)
    assert found["optics"]["rlnMtfFileName"][0] == str(data.folder / "mtf.star")
    for axis, sign in (("X", 1), ("Y", -1)):
        moved = found["particles"][f"rlnOrigin{axis}Angst"] - data.table[f"rlnOrigin{axis}Angst"]
        assert np.abs(moved).max() > 8
        np.testing.assert_allclose(found["particles"][f"rlnOrigin{axis}PriorAngst"], sign * prior + moved, atol=2e-6)
    back = read_star(revert(star, tmp_path / "back"))["particles"]
    np.testing.assert_allclose(back["rlnOriginXPriorAngst"].astype(float), prior, atol=2e-6)
    assert read_particles(star)[0].optics[0].box_px == BOX
