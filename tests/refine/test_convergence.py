"""The control of the iterations, played through on hand-made measurements."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from blush.refine.changes import PoseChange
from blush.refine.control import ControlSettings
from blush.refine.convergence import IterationResult, next_state
from blush.refine.estimates import ImageModel, ReferenceModel
from blush.refine.start import FirstSampling, ParticleGeometry, first_state
from blush.refine.state import State

BOX, PIXEL = 128, 1.5
EXTENT_ANGST = BOX * PIXEL


def start(first_cc: bool = False, sampling: FirstSampling | None = None, **settings) -> State:
    particles = ParticleGeometry(BOX, PIXEL, 120.0, "C1", 3)
    control = ControlSettings(**{"initial_lowpass_angst": 40.0, "max_iterations": 50, **settings})
    return first_state(particles, sampling or FirstSampling(), control, np.ones((2, 1, 65)), 1, first_cc)


def measured(
    shell=20, degrees=5.0, angst=2.0, accuracy=(1.0, 1.0), pmax=0.05, class_fraction=0.0, extent_angst=EXTENT_ANGST
) -> IterationResult:
    """An iteration with FSC 0.9 up to `shell` and these pose changes."""
    fsc = np.where(np.arange(65) <= shell, 0.9, 0.0)[None]
    images = ImageModel(
        noise=np.full((2, 1, 65), 7.0),
        scale=np.full((2, 3), 1.5),
        norm_average=np.full(2, 0.7),
        sigma_offset_angst=np.full(2, 3.0),
    )
    references = ReferenceModel(
        fsc=fsc,
        fsc_unmasked=fsc,
        ssnr=fsc / (1 - fsc),
        tau2=np.ones((2, 1, 65)),
        sigma2_ref=np.ones((2, 1, 65)),
        share=np.ones(1),
        resolution_angst=np.array([extent_angst / shell]),
        accuracy_rotation_deg=(accuracy[0],),
        accuracy_offset_angst=(accuracy[1],),
    )
    change = PoseChange(degrees, angst, class_fraction)
    return IterationResult(images, references, average_pmax=pmax, log_likelihood=-1.0, change=change)


def play(state: State, *results: IterationResult) -> State:
    for result in results:
        state = next_state(state, result)
    return state


def test_state_zero_searches_globally_at_the_resolution_of_the_reference():
    state = start(first_cc=True)
    assert (state.iteration, state.search.healpix_order, state.search.local) == (0, 2, False)
    assert state.resolution_angst == EXTENT_ANGST / 5
    assert state.search.current_size_px == 2 * (5 + 10)
    assert (state.search.first_cc, state.final, state.converged) == (True, False, False)


def test_a_single_iteration_does_not_end_with_a_cross_correlation():
    """It makes the final maps, which need noise and weights."""
    assert not start(first_cc=True, max_iterations=1).search.first_cc
    assert start(first_cc=True, max_iterations=2).search.first_cc


def test_state_zero_is_local_from_the_switching_order_or_on_request():
    fine = start(sampling=FirstSampling(healpix_order=4))
    assert fine.search.local
    assert fine.search.sigma_angle_deg == 3.75
    assert start(sampling=FirstSampling(healpix_order=3, local=True)).search.sigma_angle_deg == 7.5


def test_what_was_measured_is_taken_over():
    state = next_state(start(), measured(shell=20))
    assert state.iteration == 1
    assert state.resolution_angst == EXTENT_ANGST / 20
    assert state.images.noise[0, 0, 0] == 7.0
    assert state.images.scale[0, 0] == 1.5
    assert state.images.norm_average[1] == 0.7
    assert state.change_rotation_deg == 5.0


def test_cross_correlation_leaves_noise_scale_and_resolution_alone():
    state = next_state(start(first_cc=True), measured(shell=20))
    assert not state.search.first_cc
    assert state.images.noise[0, 0, 0] == 1.0
    assert state.images.scale[0, 0] == 1.0
    assert state.images.norm_average[0] == 0.7
    assert state.resolution_angst == EXTENT_ANGST / 5


@pytest.mark.parametrize(("shell", "count"), [(21, 2), (22, 0)])
def test_a_gain_below_1e_4_per_angst_is_none(shell, count):
    """With a box of 12,800 Å a shell is worth 0.8e-4 per Å; iteration 1 gains nothing over the start either."""
    huge = start()
    huge = replace(huge, facts=replace(huge.facts, pixel_size_angst=100.0, particle_diameter_angst=9000.0))
    extent = {"extent_angst": 12800.0}
    state = play(huge, measured(20, **extent), measured(shell, degrees=4.0, **extent))
    assert state.control.no_resolution_gain == count


def test_resolution_counter_starts_again_with_a_gain():
    state = play(start(), measured(20))
    assert state.control.no_resolution_gain == 0
    state = play(state, measured(20, degrees=4.0))  # still moving, so no step follows
    assert state.control.no_resolution_gain == 1
    state = play(state, measured(21))
    assert state.control.no_resolution_gain == 0


def test_a_drop_in_resolution_counts_as_no_gain_and_shrinks_the_images():
    state = play(start(), measured(30), measured(20, degrees=4.0))
    assert state.control.no_resolution_gain == 1
    assert state.resolution_angst == EXTENT_ANGST / 20
    assert state.search.current_size_px == 2 * (20 + 10)


def test_the_first_iteration_never_counts_as_settled():
    assert play(start(), measured(degrees=0.0, angst=0.0)).control.no_large_changes == 0


@pytest.mark.parametrize(
    ("degrees", "angst", "settled"),
    [
        (5.0, 2.0, 1),  # both as large as before
        (4.9, 1.96, 1),  # shrinking by less than 3 %
        (4.5, 2.0, 0),  # angles still shrink, and 4.5 > 3
        (5.0, 1.5, 0),  # offsets still shrink, and 1.5 > 0.6
        (2.9, 0.59, 1),  # small: below 0.4 of 7.5 degrees and of 1.5 Å
        (2.9, 0.61, 0),
    ],
)
def test_settled_means_small_or_no_longer_shrinking(degrees, angst, settled):
    state = play(start(), measured(20), measured(25, degrees=degrees, angst=angst))
    assert state.control.no_large_changes == settled


@pytest.mark.parametrize(("strict", "settled"), [(False, 1), (True, 0)])
def test_small_refers_to_the_first_sampling_unless_strict(strict, settled):
    """At order 3, 0.4 of the fine step is 1.5°; of the first sampling it is 3°."""
    state = start(strict_thresholds=strict)
    state = replace(state, search=replace(state.search, healpix_order=3))
    state = play(state, measured(20, degrees=5.0), measured(25, degrees=2.9))
    assert state.control.no_large_changes == settled


def test_classes_still_settling_hold_the_sampling():
    state = play(start(), *[measured(shell, 1.0, 0.1, class_fraction=f) for shell, f in ((20, 0.2), (25, 0.1))])
    assert state.control.no_large_changes == 0


def test_no_finer_sampling_while_the_resolution_still_improves():
    state = play(start(), *[measured(shell) for shell in (20, 22, 24, 26)])
    assert state.control.no_large_changes == 3
    assert state.search.healpix_order == 2


def test_stalling_takes_the_next_order_and_starts_counting_again():
    state = play(start(), measured(20), measured(20))
    assert (state.iteration, state.search.healpix_order, state.search.local) == (2, 3, False)
    assert (state.control.no_resolution_gain, state.control.no_large_changes) == (0, 0)
    assert state.control.smallest_changes.rotation_deg is None
    assert state.search.offset_step_angst == 1.5
    assert state.search.offset_range_angst == pytest.approx(1.3 * 7.5 / 2)
    assert state.search.coarse_size_px == 60


def test_after_a_step_at_least_two_iterations_follow():
    state = play(start(), *[measured(20)] * 3)
    assert state.search.healpix_order == 3
    assert play(state, measured(20)).search.healpix_order == 4


def test_searches_become_local_at_the_switching_order():
    state = play(start(), *[measured(20)] * 4)
    assert (state.search.healpix_order, state.search.local, state.search.sigma_angle_deg) == (4, True, 3.75)
    early = play(start(local_from_order=3), *[measured(20)] * 2)
    assert (early.search.healpix_order, early.search.local, early.search.sigma_angle_deg) == (3, True, 7.5)


def test_fine_enough_keeps_the_sampling_and_converges_one_iteration_later():
    coarse = measured(20, accuracy=(11.0, 1.0))  # 7.5 < 0.75 * 11
    state = play(start(), coarse, coarse)
    assert (state.control.has_fine_enough_sampling, state.final, state.search.healpix_order) == (True, False, 2)
    state = play(state, coarse)
    assert (state.final, state.converged, state.stop_reason) == (True, False, "converged")
    assert state.search.current_size_px == BOX
    state = play(state, measured(40))
    assert (state.iteration, state.converged, state.stop_reason) == (4, True, "converged")
    assert state.resolution_angst == EXTENT_ANGST / 40


def test_fine_enough_but_improving_goes_on():
    coarse = [measured(shell, accuracy=(11.0, 1.0)) for shell in (20, 20, 23, 23)]
    state = play(start(), *coarse[:3])
    assert (state.control.has_fine_enough_sampling, state.final) == (True, False)
    assert play(state, coarse[3]).final


def test_a_finished_refinement_cannot_be_continued():
    state = play(start(max_iterations=1), measured())
    assert state.converged
    with pytest.raises(ValueError, match="iteration 1 was the last one: max_iterations"):
        next_state(state, measured())


def test_the_iteration_limit_makes_its_iteration_the_joined_one_and_says_so():
    state = play(start(max_iterations=3), measured(20), measured(25))
    assert (state.iteration, state.final, state.converged) == (2, True, False)
    assert state.stop_reason == "max_iterations"
    assert play(state, measured(40)).converged


def test_convergence_on_the_last_allowed_iteration_is_convergence():
    coarse = measured(20, accuracy=(11.0, 1.0))
    assert play(start(max_iterations=4), *[coarse] * 3).stop_reason == "converged"


def test_high_fsc_at_the_limit_is_sticky_and_widens_with_confident_poses():
    state = play(start(), measured(shell=14, pmax=0.2))  # size 30: the FSC at shell 14 is 0.9
    assert state.control.high_fsc_at_limit
    assert state.search.current_size_px == 2 * (14 + 16)
    state = play(state, measured(shell=12, pmax=0.2))
    assert state.control.high_fsc_at_limit
    assert state.search.current_size_px == 2 * (12 + 16)
    assert play(state, measured(shell=12, pmax=0.05)).search.current_size_px == 2 * (12 + 10)


def test_low_fsc_at_the_limit_is_not_flagged():
    assert not play(start(), measured(shell=13)).control.high_fsc_at_limit


def test_a_stall_without_accuracies_is_an_error_not_a_guess():
    state = play(start(), measured(20))
    with pytest.raises(ValueError, match="accuracies were not measured"):
        play(state, measured(20, accuracy=(None, None)))


def test_each_iteration_sees_another_perturbation_and_the_same_when_repeated():
    state = start()
    seen = [state.search.perturbation]
    for _ in range(5):
        state = next_state(state, measured(20))
        seen.append(state.search.perturbation)
    assert len(set(seen)) == 6
    moves = {round((b - a) % 1.0, 9) for a, b in itertools.pairwise(seen)}
    assert len(moves) == 5  # drawn anew each time
    assert next_state(start(), measured(20)) == next_state(start(), measured(20))
    assert play(start(perturbation_factor=0.0), measured()).search.perturbation == 0.0


def test_next_state_leaves_its_argument_alone():
    state = start()
    before = state.as_json()
    next_state(state, measured())
    assert state.as_json() == before
