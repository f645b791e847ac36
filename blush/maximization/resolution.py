"""The resolution that drives a refinement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_SHELL = 5
"""A refinement never believes in less than this many shells."""

_GAP_SHELLS = 3


def resolution_shell(ssnr: NDArray[np.float64], over_gaps: bool) -> int:
    """Last shell whose signal is at least as strong as its noise.

    The last of the unbroken run from shell 1 with SSNR >= 1. With SSNR = F/(1 - F) this is FSC = 0.5 between halves,
    and FSC = 0.143 for their sum.

    Parameters
    ----------
    ssnr
        (N/2 + 1,)
    over_gaps
        Where the SSNR rises to 1 again more than 3 shells higher, take the highest such shell: a dip, as the zeros of
        the CTF make, is not the end of the signal. Right for how far an iteration looks, too generous for what is
        reported in the end.

    Returns
    -------
    At least 5, at most N/2.
    """
    good = np.asarray(ssnr)[1:] >= 1.0
    unbroken = len(good) if good.all() else int(np.argmin(good))
    highest = int(np.flatnonzero(good)[-1]) + 1 if good.any() else 0
    shell = highest if over_gaps and highest > unbroken + _GAP_SHELLS else unbroken
    return min(max(shell, MIN_SHELL), len(good))


def resolutions_angst(ssnr: NDArray[np.float64], box_angst: float, over_gaps: bool) -> NDArray[np.float64]:
    """Resolution of each reference: that of its last shell by `resolution_shell`.

    Parameters
    ----------
    ssnr
        (references, N/2 + 1)
    box_angst
        Side of the box.

    Returns
    -------
    (references,) Å.
    """
    return np.array([box_angst / resolution_shell(one, over_gaps) for one in ssnr])
