"""Excluded volume, masks and micelles."""

import math

import numpy as np
import pytest
import torch

from blush.simulate.atoms import Atoms
from blush.simulate.settings import Belt
from blush.simulate.solvent import belt_contrast, belt_texture, excluded_volume, soft_mask

BOX, PIXEL = 48, 1.0
BELT = Belt(center_z_angst=4, core_height_angst=12, core_width_angst=5, shell_angst=3, texture_angst=6)


def atoms_at(*positions) -> Atoms:
    count = len(positions)
    one = torch.ones(count, dtype=torch.float64)
    return Atoms(torch.full((count,), 6), torch.tensor(positions, dtype=torch.float64), one, 20 * one)


def test_one_atom_excludes_its_van_der_waals_sphere():
    volume = float(excluded_volume(atoms_at([0.2, -0.1, 0.3]), BOX, PIXEL).sum()) * (PIXEL / 2) ** 3
    # The sphere of 1.7 Å covers 165 grid points; its surface, some 110 of them, is uncertain by about half a step.
    assert volume == pytest.approx(4 / 3 * math.pi * 1.7**3, rel=0.25)


def test_a_gap_too_narrow_for_water_is_excluded_and_a_wide_one_is_not():
    near = excluded_volume(atoms_at([-2.4, 0, 0], [2.4, 0, 0]), BOX, PIXEL)
    far = excluded_volume(atoms_at([-6.0, 0, 0], [6.0, 0, 0]), BOX, PIXEL)
    assert bool(near[0, 0, 0])
    assert not bool(far[0, 0, 0])


def test_mask_is_one_within_the_extension_and_falls_to_zero_over_the_edge():
    mask = soft_mask(excluded_volume(atoms_at([0.0, 0, 0]), BOX, PIXEL), BOX, PIXEL, 4, 6)
    profile = mask[BOX // 2, BOX // 2, BOX // 2 :]
    assert float(profile[5]) == 1.0  # 1.7 Å of the atom and 4 Å, less a voxel
    assert float(profile[12]) == 0.0
    assert (profile.diff() <= 0).all()
    assert float(mask.min()) == 0.0


def test_belt_lies_where_it_was_put_and_never_in_the_protein():
    atoms = atoms_at([6.0, 0, 4], [-6.0, 0, 4], [0, 6.0, 4], [0, -6.0, 4])
    occupied = excluded_volume(atoms, BOX, PIXEL)
    contrast = belt_contrast(BELT, atoms, occupied, BOX, PIXEL)
    assert (contrast[occupied] == 0).all()
    size = contrast.shape[0]
    where = torch.nonzero(contrast)
    where = torch.where(where < size // 2, where, where - size) * (PIXEL / 2)
    # Poles at half the core and the shell, the equator beyond the protein's 6 Å; to one grid step.
    assert where[:, 0].min() == pytest.approx(4 - 9, abs=0.6)
    assert where[:, 0].max() == pytest.approx(4 + 9, abs=0.6)
    assert where[:, 2].abs().max() == pytest.approx(6 + 5 + 3, abs=0.6)
    values = contrast.unique()
    torch.testing.assert_close(values, torch.tensor([0, BELT.core_contrast, BELT.shell_contrast]))


def test_texture_is_zero_outside_and_has_the_spread_asked_for():
    contrast = torch.zeros(96, 96, 96)
    contrast[20:76, 20:76, 20:76] = 0.05
    texture = belt_texture(contrast, BELT, PIXEL, np.random.default_rng(0))
    assert (texture[contrast == 0] == 0).all()
    # About (28 Å / 6 Å)³ independent lumps.
    assert float(texture[contrast > 0].std()) == pytest.approx(0.05 * BELT.texture_sd, rel=0.2)
    assert not torch.equal(texture, belt_texture(contrast, BELT, PIXEL, np.random.default_rng(1)))
