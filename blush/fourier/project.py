"""Central slices of a map's transform, by trilinear interpolation in the padded sphere."""

from __future__ import annotations

import torch
from torch import Tensor

from blush.fourier import native
from blush.fourier.packed import Packed
from blush.fourier.transform import Sphere

SAMPLES_PER_CHUNK = 2**22  # bounds the temporaries of the torch twin to about 0.5 GB


def project(sphere: Sphere, rotations: Tensor, pixels: Packed, n_pixels: int) -> Tensor:
    """Slices S(kx, ky) = F(A^T (kx, ky, 0)) of a map at orientations A, planar.

    Parameters
    ----------
    sphere
        Transform of the map (`transform`).
    rotations
        (r, 3, 3), volume to image (docs/algorithm.md, section 1).
    pixels, n_pixels
        The first `n_pixels` of the packed half plane are sampled; they must lie within |k| <= r_max + 1/2.

    Returns
    -------
    (r, 2, n_pixels) real: real parts, then imaginary parts. Zero where |k| > r_max by construction of the sphere.
    """
    return _project(sphere, rotations, pixels, n_pixels, None)[0]


def project_weighted(
    sphere: Sphere, rotations: Tensor, pixels: Packed, n_pixels: int, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Slices as `project`, and sum_k weight |slice|^2 of each while it is in the cache.

    Parameters
    ----------
    weight
        (b, n_pixels); row i serves the i-th of b equal runs of consecutive rotations.

    Returns
    -------
    (r, 2, n_pixels) and (r,).
    """
    return _project(sphere, rotations, pixels, n_pixels, weight)


def _project(
    sphere: Sphere, rotations: Tensor, pixels: Packed, n_pixels: int, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    values = sphere.values
    real = values.real.dtype
    out = torch.empty(len(rotations), 2, n_pixels, dtype=real, device=values.device)
    dots = torch.empty(len(rotations) if weight is not None else 0, dtype=real, device=values.device)
    run = len(rotations) // len(weight) if weight is not None and len(weight) else 1
    kx, ky = pixels.kx[:n_pixels].to(real), pixels.ky[:n_pixels].to(real)
    matrices = rotations.to(device=values.device, dtype=real).contiguous()
    if native.usable(values):
        native.call(
            "project", values.contiguous(), sphere.radius, float(sphere.pad), matrices, len(matrices),
            kx.contiguous(), ky.contiguous(), n_pixels, out, None if weight is None else weight.contiguous(), run, dots,
        )  # fmt: skip
        return out, dots
    step = max(1, SAMPLES_PER_CHUNK // max(1, n_pixels))
    for begin in range(0, len(matrices), step):
        out[begin : begin + step] = _project_torch(sphere, matrices[begin : begin + step], kx, ky)
    if weight is not None:
        dots = (out.square().sum(1).view(len(weight), run, n_pixels) @ weight[:, :, None]).flatten()
    return out, dots


def taps(matrices: Tensor, kx: Tensor, ky: Tensor, radius: int, pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Corner index, fractions (3, r, p) as x y z, and sign of the reflection for every sample of every slice."""
    point = pad * (matrices[:, 0, :, None] * kx + matrices[:, 1, :, None] * ky)  # (r, 3, p): A^T (kx, ky, 0)
    sign = torch.where(point[:, 0] < 0, -1.0, 1.0).to(kx.dtype)
    point = point * sign[:, None]
    floor = torch.floor(point)
    fraction = (point - floor).unbind(1)
    x, y, z = floor.long().unbind(1)
    d, h = 2 * radius + 1, radius + 1
    return ((z + radius) * d + y + radius) * h + x, torch.stack(fraction), sign


def corners(fraction: Tensor, radius: int) -> list[tuple[int, Tensor]]:
    """Offset and weight of the eight neighbours of each sample."""
    d, h = 2 * radius + 1, radius + 1
    fx, fy, fz = fraction
    out = []
    for z, wz in ((0, 1 - fz), (1, fz)):
        for y, wy in ((0, 1 - fy), (1, fy)):
            out += [((z * d + y) * h + x, wz * wy * wx) for x, wx in ((0, 1 - fx), (1, fx))]
    return out


def _project_torch(sphere: Sphere, matrices: Tensor, kx: Tensor, ky: Tensor) -> Tensor:
    corner, fraction, sign = taps(matrices, kx, ky, sphere.radius, sphere.pad)
    flat = torch.view_as_real(sphere.values).reshape(-1, 2)
    total = torch.zeros(*corner.shape, 2, dtype=flat.dtype, device=flat.device)
    for offset, weight in corners(fraction, sphere.radius):
        total += flat[corner + offset] * weight[..., None]
    return torch.stack((total[..., 0], total[..., 1] * sign), dim=1)
