"""FSC in cones beside the same sums written out, closed forms, and what isotropic halves give."""

import math

import pytest
import torch

from blush.fourier.fsc import fsc
from blush.fourier.mask import soft_sphere
from blush.geometry.symmetry import operators
from blush.validate.directional_fsc import area_ratio, correlation, crossings, directional_fsc, last_shells
from blush.validate.isotropic_halves import isotropic_ratios
from blush.validate.sampling_factor import half_sphere

BOX = 48


def grid(box):
    k = torch.fft.fftfreq(box, 1 / box)
    z, y, x = torch.meshgrid(k, k, k, indexing="ij")
    return torch.stack([x, y, z], -1)


def halves(box=BOX, centre=14.0, slope=1.5, noise_in_cone=1.0, seed=1):
    """Two halves of white noise and as much signal as a falling FSC says, with more noise within 30° of z."""
    generator = torch.Generator().manual_seed(seed)
    signal, *noise = (torch.fft.fftn(torch.randn(box, box, box, generator=generator)) for _ in range(3))
    k = grid(box)
    radius = k.norm(dim=-1)
    share = 1 / (1 + ((radius - centre) / slope).exp())
    inside = k[..., 2].abs() > math.cos(math.radians(30)) * radius
    weight = (1 - share).sqrt() * torch.where(inside, noise_in_cone, 1.0)
    return tuple(torch.fft.ifftn(share.sqrt() * signal + weight * one).real for one in noise)


