"""Who hangs: who neither answers nor computes for as long as the limit says. The clock of these tests is a number."""

import os
import time

import pytest

from blush.cluster.hearts import Hearts, processor_seconds, read_processor_seconds, write_processor_seconds


class Scene:
    """A pool that looks at its workers every second."""

    def __init__(self):
        self.now_s, self.processor_s = 0.0, {}
        self.hearts = Hearts(self.processor_s.get, lambda: self.now_s)

    def first_given_up(self, beats, computes=lambda now_s: {}, seconds=200):
        """Second at which a worker is given up, None where none is; `beats` and `computes` give values at a time."""
        for _ in range(seconds):
            self.now_s += 1.0
            self.processor_s.update(computes(self.now_s))
            if self.hearts.hung(beats(self.now_s)):
                return self.now_s
        return None


@pytest.fixture
def scene():
    return Scene()


def test_a_worker_that_beats_is_kept_though_it_computes_nothing(scene):
    assert scene.first_given_up(lambda now_s: {"a": now_s // 2}, lambda _: {"a": 1.0}) is None


def test_a_stopped_worker_is_given_up_after_30_s(scene):
    assert scene.first_given_up(lambda _: {"a": 5.0}, lambda _: {"a": 1.0}) == 31.0


def test_a_worker_that_computes_without_a_word_is_kept_until_it_stops(scene):
    busy = {"a": lambda now_s: {"a": min(now_s, 90.0)}}["a"]
    given_up = scene.first_given_up(lambda _: {"a": 5.0}, busy)
    assert 105.0 <= given_up <= 125.0


def test_a_worker_of_which_nothing_is_known_is_given_up_for_its_silence(scene):
    assert scene.first_given_up(lambda _: {"a": 5.0}) == 31.0


def test_one_that_has_not_joined_has_two_minutes_and_none_are_given_up_that_were_never_seen(scene):
    assert scene.first_given_up(lambda _: {"a": None}, lambda _: {"a": 1.0}) == 121.0
    assert Scene().first_given_up(lambda _: {"a": None}) is None


def test_after_a_pause_of_the_pool_itself_everyone_has_the_whole_time_again(scene):
    assert scene.first_given_up(lambda _: {"a": 5.0}, lambda _: {"a": 1.0}, seconds=25) is None
    scene.now_s += 3600.0
    assert scene.first_given_up(lambda _: {"a": 5.0}, lambda _: {"a": 1.0}, seconds=29) is None
    assert scene.first_given_up(lambda _: {"a": 5.0}, lambda _: {"a": 1.0}, seconds=4) is not None


def test_a_clock_that_is_set_back_gives_nobody_up(scene):
    assert scene.first_given_up(lambda now_s: {"a": 1e6 - now_s}, lambda _: {"a": 1.0}) is None


def test_processor_time_is_that_of_the_process_and_travels_through_a_file(tmp_path):
    before, end = processor_seconds(os.getpid()), time.process_time() + 0.2
    while time.process_time() < end:
        pass
    assert 0.1 < processor_seconds(os.getpid()) - before < 2.0
    assert read_processor_seconds(tmp_path / "a") is None
    write_processor_seconds(tmp_path / "a", os.getpid())
    assert abs(read_processor_seconds(tmp_path / "a") - processor_seconds(os.getpid())) < 0.5
    (tmp_path / "a").write_text("")
    assert read_processor_seconds(tmp_path / "a") is None
    assert processor_seconds(2**22 + 1) is None
