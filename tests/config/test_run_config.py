"""The configuration is checked as a whole; paths start at its folder."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from blush.config import load_config
from blush.errors import BlushError

GOOD = {"name": "run", "particles": "p.star", "reference": "r.mrc", "particle_diameter_angst": 150}


def write(folder, text):
    path = folder / "run.yaml"
    path.write_text(text)
    return path


def as_yaml(settings):
    return "".join(f"{key}: {value}\n" for key, value in settings.items())


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(Path("/"))
    text = as_yaml(GOOD) + "mask: m.mrc\ntruth: {particles: t.star, map: /abs/t.mrc, mask: tm.mrc}\n"
    text += "postprocess: {mask: pm.mrc}\ncompute: {scratch: s}\n"
    config = load_config(write(tmp_path, text))
    assert config.particles == tmp_path / "p.star"
    assert config.reference == tmp_path / "r.mrc"
    assert config.mask == tmp_path / "m.mrc"
    assert config.truth is not None
    assert config.truth.particles == tmp_path / "t.star"
    assert config.truth.map == Path("/abs/t.mrc")
    assert config.truth.mask == tmp_path / "tm.mrc"
    assert config.postprocess.mask == tmp_path / "pm.mrc"
    assert config.compute.scratch == tmp_path / "s"
    assert config.output == tmp_path / "results"
    assert config.run_dir == tmp_path / "results" / "run"


def test_keywords_are_not_paths(tmp_path):
    config = load_config(write(tmp_path, as_yaml(GOOD) + "mask: sphere\n"))
    assert config.mask == "sphere"
    assert config.postprocess.mask == "auto"


def test_overrides_replace_single_settings(tmp_path):
    path = write(tmp_path, as_yaml(GOOD) + "compute: {workers: 3, device: cpu}\n")
    config = load_config(path, {"compute": {"workers": 2}, "seed": 7})
    assert (config.compute.workers, config.compute.device, config.seed) == (2, "cpu", 7)


def test_every_mistake_is_reported_with_its_place_and_value(tmp_path):
    text = as_yaml(GOOD | {"particle_diameter_angst": -1, "symetry": "C1", "symmetry": "X2", "name": "a/b"})
    text += "sampling: {offset_step_px: 9, healpix_order: two}\ncompute: {device: gpu, workers: 0}\n"
    path = write(tmp_path, text.replace("particles: p.star\n", ""))
    with pytest.raises(BlushError) as caught:
        load_config(path)
    text = str(caught.value)
    assert text.startswith(f"{path} has ")
    for expected in (
        "particle_diameter_angst: has to be greater than 0 (found -1)",
        "symetry: is no setting; did you mean symmetry?",
        "symmetry: no such point group; use Cn, Dn, T, O, I, I1, I2, I3 or I4 (found 'X2')",
        "particles: is missing; add it: Particle table",
        "sampling.healpix_order: has to be a whole number (found 'two')",
        "compute.device: is not of the right form (found 'gpu'); auto, cpu, cuda or cuda:N;",
        "compute.workers: has to be 'auto' or greater than 0 (found 0)",
        "name: is not of the right form (found 'a/b'); Name of the run, of letters,",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("job", "remedy"), [("classify", "set classification.temperature"), ("multibody", "always corrected")]
)
def test_a_temperature_that_the_job_leaves_is_refused(tmp_path, job, remedy):
    text = as_yaml(GOOD) + "refinement: {temperature: auto}\n"
    assert load_config(write(tmp_path, text)).refinement.temperature == "auto"
    with pytest.raises(BlushError, match=remedy):
        load_config(write(tmp_path, text + f"job: {job}\nmultibody: {{body_file: b.star}}\n"))


def test_a_step_beyond_the_range_is_refused(tmp_path):
    with pytest.raises(BlushError, match=r"sampling: offset_step_px 9\.0 is over offset_range_px 5; lower the step"):
        load_config(write(tmp_path, as_yaml(GOOD) + "sampling: {offset_step_px: 9}\n"))


@pytest.mark.parametrize("symmetry", ["C1", "C12", "D7", "T", "O", "I", "I3"])
def test_relions_point_groups_are_known(tmp_path, symmetry):
    assert load_config(write(tmp_path, as_yaml(GOOD | {"symmetry": symmetry}))).symmetry == symmetry


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "is not YAML"), ("- 1\n", "is not a mapping of settings; `blush init` writes one")],
)
def test_files_that_are_no_configuration(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(BlushError) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(
        BlushError, match=r"run\.yaml: file does not exist; correct the path, or write one: `blush init`"
    ):
        load_config(tmp_path / "run.yaml")


def test_a_configuration_is_frozen(tmp_path):
    config = load_config(write(tmp_path, as_yaml(GOOD)))
    with pytest.raises(ValidationError):
        config.seed = 2


def test_the_configuration_loads_without_numerical_libraries():
    code = "import sys, blush.config; print(sorted({'torch', 'numpy', 'pandas'} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
