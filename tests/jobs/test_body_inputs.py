"""Bodies of a configuration are checked against its particles and its consensus map."""

from types import SimpleNamespace

import numpy as np
import pytest

from blush.config import load_config
from blush.io.mrc import write_volume
from blush.io.optics import OpticsGroup
from blush.jobs.body_inputs import check_bodies
from blush.jobs.consensus import check_consensus

OPTICS = OpticsGroup("g", 300, 2.7, 0.1, pixel_size_angst=4.0, box_px=56)
HEAD = "name: run\njob: multibody\nparticles: p.star\nreference: r.mrc\nparticle_diameter_angst: 200\n"


def ball(x_angst, radius_angst, edge_angst):
    axis = (np.arange(56) - 28) * 4.0
    distance = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + (axis - x_angst) ** 2)
    return 0.5 + 0.5 * np.cos(np.pi * np.clip((distance - radius_angst) / edge_angst, 0, 1))


@pytest.fixture
def folder(tmp_path):
    """A consensus of two balls of 38 Å, in a box and pixel size of its own, and a mask of either."""
    axis = (np.arange(80) - 40) * 3.0
    for name, x in (("core", -34), ("head", 34)):
        write_volume(tmp_path / f"{name}.mrc", ball(x, 42, 20), 4.0)
    distances = [np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + (axis - x) ** 2) for x in (-34, 34)]
    write_volume(tmp_path / "r.mrc", sum((one < 38).astype(float) for one in distances), 3.0)
    return tmp_path


def found(folder, text):
    (folder / "run.yaml").write_text(HEAD + text)
    problems, warnings = check_bodies(load_config(folder / "run.yaml"), OPTICS)
    return [str(one) for one in problems], [str(one) for one in warnings]


def test_good_bodies_of_the_configuration_and_of_a_body_file(folder):
    bodies = "multibody: {bodies: [{name: core, mask: core.mrc}, {name: head, mask: head.mrc, hinge_with: core}]}\n"
    assert found(folder, bodies) == ([], [])
    (folder / "bodies.star").write_text(
        "data_\n\nloop_\n_rlnBodyMaskName\n_rlnBodySigmaAngles\n_rlnBodySigmaOffsetAngst\n"
        "core.mrc 10 3\nhead.mrc 10 3\n"
    )
    assert found(folder, "multibody: {body_file: bodies.star}\n") == ([], [])


def test_mistakes_of_masks_and_of_a_body_file_are_told(folder):
    bodies = "[{name: core, mask: core.mrc}, {name: head, mask: none.mrc}]"
    problems, _ = found(folder, f"multibody: {{bodies: {bodies}}}\n")
    assert any("none.mrc: file does not exist" in one for one in problems)
    (folder / "bodies.star").write_text("data_\n\nloop_\n_rlnBodyMaskName\ncore.mrc\nhead.mrc\n")
    problems, _ = found(folder, "multibody: {body_file: bodies.star}\n")
    assert any("rlnBodySigmaOffsetAngst: column is missing" in one for one in problems)


def test_density_of_the_consensus_is_found_in_its_own_box(folder):
    bodies = "[{name: core, mask: core.mrc}, {name: head, mask: small.mrc}]"
    write_volume(folder / "small.mrc", ball(42, 12, 16), 4.0)
    problems, warnings = found(folder, f"multibody: {{bodies: {bodies}}}\n")
    assert problems == []
    assert any("part of the consensus map is in no mask" in one for one in warnings)
    assert any("body head is small" in one for one in warnings)
    _, warnings = found(folder, f"regulariser: {{name: blush}}\nmultibody: {{bodies: {bodies}}}\n")
    assert not any("is small" in one for one in warnings)


def test_what_the_consensus_lacks_is_told_all_at_once(folder):
    bodies = "[{name: core, mask: core.mrc}, {name: head, mask: head.mrc}]"
    (folder / "run.yaml").write_text(HEAD + f"multibody: {{half_maps: [core.mrc, r.mrc], bodies: {bodies}}}\n")
    particles = SimpleNamespace(has_poses=False, half=np.zeros(4), optics=(OPTICS,))
    told = [str(one) for one in check_consensus(load_config(folder / "run.yaml"), particles)]
    assert any("has no poses" in one for one in told)
    assert any("has no half-sets (rlnRandomSubset)" in one for one in told)
    assert any("half-map 2 of the consensus has another pixel size" in one for one in told)
    assert not any("half-map 1" in one for one in told)


def test_half_maps_beside_the_reference_are_missed(folder):
    bodies = "[{name: core, mask: core.mrc}, {name: head, mask: head.mrc}]"
    (folder / "run.yaml").write_text(HEAD + f"multibody: {{bodies: {bodies}}}\n")
    particles = SimpleNamespace(has_poses=True, half=np.ones(4), optics=(OPTICS,))
    [told] = check_consensus(load_config(folder / "run.yaml"), particles)
    assert "has no half-maps run_half1_class001_unfil.mrc" in str(told)
    assert "name the two unfiltered half-maps of the consensus in multibody.half_maps" in str(told)
