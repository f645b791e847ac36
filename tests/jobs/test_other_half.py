"""`blush evidence` on a finished run: its normalisation, its page, and what it refuses."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from blush.cli.main import app
from blush.errors import BlushError
from blush.io.files import read_json
from blush.jobs import other_half
from blush.jobs.autorefine import autorefine
from blush.jobs.other_half import weigh_halves
from blush.refine.subset import HALVES
from blush.report.page import write_report


def test_an_empty_map_tells_nothing(run, monkeypatch):
    """Its likelihood is that of nothing, summed over all poses: ln 1, but for the 0.001 that a search leaves out."""
    make = other_half._references
    monkeypatch.setattr(other_half, "_references", lambda *given: [0 * volume for volume in make(*given)])
    found, _ = weigh_halves(run, 24)
    assert abs(found.log_gain).max() < 0.002
    assert found.record()["verdict"] == "fails"


def test_nor_in_a_local_search(make_config, simulated, tmp_path, monkeypatch):
    given = {"start_from": "poses", "max_iterations": 2, "keep_iterations": 9}
    config = make_config(
        tmp_path, particles=simulated / "truth.star", refinement=given, sampling={"local_from_order": 2}
    )
    root = autorefine(config)
    found, _ = weigh_halves(root, 6)
    assert found.log_share.max() < math.log(8 / 20)  # D4, and a window that is a small part of all poses
    make = other_half._references
    monkeypatch.setattr(other_half, "_references", lambda *told: [0 * volume for volume in make(*told)])
    empty, _ = weigh_halves(root, 6)
    assert abs(empty.log_gain).max() < 0.002
    assert found.log_gain[:, -1].mean() > 1


def test_a_half_is_told_by_the_other_map_and_mask_alone(run, monkeypatch):
    """Maps and masks are marked by the half that they are made of, and nothing mixes the marks."""
    asked, loaded, real = {}, {}, other_half.load_sums

    def sums(folder, iteration, half, *rest):
        loaded[half] = real(folder, iteration, half, *rest)
        return loaded[half]

    def mask(self, total, shell):
        [place] = [index for index, half in enumerate(HALVES) if loaded[half] is total]
        return torch.full((32, 32, 32), (10.0, 20.0)[place])

    def made(config, state, pair, mask, scratch):
        assert all(loaded[half] is one for half, one in zip(HALVES, pair, strict=True))
        return SimpleNamespace(references=[torch.ones(32, 32, 32), 2 * torch.ones(32, 32, 32)]), {}

    def gain(opened, model, particles, volume, edge, progress):
        [half] = np.unique(particles.half)
        asked.setdefault(int(half), set()).update(volume.unique().tolist())
        return np.zeros(len(particles))

    monkeypatch.setattr(other_half, "load_sums", sums)
    monkeypatch.setattr(other_half.MapRules, "made_mask", mask)
    monkeypatch.setattr(other_half, "regularised", made)
    monkeypatch.setattr(other_half, "_log_gain", gain)
    weigh_halves(run, 4)
    assert asked == {1: {40.0}, 2: {10.0}}


def test_the_same_images_are_asked_again(run):
    first, path = weigh_halves(run, 6)
    bytes_before = path.read_bytes()
    second, _ = weigh_halves(run, 6)
    assert path.read_bytes() == bytes_before
    assert len(first.half) == len(second.half) == 12


def test_the_command_writes_a_page_and_the_run_shows_it(run):
    done = CliRunner().invoke(app, ["evidence", str(run), "--images", "20"])
    assert done.exit_code == 0, done.output
    record = read_json(run / "evidence/evidence.json")
    assert record["images"] == 40
    assert record["words"][0] in done.output
    assert "evidence.html" in done.output.splitlines()[-1]
    for page in (run / "evidence/evidence.html", write_report(run)):
        assert record["words"][0] in page.read_text(encoding="utf-8")


def test_a_run_that_has_not_ended_is_refused(run):
    for path in run.glob("it003"):
        (path / "state.json").unlink()
    with pytest.raises(BlushError, match="is no finished refinement"):
        weigh_halves(run, 6)


def test_other_jobs_are_told_their_own_command(still_run):
    with pytest.raises(BlushError, match="blush helix-evidence"):
        weigh_halves(still_run, 6)
