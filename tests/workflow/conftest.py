"""A simulated set of 32-pixel particles, refined once by one process: what every way of running it must reproduce."""

import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from workflow_helpers import BIN, blush, digests, run

SIMULATION = {
    "specimen": {"model": "demo", "symmetry": "D4", "copies": "expand"},
    "imaging": {"n_particles": 48, "box_px": 32, "pixel_size_angst": 5.5, "particles_per_micrograph": 16},
    "noise": {"snr": 0.3},
    "particle_diameter_angst": 150,
}
REFINEMENT = {
    "name": "tiny",
    "particle_diameter_angst": 150,
    "symmetry": "D4",
    "sampling": {"healpix_order": 1, "offset_range_px": 3, "offset_step_px": 1.5},
    "refinement": {"max_iterations": 3},
    "compute": {"shards_per_half": 3, "workers": 2, "device": "cpu", "memory_gb": 1, "pool": "local"},
}


@pytest.fixture(scope="session")
def particles(tmp_path_factory):
    """Folder of the simulated particles."""
    folder = tmp_path_factory.mktemp("particles")
    settings = folder / "simulate.yaml"
    settings.write_text(yaml.safe_dump(SIMULATION | {"output": str(folder)}))
    blush("simulate", settings)
    return folder


def write_config(folder, simulated, **changes):
    """Configuration in a folder, below which its results go; changes are merged section by section."""
    content = {key: value | changes.pop(key, {}) for key, value in REFINEMENT.items() if isinstance(value, dict)}
    files = {"particles": str(simulated / "particles.star"), "reference": str(simulated / "reference.mrc")}
    truth = {"particles": str(simulated / "truth.star"), "map": str(simulated / "true_map.mrc")}
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(REFINEMENT | files | {"truth": truth} | content | changes))
    return path


@pytest.fixture
def make_config(particles, tmp_path):
    """Write the configuration of a test."""

    def make(folder=tmp_path, **changes):
        return write_config(folder, particles, **changes)

    return make


@pytest.fixture(scope="session")
def one_process(particles, tmp_path_factory):
    """Digests of the results of `blush refine`."""
    config = write_config(tmp_path_factory.mktemp("one_process"), particles)
    blush("refine", config, "--quiet", cwd=config.parent)  # tables name files relative to the working folder
    return digests(config.parent / "results" / "tiny")


@pytest.fixture(scope="session")
def finished(run_from_its_folder):
    """Configuration, folder and digests of a run that Snakemake made."""
    config, folder, _ = run_from_its_folder
    return config, folder, digests(folder)


@pytest.fixture(scope="session")
def run_from_its_folder(particles, tmp_path_factory):
    """Configuration, folder and words of `blush run`, beside a folder of the user's that is called as the package."""
    config = write_config(tmp_path_factory.mktemp("finished"), particles)
    (config.parent / "blush").mkdir()
    said = run([str(BIN / "blush"), "run", config.name], config.parent)
    return config, config.parent / "results" / "tiny", said
