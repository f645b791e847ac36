"""Are the classes real? Images in closed form of two kinds of particles, and of one."""

import json
from dataclasses import replace

import numpy as np
import pytest
from blob_set import BOX, PIXEL
from two_kinds import DIAMETER, write_two_kinds

from blush.classes.given_poses import ClassSettings, Division
from blush.classes.merging import Estimate
from blush.classes.verify import verify_classes
from blush.cli.main import main
from blush.errors import BlushError
from blush.fourier.mask import soft_sphere
from blush.io.mrc import read_volume
from blush.io.particles import read_particles
from blush.io.star import read_star, write_star
from blush.jobs.verify_classes import Verification, verify


def settings(**changes):
    return ClassSettings(
        **{"n_classes": 2, "particle_diameter_angst": DIAMETER, "resolution_limit_angst": 18} | changes
    )


def found_in(star, iterations=6, labels=None, **changes):
    particles, blocks = read_particles(star)
    own = np.asarray(blocks["particles"]["rlnClassNumber"], dtype=np.int64) if labels is None else labels
    mask = soft_sphere(BOX, 13, 3)
    return verify_classes(particles, own, settings(iterations=iterations, **changes), mask)


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    """Two kinds of particles, 40 % of the second."""
    return write_two_kinds(tmp_path_factory.mktemp("mixture"), 240, 0.4, noise=4.0)


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["blush", "classes", "verify", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code


def test_two_kinds_are_told_with_the_truth_about_every_image(mixture, tmp_path, monkeypatch, capsys):
    out = tmp_path / "verified"
    assert run(monkeypatch, mixture, "--diameter", DIAMETER, "--resolution", 18, "--output", out) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("All 2 classes are supported: they predict unseen images better than one (+")
    content = json.loads((out / "classes_verified.json").read_text())
    assert content["verdict"] == told[0]
    assert content["supported_classes"] == content["n_classes"] == 2
    assert content["agreement_between_halves"]["value"] > 0.8
    assert content["agreement_of_given_labels"]["low"] > 0.7  # given labels are the truth
    assert content["gain"]["z"] > 5
    assert {one["given_class"] for one in content["classes"]} == {1, 2}
    second = next(one for one in content["classes"] if one["given_class"] == 2)
    assert second["one_with"] == [second["class"]]
    assert second["found_again"]
    difference, pixel = read_volume(out / "difference_class001_class002.mrc")
    assert (difference.shape, pixel) == ((BOX, BOX, BOX), PIXEL)
    (curve,) = content["differences"]
    assert np.mean(curve["fsc"][1:5]) > 0.5


def test_one_kind_is_not_two(tmp_path):
    """The given labels, drawn by lot, are of nothing that the images know."""
    star = write_two_kinds(tmp_path, 240, 0.0, noise=4.0)
    drawn = np.random.default_rng(5).integers(3, 5, 240)
    found = found_in(star, labels=drawn)
    assert found.verdict.startswith("Not supported: 2 classes predict unseen images no better than one")
    assert (found.n_supported, found.group(0)) == (1, [1, 2])
    assert found.gain.mean < 0.02
    assert max(found.evidence) < 0
    assert found.given.value < 0.05
    assert all(abs(one.correlation) < 0.5 for one in found.differences)


def test_images_do_not_stay_where_they_were_drawn(tmp_path):
    """One kind of particle: maps that hold an image's own noise would keep three of four images where they are."""
    particles, _ = read_particles(write_two_kinds(tmp_path, 160, 0.0, noise=4.0))
    work = Division(particles, np.arange(160), settings(iterations=1), soft_sphere(BOX, 13, 3))
    found = work.run(lambda done, total: None)
    assert 0.3 < np.mean(found.labels == work.first) < 0.65


def test_a_class_too_many_is_merged(mixture):
    found = found_in(mixture, n_classes=3)
    assert found.evidence[0] > found.evidence[1] > 100
    assert found.n_supported == 2
    assert found.verdict.startswith("2 of 3 classes are supported")
    assert sorted(len(one) for one in found.supported) == [1, 2]


def test_evidence_of_all_images_stands_where_halves_do_not_find_the_same(mixture):
    found = found_in(mixture)
    lost = replace(found, gain_supported=Estimate(0.1, 0.1, found.n_images))
    assert (lost.n_supported, lost.group(1)) == (2, [1, 2])
    assert lost.verdict.startswith("All 2 classes are supported by evidence alone: all images together speak for 2 (")
    weak = replace(lost, evidence=[4.6])  # ln 100 is 4.605
    assert weak.n_supported == 1
    assert weak.verdict.startswith("Not supported")


def test_the_same_seed_gives_the_same_verdict_and_copies_stay_together(tmp_path):
    """Every image twice, as symmetry expansion lists it: neither halves nor errors see more images."""
    star = write_two_kinds(tmp_path, 120, 0.4, noise=4.0)
    table = read_star(star)
    twice = {name: np.concatenate([column, column]) for name, column in table["particles"].items()}
    write_star(tmp_path / "twice.star", table | {"particles": twice})
    found = found_in(tmp_path / "twice.star", iterations=2)
    half = np.zeros(240)
    half[found.rows[: len(found.rows) // 2]] = 1
    np.testing.assert_array_equal(half[:120], half[120:])
    again = found_in(tmp_path / "twice.star", iterations=2)
    assert found.content() == again.content()
    assert found.evidence == pytest.approx(found_in(star, iterations=2).evidence, rel=1e-6)
    assert (found.labels[np.argsort(found.rows)[:120]] == found.labels[np.argsort(found.rows)[120:]]).all()


def test_what_a_class_number_is_worth_without_classes_or_size(mixture, tmp_path):
    with pytest.raises(BlushError, match=r"nothing says how large the particle is; add --diameter"):
        verify(mixture, Verification())
    table = read_star(mixture)
    table["particles"]["rlnClassNumber"][:] = 1
    stacks = {"rlnImageName": [f"{name.split('@')[0]}@{mixture.parent}/images.mrcs" for name in
                               table["particles"]["rlnImageName"]]}  # fmt: skip
    write_star(tmp_path / "one.star", table | {"particles": table["particles"] | stacks})
    with pytest.raises(BlushError, match=r"rlnClassNumber: has no classes to verify .found 1.; give .* --classes 2 to"):
        verify(tmp_path / "one.star", Verification(particle_diameter_angst=DIAMETER))
    wanted = Verification(particle_diameter_angst=DIAMETER, classes=2, images=40, symmetry="Q7")
    with pytest.raises(BlushError, match=r"too few images for halves and folds") as refused:
        verify(tmp_path / "one.star", wanted)
    assert "--symmetry" in str(refused.value)


def test_a_folder_without_a_classification_is_refused(tmp_path):
    with pytest.raises(BlushError, match="is no folder of a classification; give the folder of a run or of RELION's"):
        verify(tmp_path, Verification())


def test_size_and_symmetry_are_read_from_the_optimiser_table(mixture, tmp_path):
    """Found by folder, by its own name, and beside the particle table; here it says what cannot be: K = 1 image."""
    job = mixture.parent
    write_star(job / "run_it004_sampling.star", {"sampling_general": {"rlnSymmetryGroup": "C3"}})
    general = {
        "rlnParticleDiameter": 0.0,
        "rlnOrientSamplingStarFile": "run_it004_sampling.star",
        "rlnExperimentalDataStarFile": "run_it004_data.star",
    }
    (job / "run_it004_data.star").write_bytes(mixture.read_bytes())
    write_star(job / "run_it004_optimiser.star", {"optimiser_general": general})
    for place in (job, job / "run_it004_optimiser.star", job / "run_it004_data.star"):
        with pytest.raises(BlushError, match="does not say diameter and symmetry"):
            verify(place, Verification())
    write_star(job / "run_it004_optimiser.star", {"optimiser_general": general | {"rlnParticleDiameter": 100.0}})
    for place in (job, job / "run_it004_optimiser.star", job / "run_it004_data.star"):
        with pytest.raises(BlushError, match="too few images"):  # and nothing else is missing
            verify(place, Verification(images=40))
