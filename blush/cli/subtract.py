"""`blush subtract`: images without what lies outside a mask."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from blush.errors import BlushError, Problem
from blush.report.tell import tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("subtract")(subtract)


def subtract(
    source: Annotated[
        Path | None,
        typer.Argument(help="Finished run, its configuration, particle STAR file, or _optimiser.star."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the new stacks and table.")] = None,
    mask: Annotated[Path | None, typer.Option(help="1 on what stays, 0 on what is subtracted.")] = None,
    maps: Annotated[
        list[Path] | None, typer.Option("--map", help="Map of the images; twice: half 1, then half 2.")
    ] = None,
    recentre: Annotated[
        str | None, typer.Option(help="New centre of the images: mask, or X,Y,Z in pixels from the map's centre.")
    ] = None,
    box: Annotated[int | None, typer.Option(help="Side of the new images in pixels.")] = None,
    scale: Annotated[
        str | None, typer.Option(help="fit: measure the map's amplitude in the images; given: take it as it is.")
    ] = None,
    ignore_class: Annotated[bool, typer.Option("--ignore-class", help="One map serves rows of all classes.")] = False,
    device: Annotated[str, typer.Option(help="cpu, or a CUDA device.")] = "cpu",
    memory_gb: Annotated[float, typer.Option(min=0, help="Memory that the work may take, in GB.")] = 4.0,
    revert: Annotated[
        Path | None, typer.Option(help="Table of subtracted images: write it for the original ones, and stop.")
    ] = None,
) -> None:
    """Subtract from every image what the map predicts outside a mask; poses stay. See docs/subtraction.md."""
    if output is None:
        raise _mistake("where the results go is missing", "add --output FOLDER")
    if revert is not None:
        from blush.jobs.subtracted_table import revert as original

        tell(str(original(revert, output)))
        return
    if source is None or mask is None:
        raise _mistake("images or mask are missing", "give a run folder or particle STAR file, and --mask keep.mrc")
    from blush.jobs.runs import given
    from blush.jobs.subtract import Subtraction
    from blush.jobs.subtract import subtract as step

    wanted = Subtraction(
        mask=mask,
        output=output,
        maps=tuple(maps or ()),
        recentre=_centre(recentre),
        box_px=box,
        scale=_scale(scale),
        ignore_class=ignore_class,
        device=device,
        memory_gb=memory_gb,
    )
    shown = _show if sys.stderr.isatty() else lambda stage, done, total: None
    tell(str(step(given(source), wanted, lambda text: tell(text, err=True), shown)))


def _mistake(message: str, remedy: str, where: str | None = None, value: str | None = None) -> BlushError:
    """An option that is missing or cannot be read."""
    return BlushError("nothing can be subtracted", [Problem(message, remedy, where=where, value=value)])


def _scale(text: str | None) -> Literal["fit", "given"] | None:
    """The option, once it is one of those that there are."""
    if text is None:
        return None
    if text == "fit":
        return "fit"
    if text == "given":
        return "given"
    raise _mistake("is neither fit nor given", "choose one of them", "--scale", text)


def _centre(text: str | None) -> Literal["mask"] | tuple[float, float, float] | None:
    """`mask`, or three numbers."""
    if text is None:
        return None
    if text == "mask":
        return "mask"
    try:
        x, y, z = map(float, text.split(","))
    except ValueError:
        raise _mistake("is neither mask nor X,Y,Z", "write it as --recentre 12,-5,0", "--recentre", text) from None
    return x, y, z


def _show(stage: str, done: int, total: int) -> None:
    """One line that overwrites itself on a terminal."""
    sys.stderr.write(f"\r{stage} {done}/{total} " + ("\n" if done == total else ""))
    sys.stderr.flush()
