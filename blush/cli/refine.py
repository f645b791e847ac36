"""`blush refine`: a whole job in one process."""

import os
from pathlib import Path
from typing import Annotated

import typer

from blush.report.tell import tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(refine)


def refine(
    config: Annotated[Path, typer.Argument(help="Configuration (YAML).")],
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing on the way.")] = False,
) -> None:
    """Do the job of one configuration, from images to maps and report; the same command again continues.

    The job is a refinement, or a classification where the configuration says `job: classify`. Steps and results are
    those of the workflow; here one process makes them all, on one device.
    """
    run_job(config, quiet)


def run_job(config: Path, quiet: bool, job: str | None = None) -> None:
    """Do a configuration's job in this process.

    Parameters
    ----------
    job
        What the configuration must ask for; None: anything.

    Raises
    ------
    BlushError
        If it asks for another job, or anything is wrong with the input.
    """
    from blush.cli.watch import followed
    from blush.cluster.lock import hold_run
    from blush.errors import BlushError, Problem
    from blush.jobs.autorefine import autorefine
    from blush.jobs.multibody import bodies_of
    from blush.jobs.settings import refuse_other_settings, run_settings
    from blush.report.closing import tell_results
    from blush.report.live import write_live
    from blush.report.page import write_report

    settings = run_settings(config)
    if job is not None and settings.job != job:
        remedy = f"set job: {job}, or use `blush {settings.job}`"
        raise BlushError(f"no {job} job", [Problem("asks for another job", remedy, str(config), "job", settings.job)])
    refuse_other_settings(settings)
    hold_run(settings.run_dir)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as the workers have it; read at first use
    try:
        with followed(settings.run_dir, quiet):
            run = autorefine(settings, write_live)
        for body in bodies_of(run) if settings.job == "multibody" else ():
            write_report(body)
        write_report(run)
    except KeyboardInterrupt:
        tell("blush: stopped; the same command continues this run", err=True)
        raise
    tell_results(run)
