"""Rules are formatted, and pass Snakemake's own checks."""

import sys

from workflow_helpers import BIN, run, snakemake


def test_rules_are_formatted():
    run([str(BIN / "snakefmt"), "--check", "workflow"])


def test_snakemake_finds_nothing_to_complain_about(make_config):
    run(snakemake(make_config(), "--lint"))


def test_the_plain_profile_names_work_from_the_root(make_config):
    for profile in ("local", "slurm"):
        command = [sys.executable, "-m", "snakemake", "--profile", profile, "--configfile", str(make_config())]
        assert "import_particles" in run([*command, "--dry-run"])
