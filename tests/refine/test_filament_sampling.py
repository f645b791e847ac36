"""Offsets along filaments stay within half a rise, and bins of rot are no finer than the grid."""

from dataclasses import replace

import numpy as np
import pytest

from blush.geometry.helix import Helix
from blush.refine.control import ControlSettings, HelixControl
from blush.refine.filament_sampling import sampled
from blush.refine.start import FirstSampling, ParticleGeometry, first_helix_state, first_state
from blush.refine.state import State


def helix_state() -> State:
    particles = ParticleGeometry(64, 1.1, 50.0, "C1", 5)
    state = first_state(particles, FirstSampling(), ControlSettings(), np.ones((2, 1, 33)), 9, False)
    return first_helix_state(state, Helix(4.75, -1.2), sigma_psi_deg=3.0, sigma_tilt_deg=5.0, walk=0.1)


def control_of(rise: float, twist: float, fold: int = 1) -> HelixControl:
    control = helix_state().control_of(HelixControl)
    return replace(control, rise_angst=rise, twist_deg=twist, fold=fold, along_step_angst=100.0)


@pytest.mark.parametrize(
    ("rise", "step", "local", "along"),
    [
        (21.0, 3.0, False, (10.5, 3.0)),
        (21.0, 12.0, False, (10.5, 7.0)),
        (4.75, 3.0, False, (2.375, 4.75 / 3)),
        (21.0, 3.0, True, (6.0, 3.0)),
        (4.75, 3.0, True, (2.375, 4.75 / 3)),
    ],
)
def test_offsets_along_reach_half_a_rise_in_three_steps_or_more(rise, step, local, along):
    search = replace(helix_state().search, offset_step_angst=step, local=local)
    found = sampled(control_of(rise, 37.0), search)
    assert (found.along_range_angst, found.along_step_angst) == pytest.approx(along)


def test_a_step_along_never_grows():
    search = helix_state().search
    narrow = sampled(control_of(21.0, 37.0), replace(search, offset_step_angst=1.0))
    assert sampled(narrow, replace(search, offset_step_angst=5.0)).along_step_angst == 1.0


@pytest.mark.parametrize(
    ("order", "helix", "bins"),
    [
        (2, (21.0, 37.0), 48),
        (3, (21.0, 37.0), 96),
        (6, (21.0, 37.0), 96),
        (3, (2.375, -180.6), 48),
        (3, (4.75, -1.2, 2), 48),
        (3, (21.0, 37.0, 6), 24),
    ],
)
def test_bins_are_as_wide_as_the_fine_step_of_the_grid_or_a_few_degrees(order, helix, bins):
    assert sampled(control_of(*helix), replace(helix_state().search, healpix_order=order)).bins == bins
