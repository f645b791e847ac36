"""`blush propose-bodies`: masks of bodies, to be looked at before a multi-body refinement."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blush.errors import BlushError, Problem
from blush.report.tell import tell

if TYPE_CHECKING:
    from blush.bodies.proposal import NamedParts

_EXAMPLE = "write NAME=CHAINS as arm=A,B:1-225, or rest='*'"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("propose-bodies")(propose_bodies)


def propose_bodies(
    consensus: Annotated[Path, typer.Argument(metavar="MAP", help="Consensus map, positive density.")],
    output: Annotated[Path, typer.Option(help="Folder for masks, lists of bodies and a page.")],
    model: Annotated[Path | None, typer.Option(help="PDB or mmCIF that was fitted into the map.")] = None,
    body: Annotated[
        list[str] | None,
        typer.Option(help="NAME=CHAINS of a body, as arm=A,B:1-225, or rest='*'; give one for each."),
    ] = None,
    count: Annotated[int | None, typer.Option(min=2, max=12, help="How many to find; as many as stand out.")] = None,
    local_resolution: Annotated[
        Path | None, typer.Option(help="Map of local resolution; bodies part where it changes.")
    ] = None,
    diameter: Annotated[float | None, typer.Option(help="Å of the sphere that holds the particle.")] = None,
    overlap: Annotated[float, typer.Option(min=0, help="Å that neighbours reach into each other.")] = 16.0,
) -> None:
    """Propose the bodies of a multi-body refinement, and show them: masks, bodies.star, bodies.yaml and a page.

    With --body they are parts of the model. Else they are the blocks that stay rigid in the slow modes of an elastic
    network, of the model where there is one, of the map alone otherwise.
    """
    from blush.jobs.propose_bodies import Wish
    from blush.jobs.propose_bodies import propose_bodies as propose
    from blush.report.body_page import write_body_page

    named = tuple(_named(text) for text in body or ())
    if named and count is not None:
        raise BlushError(
            "bodies cannot be proposed", [Problem("--body and --count exclude each other", "leave one out")]
        )
    found = propose(Wish(consensus, output, model, named, count, diameter, overlap, local_resolution))
    for entry in found["bodies"]:
        x, y, z = entry["centre_angst"]
        where = f"about {entry['kilodalton']:.0f} kDa, centre {x:.0f}, {y:.0f}, {z:.0f} Å"
        tell(f"{entry['name']}: {where}, hinges with {entry['hinge_with'] or 'nothing'}")
    tell(f"rigid motions of these bodies are {1 - found['flexible_share']:.0%} of the slow modes")
    if not found["stands_out"]:
        tell("blush: warning: no number of bodies stands out; look at the page, and name them by --body", err=True)
    for warning in found["warnings"]:
        tell(f"blush: warning: {warning}", 9, err=True)
    tell(str(write_body_page(output)))


def _named(text: str) -> "NamedParts":
    """One body of the command line.

    Raises
    ------
    BlushError
        If it is not written as it should be.
    """
    from blush.bodies.proposal import NamedParts
    from blush.simulate.mixture_settings import Part

    name, _, chosen = text.partition("=")
    parts = []
    try:
        for one in chosen.split(",") if chosen != "*" else ():
            chain, _, stretch = one.partition(":")
            first, dash, last = stretch.partition("-")
            ends = (int(first), int(last if dash else first)) if stretch else None
            parts.append(Part(chains=(chain,), residues=None if ends is None else (ends,)))
    except ValueError:
        parts = []
    if not name or (chosen != "*" and not parts) or any(part.chains == ("",) for part in parts):
        raise BlushError("bodies cannot be proposed", [Problem("is no body", _EXAMPLE, where="--body", value=text)])
    return NamedParts(name, tuple(parts))
