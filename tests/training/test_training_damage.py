"""Files that a training reads again, damaged: gone back from to the same numbers, or refused; each remedy works."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from training_problem import training_config, write_store

from blush.errors import BlushError
from blush.training.checkpoint import FILE, PREVIOUS
from blush.training.fit import WEIGHTS, fit
from blush.training.store import INDEX, open_store


def quiet(_: str) -> None:
    """Say nothing."""


def flip(path: Path, share: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 4
    path.write_bytes(content)


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training with a checkpoint at every step."""
    folder = tmp_path_factory.mktemp("trained")
    fit(training_config(steps=4, checkpoint_minutes=1e-9), store, folder, quiet)
    return folder


def again(store: Path, folder: Path) -> bytes:
    """The same training once more in a folder, and the weights it ends with."""
    (folder / WEIGHTS).unlink(missing_ok=True)
    fit(training_config(steps=4, checkpoint_minutes=1e-9), store, folder, quiet)
    return (folder / WEIGHTS).read_bytes()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_damaged_checkpoint_is_gone_back_from(
    share: float, store: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bit in the weights or moments: torch reads it without a word."""
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    flip(copy / FILE, share)
    assert again(store, copy) == (trained / WEIGHTS).read_bytes()
    assert f"{copy / FILE} was changed after it was written" in capsys.readouterr().err
    assert (copy / f"{FILE}.damaged-1").exists()


def test_without_any_checkpoint_the_loss_is_told_before_it_starts_again(
    store: Path, trained: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    for name in (FILE, PREVIOUS):
        flip(copy / name, 0.5)
    with pytest.raises(BlushError, match=r"(?s)lost what it came to.*the same command starts from the beginning"):
        again(store, copy)
    assert again(store, copy) == (trained / WEIGHTS).read_bytes()


def test_changed_maps_and_indices_are_refused_by_name(tmp_path: Path, store: Path) -> None:
    write_store(tmp_path / "maps")
    entry = open_store(tmp_path / "maps").entries[0]
    path = tmp_path / "maps" / entry.file
    flip(path, 0.5)
    with pytest.raises(BlushError, match=rf"{entry.file}: was changed after it was written; remove it and index.json"):
        fit(training_config(steps=1), tmp_path / "maps", tmp_path / "fit", quiet)
    np.save(path, np.load(store / entry.file))  # as preparing makes it anew
    index = tmp_path / "maps" / INDEX
    index.write_text(index.read_text().replace('"train"', '"test"', 1))
    with pytest.raises(BlushError, match=r"index.json: was changed after it was written.*remove it, and give the same"):
        open_store(tmp_path / "maps")
