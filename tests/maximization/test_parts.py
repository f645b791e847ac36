"""Parts of a map."""

import torch

from blush.fourier.mask import soft_sphere
from blush.maximization.parts import divide_into_parts

BOX = 24


def blob(z: int, y: int, x: int) -> torch.Tensor:
    axis = torch.arange(BOX, dtype=torch.float64) - BOX // 2
    at = torch.meshgrid(axis - z, axis - y, axis - x, indexing="ij")
    return torch.exp(-sum(one**2 for one in at) / 4)


def test_parts_add_up_to_one_and_hold_one_blob_each():
    centres = ((6, 0, 0), (-6, 0, 0), (0, 6, 0), (0, -6, 0))
    mean, mask = sum(blob(*c) for c in centres), soft_sphere(BOX, 11, 1, dtype=torch.float64)
    parts = divide_into_parts(mean, mask, 4, seed=1, edge_px=1.5)
    assert parts.shape == (4, BOX, BOX, BOX)
    assert torch.allclose(parts.sum(0), torch.ones(BOX, BOX, BOX, dtype=torch.float64), atol=1e-9)
    held = torch.stack([(parts * blob(*c)).sum((1, 2, 3)) / blob(*c).sum() for c in centres])
    assert (held.amax(1) > 0.9).all()
    assert sorted(held.argmax(1).tolist()) == [0, 1, 2, 3]
    assert torch.equal(parts, divide_into_parts(mean, mask, 4, seed=1, edge_px=1.5))


def test_a_map_without_density_is_one_part():
    nothing = torch.zeros(BOX, BOX, BOX)
    assert divide_into_parts(nothing - 1, torch.ones_like(nothing), 5, 1, 1.5).shape[0] == 1


def test_parts_are_smaller_where_more_is_asked():
    """Of eight parts of two equal blobs, most are in the one that counts 30 times the other."""
    mean, mask = blob(6, 0, 0) + blob(-6, 0, 0), soft_sphere(BOX, 11, 1, dtype=torch.float64)
    interest = torch.full((BOX, BOX, BOX), 0.03, dtype=torch.float64)
    interest[BOX // 2 :] = 1
    even, drawn = (divide_into_parts(mean, mask, 8, 1, 0.5, asked) for asked in (None, interest))
    upper = [int(((one * blob(6, 0, 0)).sum((1, 2, 3)) > 0.02 * blob(6, 0, 0).sum()).sum()) for one in (even, drawn)]
    assert upper[0] <= 5
    assert upper[1] >= 6
