"""Segments of filaments: what the expectation step takes of the state and of tables of poses."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from blush.config.helix import HelixSettings
from blush.io.particles import ParticleSet
from blush.jobs import segments
from blush.refine.control import ControlSettings, HelixControl


@pytest.fixture
def state(monkeypatch):
    """Widths of the halves differ in everything."""
    control = HelixControl(
        settings=ControlSettings(), initial_healpix_order=2, initial_offset_step_angst=2.0, best_resolution_angst=9.0,
        increment_shells=10, rise_angst=21.0, twist_deg=37.0, fold=1, walk_deg2_per_angst=np.zeros(2),
        sigma_psi_deg=np.array([3.0, 4.0]), sigma_tilt_deg=np.array([5.0, 6.0]), along_range_angst=10.5,
        along_step_angst=4.0, bins=72,
    )  # fmt: skip
    config = SimpleNamespace(helix=HelixSettings(rise_angst=21, twist_deg=37, tube_diameter_angst=120))
    monkeypatch.setattr(segments, "read_config", lambda root: config)
    search = SimpleNamespace(offset_range_angst=6.0, offset_step_angst=2.0, perturbation=0.25, fixed=False)
    images = SimpleNamespace(sigma_offset_angst=np.array([7.0, 8.0]))
    return SimpleNamespace(control=control, search=search, images=images)


def test_each_half_has_widths_of_its_own(state):
    found = [segments.filament_model(Path(), state, index) for index in (0, 1)]
    widths = [(one.sigma_psi_deg, one.sigma_tilt_deg, one.sigma_across_angst) for one in found]
    assert widths == [(3.0, 5.0, 7.0), (4.0, 6.0, 8.0)]
    assert (found[0].helix.rise_angst, found[0].tube_diameter_angst, found[0].bins) == (21.0, 120.0, 72)
    assert found[0].along_step_angst == 3.5


def test_offsets_in_the_frame_are_perturbed_by_their_own_steps(state):
    first = segments.offsets_of(state)[0]
    assert first.tolist() == pytest.approx([-8.75 + 0.25 * 3.5, -6 + 0.25 * 2])
    assert len(segments.offsets_of(state)) == 6 * 7


def test_what_is_known_of_segments_comes_with_their_rows():
    poses = {"filament_prior": np.arange(6.0).reshape(2, 3), "rot_log_prior": np.zeros((2, 2, 4)),
             "polarity_pose": np.arange(20.0).reshape(2, 2, 5)}  # fmt: skip
    bare = ParticleSet(**dict.fromkeys(ParticleSet.__dataclass_fields__))
    found = segments.with_tracks(bare, poses, np.array([1]))
    assert found.filament_prior.tolist() == [[3.0, 4.0, 5.0]]
    assert found.polarity_pose[0, 0].tolist() == [10.0, 11.0, 12.0, 13.0, 14.0]
    assert found.rot_log_prior.shape == (1, 2, 4)
    assert segments.with_tracks(bare, {}, np.array([1])) is bare
