"""What is said of a run from the certificates of its iterations."""

from blush.jobs.certificates import certificates, doubted


def made(verdict: str, *words: str) -> dict:
    return {"name": "blush", "certificate": {"verdict": verdict, "words": list(words)}}


def test_a_failure_is_told_with_its_iteration_and_reason():
    found = certificates({
        1: {"regulariser": made("nothing measured", "no shells")},
        2: {"regulariser": made("holds", "fine")},
        3: {"regulariser": made("fails", "its squared error is 2")},
        4: {"regulariser": {"name": "wiener"}},
        5: {"final": True},
    })  # fmt: skip
    assert {n: one.verdict for n, one in found.items()} == {1: "nothing measured", 2: "holds", 3: "fails"}
    assert doubted(found) == "certificate fails in iteration 3: its squared error is 2"


def test_of_several_classes_the_worst_counts():
    record = {"regularisers": [made("holds", "fine"), made("fails", "too much"), made("nothing measured", "none")]}
    found = certificates({2: record})[2]
    assert (found.verdict, found.words) == ("fails", ("too much",))


def test_a_first_iteration_that_measures_nothing_is_no_reason_to_doubt_but_a_last_one_is():
    first = {1: {"regulariser": made("nothing measured", "no shells")}, 2: {"regulariser": made("holds", "fine")}}
    assert doubted(certificates(first)) is None
    last = {1: first[2], 2: first[1]}
    assert doubted(certificates(last)) == "certificate: no shells"
    assert doubted({}) is None
