"""Which module makes each step of each job; all else is the same for every job."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from blush.jobs.inputs import read_config

_STEPS = {
    "refine": {
        "start": "blush.jobs.start:start",
        "maps": "blush.jobs.denoise_and_trail:denoise_and_trail",
        "converge": "blush.jobs.converge:converge",
        "finish": "blush.jobs.finish:postprocess",
    },
    "classify": {
        "start": "blush.jobs.class_start:start",
        "maps": "blush.jobs.class_maps:make_maps",
        "converge": "blush.jobs.class_converge:converge",
        "finish": "blush.jobs.class_finish:finish",
    },
    "multibody": {"finish": "blush.jobs.bodies_finish:finish"},
    "body": {
        "start": "blush.jobs.body_start:start",
        "maps": "blush.jobs.denoise_and_trail:denoise_and_trail",
        "converge": "blush.jobs.body_converge:converge",
        "finish": "blush.jobs.finish:postprocess",
    },
    "helix": {
        "start": "blush.jobs.helix_start:start",
        "maps": "blush.jobs.helix_maps:denoise_and_trail",
        "converge": "blush.jobs.helix_converge:converge",
        "finish": "blush.jobs.helix_finish:postprocess",
    },
}


def step_of(root: Path, name: str) -> Callable[..., Any]:
    """The function that makes a step of a run: start, maps, converge or finish; torch is imported with it."""
    module, function = _STEPS[read_config(root).job][name].split(":")
    step: Callable[..., Any] = getattr(import_module(module), function)
    return step
