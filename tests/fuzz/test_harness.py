"""The harness sees what it is there for: faults that are planted in readers are found, kept and shown again."""

import subprocess
import sys
from pathlib import Path

import planted
import pytest
from fuzzing import campaign
from fuzzing.worker import Limits

ROOT = Path(__file__).resolve().parents[2]
CASES = 60


@pytest.fixture(scope="module")
def tallies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, campaign.Tally]:
    out = tmp_path_factory.mktemp("fuzz")
    plan = campaign.Plan("planted", 1, out / "scratch", out / "kept", limits=Limits(1.0, 15_000_000))
    found = campaign.run(plan, planted.READERS, dict.fromkeys(planted.READERS, CASES))
    return {tally.reader: tally for tally in found} | {"kept": out / "kept"}  # type: ignore[dict-item]


@pytest.mark.parametrize(("reader", "kind", "place"), [
    ("crash", "crash", "KeyError at planted.py"), ("wrong", "wrong", "AssertionError at planted.py"),
    ("nameless", "wrong", "AssertionError at reader.py"), ("hang", "hang", "no answer"), ("hog", "memory", "hog peak"),
    ("death", "crash", "the process died with -11"),
])  # fmt: skip
def test_a_planted_fault_is_found_and_kept(tallies, reader, kind, place):
    tally = tallies[reader]
    assert tally.cases == CASES
    assert tally.kinds[kind] == tally.failures > 0
    assert [(found, text) for found, text in tally.places if found != kind or not text.startswith(place)] == []
    kept = sorted((tallies["kept"] / reader).glob("*.bin"))
    assert 1 <= len(kept) <= 3
    assert kept[0].read_bytes()[:1] == bytes([planted.ODD])
    assert f"--reader {reader} --replay {kept[0]}" in kept[0].with_suffix(".txt").read_text()


def test_a_failing_case_is_made_smaller(tallies):
    first = min((tallies["kept"] / "crash").glob("*.bin"))
    assert first.read_bytes() == bytes([planted.ODD])


def test_a_sound_reader_is_left_in_peace(tallies):
    tally = tallies["sound"]
    assert tally.failures == 0
    assert tally.kinds["refused"] > 0
    assert tally.kinds["accepted"] > 0
    assert not (tallies["kept"] / "sound").exists()


def test_equal_seeds_give_equal_cases():
    reader = planted.READERS["sound"]
    examples = planted.examples(Path())
    cases = [[reader.case(examples, seed, number) for number in range(200)] for seed in (1, 1, 2)]
    assert cases[0] == cases[1] != cases[2]
    assert len(set(cases[0])) > 150


def test_the_command_ends_with_1_where_there_was_a_failure_and_with_0_where_there_was_none(tmp_path):
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "scripts/fuzz.py"), "--registry", "planted", "--reader", "crash"]
        return subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=120)

    failed = run("--cases", str(CASES), "--out", str(tmp_path))
    assert failed.returncode == 1, failed.stderr
    assert "x crash, KeyError at planted.py" in failed.stdout
    kept = min(tmp_path.glob("crash/*.bin"))
    kept.write_bytes(b"x")
    again = run("--replay", str(kept))
    assert (again.returncode, again.stdout) == (0, "accepted\n"), again.stderr


def test_a_kept_case_fails_again(tallies, tmp_path):
    bench = campaign.Bench(campaign.Plan("planted", 1, tmp_path, tmp_path), "crash")
    try:
        verdict = bench.one(min((tallies["kept"] / "crash").glob("*.bin")).read_bytes())
    finally:
        bench.end()
    assert verdict.kind == "crash"
    assert "KeyError: 'planted'" in verdict.text
