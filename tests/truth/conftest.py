"""The sets and refinements that the standing truth tests share; each is made once, when first asked for."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from truth_runs import RANDOMISED_ANGST, make_set, refine, replace_by_noise

from blush.validate.randomise_particles import randomise_particles


@pytest.fixture(scope="session")
def good_set(tmp_path_factory):
    """200 particles that refine to the end of their signal."""
    return make_set(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="session")
def weak_set(tmp_path_factory):
    """200 particles whose poses cannot be found."""
    return make_set(tmp_path_factory.mktemp("weak"), snr=0.03)


@pytest.fixture(scope="session")
def noise_set(tmp_path_factory):
    """200 images of white noise, and a true map that is in none of them."""
    folder = make_set(tmp_path_factory.mktemp("noise"))
    replace_by_noise(folder)
    return folder


@pytest.fixture(scope="session")
def randomised_star(good_set):
    """The good set with random phases beyond `RANDOMISED_ANGST`."""
    return randomise_particles(good_set / "particles.star", good_set / "randomised", RANDOMISED_ANGST, seed=7)


@pytest.fixture(scope="session")
def refined(good_set, weak_set, noise_set, randomised_star, tmp_path_factory):
    """Refine a kind of particles with a kind of mask: `refined("good", "auto")`."""
    kinds = {
        "good": (good_set, good_set / "particles.star"),
        "weak": (weak_set, weak_set / "particles.star"),
        "noise": (noise_set, noise_set / "particles.star"),
        "randomised": (good_set, randomised_star),
    }
    done = {}

    def run(kind, mask):
        if (kind, mask) not in done:
            folder, star = kinds[kind]
            given = folder / "mask.mrc" if mask == "file" else mask
            done[kind, mask] = refine(star, folder, tmp_path_factory.mktemp("runs"), f"{kind}_{mask}", mask=given)
        return done[kind, mask]

    return run
