"""Half-maps of all bodies in one: weights add up to 1, the better body counts more, and seams raise no resolution."""

import numpy as np
import pytest
import torch

from blush.bodies.combine import Part, combine
from blush.bodies.placing import Pose
from blush.fourier.filter import gaussian, low_pass
from blush.fourier.fsc import fsc
from blush.validate.phase_randomise import masked_fsc

N, PIXEL = 48, 3.0
CENTRES_PX = (np.array([-7, -2, 1]), np.array([8, 4, -2]))


def noise(generator):
    return torch.randn(N, N, N, generator=generator)


def box_mask(half_px):
    """A hard box about the centre: the worst mask there is."""
    mask = torch.zeros(N, N, N)
    inner = slice(N // 2 - half_px, N // 2 + half_px)
    mask[inner, inner, inner] = 1
    return mask


def parts(signals, generator, masks, level=(1.0, 1.0)):
    halves = [tuple(signal + sd * noise(generator) for _ in (1, 2)) for signal, sd in zip(signals, level, strict=True)]
    poses = [Pose(np.zeros(3), centre * PIXEL) for centre in CENTRES_PX]
    return [Part(*one) for one in zip(halves, masks, poses, strict=True)]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_seams_and_masks_raise_no_resolution(seed):
    """Strong signal in the first shells and noise beyond: hard masks correlate the halves there, and it is taken off.

    Phases that are randomised after the bodies were joined miss it: by then the seams are part of the maps.
    """
    generator = torch.Generator().manual_seed(seed)
    masks = [box_mask(8), box_mask(6)]
    signals = [100 * gaussian(noise(generator), 4.0) for _ in masks]
    made = combine(parts(signals, generator, masks), (noise(generator), noise(generator)), PIXEL, seed)
    beyond = slice(12, N // 2)
    assert made.curves.masked[beyond].mean() > 0.3
    assert masked_fsc(*made.halves, made.mask, seed).corrected[beyond].mean() > 0.25
    assert abs(float(made.curves.corrected[beyond].mean())) < 0.08
    assert made.curves.corrected[1:4].min() > 0.9


def test_signal_beyond_the_randomised_shell_stays():
    """Signal in every shell up to 11 Å, of FSC 0.59 where it is alone: as much is left, though phases are random."""
    generator = torch.Generator().manual_seed(4)
    signals = [1.2 * low_pass(noise(generator), 11, PIXEL) for _ in (0, 1)]
    made = combine(parts(signals, generator, [box_mask(10)] * 2), (noise(generator), noise(generator)), PIXEL, 1)
    assert made.curves.randomise_from < 4
    alone = sum(fsc(*one) for one in (parts(signals, generator, [box_mask(10)] * 2)[k].halves for k in (0, 1))) / 2
    assert float(alone[6:12].mean()) == pytest.approx(1.44 / 2.44, abs=0.03)
    assert float(made.curves.corrected[6:12].mean()) == pytest.approx(1.44 / 2.44, abs=0.12)


def test_equal_maps_are_combined_to_themselves():
    """Bodies and consensus that are one map: weights add up to 1 in every band and at every place."""
    generator = torch.Generator().manual_seed(1)
    whole = [noise(generator) for _ in (1, 2)]
    moved = [[torch.roll(half, tuple(int(-by) for by in centre[::-1]), (0, 1, 2)) for half in whole]
             for centre in CENTRES_PX]  # fmt: skip
    masks = [box_mask(8), box_mask(7)]
    poses = [Pose(np.zeros(3), centre * PIXEL) for centre in CENTRES_PX]
    made = combine([Part(tuple(m), *one) for m, one in zip(moved, zip(masks, poses, strict=True), strict=True)],
                   tuple(whole), PIXEL, 1)  # fmt: skip
    inner = slice(12, 36)  # what is rolled in from beyond the box is 0 in a map that is placed
    for half in (0, 1):
        difference = (made.halves[half] - whole[half])[inner, inner, inner]
        assert difference.square().mean().sqrt() < 0.1
        far = made.mask == 0
        torch.testing.assert_close(made.halves[half][far], whole[half][far], rtol=0, atol=0)


def test_where_masks_meet_the_better_body_counts_more():
    """One body has ten times the noise: in the overlap the combination follows the other."""
    generator = torch.Generator().manual_seed(2)
    signal = low_pass(noise(generator), 12, PIXEL) * 12
    between = [int(a - b) for a, b in zip(*CENTRES_PX, strict=True)][::-1]
    bodies = parts([signal, torch.roll(signal, between, (0, 1, 2))], generator, [box_mask(11)] * 2, (1.0, 10.0))
    made = combine(bodies, (noise(generator), noise(generator)), PIXEL, 1)
    at = torch.roll(signal, tuple(int(by) for by in CENTRES_PX[0][::-1]), (0, 1, 2))
    over = [torch.roll(one, tuple(int(by) for by in centre[::-1]), (0, 1, 2)) > 0
            for one, centre in zip([box_mask(11)] * 2, CENTRES_PX, strict=True)]  # fmt: skip
    both = over[0] & over[1]
    assert both.sum() > 500
    error = float((made.halves[0] - at)[both].square().mean())
    assert error < 3  # a plain mean has (1 + 100) / 4
