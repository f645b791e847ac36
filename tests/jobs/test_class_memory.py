"""`compute.memory_gb` against what the steps of a classification take, and a process that makes its maps."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from blush.errors import BlushError
from blush.io.particles import read_particles
from blush.jobs import steps
from blush.jobs.layout import RunFolder
from blush.jobs.memory import check_memory, class_maps_bytes, neighbours_at_most, step_sizes
from blush.refine.state import load_state
from blush.refine.subset import Subset
from blush.simulate.particle_set import simulate
from blush.simulate.settings import load_settings


@pytest.fixture
def particles(simulated):
    """The simulated particles as if their box were 256 px."""
    found = read_particles(simulated / "truth.star")[0]
    return replace(found, optics=tuple(replace(group, box_px=256) for group in found.optics))


@pytest.fixture
def classes(make_config, tmp_path):
    """Configuration of a classification; the first argument changes its section."""

    def make(section, memory_gb=8.0, **changes):
        compute = {"device": "cpu", "memory_gb": memory_gb, **changes.pop("compute", {})}
        return make_config(tmp_path, job="classify", classification=section, compute=compute, **changes)

    return make


def test_a_classification_searches_in_one_way_throughout(classes, particles):
    (given,) = step_sizes(classes({"classes": 3}), particles)
    assert (given.fixed, given.references, given.radius) == (True, 3, 128)
    (found,) = step_sizes(classes({"classes": 3, "search": "global"}, sampling={"healpix_order": 2}), particles)
    assert (found.fixed, found.local, found.n_orientations) == (False, False, 3 * 72 * 64 // 8)  # D4
    (local,) = step_sizes(classes({"classes": 2, "search": "local"}, sampling={"healpix_order": 4}), particles)
    assert local.local
    assert local.n_orientations == 2 * neighbours_at_most(5, 4)


def test_a_limit_of_the_resolution_is_one_of_the_memory(classes, particles):
    (size,) = step_sizes(classes({"resolution_limit_angst": 26}), particles)
    assert size.radius == 64  # 256 px of 6.5 Å: shell 64 is at 26 Å


def test_neighbours_grow_with_the_width_of_the_search():
    """Three sigma of 1.25 steps are 3.75: a cap of 71 directions, nine turns in plane."""
    assert neighbours_at_most(4.6875, 4) == 71 * 9  # the step of order 4 is 3.75 degrees
    assert neighbours_at_most(3.75, 4) < neighbours_at_most(7.5, 4)


def test_maps_of_many_classes_and_folds_are_spoken_of(classes, particles):
    """A sum of D and W in float32 is 12 bytes of 2 pi/3 256^3 cells, and takes two maps of 67 MB with it.

    Few images are compared with few parts, whose transforms have 8 bytes of 167^2 84 cells: 19 MB each.
    """
    (warning,) = check_memory(classes({"classes": 8, "folds": 8}, memory_gb=30), particles, 100)
    assert "making the maps takes up to 43.7 GB at a box of 256 px" in str(warning)
    assert "in GB: 64 sums of D and W, those of every class and fold, and 18 made of them" in str(warning)
    slurm = classes({"classes": 8, "folds": 8}, memory_gb=30, compute={"pool": "slurm"})
    with pytest.raises(BlushError, match=r"making the maps takes up to 43\.7 GB"):
        check_memory(slurm, particles, 100)
    assert check_memory(classes({"classes": 2, "folds": 2}, memory_gb=18), particles, 100) == []


def test_the_step_that_is_refused_is_named_by_its_search(classes, particles):
    with pytest.raises(BlushError, match=r"the expectation step with data to Nyquist \(poses given\) takes up to"):
        check_memory(classes({"classes": 8}, memory_gb=1.0), particles, 100)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc, which tells a process's peak")
@pytest.mark.parametrize(
    ("box", "section"),
    [
        (64, {"classes": 3, "folds": 4, "start_from": "random"}),
        (96, {"classes": 3, "folds": 4, "start_from": "random"}),
        (96, {"classes": 3, "folds": 1, "prior": "spectrum", "start_from": "random"}),
    ],
)
def test_a_process_takes_what_the_formula_says(box, section, make_config, tmp_path):
    imaging = {"n_particles": 24, "box_px": box, "pixel_size_angst": 208 / box, "particles_per_micrograph": 12}
    simulate(load_settings(None, {"imaging": imaging, "output": tmp_path}))
    config = make_config(
        tmp_path, job="classify", particles=tmp_path / "truth.star", reference=tmp_path / "reference.mrc",
        initial_lowpass_angst=2.01 * 208 / box, classification=section, compute={"device": "cpu", "memory_gb": 8},
    )  # fmt: skip
    steps.import_run(config)
    run = config.run_dir
    steps.start(run)
    for shard in steps.missing_shards(run, 1, Subset.ALL):
        steps.expectation_shard(run, 1, Subset.ALL, shard)
    steps.reduce_subset(run, 1, Subset.ALL)
    radius = load_state(RunFolder(run).state(0)).search.current_size_px // 2
    script = Path(__file__).with_name("class_maps_peak.py")
    done = subprocess.run([sys.executable, str(script), str(run)], check=True, capture_output=True, text=True)
    prior = config.classification.prior
    formula = class_maps_bytes(radius, 4, section["classes"] * section["folds"], prior)
    assert radius == box // 2
    assert 0.75 * formula <= int(done.stdout) <= formula
