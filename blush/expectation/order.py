"""Sorting long lists of small integers: a radix sort where there is one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

RADIX_LIMIT = 2**16


def stable_order(key: Tensor, limit: int) -> Tensor:
    """Indices that sort `key` (n,), 0 <= key < limit, keeping the order of equals.

    numpy sorts 16-bit integers by radix, ten times faster than torch's comparison sort; CUDA sorts by radix anyway.
    """
    if key.device.type != "cpu" or limit > RADIX_LIMIT:
        return torch.argsort(key, stable=True)
    return torch.from_numpy(np.argsort(key.to(torch.int32).numpy().astype(np.uint16), kind="stable"))
