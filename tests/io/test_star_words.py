"""Words of a line: what is written is read, comments end a line, and the time is linear in its length."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blush.io.star_words import quoted, words

VALUES = st.text(st.sampled_from("ab1_#$;'\" \t\u00a0é"), max_size=8)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a b\tc", ["a", "b", "c"]),
        ("1 \"a b\" 'c d' e", ["1", "a b", "c d", "e"]),
        ("O5' C1'' x'y", ["O5'", "C1''", "x'y"]),
        ("'it's so' \"\"", ["it's so", ""]),
        ('"never closed', ['"never', "closed"]),
        ('\'a "b c"', ["'a", "b c"]),
    ],
)
def test_lines_split_as_star_says(line, expected):
    assert words(line) == (expected, len(expected))


@pytest.mark.parametrize(
    ("line", "n_before"), [("a b # c d", 2), ("# a", 0), ("a#b c", 2), ("'#a' b #c", 2), ("'a #b' c", 2)]
)
def test_a_comment_begins_a_word_outside_of_quotes(line, n_before):
    assert words(line)[1] == n_before


@given(st.lists(VALUES, min_size=1, max_size=5))
def test_values_come_back(values):
    line = []
    for value in values:
        try:
            line.append(quoted(value))
        except ValueError:
            assert all(any(f"{quote}{blank}" in value for blank in " \t\u00a0") for quote in "'\"")
            return
    assert words(" ".join(line)) == (values, len(values))


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "a' b\" c"])
def test_what_star_cannot_hold_is_refused(value):
    with pytest.raises(ValueError, match="cannot hold"):
        quoted(value)


@pytest.mark.parametrize("word", ['"a ', "'a ", "'a' ", '"a"b ', "# ", "'# "])
def test_time_is_linear(word):
    """A quadratic reader takes minutes for this."""
    start = time.process_time()
    words(word * 200_000)
    assert time.process_time() - start < 5
