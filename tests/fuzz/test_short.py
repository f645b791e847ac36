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


def test_no_reader_answers_odd_files_with_anything_but_a_refusal(tmp_path: Path) -> None:
    scratch = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path
    scratch = scratch / tmp_path.name
    try:
        plan = campaign.Plan(
            "fuzzing.registry", 1, scratch, tmp_path / "kept", COLLECTED if COLLECTED.is_dir() else None
        )
        cases = campaign.shares(READERS, CASES)
        tallies = campaign.run(plan, READERS, cases)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    failed = {tally.reader: dict(tally.places) for tally in tallies if tally.failures}
    assert failed == {}, "\n".join(path.read_text() for path in sorted((tmp_path / "kept").rglob("*.txt"))[:5])
    for tally in tallies:
        assert tally.cases == cases[tally.reader]
        assert tally.kinds["accepted"] > 0, f"{tally.reader} accepted nothing, not even its examples"
        assert tally.kinds["refused"] > 0 or tally.reader in NEVER_REFUSE, f"{tally.reader} refused nothing"


def test_examples_are_valid_and_the_same_wherever_they_are_made(tmp_path: Path) -> None:
    """So that equal seeds give equal cases; sub-tomograms alone are an example of what is refused."""
    for name, reader in READERS.items():
        examples = reader.examples(tmp_path / "a" / name, None)
        assert examples == reader.examples(tmp_path / "b" / name, None)
        path = tmp_path / "a" / name / reader.file
        accepted = []
        for content in examples:
            path.write_bytes(content)
            accepted.append(reader.checked(path))
        assert accepted.count(False) == (name in ("particles", "particle_table")), name


@pytest.mark.shared
@pytest.mark.skipif(not COLLECTED.is_dir(), reason="needs the shared data beside the repository")
def test_every_collected_hostile_file_is_given_to_a_reader() -> None:
    beginnings = tuple(start for reader in READERS.values() for start in reader.hostile)
    names = [path.name for path in COLLECTED.iterdir() if path.suffix == ".bin"]
    assert [name for name in names if not name.startswith(beginnings)] == []
