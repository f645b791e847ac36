"""Rules are formatted, and pass Snakemake's own checks."""

import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import yaml
from stand_in_conda import make_conda
from workflow_helpers import BIN, ROOT, run, snakemake


def test_rules_are_formatted():
    run([str(BIN / "snakefmt"), "--check", "Snakefile", "workflow"])


def test_snakemake_finds_nothing_to_complain_about(make_config):
    run(snakemake(make_config(), "--lint"))


def test_the_plain_profile_names_work_from_the_root(make_config):
    for profile in ("local", "slurm"):
        command = [sys.executable, "-m", "snakemake", "--profile", profile, "--configfile", str(make_config())]
        assert "import_particles" in run([*command, "--dry-run"])


def test_without_options_snakemake_finds_nothing_to_complain_about():
    """As the catalog of Snakemake workflows calls it, in a clone."""
    assert "in a good condition" in run([sys.executable, "-m", "snakemake", "--lint"])


def test_the_layout_is_that_of_the_catalog():
    for name in ("workflow/Snakefile", "config/config.yaml", "config/README.md", "README.md", "LICENSE"):
        assert (ROOT / name).is_file(), name
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage["report"] is True
    assert usage["software-stack-deployment"] == {"conda": True, "apptainer": False, "apptainer+conda": False}


@pytest.mark.slow
def test_with_conda_a_step_runs_in_the_environment_of_its_rule(make_config, tmp_path):
    """The environment sees this package, and is asked for all that it needs; conda itself is stood in for."""
    folder = make_conda(tmp_path / "conda", Path(numpy.__file__).parents[1])
    config = make_config()
    command = snakemake(config, "--until", "import_particles", "--sdm", "conda")
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results/tiny/import/plan.npz").is_file()
    assert (tmp_path / "conda/asked.yaml").read_bytes() == (ROOT / "workflow/envs/blush.yaml").read_bytes()
    used = (tmp_path / "conda/used").read_text()
    assert f"{tmp_path}/.snakemake/conda/" in used
