"""Calls as RELION makes them: what is read, what is made, how the halves meet, what is refused."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "regularise"))

from identity_networks import identity_unet
from problem import PIXEL_ANGST, half_maps
from relion_calls import edited, in_parallel, star_of, write

from blush.config.embedded import EmbeddedConfig, load_embedded
from blush.denoise.card import BLUSH, WHITENED, Card
from blush.denoise.weights import save_weights
from blush.errors import BlushError
from blush.fourier.transform import inverse_transform
from blush.io.files import read_json
from blush.io.mrc import read_volume
from blush.io.star import read_star, write_star
from blush.jobs import external_reconstruct as job
from blush.maximization.reconstruct import divide
from blush.regularise.base import Outcome, Regulariser
from blush.regularise.drive import Policy, drive
from blush.regularise.select import MAKERS

ROOT = Path(__file__).resolve().parents[2]


def settings(**regulariser) -> EmbeddedConfig:
    return EmbeddedConfig.model_validate({"regulariser": regulariser, "compute": {"device": "cpu"}})


@pytest.fixture
def maps():
    return half_maps(torch.float32)


@pytest.fixture
def project(tmp_path, monkeypatch, maps):
    """Both halves' calls of iteration 3, as RELION 4 and 5 write them."""
    monkeypatch.chdir(tmp_path)
    for half in (1, 2):
        write(maps, half)
    return tmp_path


def test_wiener_is_the_default_and_waits_for_nobody(project, maps):
    star = star_of(2)
    assert job.external_reconstruct(star, load_embedded(None), wait_seconds=0) == star.with_suffix(".mrc")
    volume, pixel = read_volume(star.with_suffix(".mrc"))
    wiener = inverse_transform(divide(maps.sums[1], maps.tau2[1], first_shell=0)).numpy()
    assert np.linalg.norm(volume - wiener) < 1e-6 * np.linalg.norm(wiener)
    assert pixel == PIXEL_ANGST
    assert not star_of(1).with_suffix(".mrc").exists()
    assert read_json(f"{star.stem}_blush.json")["regulariser"]["name"] == "wiener"


def test_the_fudge_factor_scales_the_prior(project, maps):
    star = star_of(1)
    edited(star, rlnTau2FudgeFactor=4.0)
    job.external_reconstruct(star, settings())
    wiener = inverse_transform(divide(maps.sums[0], maps.tau2[0], first_shell=0, fudge=4.0)).numpy()
    assert np.linalg.norm(read_volume(star.with_suffix(".mrc"))[0] - wiener) < 1e-6 * np.linalg.norm(wiener)


def test_stale_spectra_are_removed(project):
    """RELION believes any R_out.star that lies there."""
    Path(f"{star_of(1).stem}_out.star").write_text("data_\n")
    job.external_reconstruct(star_of(1), settings())
    assert not Path(f"{star_of(1).stem}_out.star").exists()


def test_both_halves_meet_and_each_gets_its_own(project, maps):
    """As the loop itself does it: the same references from one process that has both halves."""
    chosen = settings(name="nonuniform")
    made = in_parallel(*(lambda half=half: job.external_reconstruct(star_of(half), chosen) for half in (1, 2)))
    assert made == [star_of(half).with_suffix(".mrc") for half in (1, 2)]
    expected = drive(MAKERS["nonuniform"](chosen.regulariser), maps, Policy()).references
    for half, reference in enumerate(expected):
        volume = torch.from_numpy(read_volume(made[half])[0])
        assert float((volume - reference).norm() / reference.norm()) < 1e-5


def test_a_half_whose_other_half_never_comes_gives_up(project):
    with pytest.raises(BlushError, match=r"did not appear within 0.005 minutes.*mpirun -n 3"):
        job.external_reconstruct(star_of(1), settings(name="nonuniform"), wait_seconds=0.3)


def test_halves_of_different_iterations_are_refused(project):
    """Files of half 2 that do not fit, though its program is there: both say so."""
    blocks = read_star(star_of(2))
    blocks["external_reconstruct_tau2"]["rlnGoldStandardFsc"][3] += 0.1
    general = {key: value[0] for key, value in blocks["external_reconstruct_general"].items()}
    write_star(star_of(2), blocks | {"external_reconstruct_general": general})
    chosen = settings(name="nonuniform")
    made = in_parallel(*(lambda half=half: job.external_reconstruct(star_of(half), chosen) for half in (1, 2)))
    assert all("the halves do not belong together" in str(error) for error in made)


