"""`blush init`: from a user's own files to a configuration that loads."""

import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from blush.cli.main import app
from blush.config import RunConfig, load_config
from blush.errors import BlushError
from blush.io.check import cs_options
from blush.io.mrc import write_stack, write_volume
from blush.io.particles import read_particles

BOX = 16
TABLE = """data_optics
loop_
_rlnOpticsGroup
_rlnVoltage
_rlnSphericalAberration
_rlnAmplitudeContrast
_rlnImagePixelSize
_rlnImageSize
1 300 2.7 0.1 3.5 16

data_particles
loop_
_rlnImageName
_rlnOpticsGroup
_rlnDefocusU
1@stack.mrcs 1 10000
2@stack.mrcs 1 11000
"""
GIVEN = ["--diameter", "40", "--symmetry", "D2", "--name", "mine"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with particles, a starting map, and files that are neither."""
    random = np.random.default_rng(1)
    write_stack(tmp_path / "stack.mrcs", random.normal(size=(2, BOX, BOX)).astype(np.float32), 3.5)
    for name in ("start.mrc", "mask.mrc", "run_half1_class001_unfil.mrc"):
        write_volume(tmp_path / name, random.normal(size=(BOX, BOX, BOX)).astype(np.float32), 7.0)
    (tmp_path / "picked.star").write_text(TABLE)
    (tmp_path / "job.star").write_text("data_job\n_rlnJobType 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*arguments, answers=None):
    result = CliRunner().invoke(app, ["init", *arguments], input=answers)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_what_is_found_and_given_becomes_a_configuration(folder):
    said = init("--yes", *GIVEN)
    config = load_config(folder / "my.yaml")
    assert config.particles == folder / "picked.star"
    assert config.reference == folder / "start.mrc"
    assert (config.particle_diameter_angst, config.symmetry, config.name) == (40, "D2", "mine")
    assert config.run_dir == folder / "results/mine"
    assert config.model_copy(update={"symmetry": "C1"}) == RunConfig(
        name="mine",
        particles=config.particles,
        reference=config.reference,
        particle_diameter_angst=40,
        output=config.output,
    )
    assert said.splitlines()[-1].startswith("next:  blush run my.yaml ")
    text = (folder / "my.yaml").read_text()
    assert "# 2 images of 16 px at 3.5 Å, 300 kV, no poses" in text
    assert "# 16 px at 7 Å" in text


def test_every_line_that_may_be_uncommented_holds_the_default(folder):
    init("--yes", *GIVEN)
    text = (folder / "my.yaml").read_text()
    plain = load_config(folder / "my.yaml")
    lines = [line for line in text.splitlines() if re.match(r"# [a-z_]+: ", line)]
    assert len(lines) >= 6
    for line in lines:
        (folder / "changed.yaml").write_text(f"{text}\n{line[2:]}\n")
        assert load_config(folder / "changed.yaml") == plain, line


def test_a_table_with_poses_offers_to_start_from_them(folder):
    assert "start_from" not in init("--yes", *GIVEN) + (folder / "my.yaml").read_text()
    posed = TABLE.replace("_rlnDefocusU\n", "_rlnDefocusU\n_rlnAngleRot\n_rlnAngleTilt\n_rlnAnglePsi\n")
    (folder / "picked.star").write_text(posed.replace("10000", "10000 1 2 3").replace("11000", "11000 4 5 6"))
    init("posed.yaml", "--yes", *GIVEN)
    assert "\n# refinement: {start_from: poses} " in (folder / "posed.yaml").read_text()


SEGMENTS = (
    TABLE.split("data_particles")[0]
    + """data_particles
loop_
_rlnImageName
_rlnMicrographName
_rlnOpticsGroup
_rlnDefocusU
_rlnHelicalTubeID
_rlnHelicalTrackLengthAngst
_rlnAnglePsiPrior
1@stack.mrcs m1.mrc 1 10000 1 0 20
2@stack.mrcs m1.mrc 1 10000 1 14.25 20
1@stack.mrcs m1.mrc 1 10000 2 0 80
2@stack.mrcs m1.mrc 1 10000 2 14.25 80
"""
)


def test_a_table_of_segments_becomes_a_job_of_filaments_whose_rise_and_twist_are_to_be_given(folder):
    (folder / "picked.star").write_text(SEGMENTS)
    said = init("--yes", "--tube", "30", "--name", "fibril")
    text = (folder / "my.yaml").read_text()
    content = yaml.safe_load(text)
    assert (content["job"], content["particle_diameter_angst"]) == ("helix", 50)  # 0.9 of 56 Å
    assert content["helix"] == {"rise_angst": None, "twist_deg": None, "tube_diameter_angst": 30}
    assert "2 filaments with a segment every 14.25 Å" in text
    assert "14.25 Å, between segments, over the rise" in text
    assert "give helix.rise_angst and helix.twist_deg in my.yaml" in said
    with pytest.raises(BlushError, match="job: helix lacks rise_angst, twist_deg"):
        load_config(folder / "my.yaml")
    given = text.replace("rise_angst: null", "rise_angst: 4.75").replace("twist_deg: null", "twist_deg: -1.2")
    for name in ("twist_range_deg", "units_per_segment", "central_fraction"):
        given = given.replace(f"# {name}", name)
    (folder / "given.yaml").write_text(given)
    config = load_config(folder / "given.yaml")
    assert (config.job, config.helix.rise_angst, config.helix.twist_range_deg) == ("helix", 4.75, (-1.6, -0.8))


def test_filaments_of_one_segment_are_filaments(folder):
    lines = SEGMENTS.splitlines(keepends=True)
    (folder / "picked.star").write_text("".join(line for line in lines if " 14.25 " not in line))
    init("--yes", "--tube", "30")
    text = (folder / "my.yaml").read_text()
    assert "2 filaments of a single segment each" in text
    assert "by itself it is 1: no filament has two segments" in text
    assert yaml.safe_load(text)["job"] == "helix"


def test_filaments_of_one_segment_among_others_are_counted(folder):
    lines = SEGMENTS.splitlines(keepends=True)
    (folder / "picked.star").write_text("".join(lines[:-1]))
    init("--yes", "--tube", "30")
    assert "2 filaments (1 of a single segment) with a segment every 14.25 Å" in (folder / "my.yaml").read_text()


def test_all_settings_of_filaments_have_their_tube(folder):
    (folder / "picked.star").write_text(SEGMENTS)
    init("--all", "--yes", "--tube", "30")
    content = yaml.safe_load((folder / "my.yaml").read_text())
    assert (content["job"], content["helix"]["tube_diameter_angst"]) == ("helix", 30)


def test_the_tube_of_filaments_is_asked_for_and_that_of_others_refused(folder):
    with pytest.raises(BlushError, match="--tube: the particles are no segments"):
        init("--yes", *GIVEN, "--tube", "30")
    (folder / "picked.star").write_text(SEGMENTS)
    with pytest.raises(BlushError, match="--tube: Width of the filament"):
        init("--yes", *GIVEN)
    with pytest.raises(BlushError, match=r"is wider than the images, 56 Å \(found 80\)"):
        init("--yes", *GIVEN, "--tube", "80")


def test_filaments_that_cannot_be_read_are_refused_by_name(folder):
    (folder / "picked.star").write_text(SEGMENTS.replace("14.25", "nan"))
    with pytest.raises(BlushError, match="filaments that cannot be read"):
        init("--yes", *GIVEN, "--tube", "30")


def test_all_settings_are_written_with_what_was_given(folder):
    init("--all", "--yes", *GIVEN)
    assert list(yaml.safe_load((folder / "my.yaml").read_text())) == list(RunConfig.model_fields)
    config = load_config(folder / "my.yaml")
    assert (config.name, config.symmetry, config.particles) == ("mine", "D2", folder / "picked.star")


def test_without_a_terminal_it_says_which_options_are_missing(folder):
    """As a script runs it, with nothing on its standard input: it ends, and at once."""
    command = [sys.executable, "-m", "blush", "init", "--symmetry", "C1"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    missing = re.findall(r"^  (--\w+): ", done.stderr, re.MULTILINE)
    assert missing == ["--particles", "--reference", "--diameter", "--name"]
    assert "found: picked.star, which --yes takes" in done.stderr
    assert not (folder / "my.yaml").exists()


def test_yes_takes_nothing_that_could_be_two_things(folder):
    (folder / "other.star").write_text(TABLE)
    with pytest.raises(BlushError, match=r"--particles: .*found: other\.star, picked\.star"):
        init("--yes", *GIVEN)


def test_on_a_terminal_it_asks_until_the_answer_is_right(folder, monkeypatch):
    monkeypatch.setattr("blush.cli.init.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    said = init(answers="nothing.star\npicked.star\n\nwide\n400\n40\nD0\nD2\na b\nmine\n")
    config = load_config(folder / "my.yaml")
    assert config.reference == folder / "start.mrc"
    assert (config.particle_diameter_angst, config.symmetry, config.name) == (40, "D2", "mine")
    assert "nothing.star: file does not exist" in said
    assert "is wider than the images, 56 Å (found 400)" in said
    assert "no such point group" in said
    assert said.count("Name of the run [") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--diameter", "400"], "is wider than the images, 56 Å"),
        (["--diameter", "-4"], "particle_diameter_angst: has to be greater than 0"),
        (["--diameter", "40", "--symmetry", "X"], "no such point group"),
        (["--diameter", "40", "--particles", "job.star"], "job.star"),
    ],
)
def test_an_option_that_is_wrong_is_refused(folder, options, message):
    with pytest.raises(BlushError) as caught:
        init("--yes", "--name", "mine", *options)
    assert message in str(caught.value)
    assert not (folder / "my.yaml").exists()


def test_nothing_is_overwritten(folder):
    (folder / "my.yaml").write_text("mine")
    with pytest.raises(BlushError, match=r"my\.yaml: exists; give the new file another name"):
        init("--yes", *GIVEN)
    assert (folder / "my.yaml").read_text() == "mine"


@pytest.fixture
def moved(folder):
    """A table of cryoSPARC, with poses alone and a fitted beam tilt, taken out of its project."""
    project = folder / "P1"
    (project / "J1").mkdir(parents=True)
    (folder / "stack.mrcs").rename(project / "J1/stack.mrcs")
    (folder / "picked.star").unlink()
    fields = {
        "blob/path": np.full(2, b"J1/stack.mrcs"), "blob/idx": np.arange(2, dtype="u4"),
        "blob/psize_A": np.full(2, 3.5, "f4"), "ctf/accel_kv": np.full(2, 300, "f4"),
        "ctf/cs_mm": np.full(2, 2.7, "f4"), "ctf/amp_contrast": np.full(2, 0.1, "f4"),
        "ctf/df1_A": np.full(2, 1e4, "f4"), "ctf/df2_A": np.full(2, 1e4, "f4"),
        "ctf/df_angle_rad": np.zeros(2, "f4"), "ctf/phase_shift_rad": np.zeros(2, "f4"),
        "ctf/tilt_A": np.full((2, 2), 9e3, "f4"), "ctf/anisomag": np.zeros((2, 4), "f4"),
    }  # fmt: skip
    uid = {"uid": np.array([7, 8], "u8")}
    for path, columns in (
        (folder / "moved.cs", uid | {"alignments3D/pose": np.zeros((2, 3), "f4")}),
        (project / "J1/rest.cs", uid | fields),
    ):
        rows = np.zeros(2, [(name, one.dtype, one.shape[1:]) for name, one in columns.items()])
        for name, one in columns.items():
            rows[name] = one
        with path.open("wb") as stream:
            np.save(stream, rows)
    return folder


def test_a_table_taken_out_of_its_project_says_option_by_option_what_it_needs(moved):
    """Each refusal names an option of this command, until the configuration is written and its particles load."""
    options = ["--yes", "--particles", "moved.cs", *GIVEN]
    for option in (["--passthrough", "P1/J1/rest.cs"], ["--leave-out-aberrations"], ["--project", "P1"]):
        with pytest.raises(BlushError, match=rf"{option[0]} of `blush init`"):
            init(*options)
        options += option
    assert "2 images of 16 px at 3.5 Å" in init(*options)
    init("all.yaml", "--all", *options)
    for name in ("my.yaml", "all.yaml"):
        config = load_config(moved / name)
        assert config.cryosparc.project == moved / "P1"
        assert config.cryosparc.passthrough == (moved / "P1/J1/rest.cs",)
        assert config.cryosparc.aberrations == "leave_out"
        assert len(read_particles(config.particles, cs=cs_options(config))[0]) == 2


def test_an_empty_folder_says_that_nothing_was_found_and_which_options_help(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BlushError) as refusal:
        init("--yes")
    lines = str(refusal.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == ["--particles", "--reference", "--diameter"]
    assert ["none was found in this folder" in line for line in lines] == [True, True, False]
    assert list(tmp_path.iterdir()) == []
