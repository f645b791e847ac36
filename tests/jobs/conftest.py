"""A simulated set of 32 px and a finished refinement of it, made once."""

import hashlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from filament_runs import TRUE, config_of, simulated_filaments

from blush.config import RunConfig
from blush.io.particles import ParticleSet, read_particles
from blush.jobs import steps
from blush.jobs.autorefine import autorefine, iterate
from blush.simulate.particle_set import simulate
from blush.simulate.settings import load_settings
from blush.validate import directional_fsc, isotropic_halves

LAST = 3


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 48 images in four stacks."""
    out = tmp_path_factory.mktemp("simulated")
    imaging = {"n_particles": 48, "box_px": 32, "pixel_size_angst": 6.5, "particles_per_micrograph": 12}
    simulate(load_settings(None, {"imaging": imaging, "noise": {"snr": 0.3}, "output": out}))
    return out


@pytest.fixture(scope="session")
def particles(simulated: Path) -> ParticleSet:
    """The 48 particles."""
    return read_particles(simulated / "particles.star")[0]


@pytest.fixture(scope="session")
def make_config(simulated: Path) -> Callable[..., RunConfig]:
    """Configuration of a short refinement, with changes."""

    def make(output: Path, **changes: Any) -> RunConfig:
        settings: dict[str, Any] = {
            "name": "tiny",
            "particles": simulated / "particles.star",
            "reference": simulated / "reference.mrc",
            "particle_diameter_angst": 170,
            "symmetry": "D4",
            "sampling": {"healpix_order": 1, "offset_range_px": 2, "offset_step_px": 2},
            "refinement": {"max_iterations": LAST},
            "compute": {"device": "cpu", "memory_gb": 1, "shards_per_half": 3},
            "output": output,
        }
        return RunConfig.model_validate(settings | changes)

    return make


@pytest.fixture(scope="module")
def few_directions():
    """Directions are measured along fewer axes: half the time of a tiny run, for tests that make many and compare."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directional_fsc, "AXES", 24)
        patch.setattr(isotropic_halves, "MAPS", 3)
        yield


def run_to(run: Path, last: int) -> None:
    """Iterations up to `last`, from whatever is there."""
    steps.start(run)
    state = steps.latest_state(run)
    while state is not None and state.iteration < last:
        state = iterate(run, state.iteration + 1)


@pytest.fixture(scope="session")
def finished(make_config: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a refinement that reached its last iteration; tests copy it before they change it."""
    config = make_config(tmp_path_factory.mktemp("finished"), refinement={"max_iterations": LAST, "keep_iterations": 9})
    steps.import_run(config)
    run_to(config.run_dir, LAST)
    return config.run_dir


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture(scope="session")
def digests(finished: Path) -> Callable[[Path], dict[str, str]]:
    """Content of every result of a run folder, wherever it or its original lies; the progress log tells times.

    Digests noted of tables differ with the folder that these name.
    """

    def read(folder: Path) -> dict[str, str]:
        left_out = ("progress.jsonl", ".seals.json")
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in left_out)
        places = [str(place).encode() for place in (folder, finished)]
        out = {}
        for path in files:
            content = path.read_bytes()
            for place in places:
                content = content.replace(place, b"RUN")
            out[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
        return out

    return read


@pytest.fixture(scope="session")
def still_filaments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of eight filaments of six segments, all of which look along their tracks."""
    return simulated_filaments(tmp_path_factory.mktemp("still_filaments"), count=8, against=0)


@pytest.fixture(scope="session")
def still_run(still_filaments: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their refinement with the true symmetry, finished."""
    return autorefine(config_of(still_filaments, tmp_path_factory.mktemp("still_run"), helix=TRUE))
