"""Central slices of a map's transform, by trilinear interpolation in the padded sphere."""

from __future__ import annotations

from torch import Tensor

from blush.fourier.packed import Packed
from blush.fourier.transform import Sphere
from blush.kernels import project as operator


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
    matrices = rotations.to(device=values.device, dtype=values.dtype.to_real())
    kx, ky = pixels.kx[:n_pixels], pixels.ky[:n_pixels]
    return operator.project(values, matrices, kx, ky, sphere.pad, weight)
