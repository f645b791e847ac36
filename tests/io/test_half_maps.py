"""Two half-maps of files: what proves nothing is refused, by every command alike."""

import warnings

import numpy as np
import pytest

from blush.cli.main import main
from blush.errors import BlushError
from blush.io.half_maps import read_half_maps
from blush.io.mrc import Placement, read_map, write_volume

BOX = 16
PIXEL_ANGST = 3.0
PLACEMENT = Placement((1.5, -2.0, 3.0), (4, 5, 6))


def half(number: int) -> np.ndarray:
    axis = np.arange(BOX) - BOX // 2
    ball = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 < 25
    return (ball + 0.3 * np.random.default_rng(number).standard_normal(ball.shape)).astype(np.float32)


@pytest.fixture
def put(tmp_path):
    def written(name: str, array: np.ndarray, pixel_size_angst: float = PIXEL_ANGST):
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # mrcfile warns of what is not finite
            write_volume(tmp_path / name, array, pixel_size_angst, PLACEMENT)
        return tmp_path / name

    return written


def with_nan(array: np.ndarray) -> np.ndarray:
    array[3, 4, 5] = np.nan
    return array


SECOND = {
    "one map": (lambda: half(1), PIXEL_ANGST, "is the same map as"),
    "scaled": (lambda: -3 * half(1) + 2, PIXEL_ANGST, "is the same map as"),
    "rounded": (lambda: half(1).astype(np.float16), PIXEL_ANGST, "is the same map as"),
    "not finite": (lambda: with_nan(half(2)), PIXEL_ANGST, "holds values that are not finite"),
    "constant": (lambda: np.ones((BOX,) * 3), PIXEL_ANGST, "is the same everywhere"),
    "another box": (lambda: half(2)[1:-1, 1:-1, 1:-1], PIXEL_ANGST, "differs in size"),
    "another pixel": (lambda: half(2), 1.0, "has another pixel size than"),
}
MASKS = {
    "another box": (lambda: np.ones((BOX - 2,) * 3), PIXEL_ANGST, r"found \(14, 14, 14\)\); give a mask of \(16, 16"),
    "header left at 1": (lambda: half(1).clip(0, 1), 1.0, "found 1 Å instead of 3 Å.*--pixel-size 3"),
    "bytes": (lambda: 255 * half(1).clip(0, 1), PIXEL_ANGST, r"a mask lies in \[0, 1\] \(found 0 to 255\)"),
    "not finite": (lambda: with_nan(half(1).clip(0, 1)), PIXEL_ANGST, "holds values that are not finite"),
}
COMMANDS = {
    "fsc": ["fsc", "HALF1", "HALF2"],
    "postprocess": ["postprocess", "--half1", "HALF1", "--half2", "HALF2", "--out", "OUT"],
    "denoise": ["denoise", "HALF1", "HALF2", "--out", "OUT", "--method", "wiener"],
    "lafter": ["lafter", "HALF1", "HALF2", "--out", "OUT/map.mrc"],
}


def blush(monkeypatch, *arguments) -> int:
    monkeypatch.setattr("sys.argv", ["blush", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    def called(command: str, first, second, *more) -> tuple[int, str]:
        names = {"HALF1": str(first), "HALF2": str(second)}
        words = [names.get(word, word.replace("OUT", str(tmp_path / "out"))) for word in COMMANDS[command]]
        status = blush(monkeypatch, *words, *more)
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return called


@pytest.mark.parametrize("kind", SECOND)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_the_same_halves(put, run, tmp_path, command, kind):
    make, pixel, message = SECOND[kind]
    second = put("half2.mrc", make(), pixel)
    status, printed = run(command, put("half1.mrc", half(1)), second)
    assert status == 2
    assert f"{second}: {message}" in printed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("silent", ["half1", "half2"])
def test_the_half_without_a_pixel_size_is_the_one_that_is_named(put, silent):
    pixels = {name: 0.0 if name == silent else PIXEL_ANGST for name in ("half1", "half2")}
    halves = [put(f"{name}.mrc", half(number), pixels[name]) for number, name in enumerate(pixels)]
    with pytest.raises(BlushError, match=rf"{silent}\.mrc: has no pixel size"):
        read_half_maps(*halves)


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_the_same_masks(put, run, command, kind):
    make, pixel, message = MASKS[kind]
    mask = put("mask.mrc", make(), pixel)
    halves = put("half1.mrc", half(1)), put("half2.mrc", half(2))
    with pytest.raises(BlushError, match=rf"mask\.mrc: .*{message}"):
        read_half_maps(*halves, mask)
    status, printed = run(command, *halves, "--mask", mask)
    assert status == 2
    assert str(mask) in printed


def test_a_stated_pixel_size_stands_for_every_header(put):
    mask = put("mask.mrc", half(1).clip(0, 1), 0.0)
    files = read_half_maps(put("half1.mrc", half(1), 1.0), put("half2.mrc", half(2)), mask, 6.5)
    assert files.pixel_size_angst == 6.5


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_pixel_size_is_above_zero(put, run, command, value):
    status, printed = run(command, put("half1.mrc", half(1)), put("half2.mrc", half(2)), "--pixel-size", value)
    assert status == 2
    assert f"--pixel-size: is no pixel size (found {value}); give it in Å" in printed


def test_a_map_may_be_compared_with_itself_as_the_truth(put, run):
    path = put("half1.mrc", half(1))
    status, printed = run("fsc", path, path, "--truth")
    assert status == 0
    assert "unmasked: FSC 0.500 at 6.00 Å" in printed


@pytest.mark.parametrize(
    ("command", "made"), [("postprocess", "postprocess.mrc"), ("postprocess", "mask.mrc"), ("denoise", "half2.mrc")]
)
def test_what_is_made_of_maps_lies_where_they_lay(put, run, tmp_path, command, made):
    halves = put("half1.mrc", half(1)), put("half2.mrc", half(2))
    assert run(command, *halves, "--mask", put("m.mrc", half(1).clip(0, 1)))[0] == 0
    assert read_map(tmp_path / "out" / made).placement == PLACEMENT
