"""The `blush` command: finds its subcommands, and turns mistakes of the user into status 2."""

import importlib
import pkgutil
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import typer
from typer.models import CommandInfo, TyperInfo

import blush.cli
from blush.errors import BlushError, refused_by_system
from blush.report.tell import tell

app = typer.Typer(
    name="blush",
    help="Cryo-EM single-particle refinement: `init` writes a configuration, `run` does what it says.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


_BOXES = 78
"""Columns that help in boxes takes: below them rich cuts the names of options short."""
PANELS = {
    "Begin and continue": ("init", "import", "run", "refine", "classify", "multibody"),
    "Look": ("status", "watch", "report", "check-device"),
    "Maps": ("postprocess", "evidence", "orientation", "reslog", "fsc", "denoise", "lafter", "external-reconstruct"),
    "Particles and classes": ("select", "subtract", "export-cs", "export-star", "simulate", "classes"),
    "Bodies": ("propose-bodies", "motions"),
    "Filaments": ("helix-start", "helix-symmetry", "helix-evidence", "helix-mask"),
    "Regularisers": ("compare-regularisers", "check-regulariser", "import-weights", "train"),
    "Steps that the workflow calls": (
        *("start", "expectation", "reduce", "denoise-and-trail", "regularise", "converge"),
        *("train-fetch", "train-curate", "train-prepare", "train-fit", "train-evaluate", "train-export"),
    ),
}
"""Commands as the help shows them, in this order."""


def version_text() -> str:
    """Version, and in a clone the commit, and whether files were changed since."""
    root = Path(blush.__file__).parents[1]
    text = f"blush {blush.__version__}"
    if not ((root / ".git").exists() and (root / "pyproject.toml").exists() and shutil.which("git")):
        return text
    command = ["git", "-C", str(root), "describe", "--always", "--dirty=, changed", "--exclude=*"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{text} (commit {found.stdout.strip()})" if found.returncode == 0 else text


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version_text())
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Say the version and end.")
    ] = False,
) -> None:
    """Options of the command itself."""


def register_commands() -> None:
    """Let every module of `blush.cli` add its command, through its function `register(app)`."""
    for module_info in sorted(pkgutil.iter_modules(blush.cli.__path__), key=lambda info: info.name):
        if module_info.name != "main":
            importlib.import_module(f"blush.cli.{module_info.name}").register(app)
    panel_of = {name: panel for panel, names in PANELS.items() for name in names}
    order = list(panel_of)
    registered: list[CommandInfo | TyperInfo] = [*app.registered_commands, *app.registered_groups]
    for info in registered:
        info.rich_help_panel = panel_of.get(name_of(info), "More")
    app.registered_commands.sort(key=lambda info: order.index(n) if (n := name_of(info)) in order else len(order))


def name_of(info: CommandInfo | TyperInfo) -> str:
    """What is typed for a command or a group of them."""
    if info.name:
        return str(info.name)
    return str(getattr(info.callback, "__name__", "")).replace("_", "-")


register_commands()


def fit_help(columns: int) -> None:
    """Show help without boxes on a narrow terminal, where boxes leave no room for the names of options."""
    if columns >= _BOXES:
        return
    app.info.context_settings = {"terminal_width": columns}  # else at least 50
    groups = [info.typer_instance for info in app.registered_groups]
    for one in (app, *(group for group in groups if group is not None)):
        one.rich_markup_mode = None
        for info in one.registered_commands:
            info.short_help = (info.callback.__doc__ or "").partition("\n\n")[0]  # else cut short


def main() -> None:
    """Run the command line; exit with 2 on mistakes and refusals of the system, with a traceback on a bug."""
    fit_help(shutil.get_terminal_size().columns)
    try:
        app()
    except BlushError as error:
        told = error
    except OSError as error:
        if (refusal := refused_by_system(error)) is None:
            raise
        told = refusal
    else:
        return
    tell(f"blush: {told}", 2, err=True)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