class Halver(Regulariser):
    """Half of each map: unmistakably not the Wiener map."""

    name = "none"

    def regularise(self, maps):
        return Outcome((maps.unregularised(0) / 2, maps.unregularised(1) / 2))


def test_the_final_map_is_never_the_denoised_one(project, maps, monkeypatch):
    """No half in the name, but an FSC: Wiener is returned, and the denoised map lies beside."""
    monkeypatch.setattr(job, "regulariser", lambda _: Halver())
    star = write(maps, 1, "run_it009_class001_external_reconstruct")
    job.external_reconstruct(star, settings(name="none"))
    wiener = inverse_transform(divide(maps.sums[0], maps.tau2[0], first_shell=0)).numpy()
    assert np.linalg.norm(read_volume(star.with_suffix(".mrc"))[0] - wiener) < 1e-6 * np.linalg.norm(wiener)
    denoised = torch.from_numpy(read_volume(f"{star.stem}_denoised.mrc")[0])
    half = drive(Halver(), maps, Policy()).references[0]
    assert float((denoised - half).norm() / half.norm()) < 1e-5


def test_a_final_map_is_delivered_though_its_denoiser_fails(project, maps, monkeypatch, capsys):
    monkeypatch.setattr(Halver, "regularise", lambda _, maps: Outcome((maps.wiener(0) * 1000, maps.wiener(1))))
    monkeypatch.setattr(job, "regulariser", lambda _: Halver())
    star = write(maps, 1, "run_it009_class001_external_reconstruct")
    job.external_reconstruct(star, settings(name="none"))
    assert star.with_suffix(".mrc").exists()
    assert not Path(f"{star.stem}_denoised.mrc").exists()
    assert "another scale" in capsys.readouterr().err


def test_trailing_follows_the_settings(project):
    record = Path(f"{star_of(1).stem}_blush.json")
    cuts = []
    for trailing in ({"shells": 2}, {"shells": 4}, {"enabled": False}):
        chosen = EmbeddedConfig.model_validate({"regulariser": {"name": "none"}, "trailing": trailing})
        job.external_reconstruct(star_of(1), chosen)
        cuts.append(read_json(record)["regulariser"]["trailing_shell"])
    assert cuts == [cuts[0], cuts[0] - 2, None]


def refused(star, chosen=None) -> str:
    with pytest.raises(BlushError) as caught:
        job.external_reconstruct(star, chosen or settings())
    return str(caught.value)


@pytest.mark.parametrize("column", [1, 2])
def test_spectra_that_are_no_numbers_are_refused_before_a_map_is_written(project, maps, column):
    star = star_of(1)
    lines = star.read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if line.split()[:1] == ["3"] and len(line.split()) == 3)
    words = lines[row].split()
    words[column] = "nan"
    lines[row] = " ".join(words)
    star.write_text("\n".join(lines) + "\n")
    assert "shell 3: holds no number (found nan)" in refused(star)
    assert not star.with_suffix(".mrc").exists()


def test_mistakes_in_a_call_are_named(project, maps):
    star = star_of(1)
    assert "file does not exist" in refused(Path("run_it003_half1_class007_external_reconstruct.star"))
    assert "does not have the name of a call" in refused(Path("particles.star"))
    edited(star, rlnPixelSize=None)
    assert "does not say pixel size and diameter" in refused(star)
    edited(star, rlnPixelSize=3.0, rlnCurrentImageSize=26, rlnReferenceDimensionality=2)
    assert "is of images, not of a map (found 2D)" in refused(star)
    assert "image sizes make no sense (found box 24, size 26)" in refused(star)
    edited(star, rlnCurrentImageSize=22, rlnReferenceDimensionality=3, rlnOriginalImageSize=28)
    assert "spectra do not fit the box (found 13 rows, box 28)" in refused(star)
    edited(star, rlnOriginalImageSize=24, rlnPaddingFactor=1.0)
    assert "has another size than the call says (found 48 x 48 x 25)" in refused(star)
    edited(star, rlnPaddingFactor=2.0, rlnExtReconsWeight="gone.mrc")
    assert "gone.mrc: file does not exist" in refused(star)
    edited(star, rlnExtReconsWeight="w.mrc", rlnTau2FudgeFactor="much")
    assert "rlnTau2FudgeFactor is not a number (found much)" in refused(star)
    edited(star, rlnExtReconsWeight=None, rlnTau2FudgeFactor=None)
    text = refused(star)
    assert "has no rlnExtReconsWeight" in text
    assert "has no rlnTau2FudgeFactor" in text


