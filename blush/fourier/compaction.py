"""Lists of what is kept, made on a device without the host waiting for their lengths.

A list has a fixed capacity; what does not fit is told with everything else that the host has to know, in one copy.
"""

from __future__ import annotations

import torch
from torch import Tensor


def places(mask: Tensor, size: int) -> Tensor:
    """Positions of the first `size` true entries of `mask` (n,), ascending; n where there are fewer.

    As torch.nonzero, whose length the host would wait for.
    """
    running = mask.cumsum(0, dtype=torch.int32)
    return torch.searchsorted(running, torch.arange(1, size + 1, dtype=torch.int32, device=mask.device))


def counted(index: Tensor, amount: Tensor, size: int) -> Tensor:
    """(size,) int64: how much falls on each number below `size`; as torch.bincount, which waits for the largest."""
    zeros = torch.zeros(size, dtype=torch.int64, device=index.device)
    return zeros.index_add_(0, index, amount.long())


def number_of_each(index: Tensor, size: int) -> Tensor:
    """(size,) int64: how often each number below `size` is there; as torch.bincount, which waits for the largest."""
    if index.device.type == "cpu":
        return torch.bincount(index, minlength=size)
    return counted(index, torch.ones((), dtype=torch.int64, device=index.device).expand(len(index)), size)


def running_sums(values: Tensor) -> Tensor:
    """Sums of the first 1, 2, ... of the last dimension of floating `values` (..., n).

    As torch.cumsum, which is not reproducible on GPUs and is refused there.
    """
    n = values.shape[-1]
    return values @ torch.ones(n, n, dtype=values.dtype, device=values.device).triu()
