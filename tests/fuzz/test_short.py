"""A short campaign over every reader: the first cases of the long one, `scripts/fuzz.py`."""

import shutil
from pathlib import Path

import pytest
from fuzzing import campaign
from fuzzing.registry import READERS

COLLECTED = Path(__file__).parents[3] / "shared" / "data" / "hostile"
CASES = 6_000
NEVER_REFUSE = ("progress", "identity")
"""They leave out, or set aside, what cannot be read."""
NOT_YET = (
    "external_call", "external_returned", "relion_job", "training_models", "training_store", "npz", "particle_set",
    "state", "pool", "report_summary", "run_config", "training_config", "embedded_config", "simulation_config",
    "weights_index", "machines",
)  # fmt: skip
"""Readers with known faults that are being mended; `scripts/fuzz.py` tries them."""


def test_no_reader_answers_odd_files_with_anything_but_a_refusal(tmp_path: Path) -> None:
    scratch = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path
    scratch = scratch / tmp_path.name
    try:
        plan = campaign.Plan(
            "fuzzing.registry", 1, scratch, tmp_path / "kept", COLLECTED if COLLECTED.is_dir() else None
        )
        cases = campaign.shares(READERS, CASES)
        tallies = campaign.run(plan, READERS, {name: count for name, count in cases.items() if name not in NOT_YET})
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    failed = {tally.reader: dict(tally.places) for tally in tallies if tally.failures}
    assert failed == {}, "\n".join(path.read_text() for path in sorted((tmp_path / "kept").rglob("*.txt"))[:5])
    for tally in tallies:
        assert tally.cases == cases[tally.reader]
        assert tally.kinds["accepted"] > 0, f"{tally.reader} accepted nothing, not even its examples"
        assert tally.kinds["refused"] > 0 or tally.reader in NEVER_REFUSE, f"{tally.reader} refused nothing"


@pytest.mark.shared
@pytest.mark.skipif(not COLLECTED.is_dir(), reason="needs the shared data beside the repository")
def test_every_collected_hostile_file_is_given_to_a_reader() -> None:
    beginnings = tuple(start for reader in READERS.values() for start in reader.hostile)
    names = [path.name for path in COLLECTED.iterdir() if path.suffix == ".bin"]
    assert [name for name in names if not name.startswith(beginnings)] == []
