"""Whole sets on disk: what they hold, that they repeat, and that they agree with their truth."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from blush.cli.main import app
from blush.errors import BlushError
from blush.fourier.fsc import fsc
from blush.fourier.grid import radius_3d
from blush.io.mrc import map_stack, read_volume
from blush.io.particles import read_particles
from blush.io.star import read_star
from blush.simulate.acquisition import draw_acquisition
from blush.simulate.images import circle, clean_images
from blush.simulate.particle import build_particle
from blush.simulate.particle_set import simulate
from blush.simulate.settings import SimulateConfig, load_settings
from blush.simulate.slices import Slicer

SNR = 0.5


def settings(output, n_particles: int = 20, **changes) -> SimulateConfig:
    content = {
        "specimen": {"symmetry": "D4", "copies": "expand", "bfactor_angst2": 60},
        "imaging": {"n_particles": n_particles, "box_px": 32, "pixel_size_angst": 5.0, "particles_per_micrograph": 10},
        "noise": {"snr": SNR},
        "particle_diameter_angst": 145,
        "output": output,
    }
    for section, values in changes.items():
        content[section] = content[section] | values
    return SimulateConfig.model_validate(content)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    return simulate(settings(folder)).parent


def test_the_set_reads_back_as_particles_without_poses(made):
    particles, blocks = read_particles(made / "particles.star")
    assert len(particles) == 20
    assert not particles.has_poses
    assert not {"rlnAngleRot", "rlnOriginXAngst", "rlnRandomSubset"} & set(blocks["particles"])
    assert set(particles.group_index.tolist()) == {0, 1}
    assert particles.images().shape == (20, 32, 32)


def test_truth_has_the_same_rows_with_poses_and_halves(made):
    truth, blank = (read_star(made / name)["particles"] for name in ("truth.star", "particles.star"))
    for name, column in blank.items():
        assert (truth[name] == column).all()
    assert sorted(set(truth) - set(blank)) == sorted(
        ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst", "rlnRandomSubset"]
    )
    assert np.bincount(truth["rlnRandomSubset"]).tolist() == [0, 10, 10]


def test_same_settings_same_bytes_and_a_smaller_set_is_its_beginning(made, tmp_path):
    simulate(settings(tmp_path, n_particles=13))
    first, second = (f"stacks/micrograph000{number}.mrcs" for number in (1, 2))
    assert (tmp_path / first).read_bytes() == (made / first).read_bytes()
    np.testing.assert_array_equal(map_stack(tmp_path / second), map_stack(made / second)[:3])
    for name in ("true_map.mrc", "mask.mrc", "reference.mrc"):
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes()


def test_another_seed_gives_other_images(made, tmp_path):
    simulate(settings(tmp_path, n_particles=10).model_copy(update={"seed": 2}))
    stack = "stacks/micrograph0001.mrcs"
    assert not np.array_equal(map_stack(tmp_path / stack), map_stack(made / stack))


def test_half_precision_holds_the_same_images(made, tmp_path):
    simulate(settings(tmp_path, n_particles=10, imaging={"float16": True, "n_particles": 10}))
    stack = map_stack(tmp_path / "stacks/micrograph0001.mrcs")
    assert stack.dtype == np.float16
    np.testing.assert_allclose(stack, map_stack(made / "stacks/micrograph0001.mrcs"), atol=8 * 2.0**-11)


def test_images_are_the_true_map_projected_plus_noise_of_the_snr_asked_for(made):
    chosen = settings(made)
    particle, seen = build_particle(chosen), draw_acquisition(chosen)
    clean = clean_images(Slicer(particle.spectrum), seen, chosen.imaging)
    images = torch.from_numpy(read_particles(made / "particles.star")[0].images())
    scale = json.loads((made / "simulation.json").read_text())["derived"]["grey_scale"]
    true_map = torch.from_numpy(read_volume(made / "true_map.mrc")[0])
    torch.testing.assert_close(true_map, scale * particle.volume())
    # Noise has variance 1: the slope of images on projections has a standard error of 1 / norm (times the colour).
    slope = float((images * scale * clean).sum() / (scale * clean).square().sum())
    assert slope == pytest.approx(1, abs=0.1)
    inside = circle(32, 14.5)
    ratio = (scale * clean)[:, inside].var(dim=1).mean() / (images - scale * clean)[:, inside].var(dim=1).mean()
    assert float(ratio) == pytest.approx(SNR, rel=0.15)
    assert clean[:, inside].mean() > clean[:, ~inside].mean()  # bright on dark


def test_reference_is_the_true_map_without_detail(made):
    true_map, reference = (torch.from_numpy(read_volume(made / n)[0]) for n in ("true_map.mrc", "reference.mrc"))
    transforms = [torch.fft.rfftn(volume) for volume in (true_map, reference)]
    torch.testing.assert_close(transforms[0][:2, :2, :2], transforms[1][:2, :2, :2], rtol=1e-4, atol=1e-2)
    assert transforms[1][0, 0, 8:].abs().max() < 1e-4 * transforms[0][0, 0, 8:].abs().max()  # 20 Å


def test_mask_holds_the_particle(made):
    true_map, mask = (read_volume(made / name)[0] for name in ("true_map.mrc", "mask.mrc"))
    assert mask.min() == 0
    assert mask.max() == 1
    assert (true_map * mask).sum() > 0.99 * true_map.sum()


def test_micelle_differs_between_micrographs_but_not_in_the_truth(tmp_path):
    chosen = settings(tmp_path, specimen={"belt": {"center_z_angst": 0, "core_width_angst": 6, "shell_angst": 5}})
    particle = build_particle(chosen)
    first, second = (particle.disordered_spectrum(np.random.default_rng(k)) for k in (0, 1))
    assert (first - second).norm() > 0.01 * particle.spectrum.norm()
    without = build_particle(settings(tmp_path))
    assert without.disordered_spectrum(np.random.default_rng(0)) is without.spectrum


def test_a_box_too_small_is_refused(tmp_path):
    with pytest.raises(BlushError, match="too small for a model"):
        simulate(settings(tmp_path, imaging={"pixel_size_angst": 3.0}))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("imaging: {box_px: 33}", "imaging.box_px"),
        ("imaging: {defocus_min_angst: 9, defocus_max_angst: 8}", "imaging"),
        ("specimen: {bfactor_min_angst2: 9, bfactor_max_angst2: 8}", "specimen"),
        ("nosie: {snr: 1}", "nosie"),
        ("noise: {snr: 0}", "noise.snr"),
        ("specimen: {symmetry: D}", "specimen.symmetry"),
        ("views: {preferred_axes: [[0, 0, 0]]}", "views.preferred_axes"),
    ],
)
def test_mistakes_are_named(tmp_path, text, place):
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(BlushError, match=place):
        load_settings(tmp_path / "wrong.yaml")


def test_the_demo_is_whole_unless_told_otherwise(tmp_path):
    assert load_settings(None).specimen.copies == "expand"
    (tmp_path / "run.yaml").write_text("specimen: {model: a.pdb}\n")
    chosen = load_settings(tmp_path / "run.yaml").specimen
    assert (chosen.symmetry, chosen.copies) == ("C1", "none")


def test_paths_start_at_the_file_and_options_at_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/run.yaml").write_text("specimen: {model: a.pdb}\noutput: out\n")
    chosen = load_settings(tmp_path / "sub/run.yaml")
    assert (chosen.specimen.model, chosen.output) == (tmp_path / "sub/a.pdb", tmp_path / "sub/out")
    given = load_settings(tmp_path / "sub/run.yaml", {"specimen": {"model": "b.pdb"}})
    assert str(given.specimen.model) == "b.pdb"


def test_the_command_writes_the_set_and_reports_mistakes(tmp_path):
    (tmp_path / "run.yaml").write_text(
        "imaging: {box_px: 32, pixel_size_angst: 5}\nspecimen: {symmetry: D4, copies: expand}\noutput: made\n"
    )
    done = CliRunner().invoke(app, ["simulate", str(tmp_path / "run.yaml"), "--particles", "3", "--snr", "0.2"])
    assert done.exit_code == 0, done.output
    assert len(read_star(tmp_path / "made/particles.star")["particles"]["rlnImageName"]) == 3
    summary = json.loads((tmp_path / "made/simulation.json").read_text())
    assert summary["settings"]["noise"]["snr"] == 0.2
    wrong = CliRunner().invoke(app, ["simulate", str(tmp_path / "run.yaml"), "--model", "no.cif"])
    assert isinstance(wrong.exception, BlushError)


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_reconstruct") is None, reason="RELION 3.1.3 is not on PATH")
def test_relion_finds_the_true_map_from_the_true_poses(tmp_path):
    """Signs, angles, origins, contrast and scale are RELION's: it rebuilds our map from our truth."""
    simulate(settings(tmp_path, n_particles=100, noise={"snr": 0.2}))
    command = ["relion_reconstruct", "--i", "truth.star", "--o", "found.mrc", "--ctf", "--sym", "D4"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    names = ("found.mrc", "true_map.mrc", "mask.mrc")
    found, true, mask = (torch.from_numpy(read_volume(tmp_path / name)[0]) for name in names)
    assert fsc(found * mask, true * mask)[1:13].min() > 0.9
    shells = radius_3d(32)
    chosen = (shells > 2) & (shells < 12)  # normalisation shifts the lowest frequencies of every image
    first, second = (torch.fft.rfftn(volume * mask)[chosen] for volume in (found, true))
    assert float((first * second.conj()).real.sum() / second.abs().square().sum()) == pytest.approx(1, abs=0.05)
