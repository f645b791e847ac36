"""RELION's list of bodies (bodies.star), read and written as bodies of our configuration."""

import re
from collections.abc import Sequence
from os.path import relpath
from pathlib import Path

import numpy as np
import yaml

from blush.config.multibody import Body, body_mistakes
from blush.errors import BlushError, Problem
from blush.io.columns import n_rows, numbers, require, row_problems
from blush.io.optics import resolve
from blush.io.star import Table, read_star, write_star

_MASK, _HINGE, _REFERENCE = "rlnBodyMaskName", "rlnBodyRotateRelativeTo", "rlnBodyReferenceName"
_OFFSET, _OFFSET_PX = "rlnBodySigmaOffsetAngst", "rlnBodySigmaOffset"
_ANGLES, _TILT, _PSI = "rlnBodySigmaAngles", "rlnBodySigmaTilt", "rlnBodySigmaPsi"
_AXIS = tuple(f"rlnBodyRotateDirection{axis}" for axis in "XYZ")
_NONE = ("", "None", "none")
_FIXED = 1e-3
"""Widths of priors all below this keep a body fixed."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def read_bodies(star: Path, pixel_size_angst: float, *, rest: bool = False) -> tuple[tuple[Body, ...], list[Problem]]:
    """Read a list of bodies, one row each, in the order of their numbers: as `write_bodies` or RELION's users write it.

    Parameters
    ----------
    pixel_size_angst
        That of the consensus map, for widths that the file gives in pixels.
    rest
        Whether the density in none of their masks is one more body, which the file does not list.

    Returns
    -------
    The bodies, called after their masks (without `mask_` or `_mask`) where these names differ, and what is taken
    otherwise than it is written.

    Raises
    ------
    BlushError
        With every mistake of the file.
    """
    table = _only_table(star)
    problems: list[Problem] = []
    told: list[Problem] = []
    require(table, [_MASK], "bodies", star, problems)
    if problems:
        raise BlushError("bodies cannot be used", problems)
    count = n_rows(table)
    names = _names([str(name) for name in table[_MASK]])
    masks = [_mask(str(name), row, star, problems) for row, name in enumerate(table[_MASK])]
    partners = _partners(table, names, star, problems)
    angle = _angles(table, star, problems, told)
    offset = _offsets(table, pixel_size_angst, star, problems, told)
    refined = (angle >= _FIXED) | (offset >= _FIXED)
    for width, what in ((angle, "angles"), (offset, "offsets")):
        bad = np.flatnonzero(refined & (width < _FIXED))
        remedy = "give its width; 10° and 3 Å are usual, and 0 for angles and offsets alike keeps the body fixed"
        problems += row_problems(bad, width[bad], f"prior of {what} has no width", remedy, star, "bodies")
    told += _unused(table, star)
    if problems:
        raise BlushError("bodies cannot be used", problems)
    widths = [
        {"sigma_rotation_deg": float(angle[b]), "sigma_offset_angst": float(offset[b])} if refined[b] else {}
        for b in range(count)
    ]
    bodies = tuple(
        Body(name=names[b], mask=masks[b], hinge_with=partners[b], refine=bool(refined[b]), **widths[b])
        for b in range(count)
    )
    mistakes = [Problem(text, file=str(star)) for text in body_mistakes(bodies, rest=rest)]
    if mistakes:
        raise BlushError("bodies cannot be used", mistakes)
    return bodies, told


def write_bodies(star: Path, bodies: Sequence[Body], start: Path | None = None) -> None:
    """Write a list of bodies as RELION 3.1 and later read it, with widths in Å.

    Parameters
    ----------
    bodies
        The bodies; widths of those that are not refined are written as 0.
    start
        Folder that the masks' names start from, as RELION's do from that of its project; None: the file's own.
    """
    names = [body.name for body in bodies]
    table: Table = {
        _MASK: np.array([relpath(body.mask, start or star.absolute().parent) for body in bodies], dtype=object)
    }
    if any(body.hinge_with for body in bodies):
        table[_HINGE] = np.array([names.index(_partner_of(body, bodies)) + 1 for body in bodies])
    table[_ANGLES] = np.array([body.sigma_rotation_deg if body.refine else 0.0 for body in bodies])
    table[_OFFSET] = np.array([body.sigma_offset_angst if body.refine else 0.0 for body in bodies])
    write_star(star, {"bodies": table})


def _partner_of(body: Body, bodies: Sequence[Body]) -> str:
    """The body that one hinges with; where it states none, the first that hinges with it, else the first other."""
    others = [other for other in bodies if other.name != body.name]
    return body.hinge_with or next((other.name for other in others if other.hinge_with == body.name), others[0].name)


def bodies_yaml(bodies: Sequence[Body], folder: Path) -> str:
    """Section `multibody` of a configuration in a folder, with masks named from there."""
    lines = []
    for body in bodies:
        told = body.model_dump(exclude_defaults=True) | {"mask": relpath(body.mask, folder.absolute())}
        lines.append(f"    - {{{', '.join(f'{key}: {_yaml(value)}' for key, value in told.items())}}}\n")
    return "multibody:\n  bodies:\n" + "".join(lines)


def _yaml(value: object) -> str:
    """One value of a list of settings."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")