def written_out(first, second, axis):
    """Sums over all of Fourier space, one coefficient after the other's definition."""
    k = grid(len(first))
    radius = k.norm(dim=-1)
    shell = (radius + 0.5).long()
    inside = (k @ axis.float()).abs() >= math.cos(math.radians(20)) * radius
    one, other = (torch.fft.fftn(half.double()) for half in (first, second))
    found = []
    for s in range(1, len(first) // 2 + 1):
        here = inside & (shell == s)
        a, b = one[here], other[here]
        found.append((a * b.conj()).real.sum() / (a.abs().square().sum() * b.abs().square().sum()).sqrt())
    return torch.stack(found)


def test_cones_hold_what_their_definition_says():
    """Cells of 1° blur the edge of a cone, which moves the correlation by what a few coefficients of it can."""
    first, second = halves()
    axes = half_sphere(7)
    cones = directional_fsc(first, second, axes)
    for axis, curve, count in zip(axes, cones.fsc, cones.count, strict=True):
        expected = written_out(first, second, axis)
        wide = count[1:] >= 60
        assert wide.sum() > 4
        assert (curve[1:] - expected)[wide].abs().max() < 0.05
        assert (curve[1:] - expected)[wide].mean().abs() < 0.01


def test_a_cone_of_twenty_degrees_holds_six_of_a_hundred_coefficients():
    """1 - cos 20° = 0.0603 of half the sphere."""
    first, second = halves(64)
    cones = directional_fsc(first, second)
    n = 30
    half_ball = 2 / 3 * math.pi * ((n + 0.5) ** 3 - 0.5**3)
    assert cones.count[:, : n + 1].sum() == pytest.approx(256 * 0.0603 * half_ball, rel=0.01)
    assert cones.count[:, n].mean() == pytest.approx(0.0603 * 2 * math.pi * n**2, rel=0.02)


def test_equal_maps_correlate_everywhere_and_a_negative_nowhere():
    first, _ = halves()
    cones = directional_fsc(first, first)
    counted = cones.count >= 10
    torch.testing.assert_close(cones.fsc[counted], torch.ones(int(counted.sum()), dtype=torch.float64))
    torch.testing.assert_close(directional_fsc(first, -first).fsc, -cones.fsc)


def test_noise_in_a_cone_is_found_there():
    cones = directional_fsc(*halves(noise_in_cone=5.0))
    shells = crossings(cones)
    along, across = cones.axes[:, 2] > 0.97, cones.axes[:, 2] < 0.5
    assert shells[along].max() < 0.85 * shells[across].min()
    assert abs(float(cones.axes[shells.argmin(), 2])) > math.cos(math.radians(20))


def test_curves_end_at_the_first_shell_that_counts():
    curves = [[0.0, 0.0, 0.9, 0.1, 0.8, 0.14, 0.4], [0.9] * 7, [0.0, 0.9, 0.5, 0.0, 0.0, 0.0, 0.0]]
    fsc_ = torch.tensor(curves).double()
    count = torch.tensor([[0, 5, 20, 9, 20, 20, 20], [50] * 7, [50] * 7]).double()
    count[1:, 0] = 0
    assert last_shells(fsc_, count).tolist() == [4, 6, 2]


def test_a_dip_between_strong_shells_is_no_end():
    """Shells 3 and 4 are weak; without a strong shell near on either side they are the end."""
    dip, one_sided, other_side = (
        [1, 0.9, 0.8, 0.1, 0.0, 0.7, 0.6, 0.1, 0.1, 0.1],
        [1, 0.9, 0.8, 0.1, 0.0, 0.3, 0.3, 0.1, 0.1, 0.9],
        [0.4, 0.4, 0.4, 0.1, 0.0, 0.7, 0.6, 0.1, 0.1, 0.1],
    )
    fsc_ = torch.tensor([dip, one_sided, other_side])
    assert last_shells(fsc_, torch.full((3, 10), 50)).tolist() == [6, 2, 2]


def test_areas_weigh_shells_by_their_size():
    """0.9 * 4 + 0.8 * 16 of one axis over 0.9 * (1 + 4 + 9 + 16 + 25 + 36) of the other."""
    fsc_ = torch.tensor([[0.0, 0.7, 0.9, 0.1, 0.8, 0.14, 0.4], [0.9] * 7]).double()
    count = torch.tensor([[0, 5, 20, 9, 20, 20, 20], [0, 50, 50, 50, 50, 50, 50]]).double()
    assert float(area_ratio(fsc_, count)) == pytest.approx((0.9 * 4 + 0.8 * 16) / (0.9 * 91))


def test_crossings_lie_between_shells():
    cones = directional_fsc(*halves())
    changed = type(cones)(
        cones.axes[:1], torch.tensor([[0, 1, 0.543, 0.043, 0.0]]).double(), torch.full((1, 5), 99.0).double()
    )
    changed.count[0, 0] = 0
    assert crossings(changed).tolist() == pytest.approx([2.8])


def test_too_few_coefficients_say_nothing():
    sums = torch.tensor([8.0, 8.0]).double()
    found = correlation(sums, torch.tensor([8.0, 8.0]), torch.tensor([8.0, 8.0]), torch.tensor([9.0, 10.0]))
    assert found.tolist() == pytest.approx([0, 1])


@pytest.mark.parametrize(("radius", "symmetry", "within"), [(9, "C1", 0.08), (14, "C1", 0.08), (14, "C4", 0.12)])
def test_isotropic_halves_give_what_random_ones_are_expected_to(radius, symmetry, within):
    """Ratios of halves that were simulated in real space, under the same mask and symmetry.

    Around a symmetry axis mates are alike as neighbours, too, which the draws leave out: theirs are 0.1 too high.
    """
    mask = soft_sphere(BOX, radius, 3)
    found, curves = [], []
    for seed in range(10):
        first, second = halves(seed=seed)
        if symmetry == "C4":
            first, second = (sum(turned(half, k) for k in range(4)) / 4 for half in (first, second))
        cones = directional_fsc(first * mask, second * mask)
        found.append(area_ratio(cones.fsc, cones.count))
        curves.append(fsc(first * mask, second * mask))
    drawn = isotropic_ratios(torch.stack(curves).mean(0), mask, cones.axes, operators(symmetry), seed=1)
    found = torch.stack(found)
    assert len(drawn) == 60
    assert float(drawn.median()) == pytest.approx(float(found.median()), abs=within)
    assert float(drawn.min()) < float(found.quantile(0.2))
    assert 0 < float(drawn.min()) < float(drawn.max()) < 1


def turned(volume, quarters):
    """A map turned about z through its centre voxel: what leaves at one border comes in at the other."""
    shifts = [int(quarters in (1, 2)), int(quarters in (2, 3))]
    return torch.roll(torch.rot90(volume, quarters, (1, 2)), shifts, (1, 2))


def test_draws_repeat():
    mask, curve = soft_sphere(24, 8, 2), torch.linspace(1, 0, 13)
    axes, group = half_sphere(9), operators("C1")
    assert torch.equal(isotropic_ratios(curve, mask, axes, group, 1), isotropic_ratios(curve, mask, axes, group, 1))
    assert not torch.equal(isotropic_ratios(curve, mask, axes, group, 1), isotropic_ratios(curve, mask, axes, group, 2))
