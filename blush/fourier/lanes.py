"""Storage of several maps side by side: the values of all maps at a cell are adjacent.

A cell holds groups of 1, 2, 4 or 8 places for maps ("lanes"), each group channel by channel, so that a vector of the
processor holds one channel of all maps of a group. Lanes beyond the number of maps are zero.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

LANES_OF_A_GROUP = 8
CACHE_LINE_BYTES = 64


def groups_and_lanes(n_maps: int) -> tuple[int, int]:
    """Groups of maps, and the lanes of each: 1, 2, 4 or 8 in one group, or several groups of 8.

    Raises
    ------
    ValueError
        If there is no map.
    """
    if n_maps < 1:
        raise ValueError(f"{n_maps} maps cannot be stored side by side; give at least one")
    if n_maps > LANES_OF_A_GROUP:
        return -(-n_maps // LANES_OF_A_GROUP), LANES_OF_A_GROUP
    return 1, 1 << (n_maps - 1).bit_length()


def aligned_zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """Zeros that begin with a line of the cache and, where they are many, lie in large pages of memory.

    Cells are visited in an order that no processor foresees; in pages of 4 kB each would have to be looked up first.
    """
    if torch.device(device).type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    n_bytes = math.prod(shape) * dtype.itemsize
    memory = np.empty(n_bytes + CACHE_LINE_BYTES, np.uint8)  # NumPy asks the system for large pages, torch does not
    begin = -memory.ctypes.data % CACHE_LINE_BYTES
    return torch.from_numpy(memory)[begin : begin + n_bytes].view(dtype).view(shape).zero_()


def by_lane(values: Tensor, n_maps: int) -> Tensor:
    """One number per map (b, K) as the kernels take them: (b, lanes of all groups), zero where there is no map.

    Raises
    ------
    ValueError
        If the second dimension is not the number of maps.
    """
    if values.dim() != 2 or values.shape[1] != n_maps:
        raise ValueError(f"shares of shape {tuple(values.shape)} for {n_maps} maps; give (images, {n_maps})")
    groups, lanes = groups_and_lanes(n_maps)
    return torch.nn.functional.pad(values, (0, groups * lanes - n_maps)).contiguous()
