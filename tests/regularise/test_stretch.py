"""The norm of what a method takes away: of filters it is known, for they are linear."""

import pytest
import torch
from problem import half_maps
from test_certificate import Learned

from blush.regularise.drive import Policy, drive
from blush.regularise.stretch import stretch

PASSES = 12


def made(times: float):
    return lambda maps: tuple(times * maps.wiener(half) for half in (0, 1))


@pytest.mark.parametrize(("times", "norm"), [(0.5, 1.0), (1.0, 1.0), (3.0, 2.0), (4.0, 3.0)])
def test_a_wiener_filter_times_a_number(times, norm):
    """|1 - c w| is largest at w = 0, or at w = 1 for c above 2; the coarsest shells have w = 1."""
    found = stretch(made(times), half_maps(torch.float64, noise=0.02), PASSES)
    assert found == pytest.approx(norm, rel=0.05)
    assert found < norm * 1.01  # a lower bound, but for the window of the maps that sums make


def test_where_the_mask_is_zero_nothing_of_the_method_counts():
    maps = half_maps(torch.float64)
    assert stretch(made(4.0), maps, 3, mask=torch.zeros_like(maps.unregularised(0))) == pytest.approx(1.0, rel=1e-9)


def test_the_certificate_tells_it_on_request():
    found = [
        drive(Learned(), half_maps(torch.float32), Policy(certified=True, jacobian_passes=n)).diagnostics["certificate"]
        for n in (0, 2)
    ]
    assert "jacobian" not in found[0]
    assert {"jacobian", "jacobian_masked"} <= set(found[1])
    assert "Jacobian" in found[1]["words"][-1]
