"""The record of a refinement survives a file unchanged, and damaged or foreign ones are refused."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from blush.errors import BlushError
from blush.refine.start import FirstSampling, ParticleGeometry, first_state
from blush.refine.state import ControlSettings, RefinementState, load_state, save_state


def some_state(**changes: object) -> RefinementState:
    noise = np.random.default_rng(3).random((2, 3, 33)) * 1e-7
    particles = ParticleGeometry(64, 1.1, 50.0, "D7", 5)
    state = first_state(particles, FirstSampling(), ControlSettings(initial_lowpass_angst=30.0), noise, 9, True)
    return dataclasses.replace(state, **changes)


def test_a_saved_state_reads_back_to_the_last_bit(tmp_path):
    awkward = np.array([1 / 3, np.nextafter(1.0, 2.0)] + [5e-324] * 31)
    state = some_state(fsc=awkward, log_likelihood=-1e17 / 3, accuracy_rotation_deg=0.1 + 0.2)
    save_state(tmp_path / "state.json", state)
    read = load_state(tmp_path / "state.json")
    assert read == state
    assert np.array_equal(read.noise, state.noise)
    assert np.array_equal(read.fsc, awkward)
    assert isinstance(read.settings, ControlSettings)


def test_the_same_state_gives_the_same_bytes(tmp_path):
    for name in ("a.json", "b.json"):
        save_state(tmp_path / name, some_state())
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_any_changed_field_makes_states_differ():
    state = some_state()
    assert state != dataclasses.replace(state, perturbation=np.nextafter(state.perturbation, 1.0))
    assert state != dataclasses.replace(state, scale=state.scale + 1e-16 * np.arange(5) * 100)


def test_arrays_of_a_state_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        some_state().noise[0, 0, 0] = 1.0


def test_a_state_that_is_not_finite_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        save_state(tmp_path / "state.json", some_state(log_likelihood=float("nan")))
    assert not (tmp_path / "state.json").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fsc": np.zeros(32)}, "fsc has 32 shells, but a box of 64 px has 33"),
        ({"tau2": np.zeros(33)}, "tau2 has shape"),
        ({"noise": np.zeros((2, 1, 33))}, r"not \(2, 3, shells\)"),
    ],
)
def test_arrays_that_do_not_fit_the_box_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        some_state(**changes)


def test_a_state_of_another_algorithm_version_is_refused(tmp_path):
    values = some_state().as_json() | {"algorithm_version": 0}
    (tmp_path / "state.json").write_text(json.dumps(values))
    with pytest.raises(BlushError, match="algorithm version 0"):
        load_state(tmp_path / "state.json")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"algorithm_version": 1}'])
def test_a_damaged_state_names_its_file(tmp_path, content):
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(BlushError, match=r"state\.json"):
        load_state(tmp_path / "state.json")


def test_a_missing_state_names_its_file(tmp_path):
    with pytest.raises(BlushError, match=r"state\.json"):
        load_state(tmp_path / "state.json")


def test_the_control_of_iterations_does_not_import_torch():
    code = "import sys, blush.refine.convergence, blush.refine.start; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_first_width_of_the_offset_prior_is_the_one_asked_for():
    particles = ParticleGeometry(64, 1.1, 50.0, "C1", 1)
    noise = np.ones((2, 1, 33))
    for width in (3.0, 5.0):
        sampling = FirstSampling(offset_sigma_angst=width)
        state = first_state(particles, sampling, ControlSettings(initial_lowpass_angst=30.0), noise, 1, True)
        assert np.array_equal(state.sigma_offset_angst, [width, width])