def test_what_cannot_be_done_there_is_refused(project, maps):
    assert "RELION can call the external program itself" in refused(
        star_of(1), settings(name="external", external={"command": "sh"})
    )
    maps = half_maps(torch.float32)
    maps.fsc[:] = 0
    star = write(maps, 1, "run_it003_class001_external_reconstruct")
    assert "needs two half-maps, and this map has none (found nonuniform)" in refused(star, settings(name="nonuniform"))
    assert "there is no FSC to follow" in refused(star, settings(name="lowpass"))


def test_a_class_goes_through_a_network_for_whitened_maps(project, tmp_path):
    """Which gets the map unfiltered, and its own spectra for an FSC; one that finds no noise gives the Wiener map."""
    card = Card(BLUSH, 1, 1, voxel_size_angst=3.0, block_px=48, input_kind=WHITENED)
    save_weights(tmp_path / "w.safetensors", identity_unet(1, 1).state_dict(), card)
    maps = half_maps(torch.float32)
    maps.fsc[:] = 0
    star, made = write(maps, 1, "run_it003_class001_external_reconstruct"), []
    for chosen in (settings(name="wiener"), settings(name="blush", blush={"weights": tmp_path / "w.safetensors"})):
        job.external_reconstruct(star, chosen)
        made.append(torch.from_numpy(read_volume(star.with_suffix(".mrc"))[0]))
    assert float((made[0] - made[1]).norm() / made[0].norm()) < 1e-3


def test_settings_are_checked_and_their_paths_start_at_their_file(tmp_path):
    file = tmp_path / "blush.yaml"
    file.write_text("regulariser: {name: blush, blush: {weights: w.safetensors}}\ntrailing: {shells: 1}\n")
    loaded = load_embedded(file)
    assert loaded.regulariser.blush.weights == tmp_path / "w.safetensors"
    assert loaded.trailing.shells == 1
    file.write_text("regulariser: {name: wienr}\nseed: 1\n")
    with pytest.raises(BlushError, match="has 2 mistake"):
        load_embedded(file)


def command(*arguments: str, program: str | None = None, **variables: str) -> subprocess.CompletedProcess:
    """Our command, or a script, where `blush` on PATH is that of this environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    given = {key: value for key, value in os.environ.items() if key != "BLUSH_REGULARISER"}
    first = [program] if program else [sys.executable, "-m", "blush", "external-reconstruct"]
    environment = given | {"PATH": path, "OMP_NUM_THREADS": "1"} | variables
    return subprocess.run([*first, *arguments], capture_output=True, text=True, env=environment, check=False)


def test_the_command_ends_mistakes_with_status_2(project):
    (project / "bad.yaml").write_text("regulariser: {name: wienr}\n")
    done = command(str(star_of(1)), BLUSH_REGULARISER="bad.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "regulariser.name: has to be 'wiener'" in done.stderr
    done = command(str(star_of(1)), "--gpu", "zero")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--gpu: is not a list of GPUs (found zero)" in done.stderr


def test_relion_5_hears_success_and_nothing_else(project):
    script = str(ROOT / "scripts/relion_python_blush")
    (project / "s.yaml").write_text("regulariser: {name: none}\n")
    options = ("--skip-spectral-trailing", "--gpu", "-1")
    done = command(str(star_of(1)), *options, program=script, BLUSH_REGULARISER="s.yaml")
    assert (done.returncode, done.stdout, done.stderr) == (0, "success\n", "")
    assert Path(f"{star_of(1).stem}.log").read_text() == f"{star_of(1).stem}.mrc\n"
    record = read_json(f"{star_of(1).stem}_blush.json")["regulariser"]
    assert (record["name"], record["trailing_shell"]) == ("none", None)


def test_relion_5_hears_of_failures(project):
    script = str(ROOT / "scripts/relion_python_blush")
    done = command(str(star_of(1)), program=script)
    assert (done.returncode, done.stdout) == (2, "")
    assert "BLUSH_REGULARISER names no settings" in done.stderr
    (project / "s.yaml").write_text("regulariser: {name: none}\n")
    edited(star_of(1), rlnExtReconsWeight="gone.mrc")
    done = command(str(star_of(1)), program=script, BLUSH_REGULARISER="s.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "gone.mrc: file does not exist" in done.stderr


def test_half_2_takes_the_second_gpu():
    from blush.cli.external_reconstruct import _on_gpu

    devices = [_on_gpu(settings(), "0,1,", star_of(half)).compute.device for half in (1, 2)]
    assert devices == ["cuda:0", "cuda:1"]
    assert _on_gpu(settings(), "3,", star_of(2)).compute.device == "cuda:3"
    assert _on_gpu(settings(), "-1", star_of(2)).compute.device == "cpu"
