"""How finely filaments are searched along their axis, and in how many bins their rot is told."""

from __future__ import annotations

import math
from dataclasses import replace

from blush.refine.control import HelixControl
from blush.refine.schedule import angular_step_deg
from blush.refine.state import PoseSearch

LEAST_SAMPLES = 3
"""Of offsets in a rise."""
LOCAL_STEPS = 2
"""To either side of the previous offset along the filament."""
FINEST_BIN_DEG = 3.75
LEAST_BINS = 24


def sampled(control: HelixControl, search: PoseSearch) -> HelixControl:
    """Control with the offsets along the filament and the bins of rot that go with a search.

    Offsets further than half a rise from zero show what others show. Steps along are never wider than those across,
    never wider than a third of the rise, and never grow. Bins are as wide as the fine step of the grid, as emptier ones
    would tell where its samples are.
    """
    rise = control.rise_angst
    step = min(search.offset_step_angst, control.along_step_angst, rise / LEAST_SAMPLES)
    reach = min(rise / 2, LOCAL_STEPS * step) if search.local else rise / 2
    width = max(FINEST_BIN_DEG, angular_step_deg(search.healpix_order, search.oversampling))
    bins = max(LEAST_BINS, math.ceil(control.helix.chain_period_deg / width))
    return replace(control, along_range_angst=reach, along_step_angst=step, bins=bins)
