"""`blush evidence`: what images say of a map that they had no part in."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from blush.report.tell import tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evidence")(evidence)


def evidence(
    place: Annotated[
        Path | None, typer.Argument(help="Finished refinement, or its configuration; default: the newest run.")
    ] = None,
    images: Annotated[int, typer.Option(min=20, help="Images of each half, drawn at random.")] = 200,
) -> None:
    """Tell images of each half from noise by the map of the other half, band by band: an FSC cannot refute a map.

    Writes evidence/evidence.json and evidence.html in the run's folder; the page of the run shows the same. See
    docs/regularisers.md.
    """
    from blush.jobs.other_half import weigh_halves
    from blush.jobs.runs import imported_run
    from blush.report.evidence_page import band_lines, write_evidence_page

    told, target = weigh_halves(imported_run(place), images, _show if sys.stderr.isatty() else lambda done, total: None)
    record = told.record()
    tell(f"{'band':>22s}  {'gain of an image':>16s}  {'error':>6s}")
    for band, gain, error, verdict in band_lines(record):
        tell(f"{band:>22s}  {gain:>16s}  {error:>6s}  {verdict}")
    for text in record["words"]:
        tell(text)
    tell(str(write_evidence_page(target.parent)))


def _show(done: int, total: int) -> None:
    """One line that overwrites itself on a terminal."""
    sys.stderr.write(f"\r{done}/{total} " + ("\n" if done == total else ""))
    sys.stderr.flush()