def _only_table(star: Path) -> Table:
    """The one table of a file, under any name."""
    filled = {name: table for name, table in read_star(star).items() if n_rows(table)}
    with_masks = [table for table in filled.values() if _MASK in table]
    if len(with_masks) > 1 or (not with_masks and len(filled) != 1):
        problem = Problem(f"has no table, or several, with {_MASK}", "give RELION's list of bodies", str(star))
        raise BlushError("bodies cannot be used", [problem])
    return with_masks[0] if with_masks else next(iter(filled.values()))


def _names(files: Sequence[str]) -> list[str]:
    """A name of each body: that of its mask file, or body1, body2, ... where those are equal or no names."""
    stems = [Path(name).stem.removeprefix("mask_").removesuffix("_mask") for name in files]
    if len(set(stems)) == len(stems) and all(_NAME.fullmatch(stem) for stem in stems):
        return stems
    return [f"body{number}" for number in range(1, len(files) + 1)]


def _mask(name: str, row: int, star: Path, problems: list[Problem]) -> Path:
    """File of a mask, looked for from the folder of the list and those above it."""
    found = resolve(name, star)
    if found is None:
        remedy = "correct the path, or restore the file"
        problems.append(Problem("mask does not exist", remedy, str(star), f"bodies row {row + 1}, {_MASK}", name))
    return found or Path(name)


def _partners(table: Table, names: Sequence[str], star: Path, problems: list[Problem]) -> list[str | None]:
    """Name of the body that each one hinges with; 0 and below is none."""
    number = numbers(table, _HINGE, 0, "bodies", star, problems)
    rows = np.arange(len(number))
    bad = np.flatnonzero((number > len(names)) | (number == rows + 1) | (number != np.floor(number)))
    remedy = f"give the number of another body, 1 to {len(names)}, or 0 for none"
    problems += row_problems(bad, number[bad], f"{_HINGE} names no other body", remedy, star, "bodies")
    if problems:
        return [None] * len(names)
    return [names[int(one) - 1] if one > 0 else None for one in number]


def _angles(table: Table, star: Path, problems: list[Problem], told: list[Problem]) -> np.ndarray:
    """(B,) width of the prior of rotations in degrees."""
    if _ANGLES in table:
        return _widths(table, _ANGLES, star, problems)
    require(table, [_TILT, _PSI], "bodies", star, problems)
    tilt, psi = (_widths(table, name, star, problems) for name in (_TILT, _PSI))
    width = np.sqrt((2 * tilt**2 + psi**2) / 3)
    if (tilt != psi).any():
        message = f"{_TILT} and {_PSI} differ, and the prior here is as wide about every axis"
        value = ", ".join(f"{one:g}°" for one in width)
        told.append(Problem(message, "taken as their mean square over the three axes", str(star), "bodies", value))
    return width


def _offsets(
    table: Table, pixel_size_angst: float, star: Path, problems: list[Problem], told: list[Problem]
) -> np.ndarray:
    """(B,) width of the prior of shifts in Å."""
    if _OFFSET in table or _OFFSET_PX not in table:
        require(table, [_OFFSET], "bodies", star, problems)
        return _widths(table, _OFFSET, star, problems)
    width = pixel_size_angst * _widths(table, _OFFSET_PX, star, problems)
    message = f"{_OFFSET_PX} is in pixels, which RELION 3.1 and later read and do not use"
    remedy = f"taken as {', '.join(f'{one:g}' for one in width)} Å; write {_OFFSET} to be understood everywhere"
    told.append(Problem(message, remedy, str(star), "bodies"))
    return width


def _widths(table: Table, name: str, star: Path, problems: list[Problem]) -> np.ndarray:
    """A column of widths, none of them negative."""
    width = numbers(table, name, 0, "bodies", star, problems)
    bad = np.flatnonzero(width < 0)
    problems += row_problems(bad, width[bad], f"{name} is negative", "give a width of 0 or more", star, "bodies")
    return width


def _unused(table: Table, star: Path) -> list[Problem]:
    """Columns of RELION's that are not used here, where they say anything."""
    told = []
    if any(name in table for name in _AXIS):
        message = f"{_AXIS[0]}, Y and Z are not used: RELION itself leaves such an axis undefined"
        remedy = f"name the body that it turns against in {_HINGE}, or remove the columns"
        told.append(Problem(message, remedy, str(star), "bodies"))
    if _REFERENCE in table and (named := [str(name) for name in table[_REFERENCE] if str(name) not in _NONE]):
        message = f"{_REFERENCE} is not used: every body starts from the consensus"
        told.append(Problem(message, "remove the column", str(star), "bodies", ", ".join(named)))
    return told
