"""The pretend device, and a set of particles of 32 px, for the tests of this folder."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from blush.simulate.particle_set import simulate
from blush.simulate.settings import load_settings


@pytest.fixture(scope="session")
def few_particles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 24 images in two stacks."""
    out = tmp_path_factory.mktemp("few_particles")
    imaging = {"n_particles": 24, "box_px": 32, "pixel_size_angst": 6.5, "particles_per_micrograph": 12}
    simulate(load_settings(None, {"imaging": imaging, "noise": {"snr": 0.3}, "output": out}))
    return out
