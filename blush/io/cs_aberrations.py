"""Aberrations of a cryoSPARC table: what is too small to be seen is left out, and what is not is refused by its field.

cryoSPARC keeps each as a length A, from which its wave front is A (λ q)^n: the phase is at most 2π A λ^(n-1) q^n, n = 1
for the beam's shift, 3 for tilt and trefoil, 4 for tetrafoil (its developers on units:
https://discuss.cryosparc.com/t/understanding-values-of-beamtilt/17411). Signs and orders of the components are not
published, and a term with the wrong sign is worse than none, so nothing is guessed.
"""

from pathlib import Path

import numpy as np

from blush.errors import Problem
from blush.io.cs_fields import Fields

_ORDERS = {"ctf/shift_A": 1, "ctf/tilt_A": 3, "ctf/trefoil_A": 3, "ctf/tetra_A": 4}
_LARGEST_PHASE_RAD = 0.1
"""Of no consequence at the end of the spectrum: cos 0.1 is 0.995."""
_LARGEST_MAGNIFICATION = 1e-4
"""A box of 1,000 px changes by a tenth of a pixel at most."""
_REMEDY = (
    "give the particles from before Global CTF Refinement, or a STAR file with the aberrations of RELION; or leave "
    "them out (cryosparc: {aberrations: leave_out}, or --leave-out-aberrations of `blush init` and `blush export-star`)"
)
SMALL = "is left out: it cannot be converted, and is too small to be seen"
_SMALL_REMEDY = "nothing to do, unless images are cut anew at smaller pixels"
LEAVING_OUT = "is left out as was asked for; fit aberrations again where the resolution goes beyond them"


def check_aberrations(fields: Fields, path: Path, leave_out: bool) -> tuple[list[Problem], list[Problem]]:
    """Problems and warnings of every aberration: what can be seen is refused, and the rest told with its size.

    Parameters
    ----------
    leave_out
        Whether what can be seen is warned of, and not refused.
    """
    found, small = _phases(fields, path)
    for large, one in _magnification(fields, path):
        (found if large else small).append(one)
    if not leave_out:
        return found, small
    asked = [Problem(problem.message, LEAVING_OUT, problem.file, problem.where, problem.value) for problem in found]
    return [], [*asked, *small]


def _phases(fields: Fields, path: Path) -> tuple[list[Problem], list[Problem]]:
    """Terms whose phase at the highest frequency may be more than `_LARGEST_PHASE_RAD`, and those of less."""
    voltage, pixel = fields["ctf/accel_kv"].astype(np.float64), fields["blob/psize_A"].astype(np.float64)
    with np.errstate(all="ignore"):
        volt = 1e3 * voltage
        wavelength_angst = 12.2643247 / np.sqrt(volt * (1 + 0.978466e-6 * volt))
        frequency = 0.5 / pixel
        found, small = [], []
        for name, order in _ORDERS.items():
            if name not in fields or not fields[name].any():
                continue
            size = abs(fields[name].astype(np.float64).reshape(len(voltage), -1)).sum(1)
            phase = 2 * np.pi * size * wavelength_angst ** (order - 1) * frequency**order
            rows = np.flatnonzero(~(phase <= _LARGEST_PHASE_RAD))
            if len(rows):
                value = f"up to {np.nanmax(phase[rows], initial=0):.2g} rad at the highest frequency, {len(rows)} rows"
                message = "is an aberration that cannot be converted"
                found.append(Problem(message, _REMEDY, str(path), name, value))
            else:
                value = f"up to {phase.max():.2g} rad at the highest frequency, {np.count_nonzero(phase)} rows"
                small.append(Problem(SMALL, _SMALL_REMEDY, str(path), name, value))
    return found, small


def _magnification(fields: Fields, path: Path) -> list[tuple[bool, Problem]]:
    """Anisotropic magnification, kept as a matrix less the identity; whether it is large enough to be seen."""
    matrix = fields.get("ctf/anisomag", np.zeros((0, 4))).astype(np.float64)
    if not matrix.any():
        return []
    value = f"up to {np.nanmax(abs(matrix), initial=0):.2g} from the identity"
    if (abs(matrix) < _LARGEST_MAGNIFICATION).all():
        return [(False, Problem(SMALL, _SMALL_REMEDY, str(path), "ctf/anisomag", value))]
    message = "anisotropic magnification cannot be refined"
    return [(True, Problem(message, _REMEDY, str(path), "ctf/anisomag", value))]
