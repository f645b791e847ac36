"""Evidence for a helical symmetry: what wins, what is refused, what the page says."""

import json

import pytest
from filament_runs import TRUE, config_of
from typer.testing import CliRunner

from blush.cli.main import app
from blush.errors import BlushError
from blush.geometry.helix import Helix
from blush.jobs.autorefine import autorefine
from blush.jobs.helix_evidence import weigh_symmetries
from blush.jobs.layout import RunFolder
from blush.report.page import write_report


def quiet(*_):
    pass


@pytest.fixture(scope="module")
def record(still_run):
    given = [Helix(21.0, 31.0)]
    return weigh_symmetries([still_run], given, 0, quiet)


def test_wrong_symmetries_tell_filaments_worse(record):
    """All but parts of the true one, which have only half the images to average, and no symmetry."""
    verdict = {one["kind"]: one["verdict"] for one in record["candidates"] if not one["left_out"]}
    for kind in ("other hand", "half the rise", "half the rise, half a turn", "twice the fold", "given"):
        assert verdict[kind] == "worse", kind
    assert "better" not in verdict.values()
    assert record["conclusions"][0].startswith("No candidate tells filaments that it has not seen better than 21 Å")


def test_what_the_central_part_does_not_hold_is_left_out_and_told(still_run):
    found = weigh_symmetries([still_run], [Helix(150.0, 10.0)], 0, quiet)["candidates"][-1]
    assert found["kind"] == "given"
    assert found["left_out"]
    assert "verdict" not in found


def test_runs_of_other_halves_or_another_mask_are_refused(still_run, still_filaments, tmp_path):
    other = autorefine(config_of(still_filaments, tmp_path / "seed", helix=TRUE, seed=2))
    with pytest.raises(BlushError, match=r"other half-sets.*refine with the seed of"):
        weigh_symmetries([still_run, other], [], 0, quiet)
    wide = autorefine(config_of(still_filaments, tmp_path / "wide", helix=TRUE | {"tube_diameter_angst": 130}))
    with pytest.raises(BlushError, match="another mask"):
        weigh_symmetries([still_run, wide], [], 0, quiet)


def test_the_command_writes_a_page_that_the_page_of_the_run_repeats(still_run):
    before = write_report(still_run).read_text()
    assert "blush helix-evidence" in before
    told = CliRunner().invoke(app, ["helix-evidence", str(still_run), "--rounds", "0", "--candidate", "21,31,C1"])
    assert told.exit_code == 0, told.output
    record = json.loads(RunFolder(still_run).evidence.read_text())
    assert [one["name"] for one in record["candidates"]][-1] == "21 Å, 31°, C1"
    page = RunFolder(still_run).evidence.with_suffix(".html").read_text()
    for one in record["candidates"]:
        assert one["name"].replace(" ", "\N{NO-BREAK SPACE}").replace("-", "−") in page
        assert one["name"] in told.output
    after = write_report(still_run).read_text()
    assert record["conclusions"][0] in after
    assert "was not asked" not in after


@pytest.mark.parametrize("text", ["4.75", "a,b", "4.75,-1.2,C0", "4.75,-1.2,C2,1", "-1,3"])
def test_a_candidate_that_is_no_symmetry_is_refused(still_run, text):
    told = CliRunner().invoke(app, ["helix-evidence", str(still_run), "--candidate", text])
    assert isinstance(told.exception, BlushError)
    assert "4.75,-1.2,C2" in str(told.exception)
