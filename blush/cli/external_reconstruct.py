"""`blush external-reconstruct`: one map of a refinement by RELION."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blush.report.tell import tell

if TYPE_CHECKING:
    from blush.config.embedded import EmbeddedConfig

SETTINGS_VARIABLE = "BLUSH_REGULARISER"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("external-reconstruct")(external_reconstruct)


def external_reconstruct(
    star: Annotated[Path, typer.Argument(help="The STAR file that RELION wrote for this map.")],
    config: Annotated[
        Path | None,
        typer.Option(
            envvar=SETTINGS_VARIABLE, help="Settings (YAML): regulariser, trailing, compute. Without them: wiener."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the map instead of where RELION wants it.")] = None,
    skip_spectral_trailing: Annotated[
        bool, typer.Option("--skip-spectral-trailing", help="Do not cut the map behind the measured resolution.")
    ] = False,
    gpu: Annotated[
        str | None, typer.Option(help="Numbers of GPUs with commas, as RELION gives them, shared by half; -1: none.")
    ] = None,
    wait_minutes: Annotated[
        float,
        typer.Option(
            min=0, metavar="MINUTES", help="Longest wait for the other half, where the regulariser needs both."
        ),
    ] = 10,
) -> None:
    """Make a map that RELION (3.1 or later) reconstructs externally.

    Name this command in RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE and refine with --external_reconstruct.
    """
    from blush.config.embedded import load_embedded

    settings = load_embedded(config)
    if skip_spectral_trailing:
        settings = settings.model_copy(update={"trailing": settings.trailing.model_copy(update={"enabled": False})})
    if gpu is not None:
        settings = _on_gpu(settings, gpu, star)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at first use
    from blush.jobs.external_reconstruct import external_reconstruct as make

    tell(str(make(star, settings, out=out, wait_seconds=60 * wait_minutes)))


def _on_gpu(settings: "EmbeddedConfig", gpu: str, star: Path) -> "EmbeddedConfig":
    """The first of the GPUs for half 1, the second, if there is one, for half 2."""
    from blush.errors import BlushError, Problem

    numbers = [number.strip() for number in gpu.split(",") if number.strip()]
    if not all(number.isdecimal() or number == "-1" for number in numbers):
        problem = Problem("is not a list of GPUs", "give numbers with commas, as 0,1", where="--gpu", value=gpu)
        raise BlushError("cannot choose a device", [problem])
    if not numbers:
        return settings
    number = numbers[("_half2_" in star.name) % len(numbers)]
    device = "cpu" if number == "-1" else f"cuda:{number}"
    return settings.model_copy(update={"compute": settings.compute.model_copy(update={"device": device})})
