"""Runs of filaments: the same bytes after any stop, halves apart but for the symmetry, what the end leaves."""

import hashlib
import json

import numpy as np
import pytest
import torch
from disturbed_set import disturbed
from filament_runs import LAST, config_of, simulated_filaments
from numpy.testing import assert_array_equal

from blush.helix.impose import impose
from blush.io.files import load_npz
from blush.io.mrc import read_volume
from blush.io.star import read_star
from blush.jobs import denoise_and_trail as maps_module
from blush.jobs import start as start_module
from blush.jobs import steps
from blush.jobs.autorefine import autorefine, iterate
from blush.jobs.helix_maps import HelixRules, tube_of
from blush.jobs.inputs import read_config, read_frozen_particles, read_plan
from blush.jobs.layout import RunFolder
from blush.refine.control import HelixControl
from blush.refine.state import load_state
from blush.refine.subset import HALVES, Subset


@pytest.fixture(scope="module")
def filaments(tmp_path_factory):
    """Six filaments of six segments, two of which look against their tracks."""
    return simulated_filaments(tmp_path_factory.mktemp("filaments"))


@pytest.fixture(scope="module")
def whole(filaments, tmp_path_factory):
    """A run that was never stopped."""
    return autorefine(config_of(filaments, tmp_path_factory.mktemp("whole")))


def digests(run):
    """Content of the results of a run, without its folder's name, times and logs."""
    files = (path for path in sorted(run.rglob("*")) if path.suffix in (".npz", ".mrc") or path.name == "state.json")
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes().replace(str(run).encode(), b"RUN")).hexdigest()
        for path in files
    }


def test_a_run_that_is_stopped_anywhere_ends_with_the_same_bytes(whole, filaments, tmp_path):
    config = config_of(filaments, tmp_path)
    steps.import_run(config)
    run = config.run_dir.absolute()
    steps.start(run)
    iterate(run, 1)
    steps.expectation_shard(run, 2, Subset.FIRST, 1)  # and stopped
    autorefine(config)
    expected, found = digests(whole), digests(run)
    assert expected.keys() == found.keys()
    assert [name for name in expected if expected[name] != found[name]] == []


def test_halves_are_of_whole_filaments(whole):
    particles = read_frozen_particles(whole)
    for number in range(6):
        assert len(set(particles.half[particles.filament == number])) == 1
    assert set(particles.half) == {1, 2}


def change(folder, path) -> float:
    """How far the average of a map's central part is from it, relative to the map."""
    config, volume = read_config(folder.root), torch.from_numpy(read_volume(path)[0])
    helix = load_state(folder.state(2)).control_of(HelixControl).helix
    again = impose(volume, 6.0, helix, config.helix.central_fraction, tube_of(config))
    return float(torch.linalg.norm(again - volume) / torch.linalg.norm(volume))


def test_references_repeat_and_delivered_halves_do_not(whole):
    """The average fills the box from its centre; half-maps are as the sums of their own images make them."""
    folder = RunFolder(whole)
    for half in HALVES:
        assert change(folder, folder.map(2, half, "reference")) < 0.12
        assert change(folder, folder.map(None, half, "unfiltered")) > 0.3


def test_where_the_rise_is_searched_first_references_are_free_of_it(filaments, tmp_path):
    helix = config_of(filaments, tmp_path).helix.model_copy(update={"rise_range_angst": (19.0, 23.0)})
    config = config_of(filaments, tmp_path, helix=helix.model_dump())
    steps.import_run(config)
    folder = RunFolder(config.run_dir.absolute())
    steps.start(folder.root)
    for n in (1, 2):
        iterate(folder.root, n)
    assert change(folder, folder.map(2, Subset.FIRST, "reference")) > 0.15
    control = load_state(folder.state(2)).control_of(HelixControl)
    assert control.rise_angst == 21  # nothing was searched yet


def test_after_cross_correlation_the_first_reference_is_kept_at_the_grey_scale_of_the_images(whole, capsys):
    """A map of three times the reference has that scale; one of the other contrast is told, and takes its place."""
    folder = RunFolder(whole)
    rules = HelixRules(folder, read_config(whole), load_state(folder.state(0)))
    first = torch.from_numpy(read_volume(folder.map(0, Subset.FIRST, "reference"))[0])
    kept = rules.after_cross_correlation(Subset.FIRST, 3 * first)
    scale = float((kept * first).sum() / first.square().sum())
    torch.testing.assert_close(kept, scale * first)
    assert 2 < scale < 3.3  # what is left of it below the first low-pass
    assert capsys.readouterr().err == ""
    made = rules.after_cross_correlation(Subset.FIRST, -first)
    assert float((made * first).sum()) < 0
    assert "look whether its contrast is inverted" in capsys.readouterr().err


def test_the_symmetry_that_is_used_is_the_one_that_is_written(whole):
    folder = RunFolder(whole)
    summary = json.loads((whole / "summary.json").read_text())["helix"]
    last = load_state(folder.state(LAST)).control_of(HelixControl)
    assert (summary["rise_angst"], summary["twist_deg"]) == (last.rise_angst, last.twist_deg)
    model = read_star(whole / "run_model.star")
    classes = model["model_classes"]
    assert float(classes["rlnHelicalRise"][0]) == pytest.approx(last.rise_angst, abs=1e-5)
    assert float(classes["rlnHelicalTwist"][0]) == pytest.approx(last.twist_deg, abs=1e-5)


def test_a_half_sees_nothing_of_the_other_but_the_symmetry(filaments, tmp_path, monkeypatch):
    """With FSC, first noise and symmetry held fixed, half 1 keeps every bit whatever the images of half 2 are."""
    noise, fsc = np.full((1, 17), 1e-3), np.interp(np.arange(17), [0, 5, 11, 16], [1.0, 0.95, 0.1, 0.0])
    monkeypatch.setattr(start_module, "initial_noise", lambda *_: torch.from_numpy(noise))
    monkeypatch.setattr(maps_module, "half_map_fsc", lambda *_: (fsc.copy(), fsc.copy()))
    monkeypatch.setattr(maps_module, "join_low_resolution", lambda first, second, shell: (first, second))
    helix = config_of(filaments, tmp_path).helix.model_copy(update={"rise_range_angst": None, "twist_range_deg": None})
    one = config_of(filaments, tmp_path / "one", helix=helix.model_dump())
    steps.import_run(one)
    second = read_plan(one.run_dir.absolute()).rows[1]
    other = config_of(disturbed(filaments, tmp_path / "set", second), tmp_path / "two", helix=helix.model_dump())
    for config in (one, other):
        steps.import_run(config)
        steps.start(config.run_dir.absolute())
        for n in (1, 2):
            iterate(config.run_dir.absolute(), n)
    runs = [RunFolder(config.run_dir.absolute()) for config in (one, other)]
    first = read_plan(runs[0].root).rows[0]
    tables = [load_npz(folder.poses(2)) for folder in runs]
    for name in tables[0]:
        assert_array_equal(tables[0][name][first], tables[1][name][first], err_msg=name)
    controls = [load_state(folder.state(2)).control_of(HelixControl) for folder in runs]
    assert controls[0].walk_deg2_per_angst[0] == controls[1].walk_deg2_per_angst[0]
    assert controls[0].sigma_psi_deg[0] == controls[1].sigma_psi_deg[0]
    maps = [read_volume(folder.map(2, Subset.FIRST, "reference"))[0] for folder in runs]
    assert_array_equal(*maps)
    others = [read_volume(folder.map(2, Subset.SECOND, "reference"))[0] for folder in runs]
    assert not np.array_equal(*others)
