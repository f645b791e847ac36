"""Runs of several bodies: turns, what a body sees of the others, halves apart, the same bytes after any stop."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from moving_blobs import config_of, make_set
from numpy.testing import assert_array_equal

from blush.errors import BlushError
from blush.fourier.filter import multiply_shells
from blush.io import half_maps
from blush.io.files import load_npz
from blush.io.mrc import map_stack, read_volume, write_stack
from blush.io.star import read_star, write_star
from blush.jobs import body_start, steps
from blush.jobs import denoise_and_trail as maps_module
from blush.jobs.autorefine import autorefine, iterate
from blush.jobs.body_runs import body_root
from blush.jobs.inputs import read_plan
from blush.jobs.layout import RunFolder
from blush.jobs.multibody import begin, next_body
from blush.jobs.other_bodies import others_of
from blush.jobs.shards import shard_key
from blush.refine.state import load_state
from blush.refine.subset import HALVES, Subset


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blobs")
    make_set(folder)
    return folder


@pytest.fixture(scope="module")
def whole(blobs, tmp_path_factory):
    """A run that was never stopped."""
    return autorefine(config_of(blobs, tmp_path_factory.mktemp("whole")))


def digests(run):
    """Content of the results of a run, without its folder's name, times and logs."""
    left_out = ("progress.jsonl", ".seals.json", "settings.json", "summary.json")
    files = (path for path in sorted(run.rglob("*")) if path.is_file() and path.name not in left_out)
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes().replace(str(run).encode(), b"RUN")).hexdigest()
        for path in files
        if path.suffix in (".npz", ".mrc") or path.name == "state.json"
    }


def test_bodies_take_turns_and_see_the_newest_of_each_other(whole):
    """Iteration n of the first sees n - 1 of the second, which sees n of the first; the last sees no joined map."""
    seen = {}
    for index in (0, 1):
        folder = RunFolder(body_root(whole, index))
        for n in range(3):
            state = load_state(folder.state(n))
            seen[index, n + 1] = [other.iteration for other in others_of(folder, state)]
        assert load_state(folder.state(3)).converged
    assert seen == {(0, 1): [0], (0, 2): [1], (0, 3): [2], (1, 1): [1], (1, 2): [2], (1, 3): [2]}


def test_a_run_that_is_stopped_anywhere_ends_with_the_same_bytes(whole, blobs, tmp_path):
    """After each single step of its first rounds, a new process would go on from what is on disk."""
    config = config_of(blobs, tmp_path)
    steps.import_run(config)
    run = config.run_dir.absolute()
    for _ in range(3):
        begin(run)
        body, n = next_body(run)
        steps.expectation_shard(body, n, Subset.FIRST, 0)  # and stopped
        iterate(body, n)
    autorefine(config)
    expected, found = digests(whole), digests(run)
    assert len(found) > 60
    assert expected.keys() == found.keys()
    assert [name for name in expected if expected[name] != found[name]] == []


def test_results_of_shards_are_named_by_what_they_saw_of_other_bodies(whole, tmp_path):
    """Other poses, or another map of the same half, of the other body: another name; of the other half: the same."""
    run = shutil.copytree(whole, tmp_path / "copy")
    folder, other = (RunFolder(body_root(run, index)) for index in (0, 1))
    state = load_state(folder.state(1))
    named = shard_key(folder, state, Subset.FIRST, 0)
    shutil.copy(other.map(2, Subset.SECOND, "reference"), other.map(1, Subset.SECOND, "reference"))
    assert shard_key(folder, state, Subset.FIRST, 0) == named
    shutil.copy(other.map(2, Subset.FIRST, "reference"), other.map(1, Subset.FIRST, "reference"))
    renamed = shard_key(folder, state, Subset.FIRST, 0)
    assert renamed != named
    shutil.copy(other.poses(2), other.poses(1))
    assert shard_key(folder, state, Subset.FIRST, 0) not in (named, renamed)


