"""Whole mixtures on disk: classes, their maps, and images that are what the truth says."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import digest
from typer.testing import CliRunner

from blush.cli.main import app
from blush.errors import BlushError
from blush.fourier.filter import low_pass
from blush.fourier.fsc import fsc
from blush.io.mrc import read_volume
from blush.io.particles import read_particles
from blush.io.star import read_star, write_star
from blush.simulate.acquisition import draw_acquisition
from blush.simulate.images import clean_images
from blush.simulate.mixture import Mixture, build_mixture
from blush.simulate.mixture_images import MixtureImages
from blush.simulate.particle_set import simulate
from blush.simulate.settings import SimulateConfig, load_settings
from blush.simulate.slices import Slicer

ROOT = Path(__file__).parents[2]
MISSING = {"change": "remove", "select": {"chains": ["A", "I"], "copies": [1]}}
NAMES = ["whole", "missing", "junk_noise", "junk_blobs", "junk_edges", "junk_off_centre", "junk_broken"]


SMALL = {"chains": ["I"]}
"""Eight small subunits alone: a fifth of the atoms."""


def settings(output: Path, **changes) -> SimulateConfig:
    content = {
        "species": [
            {"name": "whole", "fraction": 0.6},
            {"name": "missing", "fraction": 0.4, "changes": [MISSING]},
        ],
        "junk": dict.fromkeys(["noise", "blobs", "edges", "off_centre", "broken"], 0.1),
        "imaging": {"n_particles": 60, "box_px": 32, "pixel_size_angst": 5.5, "particles_per_micrograph": 25},
        "noise": {"snr": 4},
        "particle_diameter_angst": 145,
        "output": output,
    }
    return SimulateConfig.model_validate(content | changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return simulate(settings(tmp_path_factory.mktemp("mixture"))).parent


def volume(path: Path) -> torch.Tensor:
    return torch.from_numpy(read_volume(path)[0])


@pytest.fixture(scope="module")
def truth(made):
    return read_star(made / "truth.star")["particles"]


@pytest.fixture(scope="module")
def shown(made) -> MixtureImages:
    return MixtureImages(build_mixture(settings(made)), settings(made))


@pytest.fixture(scope="module")
def clean(shown) -> torch.Tensor:
    """Noise-free images of the set; the variance of a particle's image is said to be 7."""
    return torch.cat([shown.micrograph(number, 7.0) for number in range(3)])


def test_classes_are_counted_and_named(made, truth):
    """Half of 60 are junk, 6 of each kind; 18 and 12 of the others."""
    counts = [18, 12, 6, 6, 6, 6, 6]
    assert np.bincount(truth["rlnClassNumber"])[1:].tolist() == counts
    assert [NAMES[k - 1] for k in truth["rlnClassNumber"]] == list(truth["blushClassName"])
    classes = json.loads((made / "simulation.json").read_text())["derived"]["classes"]
    assert [(c["name"], c["number"], c["count"]) for c in classes] == list(zip(NAMES, range(1, 8), counts, strict=True))
    assert [c["junk"] for c in classes] == [False] * 2 + [True] * 5
    assert [c["symmetry"] for c in classes[:2]] == ["D4", "C1"]
    assert classes[1]["n_atoms"] == classes[0]["n_atoms"] * 7 // 8


def test_the_particle_table_says_nothing_of_the_truth(made, truth):
    table = read_star(made / "particles.star")["particles"]
    assert sorted(set(truth) - set(table)) == sorted(
        [
            *("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst"),
            *("rlnRandomSubset", "rlnClassNumber", "blushClassName"),
        ]
    )
    assert all((truth[name] == column).all() for name, column in table.items())
    assert not any(word in (made / "particles.star").read_text() for word in NAMES)
    # Neither does the order of the images: both classes are in every stack.
    sound = truth["rlnClassNumber"] <= 2
    assert {(m, k) for m, k in zip(truth["rlnMicrographName"][sound], truth["rlnClassNumber"][sound], strict=True)} == {
        (f"micrograph000{m}.mrc", k) for m in (1, 2, 3) for k in (1, 2)
    }


