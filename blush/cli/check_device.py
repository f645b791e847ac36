"""`blush check-device`: is this GPU right, and how fast?"""

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from blush.report.tell import tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check-device")(check_device)


def check_device(
    device: Annotated[str | None, typer.Option(help="cuda:0, cuda:1 or cpu; default: GPU 0, or cpu.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for device.json.")] = None,
    minutes: Annotated[float, typer.Option(help="Time that it may take; parts are left out to keep to it.")] = 6.0,
) -> None:
    """Check that a device is right, gives the same twice, and how near its limits it is; exits with 1 if not right.

    Each stage of a refinement against double precision, a small refinement against the CPU, a part of an iteration of
    105,247 images of 360 px, and the network of Blush. Without a GPU it says so, and does what the CPU can.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as the workers have it; read at first use
    from blush.device.check import check, device_of, table
    from blush.io.files import write_json

    chosen, start = device_of(device), time.monotonic()
    if chosen.type == "cpu" and device is None:
        tell("there is no GPU here: the CPU is checked", err=True)
    with tempfile.TemporaryDirectory(prefix="blush-check-device-") as folder:
        found = check(
            chosen,
            Path(folder),
            minutes,
            lambda part: tell(f"{time.monotonic() - start:5.0f} s  {part}", 9, err=True),
        )
    for line in table(found):
        tell(line, 2)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "device.json", found.record() | {"seconds": round(time.monotonic() - start, 1)})
    tell(found.verdict())
    if not found.passed:
        raise typer.Exit(1)
