"""`blush converge`: the end of an iteration."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(converge)


def converge(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    iteration: Annotated[int, typer.Option(min=1, help="Number of the iteration.")],
) -> None:
    """Write poses, tables and the state of the next iteration, or the end, which needs no workers any more."""
    from blush.cluster.client import stop_pool
    from blush.cluster.resident import pool_folder
    from blush.jobs import steps
    from blush.jobs.body_runs import whole_of
    from blush.jobs.multibody import next_body
    from blush.report.live import write_live

    state = steps.converge(run, iteration)
    typer.echo(
        f"iteration {iteration}: {state.resolution_angst:.2f} Å, HEALPix order {state.search.healpix_order}, "
        f"offset step {state.search.offset_step_angst:.2f} Å{', converged' if state.converged else ''}"
    )
    whole = whole_of(run.absolute())
    if not state.converged or (whole != run.absolute() and next_body(whole) is not None):
        write_live(whole)
    else:
        stop_pool(pool_folder(whole))  # postprocessing may be waiting for the very node that its workers keep
