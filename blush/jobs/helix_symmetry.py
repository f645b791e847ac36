"""Rise and twist of finished maps, from files to a record, and a map on which they are imposed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blush.errors import BlushError, Problem
from blush.geometry.helix import Helix
from blush.helix.impose import impose
from blush.helix.masks import Tube
from blush.helix.pair_score import Central
from blush.helix.search import Range, SymmetryFound, search_one_map, search_symmetry
from blush.helix.trilinear import impose_trilinear, variance
from blush.io.files import write_json
from blush.io.half_maps import MapFiles, read_half_maps
from blush.io.mrc import write_volume

RECORD = "helix_symmetry.json"
TITLE = "the symmetry cannot be searched"


@dataclass(frozen=True)
class Sought:
    """What is asked for.

    Attributes
    ----------
    maps
        Two half-maps, or one map.
    start
        Rise, twist and fold to begin with.
    ranges
        Limits of rise in Å and twist in degrees; None: 5 % of the rise, and the larger of half a degree and 10 % of
        the twist.
    central_fraction, tube
        Part of the box along z, and where the filament is.
    resolution_angst
        Resolution of a single map.
    pixel_size_angst
        Instead of the headers'.
    """

    maps: tuple[Path, ...]
    start: Helix
    ranges: tuple[Range | None, Range | None]
    central_fraction: float
    tube: Tube
    resolution_angst: float | None = None
    pixel_size_angst: float | None = None


def find_symmetry(sought: Sought) -> tuple[SymmetryFound, dict[str, Any]]:
    """Rise and twist of the highest correlation, and all that is told of them.

    Raises
    ------
    BlushError
        Where a file or a value cannot be used.
    """
    files, central = _read(sought)
    first, second = files.halves
    rises, twists = _limits(sought)
    try:
        if len(sought.maps) == 2:
            found = search_symmetry((first, second), central, sought.start, rises, twists)
        else:
            resolution_angst = sought.resolution_angst or 4 * central.pixel_size_angst
            found = search_one_map(first, central, sought.start, rises, twists, resolution_angst)
    except ValueError as error:
        raise BlushError(TITLE, [Problem(str(error), "change what is given for it")]) from None
    mean = (first + second) / 2
    record = {
        "maps": [str(path) for path in sought.maps],
        "pixel_size_angst": central.pixel_size_angst,
        "central_fraction": central.fraction,
        "tube": asdict(central.tube),
        "limits": {"rise_angst": rises, "twist_deg": twists},
        "start": asdict(sought.start),
        "found": {
            **asdict(found.helix),
            "score": found.score,
            "crossover_angst": found.helix.crossover_angst,
            "slow_twist_deg_per_angst": found.helix.slope_deg_per_angst,
            "at_limit": found.at_limit,
        },
        "trilinear_variance": {
            "start": variance(mean, central, sought.start),
            "found": variance(mean, central, found.helix),
        },
        "grid": {
            "rise_angst": found.rises_angst.tolist(),
            "twist_deg": found.twists_deg.tolist(),
            "score": found.scores.tolist(),
        },
    }
    return found, record


def impose_on_file(sought: Sought, helix: Helix, output: Path, *, trilinear: bool) -> None:
    """Write the mean of the maps with a symmetry imposed from its central part.

    Raises
    ------
    BlushError
        Where a file cannot be used, or the central part is shorter than a rise.
    """
    files, central = _read(sought)
    mean = (files.halves[0] + files.halves[1]) / 2
    try:
        if trilinear:
            out = impose_trilinear(mean, central, helix)
        else:
            out = impose(mean, central.pixel_size_angst, helix, central.fraction, central.tube)
    except ValueError as error:
        raise BlushError("the symmetry cannot be imposed", [Problem(str(error))]) from None
    output.parent.mkdir(parents=True, exist_ok=True)
    write_volume(output, out.numpy(), central.pixel_size_angst, files.placement)


def write_record(folder: Path, record: dict[str, Any]) -> Path:
    """Write the record of a search into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RECORD, record)
    return folder / RECORD


def _read(sought: Sought) -> tuple[MapFiles, Central]:
    """Maps with the part of them that counts."""
    two = len(sought.maps) == 2
    files = read_half_maps(sought.maps[0], sought.maps[-1], pixel_size_angst=sought.pixel_size_angst, independent=two)
    box_angst = len(files.halves[0]) * files.pixel_size_angst
    tube, problems = sought.tube, []
    if not 0 < sought.central_fraction < 1:
        problems.append(Problem("is no part of the box", "give 0.1 to 0.5", where="--central-fraction"))
    if not tube.inner_diameter_angst < tube.outer_diameter_angst <= box_angst:
        remedy = f"give more than the inner diameter, and at most the box, {box_angst:.0f} Å"
        value = f"{tube.outer_diameter_angst:g}"
        problems.append(Problem("is no diameter of a filament in this box", remedy, where="--diameter", value=value))
    if problems:
        raise BlushError(TITLE, problems)
    return files, Central(files.pixel_size_angst, sought.central_fraction, tube)


def _limits(sought: Sought) -> tuple[Range, Range]:
    """Limits as they are given, or about the start."""
    rise, twist = sought.start.rise_angst, sought.start.twist_deg
    wide = max(0.5, 0.1 * abs(twist))
    return (
        sought.ranges[0] or (0.95 * rise, 1.05 * rise),
        sought.ranges[1] or (twist - wide, twist + wide),
    )
