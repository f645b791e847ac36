"""`blush helix-symmetry`: rise and twist of finished maps."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blush.errors import BlushError, Problem
from blush.report.tell import tell

if TYPE_CHECKING:
    from blush.jobs.helix_symmetry import Sought

_LIMITS = "Least and largest, as 4.7 4.85."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("helix-symmetry")(helix_symmetry)


def helix_symmetry(
    map1: Annotated[Path, typer.Argument(metavar="MAP", help="Unfiltered half-map 1, or the only map there is.")],
    map2: Annotated[Path | None, typer.Argument(metavar="MAP2", help="Unfiltered half-map 2.")] = None,
    *,
    rise: Annotated[float, typer.Option(help="Å along z from a unit to the next, to begin with.")],
    twist: Annotated[float, typer.Option(help="Degrees about z, right-handed, to begin with.")],
    diameter: Annotated[float, typer.Option(help="Outer diameter of the filament in Å.")],
    inner_diameter: Annotated[float, typer.Option(help="Inner diameter in Å.")] = 0.0,
    fold: Annotated[int, typer.Option(min=1, help="n of Cn about z.")] = 1,
    rise_range: Annotated[tuple[float, float] | None, typer.Option(help=_LIMITS + " [default: within 5 %]")] = None,
    twist_range: Annotated[
        tuple[float, float] | None, typer.Option(help=_LIMITS + " [default: within 0.5 degrees or 10 %]")
    ] = None,
    central_fraction: Annotated[float, typer.Option(help="Part of the box along z that is compared.")] = 0.3,
    resolution: Annotated[float | None, typer.Option(help="Å, of a single map. [default: 4 pixels]")] = None,
    pixel_size: Annotated[float | None, typer.Option(help="Å per pixel, instead of the headers'.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for helix_symmetry.json and a page.")] = None,
    imposed: Annotated[Path | None, typer.Option(help="Write the mean map with the symmetry found imposed.")] = None,
    trilinear: Annotated[
        bool, typer.Option("--trilinear", help="Impose it as relion_helix_toolbox does, voxel by voxel.")
    ] = False,
) -> None:
    """Find the rise and twist that two half-maps share: the correlation of one with the other moved along the screw.

    The maps must be neither symmetrised nor denoised: what was imposed on them is what would be found. Of a single map
    the same is measured between its parts that share no noise.
    """
    from blush.geometry.helix import Helix
    from blush.helix.masks import Tube
    from blush.jobs.helix_symmetry import Sought, find_symmetry, impose_on_file, write_record
    from blush.report.helix_symmetry_page import write_symmetry_page

    try:
        start = Helix(rise, twist, fold)
    except ValueError as error:
        raise BlushError("the symmetry cannot be searched", [Problem(str(error))]) from None
    tube = Tube(diameter, inner_diameter)
    maps = (map1,) if map2 is None else (map1, map2)
    sought = Sought(maps, start, (rise_range, twist_range), central_fraction, tube, resolution, pixel_size)
    _tell_single(sought)
    found, record = find_symmetry(sought)
    tell("         rise (Å)  twist (°)  cross-over (Å)  trilinear variance")
    for name, helix in (("start", start), ("found", found.helix)):
        crossover, spread = f"{helix.crossover_angst:14.1f}", record["trilinear_variance"][name]
        tell(f"{name:7s} {helix.rise_angst:9.4f} {helix.twist_deg:10.4f}  {crossover} {spread:19.6e}")
    tell(f"correlation along the screw {found.score:.4f}")
    for name in found.at_limit:
        tell(f"blush: warning: {name} is at its limit, and no optimum: widen its range", 9, err=True)
    if imposed is not None:
        impose_on_file(sought, found.helix, imposed, trilinear=trilinear)
        tell(str(imposed))
    if out is not None:
        tell(str(write_record(out, record)))
        tell(str(write_symmetry_page(out, record)))


def _tell_single(sought: "Sought") -> None:
    if len(sought.maps) == 1:
        tell("blush: warning: one map cannot tell signal from what was imposed on it; give half-maps", err=True)
