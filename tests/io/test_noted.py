"""Results in formats of other programs, read again: changed ones are refused, and each remedy that is printed works."""

import shutil
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from blush.errors import BlushError
from blush.io.check import check_particles
from blush.io.check_map import check_map
from blush.io.half_maps import read_half_maps
from blush.io.mrc import write_volume
from blush.io.noted import NOTES, check_own
from blush.io.seal import DamagedFile
from blush.io.star import write_star
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import as_noted, note, write_identity, written
from blush.refine.subset import Subset


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run's folder with a noted table, and two sealed half-maps that a third one is noted beside."""
    folder = RunFolder(tmp_path)
    write_identity(folder, {"seed": "1"})
    write_star(tmp_path / "run_data.star", {"particles": {"rlnImageName": ["1@a.mrcs", "2@a.mrcs"]}}, "by Blush")
    volumes = np.random.default_rng(3).standard_normal((3, 8, 8, 8)).astype(np.float32)
    for number in (1, 2):
        with written(folder, folder.map(None, Subset(number), "unfiltered")) as beside:
            write_volume(beside, volumes[number], 2.0)
    write_volume(tmp_path / "postprocess.mrc", volumes[0], 2.0)
    note(folder, [tmp_path / "run_data.star", tmp_path / "postprocess.mrc"])
    return folder


def flip(path: Path, place: int = -3) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_what_is_as_it_was_written_passes(folder: RunFolder) -> None:
    for path in folder.root.iterdir():
        check_own(path)
    assert as_noted(folder, folder.root)
    read_half_maps(folder.map(None, Subset.FIRST, "unfiltered"), folder.map(None, Subset.SECOND, "unfiltered"))


def test_a_changed_table_is_no_input_until_it_has_another_name(folder: RunFolder) -> None:
    star = folder.root / "run_data.star"
    flip(star)
    said = "\n".join(str(problem) for problem in check_particles(star).problems)
    assert f"{star}: was changed after Blush wrote it; restore it; where the change is yours, give your" in said
    mine = Path(shutil.copy(star, folder.root / "mine.star"))
    assert "was changed" not in "\n".join(str(problem) for problem in check_particles(mine).problems)


def test_a_changed_map_is_no_reference_nor_half_until_its_seal_is_cleared(folder: RunFolder) -> None:
    half = folder.map(None, Subset.FIRST, "unfiltered")
    flip(half, 1024 + 400)
    with pytest.raises(BlushError, match=rf"{half.name}: was changed after it was written.*clear the second label"):
        read_half_maps(half, folder.map(None, Subset.SECOND, "unfiltered"))
    assert "was changed after it was written" in str(check_map(half, "reference")[0])
    with mrcfile.open(half, "r+") as opened:
        opened.header.label[1] = b""
    read_half_maps(half, folder.map(None, Subset.SECOND, "unfiltered"))
    assert check_map(half, "reference") == []


def test_a_map_of_postprocessing_is_compared_with_its_note(folder: RunFolder) -> None:
    path = folder.root / "postprocess.mrc"
    flip(path)
    assert "was changed after Blush wrote it" in str(check_map(path, "reference")[0])


def test_damaged_notes_are_told_and_may_be_removed(folder: RunFolder) -> None:
    notes = folder.root / NOTES
    flip(notes, 10)
    with pytest.raises(DamagedFile, match=r"\.seals\.json: was changed .* remove this file to take those beside it"):
        check_own(folder.root / "run_data.star")
    notes.unlink()
    check_own(folder.root / "run_data.star")


def test_a_changed_result_is_set_aside(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    flip(folder.root / "run_data.star")
    assert not as_noted(folder, folder.root)
    assert not (folder.root / "run_data.star").exists()
    assert "set aside as run_data.star.damaged-1" in capsys.readouterr().err
    assert as_noted(folder, folder.root, "postprocess.mrc".__eq__)
