"""Any program that takes part in RELION's external reconstruction, as a regulariser.

Each half-map is handed over in the files of `blush.regularise.protocol`, in a folder laid out like a RELION job, and
both halves' programs run at the same time: several of them wait for one another.
"""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blush.config.regulariser import ExternalSettings
from blush.errors import BlushError, Problem
from blush.io.mrc import read_volume
from blush.regularise.base import HalfMaps, Outcome, Regulariser, RegulariserError
from blush.regularise.children import ChildError, run_together
from blush.regularise.job_files import write_job_files
from blush.regularise.protocol import call_root, read_returned, write_call

PREFIX = "Refine3D/job001/run"
"""Output root of the job: wrappers expect two folders above it, and no underscore in it."""
LOG_LINES = 15


class External(Regulariser):
    """One foreign program, called once per half as RELION calls it: `command R.star`.

    What a foreign program shares between halves cannot be known from outside. It is declared to couple a "field", and
    whoever configures it vouches that it does not mix the maps: a program that does makes the FSC meaningless, here as
    in RELION. Its references are cut by trailing like all others (RELION does not do that), and symmetrised, since
    nothing says that it keeps symmetry.

    Parameters
    ----------
    settings
        Command line, time limit, and whether to write the files that known wrappers read.

    Raises
    ------
    BlushError
        If the command cannot be found.
    """

    name = "external"
    couples = "field"
    equivariant = False
    reads = ("maps", "sums")

    def __init__(self, settings: ExternalSettings) -> None:
        self.settings = settings
        self.command = _checked(settings.command or "")

    def regularise(self, maps: HalfMaps) -> Outcome:
        """Maps that the program made of both halves; spectra that it returns are noted and not obeyed."""
        with _project(maps.scratch) as folder:
            roots = [call_root(PREFIX, maps.iteration, half) for half in (1, 2)]
            stars = [self._write(folder, root, maps, half) for half, root in enumerate(roots)]
            logs = [folder / f"{root}.log" for root in roots]
            commands = [f"{self.command} {shlex.quote(str(star))}" for star in stars]
            try:
                run_together(commands, logs, folder, 60 * self.settings.timeout_minutes)
            except ChildError as error:
                text = f"`{commands[error.index]}` {error}"
                raise RegulariserError(text + _end_of(logs[error.index])) from None
            first, second = (_result(folder / f"{root}.mrc", maps) for root in roots)
            returned = [_returned(folder / f"{root}_out.star", maps) for root in roots]
            _remove_arrays(folder)
        return Outcome((first, second), _notes(returned))

    def _write(self, folder: Path, root: str, maps: HalfMaps, half: int) -> Path:
        if self.settings.job_files and half == 0:
            write_job_files(folder, PREFIX, maps)
        return write_call(
            folder,
            root,
            maps.sums[half],
            maps.tau2[half],
            maps.fsc,
            pixel_size_angst=maps.pixel_size_angst,
            particle_diameter_angst=maps.particle_diameter_angst,
        )


def _checked(command: str) -> str:
    """The command line, if its program exists: it is started in a folder of its own, so a path must be absolute."""
    where = "regulariser.external.command"
    try:
        words = shlex.split(command)
    except ValueError as error:
        problem = Problem(f"is not a command line: {error}", "close its quotes", where=where, value=command)
        raise BlushError("cannot call the external program", [problem]) from None
    program = next((word for word in words if "=" not in word), "")  # NAME=value before it sets a variable
    if "/" in program and not Path(program).is_absolute():
        problem = Problem("has a relative path", "give the absolute path of the program", where=where, value=program)
        raise BlushError("cannot call the external program", [problem])
    if shutil.which(program) is None:
        remedy = "give an executable file by its absolute path, or a program on PATH"
        problem = Problem("names no program of this machine", remedy, where=where, value=program or command)
        raise BlushError("cannot call the external program", [problem])
    return command


@contextmanager
def _project(scratch: Path | None) -> Iterator[Path]:
    """An empty folder: nothing that an earlier call left, as a result or a lock, may be taken for this one's."""
    if scratch is None:
        with tempfile.TemporaryDirectory(prefix="blush-external-") as name:
            yield Path(name)
        return
    folder = scratch / "external"
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    yield folder


def _end_of(log: Path) -> str:
    """What the program said last."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    said = "\n".join(f"    {line}" for line in lines) if lines else "    nothing"
    return f"; it said last, in {log}:\n{said}"


def _result(path: Path, maps: HalfMaps) -> Tensor:
    log = path.with_suffix(".log")
    if not path.exists():
        raise RegulariserError(f"the program ended well but wrote no {path.name}" + _end_of(log))
    try:
        volume, _ = read_volume(path)
    except BlushError as error:
        raise RegulariserError(f"{error}" + _end_of(log)) from None
    if volume.shape != (maps.box_px,) * 3:
        shape = " x ".join(map(str, volume.shape))
        raise RegulariserError(f"{path.name} is {shape}, not {maps.box_px}^3, as the maps are" + _end_of(log))
    reference = torch.from_numpy(volume)
    if not bool(torch.isfinite(reference).all()):
        raise RegulariserError(f"{path.name} has values that are not finite" + _end_of(log))
    return reference.to(maps.sums[0].grid)


def _returned(star: Path, maps: HalfMaps) -> dict[str, list[float]]:
    if not star.exists():
        return {}
    try:
        return read_returned(star, maps.box_px // 2 + 1)
    except BlushError as error:
        raise RegulariserError(str(error)) from None


def _notes(returned: list[dict[str, list[float]]]) -> dict[str, Any]:
    """Spectra of both halves by kind, as `returned_fsc`; null for a half that got none."""
    kinds = sorted({kind for half in returned for kind in half})
    return {f"returned_{kind}": [half.get(kind) for half in returned] for kind in kinds}


def _remove_arrays(folder: Path) -> None:
    """D and W have served; they are the largest files by far. After a failure they stay, to try the program on."""
    for path in folder.glob(f"{PREFIX}_it*"):
        if path.suffix == ".mrc":
            path.unlink()
