"""What bodies of a run did: its record read, analysed and written, and images chosen by where they are along it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blush.bodies.analyse import analyse
from blush.bodies.found import MotionsFound
from blush.bodies.motions import BodyMotions, read_motions
from blush.errors import BlushError, Problem
from blush.io.files import save_npz, write_json
from blush.io.moved_names import image_names_from, optics_from
from blush.io.particles import ParticleSet, read_particles
from blush.io.star import Table, write_star
from blush.jobs.bodies_finish import MOTIONS
from blush.jobs.body_maps import body_files, write_combined, write_frames
from blush.jobs.body_runs import BODIES
from blush.jobs.inputs import read_frozen_particles
from blush.jobs.layout import RunFolder
from blush.jobs.outputs import imported_blocks

FOLDER = "motions"
"""Where the analysis of a record is written, beside it."""
TITLE = "no images can be chosen"


@dataclass(frozen=True)
class Motions:
    """A record of motions and what was found.

    Attributes
    ----------
    run
        Folder of the run that it is of; None where the record lies elsewhere.
    """

    path: Path
    run: Path | None
    record: BodyMotions
    found: MotionsFound


@dataclass(frozen=True)
class Choice:
    """Which images are wanted.

    Attributes
    ----------
    component
        Number of the component, from 1.
    low, high
        Ends of its range in standard deviations from the mean; None is open.
    mode
        Number of the mode, from 1 for the lowest; None: any.
    """

    component: int
    low: float | None = None
    high: float | None = None
    mode: int | None = None


def find_motions(place: Path, seed: int) -> Motions:
    """Read and analyse the record of a run, or a record by itself.

    Raises
    ------
    BlushError
        There is none, or it cannot be used.
    """
    path = place / MOTIONS if place.is_dir() else place
    run = path.absolute().parent
    is_run = (RunFolder(run).imported / BODIES).exists()
    if not path.exists():
        remedy = "give the folder of a finished run with job: multibody, or a motions.npz"
        raise BlushError("there are no motions to tell", [Problem("is not there", remedy, str(path))])
    record = read_motions(path)
    return Motions(path, run if is_run else None, record, analyse(record, seed))


def write_analysis(motions: Motions, folder: Path, n_components: int, seed: int, maps: bool = True) -> None:
    """Write what was found to a folder: motions.json, places.npz, and of a run maps along its components.

    Parameters
    ----------
    n_components
        How many of those beyond noise get maps.
    """
    found = motions.found
    content = found.content()
    beyond = found.moving if found.n_beyond else []
    arrays = {f"place_angst_{k + 1}": one.place_angst for k, one in enumerate(beyond)}
    arrays |= {f"error_angst_{k + 1}": one.error_angst for k, one in enumerate(beyond)}
    arrays |= {f"mode_{k + 1}": one.mode for k, one in enumerate(beyond)}
    folder.mkdir(parents=True, exist_ok=True)
    save_npz(folder / "places.npz", arrays)
    if maps and motions.run is not None:
        files = body_files(motions.run, motions.record)
        for k in range(min(n_components, found.n_beyond)):
            write_frames(folder, motions.record, found, files, k)
        content["combined"] = write_combined(folder, motions.run, motions.record, found, files, seed)
    write_json(folder / "motions.json", content)


def select_images(motions: Motions, choice: Choice, output: Path | None, particles: Path | None) -> tuple[Path, int]:
    """Write a table of the images at some places along a component, in their order and with all columns.

    Columns `blushMotion` and `blushMotionError` are added: place and standard error in standard deviations.

    Parameters
    ----------
    output
        None: a name that says the choice, beside the record.
    particles
        Table that was refined; None: that of the run.

    Returns
    -------
    The table, and how many images it holds.

    Raises
    ------
    BlushError
        There is no such component or mode, no image is there, or the table is not that of the record.
    """
    rows, place, error = _chosen(motions, choice)
    read, blocks = _table(motions, particles)
    target = (motions.path.parent / _name(choice) if output is None else output).absolute()
    if particles is not None and target.exists() and target.samefile(particles):
        raise BlushError(TITLE, [Problem("would replace the table that is read", "give another name", str(target))])
    taken = read.take(rows)
    table: Table = {name: column[rows] for name, column in blocks["particles"].items()}
    table["rlnImageName"] = image_names_from(target, table["rlnImageName"], taken)
    table |= {"blushMotion": place[rows], "blushMotionError": error[rows]}
    optics = optics_from(target, blocks["optics"], taken)
    write_star(target, {**blocks, "optics": optics, "particles": table}, comment="selected by Blush")
    return target, int(rows.sum())


def _chosen(motions: Motions, choice: Choice) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """(n,) images that are wanted, and places and errors of all in standard deviations."""
    found = motions.found
    if not 1 <= choice.component <= found.n_beyond:
        remedy = f"give a number from 1 to {found.n_beyond}" if found.n_beyond else "no motion is beyond noise"
        problem = Problem("is no component beyond noise", remedy, where="--component", value=str(choice.component))
        raise BlushError(TITLE, [problem])
    moving = found.moving[choice.component - 1]
    place, error = (one / moving.component.sd_angst for one in (moving.place_angst, moving.error_angst))
    rows = np.ones(len(place), dtype=bool)
    if choice.mode is not None:
        if not 1 <= choice.mode <= moving.modes.count:
            remedy = f"component {choice.component} has {moving.modes.count}: choose by --from and --to"
            raise BlushError(TITLE, [Problem("is no mode", remedy, where="--mode", value=str(choice.mode))])
        rows &= moving.mode.argmax(1) == choice.mode - 1
    rows &= place >= (-np.inf if choice.low is None else choice.low)
    rows &= place <= (np.inf if choice.high is None else choice.high)
    if not rows.any():
        remedy = f"places go from {place.min():.2f} to {place.max():.2f}"
        raise BlushError(TITLE, [Problem("no image is there", remedy, where="--from, --to", value=_range(choice))])
    return rows, place, error


def _table(motions: Motions, particles: Path | None) -> tuple[ParticleSet, dict[str, Table]]:
    """The table that the record is of."""
    if particles is not None:
        read, blocks = read_particles(particles)
    elif motions.run is not None and RunFolder(motions.run).identity.exists():
        read, blocks = read_frozen_particles(motions.run), imported_blocks(motions.run)
    else:
        problem = Problem("does not say which images it is of", "add --particles", str(motions.path))
        raise BlushError(TITLE, [problem])
    if len(read) != motions.record.n_images:
        remedy = "give the table that was refined"
        value = f"{len(read)} images, {motions.record.n_images} in the record"
        raise BlushError(TITLE, [Problem("is another table", remedy, str(particles or motions.run), value=value)])
    return read, blocks


def _name(choice: Choice) -> str:
    mode = "" if choice.mode is None else f"_mode{choice.mode}"
    limits = "" if choice.low is None and choice.high is None else f"_{_range(choice).replace(' ', '_')}"
    return f"component{choice.component}{mode}{limits}.star"


def _range(choice: Choice) -> str:
    low, high = ("any" if end is None else f"{end:g}" for end in (choice.low, choice.high))
    return f"{low} to {high}"
