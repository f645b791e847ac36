"""The control of a classification, played through on hand-made measurements: poses, classes, both."""

from dataclasses import replace

import numpy as np
import pytest

from blush.refine.changes import PoseChange
from blush.refine.classify import ClassesMeasured, alone, collapsed, first_class_state, next_class_state
from blush.refine.control import ClassifyControl, ControlSettings
from blush.refine.estimates import ImageModel, ReferenceModel
from blush.refine.state import PoseSearch, RunFacts, State

BOX, PIXEL, SHELLS = 128, 1.5, 65
STAYS, MOVES = (0.1, 0.1), (9.0, 4.0)


def start(n_references=1, splits_at=None, fixed=False, fine_enough=False, **settings) -> State:
    """State 0; by default of a global search with a single map."""
    facts = RunFacts("classify", 1, BOX, PIXEL, 120.0, "C1", 1)
    search = PoseSearch(2, False, 0.0, 7.5, 3.0, 1, 0.0, 0, 0, False, fixed=fixed)
    control = ClassifyControl(
        ControlSettings(**settings), 2, 3.0, 40.0, 10, has_fine_enough_sampling=fine_enough,
        settled_fraction=0.01, max_pose_iterations=30, splits_at=splits_at, searches=not fixed,
    )  # fmt: skip
    return first_class_state(facts, search, control, np.ones((1, 1, SHELLS)), 3, n_references)


def measured(n: int, moved=STAYS, relabelled=0.0, accuracy_deg=6.0) -> ClassesMeasured:
    """An iteration with n references of one resolution."""
    fsc = np.tile(np.where(np.arange(SHELLS) <= 20, 0.9, 0.0), (n, 1))
    references = ReferenceModel(
        fsc, fsc, fsc / (1 - fsc), np.ones((1, n, SHELLS)), np.ones((1, n, SHELLS)), np.full(n, 1 / n),
        np.full(n, BOX * PIXEL / 20), (accuracy_deg,) * n, (1.0,) * n,
    )  # fmt: skip
    images = ImageModel(np.ones((1, 1, SHELLS)), np.ones((1, 3)), np.ones(1), np.ones(1))
    return ClassesMeasured(images, references, BOX * PIXEL / 20, 0.5, -1.0, PoseChange(*moved, relabelled))


def play(state: State, *results: ClassesMeasured) -> State:
    for result in results:
        state = next_class_state(state, result, state.control.settings)
    return state


def until(state: State, done, **result) -> State:
    """Play the same measurement, of as many classes as there are then, until something holds."""
    for _ in range(60):
        if done(state):
            return state
        n = 2 if state.control.splits_at == state.iteration + 1 else len(state.references.share)
        state = play(state, measured(n, **result))
    raise AssertionError(f"not after {state.iteration} iterations")


def test_poses_are_found_on_finer_grids_before_there_are_classes():
    state = until(start(), lambda state: state.control.splits_at is not None)
    assert len(state.references.share) == 1
    assert alone(state)
    assert state.control.splits_at == state.iteration + 1
    assert state.search.healpix_order == 3  # whose fine step, 3.75 degrees, is below 3/4 of 6; that of order 2 is not
    assert state.control.has_fine_enough_sampling


def test_classes_are_divided_at_the_poses_found():
    state = until(start(), lambda state: not alone(state))
    assert len(state.references.share) == 2
    assert state.search.fixed
    assert state.search.perturbation == 0


def test_then_poses_are_searched_with_all_classes_around_those_found_until_both_settle():
    divided = until(start(), lambda state: not alone(state))
    searching = until(divided, lambda state: not state.search.fixed)
    assert searching.iteration >= divided.iteration + 6
    assert (searching.search.local, searching.search.sigma_angle_deg) == (True, 7.5)  # two fine steps
    assert searching.search.perturbation == 0
    assert not searching.converged
    end = until(searching, lambda state: state.converged)
    assert end.stop_reason == "converged"
    assert end.iteration == searching.iteration + 2


def test_with_maps_of_classes_images_are_compared_no_further_than_independent_halves_reached():
    """All images align to maps that share most of their noise; their FSC may say anything."""
    divided = until(start(), lambda state: not alone(state))
    assert divided.control.best_resolution_angst == pytest.approx(BOX * PIXEL / 20)
    searching = until(divided, lambda state: not state.search.fixed)
    assert searching.search.current_size_px == 40
    boast = replace(measured(2, relabelled=0.5), resolution_angst=BOX * PIXEL / 50)
    assert play(searching, boast).search.current_size_px == 40
    assert play(divided, boast).search.current_size_px == 120  # at given poses it is the same noise in no two halves


def test_given_poses_are_never_searched():
    state = until(start(splits_at=1, fixed=True), lambda state: state.converged)
    assert state.search.fixed
    assert state.stop_reason == "converged"
    assert state.iteration == 7  # five iterations with classes at least, and two that settle


def test_images_that_change_class_hold_the_end():
    state = start(splits_at=1, fixed=True, max_iterations=12)
    end = until(state, lambda state: state.converged, relabelled=0.02)
    assert (end.stop_reason, end.iteration) == ("max_iterations", 12)


def test_poses_that_never_settle_are_left_at_the_limit():
    """Coarse accuracies never ask for a finer grid; what keeps moving keeps it from counting as found."""
    state, degrees = start(), 40.0
    while state.control.splits_at is None:
        degrees *= 0.95
        state = play(state, measured(1, moved=(degrees, 4.0), accuracy_deg=1e-3))
    assert state.control.splits_at == 30


def test_limit_counts_iterations_with_classes():
    divided = until(start(max_iterations=4), lambda state: not alone(state))
    end = until(divided, lambda state: state.converged, relabelled=0.5)
    assert end.iteration == divided.control.splits_at + 3


def test_maps_given_for_every_class_are_searched_on_finer_grids_too():
    state = until(start(2, splits_at=0), lambda state: state.search.healpix_order == 3)
    assert len(state.references.share) == 2
    end = until(state, lambda state: state.converged)
    assert end.stop_reason == "converged"
    assert end.control.has_fine_enough_sampling


def test_a_fixed_sampling_stays():
    """That of RELION's 3D classification."""
    state = start(2, splits_at=0, fine_enough=True)
    end = until(state, lambda state: state.converged, accuracy_deg=0.1)
    assert end.search.healpix_order == 2


def test_an_end_has_no_next_iteration():
    end = until(start(splits_at=1, fixed=True), lambda state: state.converged)
    with pytest.raises(ValueError, match="was the last one: converged"):
        play(end, measured(2))


def test_images_are_compared_within_the_limit():
    state = start(2, splits_at=0)
    limited = replace(state, control=replace(state.control, resolution_limit_angst=24.0))
    assert play(limited, measured(2)).search.current_size_px == 16  # shell 8 of 192 Å
    assert play(state, measured(2)).search.current_size_px > 16


def test_a_class_of_less_than_one_image_is_empty():
    assert collapsed(np.array([0.5, 0.009, 0.491]), 100) == [2]
