"""The mask of what no other mask covers."""

import torch
from test_check_masks import BOX, DENSITY, PIXEL, ball

from blush.bodies.rest import rest_mask


def test_rest_is_the_solvent_mask_less_the_sum_of_the_masks():
    """Where the density is, all masks add up to 1, or to what the given ones add up to; far from it rest is 0."""
    first, second = ball(-34, 28), 0.5 * ball(-60, 20)
    rest = rest_mask(DENSITY, torch.stack([first, second]), PIXEL, 200)
    assert rest.shape == (BOX, BOX, BOX)
    solid = DENSITY > 0
    total = (first + second)[solid]
    expected = (1 - total).clamp(min=0)
    assert 0.2 < float((expected == 0).double().mean()) < 0.8
    torch.testing.assert_close(rest[solid].double(), expected, rtol=0, atol=1e-6)
    assert float(rest.min()) == 0
    assert float(rest.max()) == 1
    far = (torch.arange(BOX) - BOX // 2).abs() * PIXEL > 120
    assert float(rest[far].max()) == 0
    edge = rest[BOX // 2, BOX // 2, BOX // 2 + (34 + 38) // 4 :]  # from the surface of the second ball outwards
    assert bool((edge.diff() <= 0).all())
    assert int(((edge > 0.05) & (edge < 0.95)).sum()) >= 4
