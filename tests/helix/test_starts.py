"""First maps: a section that turns, and a section that is found in its projections."""

import math

import pytest
import torch

from blush.helix.section import section_of_classes
from blush.helix.starts import resampled, turned_sections, twisted

BOX, TURN = 40, 160


def blob(x: float, y: float, sigma: float = 2.0, box: int = BOX) -> torch.Tensor:
    axis = torch.arange(box) - box // 2
    return torch.exp(-((axis - x) ** 2 + (axis[:, None] - y) ** 2) / (2 * sigma**2))


def random_section(seed: int) -> torch.Tensor:
    """A random chain of blobs, off the axis."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.cumsum(2 * torch.randn(20, 2, generator=generator), 0)
    points = (points - points.mean(0)) / (points - points.mean(0)).abs().max() * 11 + torch.tensor([3.0, 0.0])
    return sum(blob(float(x), float(y), 1.5) for x, y in points)


def column(section: torch.Tensor, angle_deg: float) -> torch.Tensor:
    """Seen at rot a, a point (x, y) lies at y cos a - x sin a: sums over the other direction."""
    return turned_sections(section[None], torch.tensor([math.radians(angle_deg)], dtype=torch.float64))[0, 0].sum(1)


def test_a_section_turns_from_x_towards_y_along_z():
    """A blob at x = 10 is at angle 3 z degrees, at radius 10, to the error of bicubic interpolation."""
    map_ = twisted(blob(10, 0), 21, 3.0)
    assert map_.shape == (21, BOX, BOX)
    for row in (0, 10, 20):
        angle = math.radians(3.0 * (row - 10))
        expected = blob(10 * math.cos(angle), 10 * math.sin(angle))
        assert (map_[row] - expected).abs().max() < 0.02


def test_resampling_keeps_the_centre_and_the_size():
    found = resampled(blob(6, -3, 4.0)[None], 2.0, (20, 24))[0]
    axis_x, axis_y = torch.arange(24) - 12, torch.arange(20) - 10
    expected = torch.exp(-((2 * axis_x - 6) ** 2 + (2 * axis_y[:, None] + 3) ** 2) / 32)
    assert (found - expected).abs().max() < 0.02


@pytest.mark.parametrize("reversed_too", [False, True])
def test_the_section_is_found_in_averages_from_unknown_places(reversed_too):
    """Four averages of 60 of 160 columns, up to 1 px off the axis, noise of half their signal, some the other way."""
    section, generator = random_section(3), torch.Generator().manual_seed(5)
    sinogram = torch.stack([column(section, 360 * a / TURN) for a in range(TURN)])
    averages = []
    for number, place in enumerate((10, 47, 88, 131)):
        seen = sinogram[(place + torch.arange(60) - 30) % TURN]
        if reversed_too and number % 2:
            seen = torch.roll(seen.flip(0, 1), (1, 1), (0, 1))
        averages.append(torch.roll(seen, number % 3 - 1, 1))
    stack = torch.stack(averages)
    stack = stack + 0.5 * stack.std() * torch.randn(stack.shape, generator=generator)
    found = section_of_classes(stack, TURN, 1, 8, 1)
    assert len(found.spread) == 8
    assert found.explained == max(found.spread)
    angles = torch.arange(0, 360, 3, dtype=torch.float64).deg2rad()
    mirrored = torch.roll(found.section.flip(0), 1, 0)
    turned = torch.cat([turned_sections(each[None], angles)[0] for each in (found.section, mirrored)])
    alike = [float(torch.corrcoef(torch.stack((each.flatten(), section.flatten())))[0, 1]) for each in turned]
    assert max(alike) > 0.9
