"""Particles to cryoSPARC, and tables of cryoSPARC to STAR files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from blush.errors import BlushError, Problem
from blush.io.cs_fields import CsOptions
from blush.io.cs_table import is_cs
from blush.io.cs_write import cs_rows, refused_for_cs, write_cs
from blush.io.files import told_if_unwritable
from blush.io.moved_names import image_names_from
from blush.io.noted import check_own
from blush.io.optics import IMAGE_SIGN
from blush.io.particle_columns import find_stack
from blush.io.particles import read_particles
from blush.io.star import write_star

TITLE = "cannot export"
_LINKS = "stacks"


def export_cs(source: Path, output: Path | None = None, leave_out_aberrations: bool = False) -> Path:
    """Write the particles of a run, or of a STAR file, as a group of results that cryoSPARC imports.

    The folder holds `particles.cs`, `particles.csg` and links to the stacks, as those that cryoSPARC exports do.

    Parameters
    ----------
    source
        Folder of a run, of which the last table is taken, or a particle table.
    output
        None: `cryosparc` in the run's folder, or beside the table.
    leave_out_aberrations
        Whether beam tilt and aberrations are left out where there are any, and not refused.

    Returns
    -------
    The `.csg` to import.

    Raises
    ------
    BlushError
        There is no table, it has mistakes, or says what a table of cryoSPARC cannot.
    """
    star = _table(source.absolute())
    check_own(star)
    particles, blocks = read_particles(star)
    if problems := refused_for_cs(particles, star, leave_out_aberrations):
        raise BlushError(TITLE, problems)
    folder = (star.parent / "cryosparc") if output is None else output.absolute()
    width = len(str(len(particles.stacks)))
    links = [f"{_LINKS}/{number:0{width}d}_{Path(stack).name}" for number, stack in enumerate(particles.stacks, 1)]
    with told_if_unwritable(folder / _LINKS):
        (folder / _LINKS).mkdir(parents=True, exist_ok=True)
        for link, stack in zip(links, particles.stacks, strict=True):
            _link(folder / link, Path(stack).resolve())
    rows = cs_rows(particles, blocks["particles"], [f">{link}" for link in links])
    return write_cs(folder / "particles.cs", rows, "Particles refined by Blush")


def _table(source: Path) -> Path:
    """The last particle table of a run's folder, or the table itself.

    Raises
    ------
    BlushError
        The folder holds none.
    """
    if not source.is_dir():
        return source
    found = [*sorted(source.glob("run_it[0-9]*_data.star")), *source.glob("run_data.star")]
    if not found:
        remedy = "give the folder of a finished run, or a particle table"
        raise BlushError(TITLE, [Problem("holds no particle table", remedy, str(source))])
    return found[-1]


def _link(link: Path, target: Path) -> None:
    """Let a link lead to a file; one that led elsewhere is replaced."""
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        raise BlushError(TITLE, [Problem("is there already, and is no link", "name another folder", str(link))])
    link.symlink_to(target)


@dataclass(frozen=True)
class Exported:
    """How many particles a STAR file holds, and what to know of it."""

    particles: int
    warnings: tuple[str, ...]


def export_star(table: Path, target: Path, options: CsOptions) -> Exported:
    """Write a table of cryoSPARC as a STAR file, whose image names lead to the stacks from where it is written.

    Names of stacks that are not found are kept as they were, with a warning.

    Raises
    ------
    BlushError
        It is none, has mistakes, or what is to be written is no STAR file.
    """
    if not is_cs(table):
        raise BlushError(TITLE, [Problem("is no table of cryoSPARC", "give a .cs or .csg file", str(table))])
    if target.suffix != ".star":
        raise BlushError(TITLE, [Problem("is not the name of a STAR file", "let it end in .star", str(target))])
    particles, blocks = read_particles(table, find_stacks=False, cs=options)
    found = [find_stack(name, table) for name in particles.stacks]
    pairs = zip(particles.stacks, found, strict=True)
    placed = replace(particles, stacks=tuple(name if path is None else str(path) for name, path in pairs))
    names = image_names_from(target.absolute(), blocks["particles"]["rlnImageName"], placed)
    write_star(target, {**blocks, "particles": {**blocks["particles"], "rlnImageName": names}})
    warnings = []
    if missing := found.count(None):
        warnings.append(f"{missing} of {len(found)} stacks were not found, and their names are kept as they were")
    if dark := int(np.count_nonzero(particles.image_sign < 0)):
        warnings.append(
            f"{dark} images are dark on bright: {IMAGE_SIGN} tells that to Blush, but RELION needs inverted stacks "
            "(relion_image_handler --multiply_constant -1)"
        )
    return Exported(len(particles), tuple(warnings))
