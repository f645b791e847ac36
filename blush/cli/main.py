"""The `blush` command: finds its subcommands, and turns mistakes of the user into status 2."""

import importlib
import pkgutil
import sys

import typer

import blush.cli
from blush.errors import BlushError, refused_by_system

app = typer.Typer(
    name="blush",
    help="Cryo-EM single-particle refinement.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    """Cryo-EM single-particle refinement, one command per step."""


def register_commands() -> None:
    """Let every module of `blush.cli` add its command, through its function `register(app)`."""
    for module_info in sorted(pkgutil.iter_modules(blush.cli.__path__), key=lambda info: info.name):
        if module_info.name != "main":
            importlib.import_module(f"blush.cli.{module_info.name}").register(app)


register_commands()


def main() -> None:
    """Run the command line; exit with 2 on mistakes and refusals of the system, with a traceback on a bug."""
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
    sys.stderr.write(f"blush: {told}\n")
    raise SystemExit(2)


if __name__ == "__main__":
    main()
