"""`blush check-regulariser`: is it honest?"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blush.errors import BlushError, Problem
from blush.report.tell import tell

if TYPE_CHECKING:
    from blush.config.regulariser import RegulariserSettings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check-regulariser")(check_regulariser)


def check_regulariser(
    name: Annotated[str | None, typer.Argument(help="Regulariser, with its default settings.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Configuration (YAML) whose regulariser is checked, with its settings.")
    ] = None,
    particles: Annotated[bool, typer.Option("--particles", help="Only the checks on particles: minutes.")] = False,
    maps: Annotated[bool, typer.Option("--maps", help="Only the checks on maps: seconds.")] = False,
    size: Annotated[str, typer.Option(help="small (32 px, for every change) or medium (48 px).")] = "small",
    keep: Annotated[Path | None, typer.Option(help="New folder that keeps the sets and refinements.")] = None,
    json: Annotated[Path | None, typer.Option(help="Results; default: check_NAME.json.")] = None,
) -> None:
    """Check on simulated data that a regulariser invents nothing; exits with 1 where it does.

    (a) Particles without signal beyond 21 Å, trailing on and off; (b) images of noise; and on maps (c) identity where
    there is no noise, (d) equivariance, swapped halves, determinism, (e) recursion.
    """
    settings, trailing_shells = _chosen(name, config)
    from blush.io.files import write_json
    from blush.jobs.truth_checks import SIZES, check_maps, check_particles

    if size not in SIZES:
        raise BlushError(f"there is no size {size}; known are {', '.join(SIZES)}")
    start, results = time.monotonic(), []
    with _folder(keep) as folder:
        parts = [] if particles and not maps else [check_maps(settings, trailing_shells, SIZES[size], folder)]
        if particles or not maps:
            parts.append(check_particles(settings, trailing_shells, SIZES[size], folder, _progress(start)))
        for part in parts:
            for check in part:
                results.append(check)
                verdict = "pass" if check.passed else "FAIL"
                limit = f"{check.sense} {check.limit:.4g}"
                tell(f"({check.letter}) {check.what:<84} {check.figure:>10.4g}  {limit:<11} {verdict}")
    failed = [check for check in results if not check.passed]
    content = {
        "regulariser": settings.model_dump(mode="json"),
        "size": size,
        "checks": [vars(check) | {"passed": check.passed} for check in results],
        "passed": not failed,
        "timing": {"seconds": round(time.monotonic() - start, 1)},
    }
    target = json or Path(f"check_{settings.name}.json")
    write_json(target, content)
    tell(f"{settings.name}: {len(results) - len(failed)} of {len(results)} figures keep their limits ({target})")
    if failed:
        raise typer.Exit(1)


def _chosen(name: str | None, config: Path | None) -> tuple["RegulariserSettings", int]:
    """The regulariser's settings, and the trailing shells to check it with."""
    from pydantic import ValidationError

    from blush.config.regulariser import RegulariserSettings
    from blush.config.sections import Trailing
    from blush.jobs.settings import run_settings

    if config is not None:
        loaded = run_settings(config, {"regulariser": {"name": name}} if name else None)
        return loaded.regulariser, loaded.trailing.shells
    if name is None:
        problem = Problem("which regulariser is not said", "give its name, or --config my.yaml")
        raise BlushError("cannot check", [problem])
    try:
        return RegulariserSettings.model_validate({"name": name}), Trailing().shells
    except ValidationError as error:
        problems = [
            Problem(detail["msg"].removeprefix("Value error, "), "give its settings by --config my.yaml")
            for detail in error.errors(include_url=False)
        ]
        raise BlushError(f"cannot check {name}", problems) from None


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """A folder for the work, new each time: results of older code are no results."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="blush-check-") as made:
            yield Path(made)
        return
    if keep.exists():
        raise BlushError("cannot check", [Problem("exists already", "name a new folder", file=str(keep))])
    keep.mkdir(parents=True)
    yield keep.absolute()


def _progress(start: float) -> Callable[[str], None]:
    """Tells on stderr what is being done, and since when."""
    return lambda text: tell(f"{time.monotonic() - start:6.0f} s  {text}", err=True)
