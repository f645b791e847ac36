"""A file that is none of particles is refused with what to give instead."""

import gzip

import numpy as np
import pytest

from blush.io.mrc import write_stack
from blush.io.star import write_star


def words(*values):
    return np.array(values, dtype=object)


MICROGRAPHS = {"rlnMicrographName": words("a.mrc"), "rlnOpticsGroup": np.array([1])}
MODEL = {"model_general": {"rlnReferenceDimensionality": 3}, "model_classes": {"rlnReferenceImage": words("a.mrc")}}
JOB = "give the particle table of a job: particles.star of Extract and Select, run_data.star of Refine3D"
EXTRACT = "extract particles from these micrographs first, and give the table of that job, particles.star"


@pytest.mark.parametrize(
    ("name", "blocks", "remedy"),
    [
        ("run_it001_model.star", MODEL, "give the particle table of this iteration, {root}/run_it001_data.star"),
        ("run_it002_model.star", MODEL, "give a particle STAR file with data_optics and data_particles"),
        ("job.star", {"job": {"rlnJobTypeLabel": "relion.refine3d"}}, JOB),
        ("default_pipeline.star", {"pipeline_general": {"rlnPipeLineJobCounter": 3}}, JOB),
        ("micrographs_ctf.star", {"micrographs": MICROGRAPHS}, EXTRACT),
        ("picks.star", {"": {"rlnCoordinateX": np.array([1.0]), "rlnCoordinateY": np.array([2.0])}}, EXTRACT),
        (
            "run_it001_optimiser.star",
            {"optimiser_general": {"rlnExperimentalDataStarFile": words("Refine3D/job005/run_it001_data.star")}},
            "give the table that this one names, Refine3D/job005/run_it001_data.star",
        ),
    ],
)
def test_tables_of_something_else(tmp_path, run_check, name, blocks, remedy):
    (tmp_path / "run_it001_data.star").touch()
    write_star(tmp_path / name, blocks)
    status, printed = run_check(tmp_path / name)
    assert status == 2
    assert "has no table of particles" in printed
    assert printed.rstrip().endswith(f"; {remedy.format(root=tmp_path)}")


def test_sub_tomograms_of_relion_3_0(tmp_path, run_check):
    table = {
        "rlnMicrographName": words("t1"),
        "rlnImageName": words("sub/1.mrc"),
        "rlnCtfImage": words("sub/1_ctf.mrc"),
    }
    write_star(tmp_path / "old.star", {"": table | {"rlnMagnification": [1e4], "rlnDetectorPixelSize": [3.0]}})
    status, printed = run_check(tmp_path / "old.star")
    assert status == 2
    assert "is a table of sub-tomograms or stacks of tilt images" in printed
    assert "before RELION 3.1" not in printed


def test_a_packed_table(project, run_check):
    packed = project.root / "particles.star.gz"
    packed.write_bytes(gzip.compress(project.write().read_bytes()))
    status, printed = run_check(packed)
    assert status == 2
    assert f"{packed}: is packed with gzip; unpack it with gunzip, beside its stacks" in printed


def test_a_stack_instead_of_its_table(tmp_path, run_check):
    write_stack(tmp_path / "stack.star", np.ones((3, 8, 8), np.float32), 2.0)
    status, printed = run_check(tmp_path / "stack.star")
    assert status == 2
    assert "is an image file, not a table (found 3 of 8 x 8 px); give the STAR file that lists its images" in printed


def test_stacks_that_were_packed(project, run_check):
    project.write()
    stack = project.root / "second.mrcs"
    (project.root / "second.mrcs.gz").write_bytes(gzip.compress(stack.read_bytes()))
    stack.unlink()
    status, printed = run_check(project.star)
    assert status == 2
    assert "stack file does not exist (found second.mrcs); there is " in printed
    assert "second.mrcs.gz: unpack it with gunzip" in printed


def test_a_copy_of_a_table_is_told_to_stay_a_link(project, run_check):
    copied = project.root / "elsewhere/particles.star"
    copied.parent.mkdir()
    copied.write_bytes(project.write().read_bytes())
    for name in project.stacks:
        (project.root / "stacks").mkdir(exist_ok=True)
        (project.root / name).rename(project.root / "stacks" / name)
    (project.root / "stacks/particles.star").write_bytes(copied.read_bytes())
    status, printed = run_check(copied)
    assert status == 2
    assert "or give the STAR file where its program wrote it, or a link to it, instead of a copy" in printed
    copied.unlink()
    copied.symlink_to("../stacks/particles.star")
    assert run_check(copied)[0] == 0
