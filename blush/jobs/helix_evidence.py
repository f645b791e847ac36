"""What filaments say of their symmetry: each half told by the map of the other under every candidate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.errors import BlushError, Problem
from blush.geometry.helix import Helix
from blush.helix.candidates import Candidate, are_mirrored, candidates_of, contains
from blush.io.files import write_json
from blush.jobs.held_out import TITLE, HeldOut
from blush.jobs.helix_maps import tube_of
from blush.jobs.layout import RunFolder
from blush.maximization.resolution import resolutions_angst
from blush.maximization.spectra import signal_to_noise
from blush.validate.filament_evidence import Compared, compare

GIVEN = "given"
Floats = NDArray[np.float64]
Report = Callable[[str, int, int], None]

PART = "part of what was imposed while segments were placed, so it cannot win here: refine with it, and give both runs"
HAND = "the other hand of what segments were placed with: a refinement with it would fit as well"
MIRROR = "the other hand: projections hardly tell it, unless filaments lie tilted"


@dataclass(frozen=True)
class Weighed:
    """One candidate at the poses of one run.

    Attributes
    ----------
    resolution_angst
        Where the FSC of the halves in the central part falls below 0.143.
    log_gain
        (n,) of each segment.
    left_out
        Why there is no figure.
    """

    run: HeldOut
    candidate: Candidate
    resolution_angst: float | None = None
    log_gain: Floats | None = None
    left_out: str | None = None


def weigh_symmetries(runs: Sequence[Path], given: Sequence[Helix], rounds: int, report: Report) -> dict[str, Any]:
    """Weigh candidates by filaments that had no part in the maps that tell them.

    Of the first run these are the symmetry that it was refined with, none, those that are easily taken for it
    (`candidates_of`) and those that are given; of further runs their own. Every candidate gets maps of its own: the
    sums of each half, made without symmetry at the poses of the run, are symmetrised, filtered and filled with it, and
    each round places segments anew against the map of their own half. Then each half is told by the map of the other.

    Parameters
    ----------
    runs
        Folders of finished refinements of the same filaments in the same halves.
    rounds
        How often segments are placed anew, nearby.
    report
        Called with the candidate, how many segments of a half are done, and how many there are; first with 0.

    Raises
    ------
    BlushError
        Where a folder is no finished run of filaments, or runs are not of the same images.
    """
    placed = [HeldOut.of(run) for run in runs]
    for other in placed[1:]:
        _require_alike(placed[0], other)
        other.measured_like(placed[0])
    for run in placed:
        run.compare_up_to(min(one.radius for one in placed))
    tried = candidates_of(placed[0].helix)
    tried += [Candidate(GIVEN, helix) for helix in given if helix not in [one.helix for one in tried]]
    listed = [(placed[0], one) for one in tried]
    for run in placed[1:]:
        listed += [(run, one) for one in candidates_of(run.helix)[:2]]
    weighed = []
    for index, run in enumerate(placed):
        own = [one for of, one in listed if of is run]
        sums = run.sums(run.own_references(), lambda *_: None)
        for place, candidate in enumerate(own):

            def tell(
                done: int, total: int, name: str = f"run {index + 1}, {place + 1} of {len(own)}: {candidate.name}"
            ) -> None:
                report(name, done, total)

            tell(0, len(run.frozen))
            weighed.append(_weigh(run, candidate, sums, rounds, tell))
    return _record(runs, placed, weighed, rounds)


def _weigh(run: HeldOut, candidate: Candidate, sums: Any, rounds: int, tell: Callable[[int, int], None]) -> Weighed:
    try:
        references, fsc = run.references(sums, candidate.helix)
    except ValueError as error:  # a rise that the central part does not hold
        return Weighed(run, candidate, left_out=str(error))
    for _ in range(rounds):
        references, fsc = run.references(run.sums(references, tell), candidate.helix)
    box_angst = run.state.facts.box_px * run.state.facts.pixel_size_angst
    resolution = resolutions_angst(signal_to_noise(fsc, joined=True)[None], box_angst, over_gaps=False)[0]
    return Weighed(run, candidate, float(resolution), run.log_gain(references, tell))


def _require_alike(first: HeldOut, other: HeldOut) -> None:
    """Refuse runs of other images, other halves or other masks."""
    one, two = first.frozen, other.frozen
    same_images = len(one) == len(two) and all(
        np.array_equal(getattr(one, name), getattr(two, name)) for name in ("image_index", "stack_index", "filament")
    )
    where, problems = str(other.folder.root), []
    if not same_images or [Path(path).name for path in one.stacks] != [Path(path).name for path in two.stacks]:
        remedy = f"give runs of one table, as {first.folder.root}"
        problems.append(Problem("is a run of other images", remedy, where))
    elif not np.array_equal(one.half, two.half):
        remedy = f"refine with the seed of {first.folder.root}, {first.config.seed}"
        problems.append(Problem("has other half-sets, so its maps know the images that are to be told", remedy, where))
    widths = [(tube_of(run.config), run.config.particle_diameter_angst) for run in (first, other)]
    if widths[0] != widths[1]:
        remedy = f"refine with the tube and particle diameters of {first.folder.root}"
        problems.append(Problem("sees images in another mask", remedy, where, value=str(widths[1])))
    if problems:
        raise BlushError(TITLE, problems)


def _record(runs: Sequence[Path], placed: Sequence[HeldOut], weighed: Sequence[Weighed], rounds: int) -> dict[str, Any]:
    base = weighed[0]
    if base.log_gain is None:
        raise BlushError(TITLE, [Problem(str(base.left_out), "set a larger helix.central_fraction", str(runs[0]))])
    lines, told = [], []
    for one in weighed:
        line = _line(one, base, runs[placed.index(one.run)])
        if one.log_gain is not None:
            compared = compare(one.log_gain, base.log_gain, *_filaments(one.run), one_run=one.run is base.run)
            line |= _figures(one, compared)
            told.append((one, compared))
        lines.append(line)
    filaments = len(np.unique(_filaments(placed[0])[0]))
    facts = {"filaments": filaments, "segments": len(placed[0].frozen), "rounds": rounds}
    return {"runs": [str(run) for run in runs], **facts, "candidates": lines, "conclusions": _conclusions(told)}


def _filaments(run: HeldOut) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if run.frozen.filament is None:
        raise ValueError("these particles are no segments of filaments")
    return run.frozen.filament.astype(np.int64), run.frozen.half.astype(np.int64)


def _line(one: Weighed, base: Weighed, run: Path) -> dict[str, Any]:
    """What is said of a candidate before it is weighed."""
    helix = one.candidate.helix
    found: dict[str, Any] = {"run": str(run), "kind": one.candidate.kind, "name": one.candidate.name}
    found |= {"helix": None if helix is None else asdict(helix), "note": _note(one, base), "left_out": one.left_out}
    return found


def _note(one: Weighed, base: Weighed) -> str | None:
    helix, imposed, first = one.candidate.helix, one.run.helix, base.candidate.helix
    if one.candidate.kind == "refined" or helix is None:
        away = one.run is not base.run and helix is not None and first is not None and are_mirrored(helix, first)
        return MIRROR if away else None
    if are_mirrored(helix, imposed):
        return HAND
    return PART if contains(imposed, helix) and helix != imposed else None


def _figures(one: Weighed, compared: Compared) -> dict[str, Any]:
    return {
        "resolution_angst": one.resolution_angst,
        "log_gain_per_segment": float(np.mean(one.log_gain)) if one.log_gain is not None else None,
        "difference": compared.total,
        "difference_error": compared.error if np.isfinite(compared.error) else None,
        "difference_by_half": list(compared.by_half),
        "filaments_for_it": int((compared.per_filament > 0).sum()),
        "per_filament": compared.per_filament.tolist(),
        "verdict": compared.verdict,
    }


def _conclusions(told: Sequence[tuple[Weighed, Compared]]) -> list[str]:
    """What the data support, and what they cannot tell."""
    base = told[0][0]

    def named(one: Weighed) -> str:
        return one.candidate.name if one.run is base.run else f"{one.candidate.name} of {one.run.folder.root.name}"

    others = [(one, compared) for one, compared in told[1:] if one.candidate.helix is not None]
    better = sorted((pair for pair in others if pair[1].verdict == "better"), key=lambda pair: -pair[1].total)
    even = [named(one) for one, compared in others if compared.verdict == "not told apart"]
    found = [
        f"{named(one)} tells filaments that it has not seen better than {base.candidate.name}, by "
        f"{compared.total:.0f} ± {compared.error:.0f}."
        for one, compared in better
    ]
    if not better:
        found.append(f"No candidate tells filaments that it has not seen better than {base.candidate.name}.")
    found += [
        _against_none(base, compared) for one, compared in told if one.candidate.helix is None and one.run is base.run
    ]
    if even:
        found.append(f"Not told apart from it: {'; '.join(even)}.")
    if any(one.run is not base.run for one, _ in told):
        found.append("Between runs the better refined one wins: of two that differ, look which of them has converged.")
    return [*found, "The hand cannot be told by projections of filaments that lie flat."]


def _against_none(base: Weighed, compared: Compared) -> str:
    amount = f"{abs(compared.total):.0f} ± {compared.error:.0f}"
    if compared.verdict == "worse":
        return f"With {base.candidate.name} filaments are told better than without symmetry, by {amount}."
    if compared.verdict == "better":
        return (
            f"Without symmetry filaments are told better than with {base.candidate.name}, by {amount}: it is refuted."
        )
    return (
        f"With {base.candidate.name} filaments are not told certainly better than without symmetry ({amount}): look at "
        "it in a refinement with helix.impose_symmetry: false."
    )


def write_evidence(folder: Path | None, record: dict[str, Any]) -> Path:
    """Write the record into a folder; None: where the page of the first run looks for it."""
    usual = RunFolder(Path(record["runs"][0])).evidence
    target = usual if folder is None else folder / usual.name
    target.parent.mkdir(parents=True, exist_ok=True)
    write_json(target, record)
    return target
