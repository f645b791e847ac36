"""The verdict on directions after refinements of simulated particles, whose views are known; no symmetry."""

import pytest
from truth_runs import make_set, refine

TRUE_POSES = {
    "mask": "sphere",
    "symmetry": "C1",
    "sampling": {"offset_range_px": 1, "offset_step_px": 1, "offset_sigma_angst": 3},
    "refinement": {"max_iterations": 2, "start_from": "poses", "reference_is_greyscale": True},
}
UNIFORM = None
TOP = {"preferred_axes": [[0, 0, 1]], "preferred_fraction": 1.0, "concentration": 60}
NO_SIDE = {"preferred_axes": [[0, 0, 1]], "preferred_fraction": 1.0, "concentration": 8}
MIXED = {"preferred_axes": [[0, 0, 1]], "preferred_fraction": 0.45, "concentration": 60}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("views", "even", "word"),
    [
        (UNIFORM, True, "directions are "),
        (NO_SIDE, False, "preferred orientation"),
        (TOP, False, "preferred orientation"),
        (MIXED, True, "views are uneven"),
    ],
    ids=["uniform", "side_views_missing", "top_views_only", "mixed"],
)
def test_the_verdict_says_how_particles_lay(views, even, word, tmp_path):
    folder = make_set(tmp_path / "set", particles=600, snr=1.0, views=views)
    run = refine(folder / "truth.star", folder, tmp_path, **TRUE_POSES)
    found = run.summary["orientation"]
    assert found["verdict"].startswith(word), found
    warned = [text for text in run.summary["warnings"] if "orientation" in text or "uneven" in text]
    assert bool(warned) is not even
    if not even:
        assert found["worst_axis_deg"]["tilt"] < 60  # views around z leave a cone around z empty
