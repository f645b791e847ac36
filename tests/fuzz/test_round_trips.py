"""What is written is read back as it was, for tables and maps that hypothesis makes up."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from blush.io.mrc import Placement, map_stack, read_map, write_stack, write_volume
from blush.io.star import read_star, write_star

# what STAR can hold: no line breaks of its own kind, no NUL, and of both quotes before a blank only one
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"), max_size=30).filter(
    lambda text: not ('"' in text and "'" in text)
)
NAME = st.from_regex(r"[A-Za-z][A-Za-z0-9.]{0,20}", fullmatch=True)
COLUMN_KINDS = st.sampled_from(["text", "integer", "number"])


def column(kind: str, n: int) -> st.SearchStrategy[np.ndarray]:
    """One column of n rows."""
    if kind == "text":
        return st.lists(TEXT, min_size=n, max_size=n).map(lambda values: np.array([*values, None], dtype=object)[:-1])
    if kind == "integer":
        return arrays.arrays(np.int64, n)
    return arrays.arrays(np.float64, n, elements=st.floats(allow_nan=False, allow_infinity=False))


@st.composite
def blocks(draw: st.DrawFn) -> dict[str, dict[str, np.ndarray]]:
    """Blocks of tables."""
    found = {}
    for name in draw(st.lists(NAME, min_size=1, max_size=3, unique=True)):
        n = draw(st.integers(1, 5))
        names = draw(st.lists(NAME, min_size=1, max_size=5, unique=True))
        found[name] = {key: draw(column(draw(COLUMN_KINDS), n)) for key in names}
    return found


@settings(max_examples=100, deadline=None, derandomize=True)
@given(blocks())
def test_tables_are_read_back_as_they_were_written(content: dict[str, dict[str, np.ndarray]]) -> None:
    """Text comes back as text, letter by letter, unless all of a column reads as numbers; those to six digits."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.star"
        write_star(path, content)
        found = read_star(path, [name for table in content.values() for name, c in table.items() if c.dtype != object])
    assert {name: list(table) for name, table in found.items()} == {name: list(t) for name, t in content.items()}
    for name, table in content.items():
        for key, values in table.items():
            if values.dtype == object:
                assert list(map(str, found[name][key])) == list(values)
            else:
                again = found[name][key].astype(np.float64)
                np.testing.assert_allclose(again, values.astype(np.float64), rtol=1e-5, atol=1e-300)


SHAPES = st.tuples(st.integers(2, 5), st.integers(1, 5), st.integers(1, 5))
ORIGINS = st.tuples(*[st.floats(-1e4, 1e4, width=32)] * 3)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    SHAPES.flatmap(lambda shape: arrays.arrays(np.float32, shape, elements=st.floats(-1024, 1024, width=32))),
    st.floats(0.125, 100, width=32),
    ORIGINS,
    st.tuples(*[st.integers(-9999, 9999)] * 3),
)
def test_maps_are_read_back_as_they_were_written(
    values: np.ndarray, pixel: float, origin: tuple[float, float, float], start: tuple[int, int, int]
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.mrc"
        write_volume(path, values, pixel, Placement(origin, start))
        found = read_map(path)
    assert np.array_equal(found.array, values)
    assert found.placement == Placement(origin, start)
    assert abs(found.pixel_size_angst - pixel) <= 1e-6 * pixel


KINDS = st.sampled_from([np.float32, np.float16, np.int16, np.int8])
NUMBERS = {"f": {"min_value": -16, "max_value": 16}, "i": {}}
"""Of images: those that mrcfile can take the variance of, which the header holds, in their own type."""


def stored(kind: type, shape: tuple[int, int, int]) -> st.SearchStrategy[np.ndarray]:
    """Images of a type."""
    dtype = np.dtype(kind)
    return arrays.arrays(dtype, shape, elements=arrays.from_dtype(dtype, **NUMBERS[dtype.kind]))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(KINDS.flatmap(lambda kind: SHAPES.flatmap(lambda shape: stored(kind, shape))))
def test_stacks_are_read_back_as_they_were_written(images: np.ndarray) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.mrcs"
        write_stack(path, images, 2.0)
        found = map_stack(path)
        assert found.dtype == images.dtype
        assert found.tobytes() == images.tobytes()
