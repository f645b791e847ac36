"""Tables of a classification: what RELION needs to go on from them, without RELION."""

from dataclasses import replace

import numpy as np
import pytest

from blush.io.particles import ParticleSet
from blush.io.star import read_star
from blush.refine.class_outputs import write_class_outputs
from blush.refine.classify import first_class_state
from blush.refine.control import ClassifyControl, ControlSettings
from blush.refine.control_star import ModelOptions
from blush.refine.outputs import DirectionTable, OutputParticles
from blush.refine.state import PoseSearch, RunFacts, State

N, BOX, PIXEL = 6, 24, 2.0
SHARE = np.array([0.75, 0.25])
COUNTERS = (
    "rlnNumberOfIterWithoutResolutionGain", "rlnBestResolutionThusFar", "rlnNumberOfIterWithoutChangingAssignments",
    "rlnSmallestChangesOrientations", "rlnSmallestChangesOffsets", "rlnSmallestChangesClasses", "rlnHasConverged",
    "rlnHasHighFscAtResolLimit", "rlnHasLargeSizeIncreaseIterationsAgo",
)  # fmt: skip
"""Without any of them RELION 3.1.3 calls the table incorrect."""


def states(fixed: bool) -> tuple[State, State]:
    facts = RunFacts("classify", 1, BOX, PIXEL, 40.0, "C1", 1)
    search = PoseSearch(1, False, 0.0, 10.0, 4.0, 1, 0.0, 0, 0, False, fixed=fixed)
    control = ClassifyControl(ControlSettings(), 1, 4.0, 48.0, 10, settled_fraction=0.005, max_pose_iterations=50)
    used = first_class_state(facts, search, control, np.ones((1, 1, BOX // 2 + 1)), 1, 2)
    return used, replace(used, iteration=3, references=replace(used.references, share=SHARE), resolution_angst=8.0)


def particles() -> OutputParticles:
    names = np.array([f"{i + 1}@stack.mrcs" for i in range(N)], dtype=object)
    columns = ("rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst", "norm_correction")
    zero = np.zeros(N, dtype=np.int64)
    given = dict.fromkeys(ParticleSet.__dataclass_fields__) | {
        "image_index": zero, "group_index": zero, "optics_index": zero, "half": zero + 1,
    }  # fmt: skip
    poses = {name: np.ones(N) for name in columns} | {"class_number": np.array([1, 1, 2, 1, 2, 1])}
    optics = {"rlnOpticsGroup": np.array([1])}
    return OutputParticles({"optics": optics, "particles": {"rlnImageName": names}}, ParticleSet(**given), poses)


@pytest.fixture(params=[True, False], ids=["given", "searched"])
def tables(request, tmp_path) -> tuple[bool, dict[str, dict]]:
    used, after = states(request.param)
    directions = DirectionTable(np.ones((3, 2)), np.array([[1.0, 2.0, 0.0, 0.5, 0.5, 0.0]]))
    write_class_outputs(tmp_path, used, after, particles(), directions, ModelOptions(tau2_fudge=4.0))
    kinds = ("optimiser", "model", "sampling", "data")
    return request.param, {kind: read_star(tmp_path / f"run_it003_{kind}.star") for kind in kinds}


def test_the_optimiser_has_what_relion_goes_on_from(tables):
    fixed, found = tables
    general = found["optimiser"]["optimiser_general"]
    assert [name for name in COUNTERS if name not in general] == []
    assert float(general["rlnBestResolutionThusFar"][0]) == pytest.approx(1 / 8)
    assert int(general["rlnDoSkipAlign"][0]) == fixed
    assert int(general["rlnAdaptiveOversampleOrder"][0]) == (0 if fixed else 1)
    assert int(general["rlnDoSplitRandomHalves"][0]) == 0


def test_directions_are_listed_and_weighed_class_by_class(tables):
    """All of them add up to 1 over both classes, as the share of a class is in its directions."""
    _, found = tables
    assert len(found["sampling"]["sampling_directions"]["rlnAngleRot"]) == 3
    weights = [found["model"][f"model_pdf_orient_class_{k}"]["rlnOrientationDistribution"] for k in (1, 2)]
    np.testing.assert_allclose(weights, [[0.25, 0.5, 0], [0.125, 0.125, 0]])


def test_the_model_has_its_fudge_and_every_class(tables):
    _, found = tables
    assert float(found["model"]["model_general"]["rlnTau2FudgeFactor"][0]) == 4
    np.testing.assert_allclose(found["model"]["model_classes"]["rlnClassDistribution"], SHARE)
    assert found["data"]["particles"]["rlnClassNumber"].astype(int).tolist() == [1, 1, 2, 1, 2, 1]
