"""What the end of a refinement of filaments warns of."""

from dataclasses import replace

import numpy as np

from blush.io.particles import ParticleSet
from blush.jobs.helix_finish import HelixEnding
from blush.jobs.inputs import latest_state, read_config
from blush.jobs.layout import RunFolder


class Tilted(HelixEnding):
    """An end at which every segment is tilted from where it was, either way by its polarity."""

    by_deg = 0.0

    @property
    def found(self) -> ParticleSet:
        found = super().found
        assert found.track_tilt_deg is not None
        return replace(found, tilt_deg=found.track_tilt_deg + self.by_deg)


def test_tilts_far_from_their_tracks_are_told(still_run):
    """The first prior is 5 degrees wide: a median of 7 is not told, one of 8 is."""
    folder = RunFolder(still_run)
    for by_deg in (7.0, 8.0):
        ending = Tilted(folder, read_config(still_run), latest_state(still_run))
        ending.by_deg = by_deg
        measured = ending.measured()
        np.testing.assert_allclose(measured["helix"]["tilt_from_track_deg"], by_deg)
        told = [text for text in measured["warnings"] if "tilted by more than" in text]
        assert len(told) == (by_deg == 8.0)
        assert all("8 degrees" in text for text in told)
