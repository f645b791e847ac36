"""The list of planted faults fits the source: whoever changes a line that it names changes the list, too."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def mutants(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("mutants")


def test_every_fault_of_the_list_can_be_planted(mutants):
    """Or `mutants()` names the one that cannot, and the line it looks for."""
    found = mutants.mutants()
    assert len(found) > 200
    assert {fault.kind for fault in found} == set(mutants.KINDS)
    assert sum(fault.kind == "leak" for fault in found) > 50


def test_the_page_says_how_many_there_are(mutants):
    page = (ROOT / "docs/tests.md").read_text(encoding="utf-8")
    assert f"plants the {len(mutants.mutants())} faults of `scripts/mutants.yaml`" in page


def test_every_test_that_is_tried_is_there(mutants):
    for fault in mutants.mutants():
        stages = mutants.stages(fault)
        assert stages["main"], fault.name
        assert stages["room"] or fault.room in ("maximization", "refine"), fault.name
        assert all((ROOT / test.split("::")[0]).is_file() for tests in stages.values() for test in tests)


def test_a_fault_that_does_not_fit_is_refused(mutants):
    fault = mutants.Mutant("refine/subset.py", "rows", "no such line", "return self.value - 7", "return 0")
    with pytest.raises(SystemExit, match=r"no such line: 0 places in refine/subset\.py hold 'return self.value - 7'"):
        fault.planted((ROOT / "blush" / fault.file).read_text(encoding="utf-8"))
