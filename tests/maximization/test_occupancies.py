"""Classes as what images have of the parts of a map, and the evidence for them."""

import math

import pytest
import torch

from blush.maximization.occupancies import fit_occupancies


def images(n: int, shares: tuple[float, ...], occupancy: torch.Tensor, strength: float) -> tuple[torch.Tensor, ...]:
    """Overlaps and Gram matrices of images whose noise is that of the model: y = G o + e, e of covariance G."""
    generator = torch.Generator().manual_seed(3)
    parts = occupancy.shape[1]
    labels = torch.multinomial(torch.tensor(shares), n, replacement=True, generator=generator)
    mixed = torch.randn(n, parts, 2 * parts, generator=generator, dtype=torch.float64) * math.sqrt(strength / parts)
    gram = mixed @ mixed.transpose(1, 2)
    noise = (mixed @ torch.randn(n, 2 * parts, 1, generator=generator, dtype=torch.float64))[..., 0]
    return (gram @ occupancy[labels][..., None])[..., 0] + noise, gram, labels


def packed(gram: torch.Tensor) -> torch.Tensor:
    row, column = torch.triu_indices(*gram.shape[1:])
    return gram[:, row, column]


def test_a_minority_that_lacks_a_part_is_found():
    occupancy = torch.ones(2, 6, dtype=torch.float64)
    occupancy[1, 2] = 0
    overlap, gram, labels = images(2000, (0.94, 0.06), occupancy, 40.0)
    found = fit_occupancies(overlap, packed(gram), 2, seed=1, starts=4)
    # Occupancies count from the mean of all images, which has 0.94 of the part; here the mean is 1 by construction.
    assert found.share.tolist() == pytest.approx([0.94, 0.06], abs=0.01)
    assert torch.allclose(found.occupancy, occupancy, atol=0.1)
    assert int((labels == 1).sum()) == pytest.approx(120, abs=25)


def test_parts_that_say_nothing_fall_out():
    """Of 60 parts the classes differ in one: they are the same in all others to a tenth of what the data would tell."""
    occupancy = torch.ones(2, 60, dtype=torch.float64)
    occupancy[1, 2] = 0.2
    overlap, gram, _ = images(600, (0.7, 0.3), occupancy, 300.0)
    found = fit_occupancies(overlap, packed(gram), 2, seed=1, starts=4)
    difference = (found.occupancy[0] - found.occupancy[1]).abs()
    assert float(difference[2]) == pytest.approx(0.8, abs=0.2)
    others = torch.cat((difference[:2], difference[3:]))
    # an occupancy of 180 images with strength 5 in a part has a standard error of 0.04
    assert float(others.square().mean().sqrt()) < 0.02


def test_evidence_of_a_difference_in_one_part_is_that_of_its_integral():
    """One part, two even classes whose occupancies are far apart: labels are sure, and the integral has a closed form.

    With d_k ~ N(0, v): log p = n_k log share_k + z^2 / (2 (s + 1/v)) - log(1 + v s) / 2, s the sum of G and z that of
    the surprise over the images of the class; v is the mean square of d, to which its uncertainty is little here.
    """
    occupancy = torch.tensor([[0.5], [1.5]], dtype=torch.float64)
    overlap, gram, labels = images(400, (0.5, 0.5), occupancy, 400.0)
    found = fit_occupancies(overlap, packed(gram), 2, seed=1, starts=2)
    common = (overlap - gram[:, :, 0]).sum() / (gram.sum() + 4)  # under its prior of standard deviation 1/2
    surprise = overlap[:, 0] - gram[:, 0, 0] * (1 + common)
    expected = 0.0
    v = float((found.occupancy[:, 0] - 1 - common).square().mean())
    for k in (0, 1):
        z, s, n = (float(x) for x in (surprise[labels == k].sum(), gram[labels == k].sum(), (labels == k).sum()))
        expected += n * math.log(n / 400) + z**2 / (2 * (s + 1 / v)) - math.log(1 + v * s) / 2
    assert found.evidence == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_images_of_one_kind_are_one_class(n_classes):
    overlap, gram, _ = images(2000, (1.0,), torch.ones(1, 6, dtype=torch.float64), 40.0)
    found = fit_occupancies(overlap, packed(gram), n_classes, seed=1, starts=4)
    assert found.evidence == 0
    assert float(found.share[0]) > 0.99
    assert torch.equal(found.occupancy, found.occupancy[:1].expand(n_classes, 6))
    assert float((found.occupancy[0] - 1).abs().max()) < 0.02
