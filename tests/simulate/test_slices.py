"""Slices of the density against the sum over atoms that they stand for."""

import math

import pytest
import torch

from blush.fourier.packed import packed
from blush.geometry.rotation import matrix_from_euler
from blush.simulate.atoms import Atoms
from blush.simulate.density import atoms_spectrum, form_factors
from blush.simulate.slices import Slicer, kaiser_bessel, kernel_transform

# Of the kernel (1e-5), of aliases of the splat (exp(-12) at Nyquist) and of its cut at 4.8 sigma.
BOUND = 5e-4


def random_atoms(count: int, side_angst: float) -> Atoms:
    generator = torch.Generator().manual_seed(3)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    element = torch.tensor([6, 7, 8, 15, 16])[(uniform(count) * 5).long()]
    position = (uniform(count, 3) - 0.5) * 0.55 * side_angst
    return Atoms(element, position, uniform(count), 20 + 100 * uniform(count))


def direct_slices(atoms, rotations, kx, ky, box, pixel):
    """Sum over atoms of their form factors and phases, per voxel."""
    k = torch.stack([kx, ky], -1).double() / (box * pixel)
    amplitude, width = form_factors(atoms.element)
    width = width + atoms.bfactor_angst2[:, None]
    q2 = k.square().sum(-1)
    factor = (amplitude[:, :, None] * torch.exp(-width[:, :, None] / 4 * q2)).sum(1) * atoms.occupancy[:, None]
    place = torch.einsum("rij,nj->rni", rotations[:, :2], atoms.position_angst)
    phase = torch.exp(-2j * math.pi * torch.einsum("rni,pi->rnp", place, k))
    return (factor * phase).sum(1) / pixel**3


@pytest.mark.parametrize(("box", "pixel"), [(32, 2.0), (34, 1.1), (48, 3.5), (50, 6.0)])
def test_slices_are_the_sum_over_atoms(box, pixel):
    atoms = random_atoms(60, box * pixel)
    euler = torch.tensor([[0.0, 0, 0], [90, 90, 0], [13, 57, 211], [-71, 111, -18]], dtype=torch.float64)
    pixels = packed(box)
    count = pixels.inside(box // 2 - 1)
    kx, ky = pixels.kx[:count].double(), pixels.ky[:count].double()
    rotations = matrix_from_euler(euler)
    slices = Slicer(atoms_spectrum(atoms, box, pixel)).slices(rotations, kx, ky)
    expected = direct_slices(atoms, rotations, kx, ky, box, pixel)
    assert (slices - expected).norm() < BOUND * expected.norm()


def test_no_orientation_gives_no_slice():
    slicer = Slicer(atoms_spectrum(random_atoms(5, 60.0), 32, 2.0))
    assert slicer.slices(torch.zeros(0, 3, 3, dtype=torch.float64), torch.zeros(4), torch.ones(4)).shape == (0, 4)


@pytest.mark.parametrize("position", [0.0, 0.1, 0.25])
def test_kernel_and_its_transform_agree(position):
    step = torch.linspace(-3, 3, 60001, dtype=torch.float64)
    numeric = torch.trapezoid(kaiser_bessel(step) * torch.cos(2 * math.pi * position * step), step)
    torch.testing.assert_close(
        kernel_transform(torch.tensor(position, dtype=torch.float64)), numeric, rtol=1e-6, atol=0
    )


def test_form_factors_are_those_of_the_tables():
    """International Tables C, 4.3.1.1: f(0) of neutral carbon, nitrogen and oxygen, in Å."""
    amplitude, _ = form_factors(torch.tensor([6, 7, 8]))
    torch.testing.assert_close(
        amplitude.sum(1), torch.tensor([2.509, 2.211, 1.983], dtype=torch.float64), rtol=2e-3, atol=0
    )
