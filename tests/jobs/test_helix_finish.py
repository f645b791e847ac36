"""What the end of a refinement of filaments warns of."""

import csv
import shutil
from dataclasses import replace

import numpy as np

from blush.io.particles import ParticleSet
from blush.jobs.helix_finish import HelixEnding
from blush.jobs.inputs import latest_state, read_config
from blush.jobs.layout import RunFolder


def filaments(run) -> list[dict[str, str]]:
    with (run / "postprocess/filaments.tsv").open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


class Twisted(HelixEnding):
    """An end at which rot grows by 0.01 degrees per Å more along every filament."""

    @property
    def found(self) -> ParticleSet:
        found = super().found
        assert found.track_angst is not None
        return replace(found, rot_deg=found.rot_deg + 0.01 * found.track_angst)


def test_each_filament_has_a_line(still_run, tmp_path):
    """Eight of six boxes, 42 Å apart, none of which looks against its track."""
    run = shutil.copytree(still_run, tmp_path / "run")
    lines = filaments(run)
    assert [line["segments"] for line in lines] == 8 * ["6"]
    assert {line["reversed"] for line in lines} == {"0"}
    assert min(float(line["polarity_log_odds"]) for line in lines) > 3
    np.testing.assert_allclose([float(line["length_angst"]) for line in lines], 5 * 42, rtol=0.1)
    assert len({(line["micrograph"], line["tube"]) for line in lines}) == 8
    twist = np.array([[float(line[f"twist{kind}_deg"]) for kind in ("", "_error")] for line in lines])
    assert (np.abs(twist[:, 0] - 37) < 5 * twist[:, 1] + 0.5).all()
    folder = RunFolder(run)
    Twisted(folder, read_config(run), latest_state(run)).measured()
    more = np.array([float(line["twist_deg"]) for line in filaments(run)])
    np.testing.assert_allclose(more - twist[:, 0], 0.01 * 21, atol=1e-3)


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
