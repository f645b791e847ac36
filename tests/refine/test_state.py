"""The record of a run survives a file unchanged, and damaged or foreign ones are refused."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from blush.errors import BlushError
from blush.geometry.helix import Helix
from blush.refine.control import Control, ControlSettings, HelixControl, RefineControl
from blush.refine.start import FirstSampling, ParticleGeometry, first_helix_state, first_state
from blush.refine.state import State, load_state, save_state, with_settings


def some_state(**changes: object) -> State:
    noise = np.random.default_rng(3).random((2, 3, 33)) * 1e-7
    particles = ParticleGeometry(64, 1.1, 50.0, "D7", 5)
    state = first_state(particles, FirstSampling(), ControlSettings(initial_lowpass_angst=30.0), noise, 9, True)
    return replace(state, **changes)


def with_part(part: str, **changes: object) -> State:
    state = some_state()
    return replace(state, **{part: replace(getattr(state, part), **changes)})


def test_a_saved_state_reads_back_to_the_last_bit(tmp_path):
    awkward = np.array([[1 / 3, np.nextafter(1.0, 2.0)] + [5e-324] * 31])
    state = with_part("references", fsc=awkward, accuracy_rotation_deg=(0.1 + 0.2,))
    state = replace(state, log_likelihood=-1e17 / 3)
    save_state(tmp_path / "state.json", state)
    read = load_state(tmp_path / "state.json")
    assert read == state
    assert np.array_equal(read.images.noise, state.images.noise)
    assert np.array_equal(read.references.fsc, awkward)
    assert read.references.accuracy_rotation_deg == (0.1 + 0.2,)
    assert (read.facts, read.search, read.control) == (state.facts, state.search, state.control)
    assert isinstance(read.control, RefineControl)


def test_the_same_state_gives_the_same_bytes(tmp_path):
    for name in ("a.json", "b.json"):
        save_state(tmp_path / name, some_state())
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_any_changed_member_makes_states_differ():
    state = some_state()
    assert state == some_state()
    assert state != with_part("search", perturbation=np.nextafter(state.search.perturbation, 1.0))
    assert state != with_part("images", scale=state.images.scale + 1e-16 * np.arange(5) * 100)
    assert state != with_part("control", no_large_changes=1)


def test_arrays_of_a_state_cannot_be_written_to():
    state = some_state()
    with pytest.raises(ValueError, match="read-only"):
        state.images.noise[0, 0, 0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        state.references.fsc[0, 0] = 1.0


def test_a_state_that_is_not_finite_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        save_state(tmp_path / "state.json", some_state(log_likelihood=float("nan")))
    assert not (tmp_path / "state.json").exists()


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("references", {"fsc": np.zeros((1, 32))}, "references.fsc has 32 shells, but 33 are expected"),
        ("references", {"tau2": np.zeros((2, 33))}, "tau2 has shape"),
        ("images", {"noise": np.zeros((2, 1, 33))}, "images.noise has 1 optics groups, but 3 are expected"),
        ("references", {"share": np.ones(2)}, "references.share has 2 references, but 1 are expected"),
        ("references", {"accuracy_offset_angst": (1.0, None)}, "accuracy_offset_angst has 2 references"),
        ("images", {"norm_average": np.ones(1)}, "images.norm_average has 1 subsets, but 2 are expected"),
        ("facts", {"box_px": 66}, "has 33 shells, but 34 are expected"),
        ("facts", {"job": "bake"}, "facts.job is 'bake', not one of refine"),
    ],
)
def test_parts_that_do_not_fit_each_other_are_refused(part, changes, message):
    with pytest.raises(ValueError, match=message):
        with_part(part, **changes)


def test_the_control_of_another_job_is_refused():
    control = Control(ControlSettings(), 2, 3.0)
    with pytest.raises(ValueError, match="Control is not the RefineControl of job 'refine'"):
        some_state(control=control)


def test_settings_can_change_under_way():
    changed = with_settings(some_state(), ControlSettings(max_iterations=7))
    assert changed.control.settings.max_iterations == 7
    assert with_settings(changed, some_state().control.settings) == some_state()


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


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("facts",), None, "facts is no JSON object"),
        (("facts", "job"), "bake", "facts.job is 'bake'"),
        (("facts", "seed"), 1.0, "facts.seed is '1.0', not int"),
        (("search", "local"), 0, "search.local is '0', not bool"),
        (("search", "healpix_order"), True, "search.healpix_order is 'True', not int"),
        (("search", "extra"), 1, "search.extra is unknown"),
        (("images", "noise"), [[["1"]]], "images.noise holds something else than numbers"),
        (("images", "noise"), [[1.0]], "noise has shape"),
        (("references", "accuracy_rotation_deg"), 3.0, "references.accuracy_rotation_deg is '3.0'"),
        (("references", "accuracy_rotation_deg"), ["3"], "references.accuracy_rotation_deg is '3', not float"),
        (("references", "accuracy_rotation_deg"), [None, 1.0], "accuracy_rotation_deg has 2 references"),
        (("control", "settings"), [], "control.settings is no JSON object"),
        (("control", "settings", "max_iterations"), None, "control.settings.max_iterations is 'None', not int"),
        (("stop_reason",), None, "stop_reason is 'None', not str"),
    ],
)
def test_members_of_another_kind_are_refused_by_name(place, value, message, tmp_path):
    values = some_state().as_json()
    *parents, name = place
    inner = values
    for parent in parents:
        inner = inner[parent]
    inner[name] = value
    (tmp_path / "state.json").write_text(json.dumps(values))
    with pytest.raises(BlushError, match=message):
        load_state(tmp_path / "state.json")


@pytest.mark.parametrize("place", [("search",), ("images", "scale"), ("control", "no_resolution_gain"), ("converged",)])
def test_members_that_are_missing_are_named(place, tmp_path):
    values = some_state().as_json()
    inner = values if len(place) == 1 else values[place[0]]
    del inner[place[-1]]
    (tmp_path / "state.json").write_text(json.dumps(values))
    with pytest.raises(BlushError, match=f"{'.'.join(place)} is missing"):
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
        assert np.array_equal(state.images.sigma_offset_angst, [width, width])


def helix_state() -> State:
    return first_helix_state(some_state(), Helix(4.75, -1.2, 2), sigma_psi_deg=3.0, sigma_tilt_deg=5.0, walk=0.1)


def test_the_state_of_filaments_reads_back_to_the_last_bit(tmp_path):
    control = replace(helix_state().control, walk_deg2_per_angst=np.array([1 / 3, 0.1]), at_limit=("twist",))
    state = replace(helix_state(), control=control)
    save_state(tmp_path / "state.json", state)
    read = load_state(tmp_path / "state.json")
    assert read == state
    assert read.control_of(HelixControl).helix == Helix(4.75, -1.2, 2)
    assert read.control_of(HelixControl).at_limit == ("twist",)


def test_widths_of_filaments_are_those_of_two_halves(tmp_path):
    with pytest.raises(ValueError, match=r"control\.sigma_psi_deg has 1 subsets, but 2 are expected"):
        replace(helix_state(), control=replace(helix_state().control, sigma_psi_deg=np.ones(1)))
