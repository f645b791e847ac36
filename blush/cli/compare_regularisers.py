"""`blush compare-regularisers`: which regulariser for these particles."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from blush.errors import BlushError
from blush.report.tell import tell

if TYPE_CHECKING:
    from blush.jobs.compare_regularisers import Comparison


class ListOptions(TyperCommand):
    """A command whose options take several values after one name: `--seeds 1 2 3`."""

    repeated = ("--regularisers", "--seeds")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the name before every value, as the parser underneath wants it."""
        return super().parse_args(ctx, spelled_out(args, self.repeated))


def spelled_out(args: Sequence[str], repeated: Sequence[str]) -> list[str]:
    """Arguments with the name of each of these options before every one of its values."""
    out: list[str] = []
    option, is_first = "", False
    for arg in args:
        if arg.startswith("--"):
            option, is_first = (arg if arg in repeated else ""), True
            out.append(arg)
        elif option:
            out += [arg] if is_first else [option, arg]
            is_first = False
        else:
            out.append(arg)
    return out


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare-regularisers", cls=ListOptions)(compare_regularisers)


def compare_regularisers(
    config: Annotated[Path, typer.Argument(help="Configuration (YAML); its sections hold the settings of each.")],
    regularisers: Annotated[list[str], typer.Option(help="Names, one after the other: wiener nonuniform ...")],
    seeds: Annotated[
        list[int] | None, typer.Option(min=0, help="Seeds, one after the other; none: that of the file.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing on the way.")] = False,
) -> None:
    """Refine the same particles with each regulariser, and say what differs; the same command again continues.

    Writes output/NAME_comparison: a run folder for each regulariser and seed, comparison.json and comparison.html.
    """
    from blush.cluster.lock import hold_run
    from blush.jobs.compare_regularisers import import_members, plan_comparison
    from blush.report.comparison import collect, write_comparison
    from blush.report.comparison_table import text_table

    comparison = plan_comparison(config, regularisers, seeds or ())
    for folder in (comparison.folder, *(member.run for member in comparison.members)):
        hold_run(folder)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as the workers have it; read at first use
    import_members(comparison)
    failures = _refine_all(comparison, quiet)
    page = write_comparison(comparison, failures)
    tell(text_table(collect(comparison, failures)))
    tell(str(page))
    if failures:
        raise BlushError(f"{len(failures)} of {len(comparison.members)} runs did not finish:", list(failures.values()))


def _refine_all(comparison: "Comparison", quiet: bool) -> dict[str, str]:
    """Every member in turn; one that cannot be done is told and does not keep the others from theirs."""
    from blush.cli.watch import followed
    from blush.jobs.compare_regularisers import is_finished, refine_member, shared_pool
    from blush.report.page import write_report

    say: Any = (lambda line: None) if quiet else typer.echo
    failures: dict[str, str] = {}
    to_do = [member for member in comparison.members if not is_finished(member)]
    total = len(comparison.members)
    spent: list[float] = []
    with shared_pool(comparison) as pool:
        for number, member in enumerate(comparison.members, start=1):
            title = f"run {number} of {total}: {member.regulariser}, seed {member.seed}"
            if member not in to_do:
                say(f"{title}: finished already")
                continue
            say(title + _time_left(spent, len(to_do) - len(spent) - len(failures)))
            start = time.monotonic()
            try:
                with followed(member.run, quiet):
                    run = refine_member(member, pool, lambda line: None)
                write_report(run)
                spent.append(time.monotonic() - start)
            except BlushError as error:
                failures[member.name] = f"{member.name}: {error}"
                tell(f"blush: {failures[member.name]}", err=True)
    return failures


def _time_left(spent: Sequence[float], to_do: int) -> str:
    """What the runs still to do will take at the mean of those done."""
    from blush.report.timing import duration

    return f" (about {duration(sum(spent) / len(spent) * to_do)} left)" if spent else ""
