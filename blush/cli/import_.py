"""`blush import`: check every input, and freeze the particles of a run."""

from pathlib import Path
from typing import Annotated

import typer

from blush.errors import BlushError, Problem, condensed
from blush.report.tell import tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_)


def import_(
    source: Annotated[
        Path, typer.Argument(help="Configuration (YAML); with --check-only also particles (.star, .cs, .csg).")
    ],
    check_only: Annotated[bool, typer.Option("--check-only", help="Check everything and write nothing.")] = False,
) -> None:
    """Check every input at once, then freeze particles, halves and shards of a run."""
    is_star = source.name.endswith((".star", ".cs", ".csg", ".star.gz"))
    if is_star and not check_only:
        remedy = "give the configuration, or add --check-only"
        raise BlushError("cannot import", [Problem("a particle table alone is not a run", remedy, file=str(source))])
    if check_only:
        _check(source, is_star)
        return
    from blush.jobs.settings import run_settings
    from blush.jobs.steps import import_run

    import_run(run_settings(source))


def _check(source: Path, is_star: bool) -> None:
    """Report on every input; nothing is written."""
    from blush.io.check import check_particles
    from blush.jobs.importing import check_run
    from blush.jobs.settings import run_settings

    findings = check_particles(source) if is_star else check_run(run_settings(source))
    for warning in condensed(findings.warnings):
        tell(f"warning: {warning}", 9, err=True)
    findings.refuse(str(source))
    n_particles = len(findings.particles) if findings.particles else 0
    tell(f"{source}: {n_particles} particles, no problems, {len(findings.warnings)} warning(s)")
