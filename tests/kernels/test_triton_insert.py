"""Triton kernel of the insertion in whole numbers, against double precision and its reference."""

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="needs triton: pip install 'blush-cryoem[gpu]'")

from blush.kernels import triton_insert
from blush.kernels.insert_fixed import insert_fixed_reference
from tests.kernels.triton_cases import DEVICE, ctfs, half_plane, on_device, planar, rotations, taps

EPS = 2.0**-23
SEED = 20261130
UNITS = 2.0**30, 2.0**34


def case(box: int, pad: int):
    """A grid that holds something, and slices of images with CTFs of several optics groups."""
    rng, (kx, ky) = np.random.default_rng(SEED + box), half_plane(box)
    radius, count, n = pad * (box // 2) + pad // 2 + 2, 5, len(kx)
    transfer = ctfs(rng, count, kx, ky)
    data = transfer * (rng.standard_normal((count, n)) + 1j * rng.standard_normal((count, n)))
    there = rng.integers(-(2**40), 2**40, (2 * radius + 1, 2 * radius + 1, radius + 1, 3))
    return kx, ky, rotations(rng, count), data, transfer**2, there


@pytest.mark.parametrize(("box", "pad"), [(6, 2), (9, 2), (11, 1), (16, 2)])
def test_slices_are_added_to_what_is_there(box, pad):
    kx, ky, matrices, data, weight, there = case(box, pad)
    radius = there.shape[2] - 1
    expected = np.zeros(there.shape)
    for r, k in np.ndindex(data.shape):
        cells, reflected = taps(matrices[r], kx[k], ky[k], pad, radius)
        value = np.conj(data[r, k]) if reflected else data[r, k]
        for cell, share in cells:
            expected[cell] += share * np.array([value.real, value.imag, weight[r, k]])
    grids = [torch.from_numpy(there.copy()).to(DEVICE) for _ in range(2)]
    arguments = (on_device(matrices), on_device(kx), on_device(ky), pad, planar(data), on_device(weight), *UNITS)
    triton_insert.launch(grids[0], *arguments)
    insert_fixed_reference(grids[1], *arguments)
    found = [(grid.cpu().numpy() - there) / np.array([UNITS[0], UNITS[0], UNITS[1]]) for grid in grids]
    tolerance = 8 * EPS * pad * box * abs(data).max() * len(data)  # a coordinate is known to EPS of itself
    for one in found:
        assert abs(one - expected).max() < tolerance


def test_any_order_of_slices_gives_the_same_bytes():
    kx, ky, matrices, data, weight, there = case(9, 2)
    grids = []
    for order in ([0, 1, 2, 3, 4], [3, 0, 4, 2, 1]):
        grid = torch.from_numpy(there.copy()).to(DEVICE)
        for part in (order[:2], order[2:]):
            triton_insert.launch(
                grid, on_device(matrices[part]), on_device(kx), on_device(ky), 2, planar(data[part]),
                on_device(weight[part]), *UNITS,
            )  # fmt: skip
        grids.append(grid)
    assert torch.equal(*grids)
    assert not torch.equal(grids[0].cpu(), torch.from_numpy(there))
