"""A particle table of any program as the blocks `optics` and `particles`."""

from pathlib import Path

from blush.errors import Problem
from blush.io.cs_fields import CsOptions
from blush.io.cs_table import is_cs, read_cs
from blush.io.legacy import modernise
from blush.io.particle_columns import NUMERIC_COLUMNS
from blush.io.star import Table, read_star


def read_table(
    path: Path, cs: CsOptions, problems: list[Problem], warnings: list[Problem] | None = None
) -> dict[str, Table]:
    """Read a STAR file of RELION 3.1 or later, an older one, or a table of cryoSPARC.

    Parameters
    ----------
    cs
        How a table of cryoSPARC is read.
    problems, warnings
        Mistakes and what is seldom meant are appended to them.

    Returns
    -------
    Both blocks with all their columns, known or not, in row order; {} where the table has too many mistakes.

    Raises
    ------
    BlushError
        The file cannot be read.
    """
    if is_cs(path):
        return read_cs(path, cs, problems, warnings)
    return modernise(read_star(path, NUMERIC_COLUMNS), path, problems)