def test_maps_are_those_of_the_classes(made):
    first, second, mean = (volume(made / f"true_map{k}.mrc") for k in ("_class001", "_class002", ""))
    torch.testing.assert_close(mean, 0.6 * first + 0.4 * second)
    torch.testing.assert_close(volume(made / "reference.mrc"), low_pass(mean, 40, 5.5), atol=1e-5, rtol=1e-4)
    masks = [volume(made / f"mask{k}.mrc") for k in ("", "_class001", "_class002")]
    assert torch.equal(masks[0], torch.maximum(masks[1], masks[2]))
    difference, focus = (first - second).square(), volume(made / "focus_mask.mrc")
    assert float((difference * focus).sum() / difference.sum()) > 0.95  # the rest rings, cut off at 11 Å
    assert float(focus.sum()) < 0.3 * float(masks[0].sum())
    assert abs(float(first.sum() / second.sum()) - 8 / 7) < 0.02
    listed = read_star(made / "true_classes.star")["model_classes"]
    assert list(listed["rlnReferenceImage"]) == ["true_map_class001.mrc", "true_map_class002.mrc"]
    assert listed["rlnClassDistribution"].tolist() == [0.6, 0.4]


def test_every_sound_image_is_nearest_to_the_projection_of_its_class(made, truth, shown):
    chosen, mixture = shown.settings, shown.mixture
    seen = draw_acquisition(chosen)
    scale = json.loads((made / "simulation.json").read_text())["derived"]["grey_scale"]
    images = torch.from_numpy(read_particles(made / "particles.star")[0].images())
    clean = [scale * clean_images(Slicer(k.states[0].spectrum), seen, chosen.imaging) for k in mixture.kinds]
    torch.testing.assert_close(volume(made / "true_map_class002.mrc"), scale * mixture.kinds[1].volume())
    distance = torch.stack([(images - c).square().sum((1, 2)) for c in clean], 1)
    sound = truth["rlnClassNumber"] <= 2
    assert np.array_equal(distance.argmin(1).numpy()[sound] + 1, truth["rlnClassNumber"][sound])
    # Noise holds none of the particle: slope 0 with a standard error of 1 / norm, twice that for its colour.
    noise = truth["blushClassName"] == "junk_noise"
    slope = (images * clean[0]).sum((1, 2)) / clean[0].square().sum((1, 2))
    error = 2 / clean[0].square().sum((1, 2)).sqrt()
    assert (slope.abs() < 5 * error)[noise].all()
    assert (slope > 0.8)[truth["rlnClassNumber"] == 1].all()


def test_junk_has_no_part_in_the_grey_scale(made):
    """As if nothing were junk: of nothing but noise, the variance is that of its would-be species."""
    variances = []
    for junk in ({}, {"noise": 1.0}):
        chosen = settings(made, junk=junk, species=[], specimen=SMALL)
        variances.append(MixtureImages(build_mixture(chosen), chosen).signal_variance(14.0))
    assert variances[0] == variances[1] > 0


def test_off_centre_particles_are_where_their_origin_says(made, truth, clean):
    rows = truth["blushClassName"] == "junk_off_centre"
    origin = np.stack([truth["rlnOriginXAngst"], truth["rlnOriginYAngst"]], 1)
    drawn = draw_acquisition(settings(made)).origin_angst.numpy()
    distance = np.linalg.norm(origin - drawn, axis=1)
    assert (distance[~rows] < 1e-5).all()
    assert ((distance > 0.3 * 145 - 1e-5) & (distance < 0.6 * 145 + 1e-5))[rows].all()
    images = clean[torch.from_numpy(rows)]
    axis = torch.arange(32) - 16.0
    weight = images.clamp(min=0).sum((1, 2))
    middle = torch.stack([(images.clamp(min=0) * g).sum((1, 2)) / weight for g in (axis, axis[:, None])], 1)
    toward = torch.nn.functional.cosine_similarity(middle.double(), torch.from_numpy(-origin[rows]), dim=1)
    assert toward.min() > 0.9


def test_broken_particles_are_pieces(truth, shown, clean):
    mixture = shown.mixture
    assert len(mixture.fragments) == 4
    sizes = [k.states[0].n_atoms for k in mixture.kinds]
    for number, fragment in enumerate(mixture.fragments):
        assert 0.29 < fragment.n_atoms / sizes[number % 2] < 0.71
    total = clean.clamp(min=0).sum((1, 2)).numpy()
    broken = total[truth["blushClassName"] == "junk_broken"]
    assert broken.min() > 0
    assert broken.mean() < 0.8 * total[truth["rlnClassNumber"] == 1].mean()


