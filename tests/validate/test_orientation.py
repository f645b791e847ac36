"""The verdict on directions, on sets whose views and whose truth are known.

A half-map is signal and noise; the noise of a coefficient falls with the views whose plane passes it, and where none
does nothing is known.
"""

import math

import numpy as np
import pytest
import torch

from blush.fourier.mask import soft_sphere
from blush.geometry.rotation import random_directions
from blush.validate.orientation import orientation

BOX, PIXEL = 48, 2.0
VIEWS = 2000


def uniform(count, seed=1):
    return random_directions(count, torch.Generator().manual_seed(seed))


def within(tilt_deg, count, seed=2):
    draws = torch.rand(2, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    z, angle = 1 - draws[0] * (1 - math.cos(math.radians(tilt_deg))), 2 * math.pi * draws[1]
    radius = (1 - z**2).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), z], 1)


def coefficients():
    k = torch.fft.fftfreq(BOX, 1 / BOX)
    z, y, x = torch.meshgrid(k, k, k[: BOX // 2 + 1].abs(), indexing="ij")
    return torch.stack([x, y, z], -1)


def reconstructed(views, junk=False, seed=3):
    """Halves from random halves of the views; junk adds noise around z, which views do not explain."""
    generator = torch.Generator().manual_seed(seed)
    k = coefficients()
    radius = k.norm(dim=-1)
    mask = soft_sphere(BOX, 17, 3)
    signal = torch.fft.rfftn(torch.randn(BOX, BOX, BOX, generator=generator) * soft_sphere(BOX, 14, 3))
    signal = signal * torch.exp(-((radius / 11) ** 2))
    found = []
    for mine in views[torch.randperm(len(views), generator=generator)].float().chunk(2):
        samples = torch.zeros(radius.shape)
        for part in torch.split(mine, 50):
            samples += ((k @ part.T).abs() < 0.5).sum(-1)
        noise = torch.fft.rfftn(torch.randn(BOX, BOX, BOX, generator=generator)) / samples.clamp_min(1).sqrt()
        if junk:
            noise = noise * torch.where(k[..., 2].abs() > 0.8 * radius, 6.0, 1.0)
        found.append(torch.fft.irfftn(torch.where(samples > 0, signal + 0.45 * noise, 0), s=(BOX,) * 3))
    return tuple(found), mask


SETS = {
    "uniform": uniform(VIEWS),
    "side_views_missing": within(55, VIEWS),
    "top_views_only": within(15, VIEWS),
    "mixed": torch.cat([uniform(VIEWS // 2), within(10, VIEWS // 2)]),
}


def measured(views, **options):
    halves, mask = reconstructed(views, **options)
    return orientation(halves, mask, PIXEL, views, "C1", seed=1)


@pytest.mark.parametrize(
    ("name", "even", "sampled", "word"),
    [
        ("uniform", True, True, "directions are even"),
        ("side_views_missing", False, False, "preferred orientation"),
        ("top_views_only", False, False, "preferred orientation"),
        ("mixed", True, False, "views are uneven"),
    ],
)
def test_the_verdict_on_a_known_set_is_right(name, even, sampled, word):
    found = measured(SETS[name])
    assert (found.is_even, found.is_sampled) == (even, sampled), found.verdict()
    assert found.verdict().startswith(word)
    if not even:
        rot, tilt = found.worst_deg()
        assert tilt < 25  # along z, in whose planes there are no views
        assert f"rot {rot:.0f}°, tilt {tilt:.0f}°" in found.verdict()


def test_noise_that_no_view_explains_is_called_junk():
    found = measured(SETS["uniform"], junk=True)
    assert found.is_even is False
    assert found.is_sampled
    assert "look for junk" in found.verdict()


def test_halves_too_weak_to_tell_are_said_to_be():
    generator = torch.Generator().manual_seed(1)
    halves = tuple(torch.randn(BOX, BOX, BOX, generator=generator) for _ in range(2))
    found = orientation(halves, soft_sphere(BOX, 17, 3), PIXEL, uniform(500), "C1", seed=1)
    assert found.is_even is None
    assert found.verdict().startswith("too little signal to tell")


def test_the_record_holds_figures_thresholds_and_verdict():
    found = measured(SETS["uniform"])
    record = found.record()
    assert record["verdict"] == found.verdict()
    assert record["cfar_least"] == 0.5
    assert record["scf_star_least"] == pytest.approx(0.81 * record["scf_star_uniform"])
    ends = record["resolution_angst"]
    assert ends["best"] <= ends["median"] <= ends["worst"]
    assert ends["worst"] == pytest.approx(found.by_axis_angst.max())


def test_directions_do_not_depend_on_the_box_around_the_mask():
    """Zeros around a map change neither its signal nor its noise."""
    halves, mask = reconstructed(SETS["uniform"])
    padded = [torch.nn.functional.pad(one, (8,) * 6) for one in (*halves, mask)]
    one = orientation(halves, mask, PIXEL, SETS["uniform"], "C1", seed=1)
    other = orientation((padded[0], padded[1]), padded[2], PIXEL, SETS["uniform"], "C1", seed=1)
    assert other.cfar == pytest.approx(one.cfar, abs=1e-6)
    np.testing.assert_allclose(other.by_axis_angst, one.by_axis_angst, rtol=1e-6)
