"""`blush helix-evidence`: what filaments say of their symmetry."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blush.errors import BlushError, Problem
from blush.report.tell import tell

if TYPE_CHECKING:
    from blush.geometry.helix import Helix


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("helix-evidence")(helix_evidence)


def helix_evidence(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Finished runs of the same filaments.")],
    *,
    candidate: Annotated[
        list[str] | None,
        typer.Option(help="Another symmetry to try: rise in Å, twist in degrees, Cn, as 4.75,-1.2,C2."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=0, help="How often segments are placed anew for each symmetry.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder of results. [default: helix_evidence in the first run]")
    ] = None,
) -> None:
    """Weigh symmetries by filaments that had no part in the map: an FSC refutes none, as both halves share it.

    Each half of the filaments is told by the map of the other half, with the symmetry of the run, with none, and with
    those that are easily taken for it. Runs that were refined with other symmetries can be given together.
    """
    from blush.jobs.helix_evidence import weigh_symmetries, write_evidence
    from blush.jobs.runs import imported_run
    from blush.report.helix_evidence_page import write_evidence_page

    given = [_helix(text) for text in candidate or ()]
    record = weigh_symmetries([imported_run(run) for run in runs], given, rounds, _show)
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    _tell(record)
    written = write_evidence(out, record)
    tell(str(written))
    tell(str(write_evidence_page(written.parent, record)))


def _tell(record: dict[str, Any]) -> None:
    several = len(record["runs"]) > 1
    tell(f"{'symmetry':32s} {'FSC 0.143':>10s} {'difference':>12s} {'error':>8s}")
    for one in record["candidates"]:
        name = one["name"] + (f" ({Path(one['run']).name})" if several else "")
        if one["left_out"]:
            tell(f"{name:32s} left out: {one['left_out']}")
            continue
        error = one["difference_error"]
        shown = "" if error is None else f"{error:8.0f}"
        verdict = "" if one is record["candidates"][0] else one["verdict"]
        tell(f"{name:32s} {one['resolution_angst']:8.1f} Å {one['difference']:12.0f} {shown:>8s}  {verdict}")
    for text in record["conclusions"]:
        tell(text)


def _helix(text: str) -> "Helix":
    from blush.geometry.helix import Helix

    parts = [part.strip() for part in text.split(",")]
    try:
        rise, twist = float(parts[0]), float(parts[1])
        fold = int(parts[2].upper().removeprefix("C")) if len(parts) == 3 else 1
        if len(parts) > 3:
            raise ValueError
        return Helix(rise, twist, fold)
    except (ValueError, IndexError):
        fault, remedy = "is no rise, twist and rotation", "write them as 4.75,-1.2 or 4.75,-1.2,C2"
        raise BlushError("no such symmetry", [Problem(fault, remedy, where="--candidate", value=text)]) from None


def _show(name: str, done: int, total: int) -> None:
    """One line for each candidate; on a terminal it counts segments."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{'' if done else chr(10)}\r\033[K{name}  {done}/{total}")
    elif not done:
        sys.stderr.write(f"{name}\n")
    sys.stderr.flush()
