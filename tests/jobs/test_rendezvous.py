"""Two sides meet through files, whatever lies there from before."""

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from relion_calls import in_parallel

from blush.errors import BlushError
from blush.io.files import read_json
from blush.jobs.rendezvous import Rendezvous


def test_what_an_earlier_meeting_left_is_not_believed(tmp_path):
    """Whatever stage and numbers it holds: half 1 waits for a file that names the number it has drawn now."""
    own, other = tmp_path / "a.json", tmp_path / "b.json"
    first, second = Rendezvous(own, other, 5), Rendezvous(other, own, 5)
    in_parallel(lambda: first.reach(2), lambda: second.reach(2))
    assert read_json(other)["stage"] == 2
    with pytest.raises(BlushError, match="the other half did not come"):
        Rendezvous(own, other, 0.3).reach(1)


def test_a_stage_waits_for_the_slower_side(tmp_path):
    own, other = tmp_path / "a.json", tmp_path / "b.json"
    first, second = Rendezvous(own, other, 5), Rendezvous(other, own, 5)
    in_parallel(lambda: first.reach(1), lambda: second.reach(1))
    order = []

    def slow() -> None:
        time.sleep(0.3)
        order.append("slow")
        second.reach(2)

    def quick() -> None:
        first.reach(2)
        order.append("quick")

    in_parallel(quick, slow)
    assert order == ["slow", "quick"]


def test_a_damaged_announcement_is_waited_out(tmp_path):
    own, other = tmp_path / "a.json", tmp_path / "b.json"
    other.write_text("{")

    def late() -> None:
        time.sleep(0.2)
        Rendezvous(other, own, 5).reach(1)

    assert in_parallel(lambda: Rendezvous(own, other, 5).reach(1), late) == [None, None]