def test_a_body_is_about_its_own_centre(whole, blobs):
    """The map of the consensus, moved by whole voxels, and origins that follow: o - (A c)_xy."""
    folder = RunFolder(body_root(whole, 1))
    reference = read_volume(folder.first_map())[0]
    consensus = read_volume(blobs / "map.mrc")[0]
    x, y, z = json.loads((whole / "import/bodies.json").read_text())["bodies"][1]["centre_px"]
    assert (x, y, z) == (6, -3, 2)
    assert_array_equal(reference[16 - 5 : 16 + 5, 11:21, 11:21], consensus[13:23, 8:18, 17:27])
    table = read_star(folder.imported / "particles.star")["particles"]
    given = read_star(blobs / "particles.star")["particles"]
    rot, tilt, psi = (np.radians(given[f"rlnAngle{name}"].astype(float)) for name in ("Rot", "Tilt", "Psi"))
    first = np.stack([np.cos(psi) * np.cos(tilt) * np.cos(rot) - np.sin(psi) * np.sin(rot),
                      np.cos(psi) * np.cos(tilt) * np.sin(rot) + np.sin(psi) * np.cos(rot),
                      -np.cos(psi) * np.sin(tilt)], 1)  # fmt: skip
    expected = given["rlnOriginXAngst"].astype(float) - first @ np.array([6, -3, 2]) * 4.0
    np.testing.assert_allclose(table["rlnOriginXAngst"].astype(float), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("half", [1, 2])
def test_a_half_does_not_know_the_images_of_the_other(half, blobs, tmp_path, monkeypatch):
    """Whatever the other half's images are, maps, poses, motions and noise of this half keep every bit."""
    curve = torch.from_numpy(np.interp(np.arange(17), [0, 6, 12, 16], [1.0, 0.95, 0.1, 0.0]))
    monkeypatch.setattr(body_start, "solvent_corrected_fsc", lambda *_: curve.clone())
    monkeypatch.setattr(maps_module, "half_map_fsc", lambda *_: (curve.numpy().copy(), curve.numpy().copy()))
    monkeypatch.setattr(maps_module, "join_low_resolution", lambda first, second, shell: (first, second))
    changed = tmp_path / "changed"
    shutil.copytree(blobs, changed)
    plain = autorefine(config_of(blobs, tmp_path / "a"))
    rows = read_plan(body_root(plain, 0)).rows[2 - half]
    images = np.array(map_stack(str(changed / "images.mrcs")))
    images[rows] = 0.7 * images[rows][:, ::-1] + 0.3
    write_stack(changed / "images.mrcs", images, 4.0)
    other = autorefine(config_of(changed, tmp_path / "b"))
    for index in (0, 1):
        one, two = (RunFolder(body_root(run, index)) for run in (plain, other))
        own = read_plan(one.root).rows[half - 1]
        for n in (1, 2, 3):
            a, b = (load_npz(folder.poses(n)) for folder in (one, two))
            for name in a:
                assert_array_equal(b[name][own], a[name][own], err_msg=f"body {index} iteration {n} {name}")
            a, b = (load_state(folder.state(n)) for folder in (one, two))
            assert_array_equal(b.control.motion[half - 1], a.control.motion[half - 1])
            assert_array_equal(b.images.noise[half - 1], a.images.noise[half - 1])
            assert not np.array_equal(b.control.motion[2 - half], a.control.motion[2 - half])
        final = one.map(None, Subset(half), "unfiltered").name
        assert (one.root / final).read_bytes() == (two.root / final).read_bytes()


def test_bodies_start_from_their_own_half_of_the_consensus(whole, blobs):
    """The first reference of each half is that half-map alone, about the body's centre, in its mask."""
    folder = RunFolder(body_root(whole, 1))
    mask = read_volume(folder.imported / "mask.mrc")[0]
    shared = torch.from_numpy(np.array(load_state(folder.state(0)).references.fsc[0]))
    below = int((shared[1:] <= 0).double().argmax()) + 1 if bool((shared[1:] <= 0).any()) else len(shared)
    shared[0], shared[below:] = 1, 0
    for half in HALVES:
        given = torch.from_numpy(read_volume(blobs / f"half{half}.mrc")[0]).double()
        about = torch.zeros_like(given)
        about[:-2, 3:, :-6] = given[2:, :-3, 6:]
        expected = multiply_shells(about, shared.clamp(0, 1)) * torch.from_numpy(mask)
        found = read_volume(folder.map(0, half, "reference"))[0]
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("lost", "told"), [("rlnRandomSubset", "half-sets"), ("rlnAngleRot", "poses")])
def test_a_consensus_without_poses_or_halves_is_refused(lost, told, blobs, tmp_path):
    shutil.copytree(blobs, tmp_path / "set")
    star = tmp_path / "set/particles.star"
    blocks = read_star(star)
    del blocks["particles"][lost]
    write_star(star, blocks)
    with pytest.raises(BlushError, match=told):
        steps.import_run(config_of(tmp_path / "set", tmp_path))


def test_half_maps_are_found_beside_the_reference_or_asked_for(blobs, tmp_path):
    shutil.copytree(blobs, tmp_path / "set")
    bodies = config_of(blobs, tmp_path).multibody.model_dump()["bodies"]
    folder = tmp_path / "set"
    (folder / "map.mrc").rename(folder / "run_class001.mrc")
    found = {"reference": folder / "run_class001.mrc", "multibody": {"bodies": bodies}}
    with pytest.raises(BlushError, match=r"multibody\.half_maps"):
        steps.import_run(config_of(folder, tmp_path, **found))
    for half in (1, 2):
        (folder / f"half{half}.mrc").rename(folder / f"run_half{half}_class001_unfil.mrc")
    steps.import_run(config_of(folder, tmp_path, **found))
    assert (tmp_path / "moving/import/half2.mrc").is_file()


def test_half_maps_that_cannot_be_read_are_told_whatever_the_error_holds(blobs, tmp_path, monkeypatch):
    def fails(*_):
        raise BlushError("the disk is gone")

    monkeypatch.setattr(half_maps, "read_half_maps", fails)
    with pytest.raises(BlushError, match="the disk is gone"):
        steps.import_run(config_of(blobs, tmp_path))