def test_blobs_and_edges_have_the_strength_asked_for(truth, clean):
    variance = clean.flatten(1).var(dim=1, correction=0).numpy() / 7
    for name in ("junk_blobs", "junk_edges"):
        rows = truth["blushClassName"] == name
        assert ((variance > 0.5 - 1e-3) & (variance < 3 + 1e-3))[rows].all()
    noise = truth["blushClassName"] == "junk_noise"
    assert (variance[noise] == 0).all()


def test_the_same_settings_give_the_same_bytes(made, tmp_path):
    simulate(settings(tmp_path))
    assert digest(tmp_path) == digest(made)


def test_a_smaller_set_is_the_beginning_where_images_are_drawn(tmp_path):
    imaging = settings(tmp_path).imaging.model_dump()
    for count in (60, 30):
        changed = {"imaging": imaging | {"n_particles": count}, "counts": "drawn", "specimen": SMALL, "species": []}
        simulate(settings(tmp_path / str(count), **changed))
    large, small = (read_particles(tmp_path / name / "particles.star")[0] for name in ("60", "30"))
    np.testing.assert_array_equal(large.take(list(range(25))).images(), small.take(list(range(25))).images())
    # The second micrograph holds 5 instead of 25 images: others are rounded together.
    np.testing.assert_allclose(large.take(list(range(30))).images(), small.images(), atol=1e-6, rtol=1e-6)
    classes = [read_star(tmp_path / name / "truth.star")["particles"]["rlnClassNumber"] for name in ("60", "30")]
    np.testing.assert_array_equal(classes[0][:30], classes[1])


def test_poses_are_those_of_the_plain_set_of_the_same_seed(made, truth):
    drawn = draw_acquisition(settings(made, species=[], junk={}))
    np.testing.assert_allclose(truth["rlnAngleTilt"], drawn.euler_deg[:, 1].numpy(), atol=1e-5)


def test_several_angles_are_classes_and_a_range_is_one(tmp_path):
    turn = {"change": "rotate", "select": {"chains": ["I"], "copies": [1]}, "axis": [0, 0, 1], "through": [0, 0, 0]}
    species = [
        {"name": "hinge", "fraction": 0.6, "changes": [turn | {"angle_deg": [0, 10, 20]}]},
        {"name": "motion", "fraction": 0.4, "changes": [turn | {"angle_deg": {"first": 0, "last": 20, "steps": 3}}]},
    ]
    chosen = settings(tmp_path, species=species, junk={}, specimen=SMALL)
    mixture = build_mixture(chosen)
    assert [(k.name, round(k.fraction, 9)) for k in mixture.kinds] == [
        ("hinge_1", 0.2),
        ("hinge_2", 0.2),
        ("hinge_3", 0.2),
        ("motion", 0.4),
    ]
    maps = [kind.volume() for kind in mixture.kinds]
    torch.testing.assert_close(maps[3], torch.stack(maps[:3]).mean(0))
    simulate(chosen)
    table = read_star(tmp_path / "truth.star")["particles"]
    moving = table["rlnClassNumber"] == 4
    assert set(table["blushHingeAngle"][moving]) == {0, 10, 20}
    assert set(table["blushHingeAngle"][~moving]) == {0}
    shown = MixtureImages(mixture, chosen)
    images = torch.cat([shown.micrograph(number, 1.0) for number in range(3)])
    expected = clean_images(Slicer(mixture.kinds[2].states[0].spectrum), shown.seen, chosen.imaging)
    last = torch.from_numpy(np.flatnonzero(moving & (table["blushHingeAngle"] == 20)))
    torch.testing.assert_close(images[last], expected[last])


def test_unequal_boxes_are_refused(shown):
    kind = shown.mixture.kinds[0]
    other = replace(kind, states=(replace(kind.states[0], box_px=48),))
    with pytest.raises(BlushError, match="boxes differ"):
        Mixture((kind, other), (), None)


