"""What a half-set may learn from the other: the FSC, the joined low resolutions, and the mask made of these."""

import shutil

import numpy as np
import pytest
from truth_runs import make_set, refine_iterations

from blush.fourier.transform import sphere_k2
from blush.io.files import load_npz, read_json, save_npz, write_json
from blush.io.mrc import read_volume, write_volume
from blush.jobs import denoise_and_trail as maps_step
from blush.jobs import steps
from blush.jobs.inputs import read_plan
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import written
from blush.refine.subset import Subset


@pytest.fixture(scope="session")
def two_iterations(tmp_path_factory):
    """Run folders after two iterations, by kind of mask."""
    folder = make_set(tmp_path_factory.mktemp("few"), particles=48)
    done = {}

    def run(mask):
        if mask not in done:
            done[mask] = refine_iterations(folder, tmp_path_factory.mktemp("halves"), 2, mask=mask)
        return done[mask]

    return run


@pytest.fixture
def copy(two_iterations, tmp_path):
    return lambda mask: RunFolder(shutil.copytree(two_iterations(mask), tmp_path / "run"))


def remake_references(folder, monkeypatch, change):
    """References of iteration 2 from sums of half 2 that `change` has altered, at the same FSC."""
    fixed = load_npz(folder.spectra(2))
    monkeypatch.setattr(maps_step, "half_map_fsc", lambda *_: (fixed["fsc"], fixed["fsc_unmasked"]))
    sums = load_npz(folder.sums(2, Subset.SECOND))
    with written(folder, folder.sums(2, Subset.SECOND)) as beside:
        save_npz(beside, {"grid_001": change(sums["grid_001"]), "r_max": sums["r_max"]})
    folder.spectra(2).unlink()
    steps.denoise_and_trail(folder.root, 2)
    return [folder.map(2, Subset(half), "reference").read_bytes() for half in (1, 2)]


def outside(grid, shell, pad=2):
    """Cells beyond the joined shells."""
    radius = (grid.shape[0] - 1) // 2
    return (sphere_k2(radius, "cpu") > (pad * shell) ** 2).numpy()


@pytest.mark.parametrize("mask", ["auto", "sphere"])
def test_references_are_independent_beyond_the_joined_shells(mask, copy, monkeypatch):
    folder = copy(mask)
    before = [folder.map(2, Subset(half), "reference").read_bytes() for half in (1, 2)]
    shell = read_json(folder.diagnostics(2))["join_shell"]

    def disturb(grid):
        noise = np.random.default_rng(1).uniform(0.5, 2.0, grid.shape).astype(grid.dtype)
        return np.where(outside(grid, shell)[..., None], grid * noise, grid)

    after = remake_references(folder, monkeypatch, disturb)
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_the_joined_shells_are_shared(copy, monkeypatch):
    """Shows that the test above would see what passes from half to half."""
    folder = copy("sphere")
    before = folder.map(2, Subset.FIRST, "reference").read_bytes()
    shell = read_json(folder.diagnostics(2))["join_shell"]
    after = remake_references(folder, monkeypatch, lambda g: np.where(outside(g, shell)[..., None], g, 1.1 * g))
    assert after[0] != before


def test_expectation_of_a_half_knows_nothing_of_the_other(copy):
    """Noise, scales, poses, histogram and reference of half 2 can be anything."""
    folder = copy("sphere")
    plain = load_npz(steps.expectation_shard(folder.root, 3, 1, 0))
    state, poses = read_json(folder.state(2)), load_npz(folder.poses(2))
    own = {"images": ("noise", "scale", "norm_average", "sigma_offset_angst"), "references": ("tau2", "sigma2_ref")}
    for part, name in [(part, name) for part, names in own.items() for name in names]:
        state[part][name][1] = (1.3 * np.array(state[part][name][1])).tolist()
    with written(folder, folder.state(2)) as beside:
        write_json(beside, state)
    rows = read_plan(folder.root).rows[1]
    for name in ("rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "norm_correction"):
        poses[name][rows] = 1.3 * poses[name][rows] + 1
    with written(folder, folder.poses(2)) as beside:
        save_npz(beside, poses)
    histogram = load_npz(folder.directions(2))
    with written(folder, folder.directions(2)) as beside:
        save_npz(beside, histogram | {"half2": histogram["half2"][::-1].copy()})
    volume, pixel = read_volume(folder.map(2, Subset.SECOND, "reference"))
    with written(folder, folder.map(2, Subset.SECOND, "reference")) as beside:
        write_volume(beside, 1.3 * volume[::-1], pixel)
    changed = load_npz(steps.expectation_shard(folder.root, 3, 1, 0))
    assert plain.keys() == changed.keys()
    for name, values in plain.items():
        np.testing.assert_array_equal(values, changed[name], err_msg=name)
