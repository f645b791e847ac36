"""Sets of one specimen are to the byte what they were before there were mixtures."""

import json
from pathlib import Path

import pytest
import torch
from small_models import digest

from blush.simulate.particle_set import simulate
from blush.simulate.settings import SimulateConfig

BEFORE = json.loads((Path(__file__).parent / "one_specimen.json").read_text())
IMAGING = {"n_particles": 13, "box_px": 32, "pixel_size_angst": 5.0, "particles_per_micrograph": 5}
SETS = {
    "demo": {},
    "belt": {"specimen": {"belt": {"center_z_angst": 0, "core_width_angst": 6, "shell_angst": 5}}, "seed": 3},
    "views": {
        "specimen": {"symmetry": "C1", "copies": "none", "chains": ["A"], "bfactor_angst2": 50},
        "views": {"preferred_axes": [[0, 0, 1]]},
        "particle_diameter_angst": 140,
        "imaging": IMAGING | {"float16": True, "optics": [{"voltage_kv": 300}, {"voltage_kv": 200}]},
    },
}


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(folder: Path, content: dict) -> Path:
    common = {"imaging": IMAGING, "noise": {"snr": 0.5}, "output": folder}
    return simulate(SimulateConfig.model_validate(common | content))


@pytest.mark.skipif(
    (torch.__version__, torch.backends.cpu.get_cpu_capability()) != (BEFORE["torch"], BEFORE["cpu"]),
    reason=f"bytes were written down with torch {BEFORE['torch']} on a CPU of {BEFORE['cpu']}",
)
@pytest.mark.parametrize("name", SETS)
def test_bytes_are_those_of_the_version_before_mixtures(tmp_path, one_thread, name):
    """`one_specimen.json` holds the digests that commit 4b7fa22 gave."""
    made(tmp_path, SETS[name])
    assert digest(tmp_path) == BEFORE[name]


@pytest.mark.parametrize("name", ["demo", "belt"])
def test_a_mixture_of_one_species_is_the_specimen(tmp_path, one_thread, name):
    made(tmp_path / "plain", SETS[name])
    made(tmp_path / "mixture", SETS[name] | {"species": [{"name": "only", "fraction": 1}]})
    for path in [*sorted((tmp_path / "plain").rglob("*.mrc*")), tmp_path / "plain/particles.star"]:
        assert (tmp_path / "mixture" / path.relative_to(tmp_path / "plain")).read_bytes() == path.read_bytes(), path
