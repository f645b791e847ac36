"""The two limits of a card, measured: bytes that it copies and products that it makes in a second."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.device.clock import seconds

COPIED_BYTES = {"cuda": 2**31, "cpu": 2**27}
SIDE = {"cuda": 8192, "cpu": 1024}
"""Rows and columns of the matrices."""
PRECISIONS = ("float32", "tf32", "bfloat16")


@dataclass(frozen=True)
class Limits:
    """Rates of a device.

    Attributes
    ----------
    bytes_per_s
        Read plus written by a copy of a tensor much larger than a cache.
    flops_per_s
        Operations of a product of square matrices of random numbers, by precision: float32, tf32 (float32 in the tensor
        cores of a GPU), bfloat16.
    """

    bytes_per_s: float
    flops_per_s: dict[str, float]


def measured(device: torch.device) -> Limits:
    """Limits of a device; on a CPU, of as many cores as torch has threads."""
    source = torch.rand(COPIED_BYTES[device.type] // 4, device=device)
    target = torch.empty_like(source)
    copied = 2 * source.nbytes / seconds(lambda: target.copy_(source), device)
    del source, target
    return Limits(
        copied, {name: _products(device, name) for name in PRECISIONS if device.type == "cuda" or name != "tf32"}
    )


def _products(device: torch.device, precision: str) -> float:
    side = SIDE[device.type]
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    first, second = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    out, was = torch.empty_like(first), torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        return 2 * side**3 / seconds(lambda: _multiply(first, second, out), device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = was


def _multiply(first: Tensor, second: Tensor, out: Tensor) -> None:
    torch.mm(first, second, out=out)
