"""What is read of a refinement by RELION from the tables beside a call."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "regularise"))

from problem import BOX, DIAMETER_ANGST, PIXEL_ANGST, half_maps
from relion_calls import edited, star_of, write

from blush.errors import BlushError
from blush.io.mrc import write_volume
from blush.io.star import write_star
from blush.jobs.relion_job import read_job, solvent_mask
from blush.regularise.protocol import Name, read_call


@pytest.fixture
def maps():
    return half_maps(torch.float32)


@pytest.fixture
def project(tmp_path, monkeypatch, maps):
    """Both halves' calls of iteration 3, as RELION 4 and 5 write them."""
    monkeypatch.chdir(tmp_path)
    for half in (1, 2):
        write(maps, half)
    return tmp_path


def relion_tables(folder: Path, iteration: int, **optimiser) -> None:
    """Tables that RELION 3.1 leaves, with what is read of them."""
    root = f"run_it{iteration:03d}"
    general = {
        "rlnModelStarFile": f"elsewhere/{root}_half1_model.star",
        "rlnOrientSamplingStarFile": f"elsewhere/{root}_sampling.star",
        "rlnParticleDiameter": 123.0,
        "rlnAutoLocalSearchesHealpixOrder": 4,
        "rlnRandomSeed": 7,
        "rlnSolventMaskName": "None",
    }
    write_star(folder / f"{root}_optimiser.star", {"optimiser_general": general | optimiser})
    write_star(folder / f"{root}_half1_model.star", {"model_general": {"rlnPixelSize": 2.5}})
    sampling = {"rlnHealpixOrder": 4, "rlnSymmetryGroup": "d2"}
    write_star(folder / f"{root}_sampling.star", {"sampling_general": sampling})


def test_relion_3_1_says_sizes_in_its_tables(project):
    star = star_of(1)
    edited(star, rlnPixelSize=None, rlnParticleDiameter=None)
    relion_tables(project, 2)
    found = read_job(star, Name.of(star), read_call(star))
    assert (found.pixel_size_angst, found.particle_diameter_angst) == (2.5, 123.0)
    assert (found.symmetry, found.healpix_order, found.local, found.seed) == ("D2", 4, True, 7)
    assert found.mask_file is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rlnRandomSeed", "seven"),
        ("rlnRandomSeed", "1_2"),
        ("rlnRandomSeed", 10**12),
        ("rlnAutoLocalSearchesHealpixOrder", "nan"),
        ("rlnParticleDiameter", 0),
        ("rlnParticleDiameter", "inf"),
    ],
)
def test_what_is_no_number_in_the_tables_is_told(project, key, value):
    star = star_of(1)
    edited(star, rlnPixelSize=None, rlnParticleDiameter=None)
    relion_tables(project, 2, **{key: value})
    with pytest.raises(BlushError, match=rf"optimiser\.star: .* no such number as {key} \(found {value}"):
        read_job(star, Name.of(star), read_call(star))


def test_what_the_call_says_counts_more_than_the_tables(project):
    relion_tables(project, 2, rlnAutoLocalSearchesHealpixOrder=5)
    found = read_job(star_of(1), Name.of(star_of(1)), read_call(star_of(1)))
    assert (found.pixel_size_angst, found.particle_diameter_angst) == (PIXEL_ANGST, DIAMETER_ANGST)
    assert not found.local


def test_a_continued_job_finds_the_youngest_tables(project):
    for age, iteration in enumerate((7, 1)):
        relion_tables(project, iteration, rlnRandomSeed=iteration)
        os.utime(project / f"run_it{iteration:03d}_optimiser.star", (1000 - age, 1000 - age))
    assert read_job(star_of(1), Name.of(star_of(1)), read_call(star_of(1))).seed == 7


def test_the_solvent_mask_of_the_refinement_is_used(project, maps):
    relion_tables(project, 2, rlnSolventMaskName="mask.mrc")
    write_volume("mask.mrc", maps.mask.numpy(), PIXEL_ANGST)
    found = read_job(star_of(1), Name.of(star_of(1)), read_call(star_of(1)))
    assert torch.equal(solvent_mask(found, BOX, maps.mask), maps.mask)
    body = Path("run_it003_half1_body002_external_reconstruct.star")  # its map is centred on the body
    assert read_job(body, Name.of(body), read_call(star_of(1))).mask_file is None
    write_volume("mask.mrc", np.ones((8, 8, 8)), PIXEL_ANGST)
    with pytest.raises(BlushError, match="another box than the map"):
        solvent_mask(found, BOX, maps.mask)
