"""Triton kernels run compiled where there is a GPU, and elsewhere in triton's interpreter, on the CPU."""

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported and when a kernel is defined
