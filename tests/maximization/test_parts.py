"""Parts of a map, and classes as what images have of them."""

import math

import pytest
import torch

from blush.fourier.mask import soft_sphere
from blush.maximization.parts import divide_into_parts, fit_occupancies

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


def images(n: int, shares: tuple[float, ...], occupancy: torch.Tensor, strength: float) -> tuple[torch.Tensor, ...]:
    """Overlaps and Gram matrices of images whose noise is that of the model: y = G o + e, e of covariance G."""
    generator = torch.Generator().manual_seed(3)
    parts = occupancy.shape[1]
    labels = torch.multinomial(torch.tensor(shares), n, replacement=True, generator=generator)
    mixed = torch.randn(n, parts, 2 * parts, generator=generator, dtype=torch.float64) * math.sqrt(strength / parts)
    gram = mixed @ mixed.transpose(1, 2)
    noise = (mixed @ torch.randn(n, 2 * parts, 1, generator=generator, dtype=torch.float64))[..., 0]
    return (gram @ occupancy[labels][..., None])[..., 0] + noise, gram, labels


def test_a_minority_that_lacks_a_part_is_found():
    occupancy = torch.ones(2, 6, dtype=torch.float64)
    occupancy[1, 2] = 0
    overlap, gram, labels = images(2000, (0.94, 0.06), occupancy, 40.0)
    found = fit_occupancies(overlap, gram, 2, seed=1, starts=4)
    # Occupancies count from the mean of all images, which has 0.94 of the part; here the mean is 1 by construction.
    assert found.share.tolist() == pytest.approx([0.94, 0.06], abs=0.01)
    assert torch.allclose(found.occupancy, occupancy, atol=0.1)
    assert int((labels == 1).sum()) == pytest.approx(120, abs=25)


def test_images_of_one_kind_are_not_made_to_differ():
    """The prior holds occupancies at those of the mean, within what so many images can tell."""
    overlap, gram, _ = images(2000, (1.0,), torch.ones(1, 6, dtype=torch.float64), 40.0)
    one, two = (fit_occupancies(overlap, gram, k, seed=1, starts=4) for k in (1, 2))
    assert float((one.occupancy - 1).abs().max()) < 0.02
    assert two.log_likelihood - one.log_likelihood < 12
