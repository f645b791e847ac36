"""Whether the Triton kernels serve tensors of a GPU; where they do not, it is said once."""

from __future__ import annotations

import functools
import importlib.util
import sys

import torch
from torch import Tensor


@functools.cache
def _has_triton() -> bool:
    if importlib.util.find_spec("triton") is not None:
        return True
    sys.stderr.write(
        "blush: triton is not installed: this GPU is served by the torch kernels, which move several times more "
        "memory; install it with `pip install 'blush-cryoem[gpu]'`\n"
    )
    return False


def triton_serves(*tensors: Tensor) -> bool:
    """True when the Triton kernels serve these tensors: float32 or complex64 on one CUDA device."""
    if any(t.device.type != "cuda" or t.device != tensors[0].device for t in tensors):
        return False
    return all(t.dtype in (torch.float32, torch.complex64) for t in tensors) and _has_triton()


def free_bytes(device: torch.device, given: float) -> float:
    """Memory that a process may use on a device: on the CPU what it was given, on a GPU what nobody uses.

    What torch holds back for tensors to come counts as free.
    """
    if device.type != "cuda":
        return given
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def give_back() -> None:
    """Give memory that torch holds back on GPUs to whoever asks next."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
