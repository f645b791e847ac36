"""A small, correct particle project that each test spoils in one way."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from blush.cli.main import main
from blush.io.mrc import write_stack
from blush.io.star import Table, write_star

BOX = 16
PIXEL_SIZE = 3.0


def text(*values: str) -> np.ndarray:
    """A text column."""
    return np.array(values, dtype=object)


def bright_images(n: int, box: int = BOX, seed: int = 0) -> np.ndarray:
    """Normalised noise with a bright disc in the middle, float32 (n, box, box)."""
    axis = np.arange(box) - box // 2
    disc = np.hypot(axis[:, None], axis) <= 0.2 * box
    noise = np.random.default_rng(seed).standard_normal((n, box, box))
    return (noise + 2 * disc).astype(np.float32)


@dataclass
class Project:
    """Eight particles in two stacks, one optics group, both halves."""

    root: Path
    optics: Table = field(
        default_factory=lambda: {
            "rlnOpticsGroup": np.array([1]),
            "rlnOpticsGroupName": text("opticsGroup1"),
            "rlnVoltage": np.array([300.0]),
            "rlnSphericalAberration": np.array([2.7]),
            "rlnAmplitudeContrast": np.array([0.1]),
            "rlnImagePixelSize": np.array([PIXEL_SIZE]),
            "rlnImageSize": np.array([BOX]),
            "rlnImageDimensionality": np.array([2]),
        }
    )
    particles: Table = field(
        default_factory=lambda: {
            "rlnImageName": text(*(f"{i + 1:06d}@{name}.mrcs" for name in ("first", "second") for i in range(4))),
            "rlnMicrographName": text(*["m1"] * 4, *["m2"] * 4),
            "rlnOpticsGroup": np.ones(8, dtype=np.int64),
            "rlnDefocusU": np.linspace(10000, 12000, 8),
            "rlnDefocusV": np.linspace(9900, 11900, 8),
            "rlnDefocusAngle": np.linspace(0, 70, 8),
            "rlnRandomSubset": np.array([1, 2] * 4),
        }
    )
    stacks: dict[str, np.ndarray] = field(
        default_factory=lambda: {"first.mrcs": bright_images(4, seed=1), "second.mrcs": bright_images(4, seed=2)}
    )
    pixel_size: float = PIXEL_SIZE

    @property
    def star(self) -> Path:
        """The particle table."""
        return self.root / "particles.star"

    def write(self) -> Path:
        """Write every file; returns the STAR file."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # mrcfile notices what is spoiled on purpose
            for name, images in self.stacks.items():
                write_stack(self.root / name, images, self.pixel_size)
        write_star(self.star, {"optics": self.optics, "particles": self.particles})
        return self.star

    def rows(self, n: int) -> None:
        """Keep the first n rows."""
        self.particles = {name: column[:n] for name, column in self.particles.items()}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def run_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[[Path], tuple[int, str]]:
    """Run `blush import --check-only`: exit status and everything printed; asserts that nothing is written."""

    def run(source: Path) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["blush", "import", "--check-only", str(source)])
        monkeypatch.chdir(tmp_path)
        before = _snapshot(tmp_path)
        with pytest.raises(SystemExit) as stop:
            main()
        assert _snapshot(tmp_path) == before
        printed = capsys.readouterr()
        return int(stop.value.code or 0), printed.err + printed.out

    return run


def _snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of every file below a folder."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}
