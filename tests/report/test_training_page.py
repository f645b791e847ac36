"""The page of a training is written from whatever the training left, at any time."""

from pathlib import Path

import numpy as np
import pytest

from blush.errors import BlushError
from blush.io.files import save_npz
from blush.report.training_page import running, write_page
from blush.training.checkpoint import write_losses


def test_the_page_has_what_is_there(tmp_path: Path) -> None:
    rows = [(step, 16 if step < 6 else 24, 4, 1 / step, 0.5, 0.0, 1e-3, 2.0, 3.0 * step) for step in range(1, 11)]
    write_losses(tmp_path / "losses.tsv", rows)
    page = write_page(tmp_path, tmp_path / "fit.html", "mine").read_text()
    assert "10 steps · 40 patches · 0.01 h" in page
    assert "gradient norm" in page
    assert "mask loss" not in page  # a network without a mask has none
    assert "data:image/png" not in page
    slices = {name: np.random.default_rng(1).standard_normal((2, 8, 8)) for name in ("input", "denoised", "target")}
    save_npz(tmp_path / "examples.npz", slices)
    assert write_page(tmp_path, tmp_path / "fit.html", "mine").read_text().count("data:image/png") == 6


def test_nothing_trained_is_told(tmp_path: Path) -> None:
    with pytest.raises(BlushError, match="train first"):
        write_page(tmp_path, tmp_path / "fit.html", "mine")


def test_the_running_mean_is_that_of_the_last_rows() -> None:
    values = np.arange(120.0)
    found = running(values)
    assert found[0] == 0
    assert found[10] == pytest.approx(np.mean(values[:11]))
    assert found[-1] == pytest.approx(np.mean(values[-50:]))
