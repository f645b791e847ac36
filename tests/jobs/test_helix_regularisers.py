"""Filaments under every regulariser: what each is given, that it takes part, and that no spacing comes out of it."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filament_runs import config_of, simulated_filaments

from blush.geometry.helix import Helix
from blush.helix.impose import continue_tube, impose
from blush.helix.masks import Tube, tube_mask
from blush.io.files import load_npz, read_json
from blush.io.mrc import read_volume
from blush.jobs import denoise_and_trail as maps_module
from blush.jobs import helix_maps, steps
from blush.jobs.autorefine import autorefine, iterate
from blush.jobs.helix_maps import HelixRules, tube_of
from blush.jobs.inputs import read_config
from blush.jobs.layout import RunFolder
from blush.jobs.reduce import load_sums
from blush.maximization.reconstruct import reconstruct
from blush.refine.control import HelixControl
from blush.refine.state import load_state
from blush.refine.subset import HALVES, Subset
from blush.regularise.base import HalfMaps
from blush.regularise.drive import Regularised
from blush.regularise.select import MAKERS

sys.path.insert(0, str(Path(__file__).parents[1] / "regularise"))

BOX, PIXEL = 32, 6.0
AROUND = {"blush", "cref", "localwiener", "nonuniform", "sidesplitter", "red"}


@dataclass
class Found:
    """What a search would say."""

    helix: Helix
    at_limit: tuple[str, ...] = ()


@pytest.fixture(scope="module")
def filaments(tmp_path_factory):
    return simulated_filaments(tmp_path_factory.mktemp("filaments"))


def settings_of(name: str, folder: Path) -> dict:
    """Shipped weights; the denoiser of red counts fully at any resolution; cref and external stand-ins."""
    from identity_networks import write_identity_cref

    sections: dict[str, dict] = {
        "blush": {"stride_px": 32},
        "red": {"denoiser": "nonuniform", "full_weight_angst": 90.0, "no_weight_angst": 99.0},
    }
    if name == "cref":
        sections["cref"] = {"weights": str(write_identity_cref(folder / "cref.safetensors"))}
    if name == "external":
        program = Path(__file__).parents[1] / "regularise/external_wiener.py"
        sections["external"] = {"command": f"{sys.executable} {program}"}
    return {"name": name} | ({name: sections[name]} if name in sections else {})


FIRST = ("blush", "external", "nonuniform")
"""A network, a program, and a method that looks around; the others are `thorough`."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FIRST else pytest.mark.thorough) for name in MAKERS]
)
def test_filaments_are_refined_under_every_regulariser(name, filaments, tmp_path):
    """References lie in the tube, the map repeats as the truth does, and is like it as far as three voxels a wave."""
    truth = {"particles": filaments / "truth.star", "map": filaments / "true_map.mrc"}
    config = config_of(filaments, tmp_path, regulariser=settings_of(name, tmp_path), truth=truth)
    folder = RunFolder(autorefine(config))
    record = read_json(folder.diagnostics(2))["regulariser"]
    assert (record["asked_for"], record["name"]) == (name, name)
    assert record["continued"] == (name in AROUND)
    outside = tube_mask(BOX, PIXEL, tube_of(config)) == 0
    for half in HALVES:
        volume = torch.from_numpy(read_volume(folder.map(2, half, "reference"))[0])
        assert float(volume[outside].abs().max()) == 0
    summary = json.loads((folder.root / "summary.json").read_text())
    assert abs(summary["helix"]["twist_deg"] - 37) < 1
    assert summary["truth"]["resolution_angst"] < 3 * PIXEL


@pytest.fixture(scope="module")
def searched(filaments, tmp_path_factory):
    """Two iterations, the second of which searches rise and twist, and imposes them: no time is left to warm up."""
    place = tmp_path_factory.mktemp("searched")
    helix = config_of(filaments, place).helix.model_copy(update={"rise_range_angst": (19.0, 23.0)})
    config = config_of(filaments, place, helix=helix.model_dump())
    steps.import_run(config)
    folder = RunFolder(config.run_dir.absolute())
    steps.start(folder.root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(helix_maps, "FREE_UNTIL", 1)
        for n in (1, 2):
            iterate(folder.root, n)
    return folder


def test_rise_and_twist_come_from_maps_that_no_regulariser_made(searched, monkeypatch):
    """A regulariser whose maps are another helix changes the references, and the rise and twist by no bit."""
    before, planted = load_npz(searched.spectra(2)), Helix(19.5, 35.0)
    path = searched.map(2, Subset.FIRST, "reference")
    reference = read_volume(path)[0]
    assert float(before["rise_angst"]) != 21  # it was searched

    def other(regulariser, maps: HalfMaps, *_) -> Regularised:
        tube = Tube(120, 0, 170)
        first, second = (impose(maps.unregularised(half), PIXEL, planted, 0.7, tube) for half in (0, 1))
        return Regularised((first, second), {})

    monkeypatch.setattr(helix_maps, "FREE_UNTIL", 1)
    monkeypatch.setattr(maps_module, "drive", other)
    searched.spectra(2).unlink()
    steps.denoise_and_trail(searched.root, 2)
    after = load_npz(searched.spectra(2))
    assert (after["rise_angst"], after["twist_deg"]) == (before["rise_angst"], before["twist_deg"])
    assert np.abs(read_volume(path)[0] - reference).max() > 0.1 * np.abs(reference).max()


def test_rise_and_twist_are_searched_in_unfiltered_maps(searched, monkeypatch):
    """What a search is given is what the images of each half make without any prior."""
    state = load_state(searched.state(1))
    halves = [load_sums(searched, 2, half, BOX, torch.device("cpu")) for half in HALVES]
    given = []

    def watched(maps, *_):
        given.extend(maps)

    monkeypatch.setattr(helix_maps, "search_rise", watched)
    monkeypatch.setattr(helix_maps, "search_symmetry", lambda *_: Found(Helix(21, 36)))
    HelixRules(searched, read_config(searched.root), replace(state, iteration=5)).symmetric((halves[0], halves[1]))
    for volume, half in zip(given, halves, strict=True):
        assert torch.equal(volume, reconstruct(half))


def test_maps_are_continued_only_where_symmetry_is_imposed(searched):
    config, state = read_config(searched.root), load_state(searched.state(1))
    assert HelixRules(searched, config, state).continued() is None  # the rise is searched, and maps are young
    later = replace(state, iteration=5)
    free = config.model_copy(update={"helix": config.helix.model_copy(update={"impose_symmetry": False})})
    assert HelixRules(searched, free, later).continued() is None
    fill = HelixRules(searched, config, later).continued()
    volume = torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(1))
    helix = later.control_of(HelixControl).helix
    assert torch.equal(fill(volume), continue_tube(volume, PIXEL, helix, 0.4, tube_of(config)))
