"""`blush helix-start`: a first map of a filament."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blush.errors import BlushError, Problem
from blush.report.tell import tell

if TYPE_CHECKING:
    from blush.geometry.helix import Helix


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("helix-start")(helix_start)


def helix_start(
    output: Annotated[Path, typer.Argument(metavar="MAP", help="The map to write.")],
    *,
    box: Annotated[int, typer.Option(min=16, help="Box in pixels, even.")],
    pixel_size: Annotated[float, typer.Option(min=0.01, help="Å per pixel.")],
    diameter: Annotated[float, typer.Option(min=1, help="Outer diameter of the filament in Å.")],
    inner_diameter: Annotated[float, typer.Option(min=0, help="Inner diameter in Å.")] = 0.0,
    classes: Annotated[Path | None, typer.Option(help="Stack of 2D class averages, the filament along x.")] = None,
    number: Annotated[list[int] | None, typer.Option("--class", help="Number of an average to use, from 1.")] = None,
    particles: Annotated[Path | None, typer.Option(help="Table of segments, to find the section from these.")] = None,
    filaments: Annotated[int, typer.Option(min=1, help="Most filaments of the table to use, the longest.")] = 200,
    crossover: Annotated[float | None, typer.Option(min=1, help="Å from a cross-over to the next.")] = None,
    resolution: Annotated[float, typer.Option(help="Finest detail that is used, in Å; above the rungs'.")] = 10.0,
    shift: Annotated[float, typer.Option(min=0, help="Å that averages or filaments may be off the axis.")] = 10.0,
    right_handed: Annotated[bool, typer.Option("--right-handed", help="Hand of the slow twist; else left.")] = False,
    beginnings: Annotated[int, typer.Option(min=1, help="Random beginnings, of which the best is taken.")] = 16,
    seed: Annotated[int, typer.Option(help="Seed of these.")] = 1,
    model: Annotated[Path | None, typer.Option(help="PDB or mmCIF of a unit.")] = None,
    chain: Annotated[list[str] | None, typer.Option(help="A chain of the unit; all where none is given.")] = None,
    axis: Annotated[
        tuple[float, float] | None, typer.Option(help="x y of the axis in the model. [default: its centre of mass]")
    ] = None,
    rise: Annotated[float | None, typer.Option(help="Å from unit to unit of a model.")] = None,
    twist: Annotated[float | None, typer.Option(help="Degrees from unit to unit of a model, right-handed.")] = None,
    fold: Annotated[int, typer.Option(min=1, help="n of Cn about z, of a model.")] = 1,
) -> None:
    """Write a first map: of a model, of the section that class averages or filaments show, or else a cylinder.

    From class averages (--classes) or segments (--particles) and the distance of cross-overs (--crossover), the section
    is found by placing each average, or each filament laid out straight, along the twist, either way round. It then
    turns along z, by half a turn per cross-over. Rungs are not in it: they come in refinement.
    """
    from blush.helix.masks import Tube
    from blush.jobs.first_helix import (
        Wanted,
        Wish,
        write_cylinder,
        write_from_classes,
        write_from_segments,
        write_model,
    )
    from blush.simulate.settings import Specimen

    _check(box, pixel_size, diameter, inner_diameter)
    _check_sources({"--classes": classes, "--particles": particles, "--model": model}, crossover, (rise, twist))
    wanted = Wanted(output, box, pixel_size, Tube(diameter, inner_diameter))
    if (classes or particles) and crossover is not None:
        wish = Wish(crossover, resolution, shift, not right_handed, beginnings, seed)
        if classes is not None:
            found, shown = write_from_classes(wanted, wish, classes, tuple(number or ())), "the averages"
        elif particles is not None:
            found, shown = write_from_segments(wanted, wish, particles, filaments), "the filaments, noise included"
        likely = sum(share > found.explained - 0.002 for share in found.spread)
        tell(f"explains {found.explained:.1%} of {shown}; {likely} of {beginnings} beginnings came to it")
    elif model is not None and rise is not None and twist is not None:
        specimen = Specimen(model=model, chains=tuple(chain) if chain else None)
        write_model(wanted, _helix(rise, twist, fold), specimen, axis)
    else:
        write_cylinder(wanted)
    tell(str(output))


def _check(box: int, pixel_size_angst: float, diameter_angst: float, inner_angst: float) -> None:
    """Tell of a box and a tube that do not fit."""
    problems = []
    if box % 2:
        problems.append(Problem("is odd", f"give {box + 1}", where="--box", value=str(box)))
    if not inner_angst < diameter_angst <= box * pixel_size_angst:
        remedy = f"give more than the inner diameter, and at most the box, {box * pixel_size_angst:.0f} Å"
        problems.append(Problem("does not fit", remedy, where="--diameter", value=f"{diameter_angst:g}"))
    if problems:
        raise BlushError("no first map can be made", problems)


def _check_sources(
    sources: dict[str, Path | None], crossover_angst: float | None, screw: tuple[float | None, float | None]
) -> None:
    """Tell of several sources, and of what is missing for the one that is given."""
    from blush.jobs.first_helix import TITLE

    given = [name for name, path in sources.items() if path is not None]
    if len(given) > 1:
        raise BlushError(TITLE, [Problem(f"{' and '.join(given)} exclude each other", "give one of them")])
    if {"--classes", "--particles"} & set(given) and crossover_angst is None:
        raise BlushError(TITLE, [Problem("the cross-over is missing", "measure it, and give --crossover")])
    if "--model" in given and None in screw:
        raise BlushError(TITLE, [Problem("rise or twist of the model is missing", "give --rise and --twist")])


def _helix(rise_angst: float, twist_deg: float, fold: int) -> "Helix":
    from blush.geometry.helix import Helix

    try:
        return Helix(rise_angst, twist_deg, fold)
    except ValueError as error:
        raise BlushError("no first map can be made", [Problem(str(error))]) from None
