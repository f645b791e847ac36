"""`blush run`: the workflow, from any folder."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

import blush
from blush.errors import BlushError, Problem

PACKAGE = Path(blush.__file__).parent
SNAKEFILE = PACKAGE / "workflow" / "Snakefile"
PROFILES = PACKAGE / "profiles"
OTHER_WORK = {
    *("-n", "--dry-run", "--dryrun", "-t", "--touch", "--lint", "--report", "--dag", "--rulegraph", "--filegraph"),
    *("-S", "--summary", "-D", "--detailed-summary", "-l", "--list", "--list-rules", "--delete-all-output"),
}
"""Options with which Snakemake computes nothing, and is asked for its own words."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    config: Annotated[Path, typer.Argument(help="Configuration (YAML) of a refinement, classification or training.")],
    slurm: Annotated[bool, typer.Option("--slurm", help="On a cluster: the workers are SLURM jobs.")] = False,
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[-- OPTIONS]", help="Options of Snakemake, after --.")
    ] = None,
) -> None:
    """Do the job of one configuration with every core, GPU or SLURM job there is; the same command again continues.

    Snakemake drives it, with the rules and profiles of the package. Results go where the configuration says, by default
    to results/NAME beside it. `blush refine` makes the same bytes in one process.
    """
    from blush.report.closing import following

    where, options = check(config), options or []
    command = snakemake_command(config, "slurm" if slurm else "local", options)
    if OTHER_WORK & {option.partition("=")[0] for option in options}:
        os.execv(command[0], command)
    if where is not None:
        sys.stderr.write(f"blush: {following(where)}\n")
    os.execve(command[0], command, os.environ | {"BLUSH_TERMINAL": "plain"})


def check(config: Path) -> Path | None:
    """Tell every mistake of a configuration before anything starts.

    Returns
    -------
    The folder of the run, if there is one to follow: a training has a page instead.

    Raises
    ------
    BlushError
        Also where Snakemake is not installed.
    """
    from blush.config.training import holds_training, load_training
    from blush.jobs.settings import refuse_other_settings, run_settings

    if holds_training(config):
        load_training(config)
        run_dir = None
    else:
        settings = run_settings(config)
        refuse_other_settings(settings)
        run_dir = settings.run_dir
    if importlib.util.find_spec("snakemake") is None:
        remedy = f"install it: {sys.executable} -m pip install 'snakemake>=9.19' snakemake-executor-plugin-slurm; or "
        remedy += f"use `blush refine {config}`, which needs none"
        raise BlushError("cannot run the workflow", [Problem("Snakemake is not installed", remedy)])
    return run_dir


def snakemake_command(config: Path, profile: str, options: list[str]) -> list[str]:
    """The call of Snakemake, with the rules and a profile of the package."""
    command = [sys.executable, "-P", "-m", "snakemake", "--snakefile", str(SNAKEFILE)]
    command += ["--profile", str(PROFILES / profile), "--configfile", str(config.absolute())]
    return [*command, *options]