def test_a_species_that_does_not_fit_is_refused(tmp_path):
    turn = {"change": "rotate", "select": {"copies": [1]}, "axis": [0, 0, 1], "through": [70, 70, 0], "angle_deg": 180}
    species = [{"name": "far", "fraction": 1, "changes": [turn]}]
    with pytest.raises(BlushError, match="too small for a model"):
        simulate(settings(tmp_path, species=species))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("species: [{name: a, fraction: 0.5}, {name: b, fraction: 0.4}]", "add up to 0.9 instead of 1"),
        ("species: [{name: a, fraction: 0.5}, {name: a, fraction: 0.5}]", "a names two species"),
        ("species: [{name: a b, fraction: 1}]", "species.0.name"),
        ("junk: {noise: 0.7, edges: 0.6}", "more than all images"),
        ("junk: {strength_min: 4}", "strength_min is over strength_max"),
        (
            "species: [{name: a, fraction: 1, changes: [{change: rotat}]}]",
            r"species.0.changes.0: 'change' has to be one of .*'rotate'.*found 'rotat'\); did you mean rotate\?",
        ),
        (
            "species: [{name: a, fraction: 1, changes: [{change: remove, select: {residue: [[3, 9]]}}]}]",
            r"species.0.changes.0.select.residue: is no setting",
        ),
        (
            "species: [{name: a, fraction: 1, changes: [{change: rotate, select: {}, axis: [0, 0, 0], "
            "through: [0, 0, 0], angle_deg: 3}]}]",
            "points nowhere",
        ),
        (
            "species: [{name: a, fraction: 1, changes: [{change: rotate, select: {}, axis: [0, 0, 1], angle_deg: 3}]}]",
            "through is missing",
        ),
        (
            "species: [{name: a, fraction: 1, changes: [{change: remove, select: {residues: [[9, 3]]}}]}]",
            r"write \[3, 9\]",
        ),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(BlushError, match=message):
        load_settings(tmp_path / "wrong.yaml")


def test_models_of_species_are_found_beside_the_file(tmp_path):
    text = "species: [{name: a, fraction: 1, specimen: {model: a.pdb}}]\n"
    (tmp_path / "run.yaml").write_text(text)
    [species] = load_settings(tmp_path / "run.yaml").species
    assert species.specimen.model == tmp_path / "a.pdb"


def test_the_shipped_mixture_works_and_the_command_counts_its_classes(tmp_path):
    command = ["simulate", str(ROOT / "config/simulate_mixture.yaml"), "--out", str(tmp_path), "--particles", "20"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "whole 11, without_small 7, junk_noise 1, junk_off_centre 1" in done.output


def test_the_circle_of_the_background_holds_every_species(tmp_path):
    turn = {"change": "rotate", "select": {"copies": [1]}, "axis": [0, 0, 1], "through": [25, -25, 0], "angle_deg": 70}
    species = [{"name": "whole", "fraction": 0.5}, {"name": "open", "fraction": 0.5, "changes": [turn]}]
    chosen = settings(tmp_path, species=species, junk={}, particle_diameter_angst=None, specimen=SMALL)
    mixture = build_mixture(chosen)
    sizes = [kind.states[0].diameter_angst for kind in mixture.kinds]
    assert mixture.diameter_angst == max(sizes) > min(sizes)


def test_the_mixtures_of_the_benchmarks_are_valid():
    """What they need of models is not here; their settings are."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from class_sets import MOLECULES
        from mixtures import MIXTURES
    finally:
        sys.path.pop(0)
    assert len(MIXTURES) >= 9
    assert len(set(MOLECULES)) == 40
    assert not {*MOLECULES} & {one["specimen"]["model"] for one in MIXTURES.values()}
    for name, content in MIXTURES.items():
        chosen = SimulateConfig.model_validate(content)
        assert chosen.is_mixture, name
        assert name.startswith("mixture_")


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_reconstruct") is None, reason="RELION 3.1.3 is not on PATH")
def test_relion_finds_the_map_of_a_class_from_its_rows(tmp_path):
    """The rows of class 2 rebuild true_map_class002, in the mask of what differs too, and not that of class 1."""
    simulate(settings(tmp_path, imaging=settings(tmp_path).imaging.model_dump() | {"n_particles": 300}, junk={}))
    blocks = read_star(tmp_path / "truth.star")
    rows = blocks["particles"]["rlnClassNumber"] == 2
    blocks["particles"] = {name: column[rows] for name, column in blocks["particles"].items()}
    del blocks["particles"]["blushClassName"]
    write_star(tmp_path / "second.star", blocks)
    command = ["relion_reconstruct", "--i", "second.star", "--o", "found.mrc", "--ctf"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    found, first, second, mask = (
        volume(tmp_path / name)
        for name in ("found.mrc", "true_map_class001.mrc", "true_map_class002.mrc", "focus_mask.mrc")
    )
    shells = slice(2, 12)
    assert fsc(found, second)[shells].min() > 0.9
    difference, expected = (found - first) * mask, (second - first) * mask
    assert fsc(difference, expected)[shells].min() > 0.7
    slope = float((difference * expected).sum() / expected.square().sum())
    assert slope == pytest.approx(1, abs=0.15)
