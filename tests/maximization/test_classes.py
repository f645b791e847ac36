"""Maps of classes: what is shared, what differs, and which images a reference knows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from blush.fourier.backproject import Accumulator, empty_accumulator
from blush.fourier.mask import soft_sphere
from blush.fourier.transform import transform
from blush.maximization.class_sums import ClassSums
from blush.maximization.classes import (
    ClassPrior,
    class_differences,
    class_prior,
    mean_map,
    power_of_reference,
    spectrum_references,
)
from blush.maximization.reconstruct import transform_of_map
from blush.maximization.spectra import reference_noise

BOX, RADIUS, FOLDS = 24, 11, 4
NOISE = 0.01


def blob(centre: tuple[int, int, int], width: float = 2.0) -> torch.Tensor:
    axis = torch.arange(BOX, dtype=torch.float64) - BOX // 2
    z, y, x = torch.meshgrid(axis - centre[0], axis - centre[1], axis - centre[2], indexing="ij")
    return torch.exp(-(z**2 + y**2 + x**2) / (2 * width**2))


COMMON = blob((0, 0, 0), 3.0)
CAP = 0.5 * blob((6, 0, 0), 1.5)


def noisy_sums(volume: torch.Tensor, weight: float, seed: int, noise: float) -> Accumulator:
    """D and W of many images of a map: W is flat, and D / W has complex noise of variance noise / W."""
    like = empty_accumulator(BOX, RADIUS, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(*like.grid.shape[:3], 2, generator=generator, dtype=torch.float64)
    value = transform_of_map(volume, like) + torch.view_as_complex(white) * (noise / weight) ** 0.5
    grid = like.grid.clone()
    grid[..., :2] = torch.view_as_real(value * weight)
    grid[..., 2] = weight
    return Accumulator(grid, BOX, RADIUS)


def two_classes(noise: float = NOISE, same: bool = False) -> ClassSums:
    """Four folds of a common body; the second class has a cap, unless both are the same."""
    return ClassSums.pack(
        [
            [noisy_sums(COMMON + (0 if same or k == 0 else 1) * CAP, 100.0, 10 * fold + k, noise) for k in (0, 1)]
            for fold in range(FOLDS)
        ]
    )


MASK = soft_sphere(BOX, 10, 2, dtype=torch.float64)
EVEN = np.array([0.5, 0.5])


def test_folds_are_divided_into_halves_and_left_out():
    sums = two_classes()
    assert (sums.half(0), sums.half(1)) == ((0, 1), (2, 3))
    assert sums.without(2) == (0, 1, 3)
    assert sums.without(None) == (0, 1, 2, 3)
    whole = sums.cells_of(1, (0, 1, 2, 3))
    assert torch.allclose(whole.data, sum(fold[1].data for fold in sums.folds))
    both = sums.of_all_classes((0, 3))
    assert torch.allclose(both.weight, sum(sums.folds[f][k].weight for f in (0, 3) for k in (0, 1)))


def test_halves_kept_apart_leave_the_other_half_out_too():
    """Images of a half that align to noise of the other would raise the FSC."""
    sums = replace(two_classes(), apart=True)
    assert [sums.without(fold) for fold in range(FOLDS)] == [(1,), (0,), (3,), (2,)]
    assert sums.without(None) == (0, 1, 2, 3)


def test_a_starved_low_shell_does_not_end_the_resolution():
    """Where the CTF leaves little in shell 1, images are compared as far as the mean goes, not in no shell at all."""
    sums = two_classes()
    curves, whole = sums.fsc
    last = class_prior(sums, EVEN, MASK, 0.1).shell
    assert last > 5  # below which no resolution falls
    starved = whole.copy()
    starved[1] = 0.1
    sums.__dict__["fsc"] = curves, starved
    assert class_prior(sums, EVEN, MASK, 0.1).shell == last


def test_a_reference_knows_nothing_of_the_fold_that_it_is_made_without():
    """The leak that self-exclusion is there to stop: another fold changes the map, the one left out does not.

    The prior is the same for all, and is held fixed here; it is a smooth field and a few numbers per shell.
    """
    sums = two_classes()
    prior = class_prior(sums, EVEN, MASK, 0.1)
    before = references(sums, prior, MASK, 1)
    changed = [list(fold) for fold in sums.folds]
    changed[1] = [sums.cells.pack(noisy_sums(blob((-5, 3, 2)), 100.0, 99, NOISE)) for _ in (0, 1)]
    after = references(ClassSums(changed), prior, MASK, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    elsewhere = references(ClassSums(changed), prior, MASK, 0)
    assert not any(torch.equal(a, b) for a, b in zip(references(sums, prior, MASK, 0), elsewhere, strict=True))


def test_differences_are_kept_where_they_are_and_damped_elsewhere():
    sums = two_classes()
    prior = class_prior(sums, EVEN, MASK, 0.1)
    assert prior.confirmed[BOX // 2 + 6, BOX // 2, BOX // 2] > prior.confirmed[BOX // 2 - 6, BOX // 2, BOX // 2]
    first, second = references(sums, prior, MASK, None)
    raw = references(sums, _trusting(prior), MASK, None)
    found, plain, true = second - first, raw[1] - raw[0], CAP * MASK
    assert _alike(found, true) > max(0.95, _alike(plain, true))
    away = (1 - CAP / CAP.max()) ** 8
    assert float((found * away).norm()) < 0.7 * float((plain * away).norm())


def references(sums: ClassSums, prior: ClassPrior, mask: torch.Tensor, without: int | None) -> list[torch.Tensor]:
    made = class_differences(sums, prior, without, mean_map(sums, prior, without))
    return [(one.expected + one.change) * mask for one in made]


def _alike(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one * other).sum() / (one.norm() * other.norm()))


def _trusting(prior: ClassPrior) -> ClassPrior:
    """A prior that lets all differences pass."""
    return replace(prior, confirmed=torch.ones_like(prior.confirmed), tau2_difference=1e6 * prior.tau2_mean)


def test_two_classes_of_one_map_come_out_closer_than_their_images():
    sums = two_classes(same=True)
    prior = class_prior(sums, EVEN, MASK, 0.1)
    first, second = references(sums, prior, MASK, None)
    raw = references(sums, _trusting(prior), MASK, None)
    assert float((second - first).norm()) < 0.35 * float((raw[1] - raw[0]).norm())


def test_fsc_of_a_class_is_that_of_its_halves():
    """1 where there is no noise, about 0 where there is no signal."""
    (quiet, _), (loud, _) = two_classes(noise=1e-12).fsc, two_classes(noise=1e3).fsc
    assert (quiet[:, 1:RADIUS] > 0.999).all()
    assert np.abs(loud[:, 5:RADIUS]).max() < 0.35
    assert not ClassSums([two_classes().folds[0]]).fsc[0].any()


def test_power_of_a_reference_is_that_of_its_padded_transform():
    sums = two_classes().of(0, (0,))
    sphere = transform(COMMON, RADIUS)
    k = torch.arange(-sphere.radius, sphere.radius + 1).double()
    r = (k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, sphere.radius :] ** 2).sqrt() / sphere.pad
    ring = ((r + 0.5).floor() == 3) & (r < RADIUS)
    expected = float(sphere.values[ring].abs().square().mean() / 2)
    assert power_of_reference(COMMON, sums)[3] == pytest.approx(expected, rel=1e-9)


def test_noise_sustains_itself_above_a_fudge_of_four_only():
    """With even coverage and no mask, SSNR y obeys y <- T (y / (1 + y))^2, which has a root but 0 for T >= 4 alone."""
    kept = {}
    for fudge in (2.0, 12.0):
        sums = ClassSums.pack([[noisy_sums(0 * COMMON, 100.0, 5, 1.0)]])
        maps = [10 * blob((0, 0, 0), 0.3)]
        for _ in range(40):
            maps, tau2 = spectrum_references(sums, maps, fudge)
        noise = reference_noise(sums.of(0, (0,)))
        kept[fudge] = fudge * (tau2[0, 6:10] / noise[6:10]).mean()
    assert kept[2.0] < 0.05
    # (1 + y)^2 = 12 y: y = 5 + sqrt(24) = 9.9
    assert kept[12.0] == pytest.approx(9.9, rel=0.3)
