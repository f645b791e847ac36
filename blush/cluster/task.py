"""A task of the pool: a function of the package by name, with arguments that JSON can carry."""

import importlib
import os
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blush.errors import BlushError, refused_by_system


@dataclass(frozen=True)
class Task:
    """What a worker is to call.

    Parameters
    ----------
    key
        Name of the work in its run: while a task of this name and run is under way, another one joins it.
    target
        "module:function"; the function takes the run folder first.
    run
        Run folder.
    args
        Further arguments: numbers or text.
    """

    key: str
    target: str
    run: str
    args: tuple[Any, ...] = ()


def perform(target: str, run: str, args: tuple[Any, ...]) -> dict[str, Any]:
    """Call a task's function and describe how it ended; runs on the workers.

    An exception comes back as text: mistakes of the user and refusals of the system under
    "mistake", bugs under "bug".
    """
    module, function = target.split(":")
    start = time.monotonic()
    try:
        result = getattr(importlib.import_module(module), function)(Path(run), *args)
    except BlushError as error:
        return {"mistake": str(error)}
    except OSError as error:
        refusal = refused_by_system(error)
        return {"bug": traceback.format_exc()} if refusal is None else {"mistake": str(refusal)}
    except Exception:
        return {"bug": traceback.format_exc()}
    return {"result": str(result), "pid": os.getpid(), "seconds": round(time.monotonic() - start, 3)}
