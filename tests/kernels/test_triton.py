"""Triton kernels against complex double precision, one number at a time."""

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="needs triton: pip install 'blush-cryoem[gpu]'")

from blush.kernels import triton_accumulate, triton_project, triton_score
from tests.kernels.triton_cases import (
    DEVICE,
    Listed,
    as_complex,
    half_plane,
    on_device,
    poisoned,
    rotations,
    taps,
)

EPS = 2.0**-23
SEED = 20261130
CASES = [(6, 8, True), (9, 6, False), (20, 8, False), (7, 1, True)]


@pytest.mark.parametrize(("box", "pad"), [(6, 2), (7, 2), (10, 1), (23, 2)])
@pytest.mark.parametrize("weighted", [False, True])
def test_slices_are_trilinear_samples(box, pad, weighted):
    rng, (kx, ky) = np.random.default_rng(SEED + box), half_plane(box)
    radius, count, n = pad * (box // 2) + pad // 2 + 2, 6, len(kx)
    d, h = 2 * radius + 1, radius + 1
    values = rng.standard_normal((d, d, h)) + 1j * rng.standard_normal((d, d, h))
    matrices, weight = rotations(rng, count), rng.random((3, n))
    expected = np.zeros((count, n), complex)
    for r in range(count):
        for k in range(n):
            cells, reflected = taps(matrices[r], kx[k], ky[k], pad, radius)
            total = sum(share * values[cell] for cell, share in cells)
            expected[r, k] = np.conj(total) if reflected else total
    slices, dots = poisoned(count, 2, n), poisoned(count if weighted else 0)
    triton_project.launch(
        torch.from_numpy(values).to(torch.complex64).to(DEVICE), on_device(matrices), *map(on_device, (kx, ky)), pad,
        on_device(weight) if weighted else None, slices, dots,
    )  # fmt: skip
    tolerance = 8 * EPS * pad * box * abs(values).max()  # a coordinate is known to EPS of itself
    assert abs(as_complex(slices) - expected).max() < tolerance
    if weighted:
        sums = (weight.repeat(2, 0) * abs(expected) ** 2).sum(1)
        assert abs(dots.double().cpu().numpy() - sums).max() < 4 * tolerance * sums.max()


@pytest.mark.parametrize(("box", "children", "own_shifts"), CASES)
@pytest.mark.parametrize("correlate", [False, True])
def test_scores_are_inner_products_less_power_plus_prior(box, children, correlate, own_shifts):
    case = Listed(SEED + box, box, children, own_shifts=own_shifts)
    out = poisoned(len(case.prior), 4, children)
    triton_score.launch(*case.arguments(), on_device(case.prior), correlate, out)
    expected, size = np.zeros(out.shape), np.zeros(out.shape)
    for p, (i, t, u) in enumerate(zip(case.of_image, case.of_shift, case.of_row, strict=True)):
        for j, c in np.ndindex(4, children):
            model = case.slices[u, c]
            cross = (np.conj(case.image[i] * case.phase(t, j)) * model).sum().real
            square = (case.power[i] * abs(model) ** 2).sum()
            scale = np.sqrt(2 * square) if correlate else 1
            expected[p, j, c] = cross / scale if correlate else cross - square + case.prior[p]
            size[p, j, c] = (np.linalg.norm(case.image[i]) * np.linalg.norm(model)) / scale + square + 1
    assert (abs(out.double().cpu().numpy() - expected) < 10 * EPS * size).all()


@pytest.mark.parametrize(("box", "children", "own_shifts"), CASES)
def test_sums_are_added_to_what_is_there(box, children, own_shifts):
    case = Listed(SEED - box, box, children, own_shifts=own_shifts)
    rng, n, rows, images = case.rng, case.n, case.n_rows * children, case.n_images
    shapes = ((rows, 2, n), (rows, n), (images, 2, n), (images, n))
    there = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    sums = [on_device(one) for one in there]
    triton_accumulate.launch(on_device(case.weight), *case.arguments(), *sums)
    data, mean = (one[:, 0].astype(complex) + 1j * one[:, 1] for one in (there[0], there[2]))
    ctf2, square = there[1].astype(float), there[3].astype(float)
    for p, (i, t, u) in enumerate(zip(case.of_image, case.of_shift, case.of_row, strict=True)):
        for j, c in np.ndindex(4, children):
            w, row, model = case.weight[p, j, c], u * children + c, case.slices[u, c]
            data[row] += w * case.phase(t, j) * case.image[i]
            ctf2[row] += w * case.power[i]
            mean[i] += w * np.conj(case.phase(t, j)) * model
            square[i] += w * abs(model) ** 2
    for found, expected in ((as_complex(sums[0]), data), (as_complex(sums[2]), mean)):
        assert abs(found - expected).max() < 20 * EPS * abs(expected).max()
    for found, expected in ((sums[1], ctf2), (sums[3], square)):
        assert abs(found.double().cpu().numpy() - expected).max() < 20 * EPS * abs(expected).max()


def test_sums_that_no_pair_weighs_keep_their_bytes():
    case = Listed(SEED, 9, 8)
    shapes = (
        (case.n_rows * 8, 2, case.n),
        (case.n_rows * 8, case.n),
        (case.n_images, 2, case.n),
        (case.n_images, case.n),
    )
    sums = [poisoned(*shape) for shape in shapes[:2]] + [torch.rand(*shape, device=DEVICE) for shape in shapes[2:]]
    before = [one.clone() for one in sums]
    triton_accumulate.launch(on_device(0 * case.weight), *case.arguments(), *sums)
    assert all(torch.equal(one.nan_to_num(7), two.nan_to_num(7)) for one, two in zip(sums, before, strict=True))


def test_nothing_asked_is_nothing_done():
    case = Listed(SEED, 6, 4)
    image, power, slices, px, kx, ky, box, *pairs = case.arguments()
    none = [one[:0] for one in pairs]
    out, weight = poisoned(0, 4, 4), on_device(case.weight)[:0]
    triton_score.launch(image, power, slices, px, kx, ky, box, *none, on_device(case.prior)[:0], False, out)
    sums = [torch.ones(3 * 4, 2, case.n, device=DEVICE), *(torch.ones(1, device=DEVICE) for _ in range(3))]
    triton_accumulate.launch(weight, image, power, slices, px, kx, ky, box, *none, *sums)
    assert all((one == 1).all() for one in sums)
