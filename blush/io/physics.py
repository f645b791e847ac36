"""Columns of `data_particles` that change what an image shows, beside those that are read as a matter of course.

What stands in a row and says something else than the row's optics group is refused: only `data_optics` counts, as in
RELION, and beam tilt or a phase flip that is left out in silence costs resolution.
"""

from pathlib import Path

import numpy as np

from blush.errors import Problem
from blush.io.columns import n_rows, numbers, row_problems
from blush.io.optics import NUMERIC_DEFAULTS, TEXT_DEFAULTS, vector
from blush.io.particle_columns import BLOCK
from blush.io.star import Table

_SAME = 1e-3
"""Largest relative difference between numbers that count as one; tables round them to six decimals."""
_IN_GROUPS_ALONE = ("rlnOpticsGroup", "rlnImageDimensionality", "rlnMicrographOriginalPixelSize")
"""Columns of `data_optics` that a row may hold in another sense."""
_NEEDED = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast", "rlnImagePixelSize", "rlnImageSize")
"""Columns of `data_optics` that nothing stands for, so that no row can contradict it."""
_CTF_IMAGES = "rlnCtfImage"


def check_physics(blocks: dict[str, Table], index: np.ndarray, star: Path) -> list[Problem]:
    """Refuse rows that contradict their optics group, and CTFs that cannot be used.

    Parameters
    ----------
    index
        (n,) 0-based row of `data_optics` of each particle.
    """
    table, optics = blocks["particles"], blocks["optics"]
    problems: list[Problem] = []
    for name in (name for name in (*NUMERIC_DEFAULTS, *TEXT_DEFAULTS) if name in table):
        if name not in _IN_GROUPS_ALONE and (name in optics or name not in _NEEDED):
            problems += _contradictions(name, table, optics, index, star)
    if _CTF_IMAGES in table:
        remedy = "give rlnDefocusU and its like, and remove the column"
        message = f"CTFs as images ({_CTF_IMAGES}) cannot be used"
        problems.append(Problem(message, remedy, str(star), BLOCK, str(table[_CTF_IMAGES][0])))
    if "rlnCtfScalefactor" in table:
        scale = numbers(table, "rlnCtfScalefactor", 1.0, BLOCK, star, [])
        bad = np.flatnonzero(scale <= 0)
        message = "rlnCtfScalefactor must be above 0"
        problems += row_problems(bad, scale[bad], message, "correct it; 1 is usual", star, BLOCK)
    return problems


def _contradictions(name: str, table: Table, optics: Table, index: np.ndarray, star: Path) -> list[Problem]:
    """Rows whose value is not that of their group, or not the default that its absence stands for."""
    if name in NUMERIC_DEFAULTS:
        own = numbers(table, name, 0, BLOCK, star, [])
        group = numbers(optics, name, NUMERIC_DEFAULTS[name], "data_optics", star, [])[index]
        size = 1e-6 + _SAME * np.maximum(abs(own), abs(group))
        bad = np.flatnonzero((abs(own - group) > size) & np.isfinite(group))
    else:
        texts = optics.get(name, np.array([TEXT_DEFAULTS[name]] * n_rows(optics), dtype=object))
        groups = [_meaning(name, text) for text in texts]
        meanings = {text: _meaning(name, text) for text in set(table[name])}
        pairs = zip(table[name], index.tolist(), strict=True)
        bad = np.flatnonzero([meanings[text] != groups[row] for text, row in pairs])
    message = f"{name} is not that of the row's optics group, and only data_optics is used"
    remedy = "make an optics group of the rows with each value, or remove the column from data_particles"
    return row_problems(bad, table[name][bad], message, remedy, star, BLOCK)


def _meaning(name: str, text: object) -> object:
    """What tells two texts apart: the numbers of a vector without zeros at its end, or a name, None for no file."""
    if name == "rlnMtfFileName":
        return None if str(text) in ("", "None", "none") else str(text)
    found = vector(text)
    while found and found[-1] == 0:
        found = found[:-1]
    return str(text) if found is None else found
