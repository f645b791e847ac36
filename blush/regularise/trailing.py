"""Spectral trailing: nothing of a regularised reference beyond what the half-maps have in common.

Kimanius et al. 2024 (doi:10.1038/s41592-024-02304-8): the cut-off stays two shells behind the first shell whose
half-map FSC is below 1/7.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.fourier.grid import shell_index_3d

FSC_LIMIT = 1 / 7


def cut_shell(fsc: NDArray[np.float64], shells: int) -> int:
    """Shell at which references are cut: `shells` below the first one with FSC < 1/7, at least 1."""
    below = np.flatnonzero(fsc[1:] < FSC_LIMIT)
    first = int(below[0]) + 1 if below.size else len(fsc)
    return max(1, first - shells)


def trail(volume: Tensor, cut: int) -> Tensor:
    """Pass shells below `cut`, half of shell `cut`, nothing beyond."""
    shell = shell_index_3d(volume.shape[0], volume.device)
    gain = torch.where(shell < cut, 1.0, torch.where(shell == cut, 0.5, 0.0)).to(volume.dtype)
    return torch.fft.irfftn(torch.fft.rfftn(volume) * gain, s=volume.shape)
