"""Masks of proposed bodies against the domains of phantoms: from the map alone, and from a model."""

import numpy as np
import pytest
import torch
from phantoms import BOX, PIXEL, THREE, TWO, atoms, density, overlap, regions

from blush.bodies.nodes import Density
from blush.bodies.proposal import blocks_of_map, masks_of, neighbours
from blush.errors import BlushError
from blush.io.mrc import Map, Placement

DIAMETER = 220.0


def found_in(positions, noise) -> Density:
    return Density.of(Map(density(positions, noise), PIXEL, Placement()), DIAMETER)


@pytest.mark.parametrize(("centres", "noise"), [(TWO, 0.0), (THREE, 0.1)])
def test_domains_of_a_map_are_proposed_as_bodies(centres, noise):
    """Against all within 19 Å of a domain's atoms: intersection over union of 0.7 is asked for."""
    positions, domain = atoms(centres)
    one = found_in(positions, noise)
    masks = masks_of(blocks_of_map(one, None), one, 16.0)
    assert len(masks) == len(centres)
    assert min(overlap((masks > 0.5).numpy(), regions(positions, domain, 19.0))) > 0.78
    assert float(masks.max()) == 1
    assert float(masks.min()) == 0


def test_noise_makes_masks_tighter_and_cuts_at_the_same_place():
    positions, domain = atoms(THREE)
    one = found_in(positions, 0.3)
    masks = masks_of(blocks_of_map(one, 3), one, 0.0)
    voxel = np.round(positions[:, ::-1] / PIXEL).astype(int) + BOX // 2
    at_atoms = masks[:, voxel[:, 0], voxel[:, 1], voxel[:, 2]]
    seen = at_atoms.amax(0) > 0.5
    assert (at_atoms.argmax(0).numpy() == domain)[seen].mean() > 0.97
    assert float(seen.double().mean()) > 0.9


def test_masks_cover_all_density_and_reach_into_each_other():
    positions, _ = atoms(TWO)
    one = found_in(positions, 0.0)
    blocks = blocks_of_map(one, 2)
    wide, narrow = (masks_of(blocks, one, angst) for angst in (16.0, 4.0))
    assert float(wide.amax(0)[one.solid].min()) == 1
    assert float(torch.minimum(*wide).sum()) > float(torch.minimum(*narrow).sum()) > 0
    assert neighbours(wide) == [1, 0]
    assert neighbours(torch.stack([wide[0], torch.zeros_like(wide[0])])) == [None, None]
    edge = (wide[0] > 0) & (wide[0] < 1)
    assert int(edge.sum()) > 0


def test_a_map_is_cut_where_its_local_resolution_changes():
    """A bar of 144 Å, whose first 50 Å are at 10 Å, the rest at 16 Å; without that it is cut in the middle."""
    grid = np.stack(np.meshgrid(np.arange(-12, 13), np.arange(-3, 4), np.arange(-3, 4), indexing="ij"), -1)
    found = Map(density(grid.reshape(-1, 3) * 5.5), PIXEL, Placement())
    x = (np.arange(BOX) - BOX // 2) * PIXEL
    local = np.broadcast_to(np.where(x < -21, 10.0, 16.0), found.array.shape).astype(np.float32)
    places = []
    for known in (None, local):
        one = Density.of(found, DIAMETER, known)
        blocks = blocks_of_map(one, 2)
        ends = [one.position_angst[blocks.label == b, 0] for b in (0, 1)]
        places.append(max(end.min() for end in ends))  # where the block to the right begins
    assert places[0] > -12
    assert places[1] == pytest.approx(-21, abs=8)


def test_an_empty_map_is_refused():
    empty = Map(np.zeros((BOX, BOX, BOX), dtype=np.float32), PIXEL, Placement())
    with pytest.raises(BlushError, match="shows no density above the solvent"):
        Density.of(empty, DIAMETER)
