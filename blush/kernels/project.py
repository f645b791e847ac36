"""Operator `project`: central slices of a padded transform, by trilinear interpolation."""

from __future__ import annotations

import torch
from torch import Tensor

from blush.kernels import device, native
from blush.kernels.operator import register
from blush.kernels.taps import SAMPLES_PER_CHUNK, corners, taps


def project_reference(
    values: Tensor, matrices: Tensor, kx: Tensor, ky: Tensor, pad: int, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The operator in plain torch, on any device and in either precision."""
    out, dots = outputs(values, matrices, kx, ky, pad, weight)
    real, n, radius = out.dtype, len(kx), values.shape[2] - 1
    x, y = kx.to(real), ky.to(real)
    flat = torch.view_as_real(values).reshape(-1, 2)
    step = max(1, SAMPLES_PER_CHUNK // max(1, n))
    for begin in range(0, len(matrices), step):
        rows = slice(begin, begin + step)
        corner, fraction, sign = taps(matrices[rows], x, y, radius, pad)
        total = torch.zeros(*corner.shape, 2, dtype=real, device=flat.device)
        for offset, share in corners(fraction, radius):
            total += flat[corner + offset] * share[..., None]
        out[rows] = torch.stack((total[..., 0], total[..., 1] * sign), dim=1)
    if weight is not None:
        run = len(matrices) // max(1, len(weight))
        dots = (out.square().sum(1).view(len(weight), run, n) @ weight[:, :, None]).flatten()
    return out, dots


def project(
    values: Tensor, matrices: Tensor, kx: Tensor, ky: Tensor, pad: int, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Slices S(kx, ky) = F(A^T (kx, ky, 0)) at orientations A, and sum_k weight |S|^2 of each.

    Parameters
    ----------
    values
        (d, d, h) complex cells of a padded sphere, d = 2 h - 1.
    matrices
        (r, 3, 3) of the real type of `values`, volume to image.
    kx, ky
        (n,) int64 frequencies, within the sphere once they are padded.
    pad
        Cells per frequency.
    weight
        (b, n); row i serves the i-th of b equal runs of consecutive matrices. None: nothing is summed.

    Returns
    -------
    (r, 2, n) planar slices and (r,) sums, or (0,).
    """
    slices, dots = _operator(values, matrices, kx, ky, pad, weight)
    return slices, dots


def outputs(
    values: Tensor, matrices: Tensor, kx: Tensor, ky: Tensor, pad: int, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    """What `project` returns, not yet filled."""
    del ky, pad
    out = torch.empty(len(matrices), 2, len(kx), dtype=values.dtype.to_real(), device=values.device)
    return out, out.new_empty(len(matrices) if weight is not None else 0)


def _cpu(
    values: Tensor, matrices: Tensor, kx: Tensor, ky: Tensor, pad: int, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    if not native.usable(values):
        return project_reference(values, matrices, kx, ky, pad, weight)
    out, dots = outputs(values, matrices, kx, ky, pad, weight)
    run = len(matrices) // len(weight) if weight is not None and len(weight) else 1
    native.call(
        "project", values.contiguous(), values.shape[2] - 1, float(pad), matrices.contiguous(), len(matrices),
        kx.to(out.dtype), ky.to(out.dtype), len(kx), out, None if weight is None else weight.contiguous(), run, dots,
    )  # fmt: skip
    return out, dots


def _cuda(
    values: Tensor, matrices: Tensor, kx: Tensor, ky: Tensor, pad: int, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    if not device.triton_serves(values):
        return project_reference(values, matrices, kx, ky, pad, weight)
    from blush.kernels.triton_project import launch

    out, dots = outputs(values, matrices, kx, ky, pad, weight)
    with torch.cuda.device(values.device):  # where triton launches
        launch(values, matrices, kx, ky, pad, weight, out, dots)
    return out, dots


_operator = register("project", project_reference, cpu=_cpu, fake=outputs, cuda=_cuda)
