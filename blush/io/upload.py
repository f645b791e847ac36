"""Arrays of the host on a device, without the host waiting for the copy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def uploaded(values: np.ndarray | Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A copy on a device; on the CPU the values themselves.

    From memory that the system may move, a GPU copies only while the host waits, so it is copied to such as it may not.
    """
    tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    if tensor.device.type == "cpu" and dtype is not None:
        tensor = tensor.to(dtype)
    if device.type != "cpu" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True) if dtype is None else tensor.to(device, dtype, non_blocking=True)


def downloaded(columns: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the host, in one copy of them all; numbers are carried as float64, which holds integers to 2^53."""
    if all(one.device.type == "cpu" for one in columns.values()):
        return columns
    together = torch.cat([one.double().flatten() for one in columns.values()]).cpu()
    parts = torch.split(together, [one.numel() for one in columns.values()])
    return {name: part.view(one.shape).to(one.dtype) for (name, one), part in zip(columns.items(), parts, strict=True)}
