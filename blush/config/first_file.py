"""The first configuration of a user: what has to be said, what is often changed, and the name of everything else."""

from __future__ import annotations

import re
from collections.abc import Mapping

import yaml

from blush.config.reference import defaults_yaml
from blush.config.run import RunConfig

OFTEN_CHANGED = ("job", "initial_lowpass_angst", "mask", "output", "seed")
"""Settings that are shown with their default, to be uncommented."""
_COLUMN = 44
TUBE = "tube_diameter_angst"
"""The one setting of section `helix` that is asked for."""
Cryosparc = Mapping[str, str | list[str]]
"""Settings of section `cryosparc` by name."""


def first_yaml(
    answers: Mapping[str, str | float],
    notes: Mapping[str, str],
    has_poses: bool,
    step_angst: float | None = None,
    cryosparc: Cryosparc | None = None,
) -> str:
    """A configuration with comments.

    Parameters
    ----------
    answers
        Settings that were given, by name.
    notes
        What is known of some of them, for the comment beside.
    has_poses
        Whether the table says how particles lie, so that a search may start there.
    step_angst
        Distance of segments along their filaments; None: no filament has two, or these are none.
    cryosparc
        Settings of that section which were given.
    """
    fields = RunConfig.model_fields
    plain = {key: value for key, value in answers.items() if key != TUBE}
    often = [key for key in OFTEN_CHANGED if key not in plain]
    lines = [
        "# One job of Blush, written by `blush init`. Relative paths start at the folder of this file.",
        "# `blush init --all` writes a file with every setting; docs/configuration.md explains them.",
        *(_beside(_setting(key, value), notes.get(key, "")) for key, value in plain.items()),
        *([_beside(f"cryosparc: {_in_line(cryosparc)}", "how the table is read")] if cryosparc else []),
        *(_helix(answers[TUBE], step_angst) if TUBE in answers else []),
        "",
        "# What is often changed, with its default: take away the # of the line.",
        *(_beside(f"# {_setting(key, fields[key].default)}", fields[key].description or "") for key in often),
        _beside("# regulariser: {name: wiener}", "or blush, nonuniform, ...: docs/regularisers.md"),
        _beside("# compute: {device: auto, workers: auto}", "this machine; `blush run --slurm` asks SLURM"),
    ]
    if has_poses:
        start = "# refinement: {start_from: poses}"
        lines.append(_beside(start, "the table has poses: refine them locally, without a search of all"))
    return "\n".join(lines) + "\n"


def _helix(tube_angst: str | float, step_angst: float | None) -> list[str]:
    """The section of filaments, in which rise and twist are still to be given: no table has them."""
    units = "by itself it is 1: no filament has two segments"
    if step_angst is not None:
        units = f"by itself it is {step_angst:.4g} Å, between segments, over the rise"
    return [
        "helix:",
        _beside("  rise_angst: null", "GIVE IT: Å from a unit to the next; an amyloid has 4.75, as a screw 2_1 2.375"),
        _beside("  twist_deg: null", "GIVE IT: right-handed positive; a rung: -180 * rise / cross-over if left-handed"),
        _beside(f"  {_setting(TUBE, tube_angst)}", "wider than the filament by some pixels"),
        _beside("  # twist_range_deg: [-1.6, -0.8]", "searched by whole filaments; so is rise_range_angst by maps"),
        _beside("  # units_per_segment: null", units),
        _beside("  # central_fraction: 0.3", "part of the box from which maps are made; its FSC is that which counts"),
    ]


def every_setting(answers: Mapping[str, str | float], cryosparc: Cryosparc | None = None) -> str:
    """A configuration with every setting, its meaning and its default, where it was not given."""
    text = defaults_yaml()
    lines = {("  " if key == TUBE else "", key): _setting(key, value) for key, value in answers.items()}
    lines |= {("  ", key): f"{key}: {_in_line(value)}" for key, value in (cryosparc or {}).items()}
    for (indent, key), setting in lines.items():
        line = indent + setting
        text = re.sub(rf"^{indent}{key}: .*$", lambda _, line=line: line, text, count=1, flags=re.MULTILINE)  # type: ignore[misc]
    head = "# One job of Blush, every setting, written by `blush init --all`. Paths start at the folder of this file.\n"
    return head + text.split("\n", 2)[2]


def _setting(key: str, value: object) -> str:
    plain = value if isinstance(value, int | float | str | bool) or value is None else str(value)
    return yaml.safe_dump({key: plain}, allow_unicode=True, width=1000).removesuffix("\n")


def _in_line(value: object) -> str:
    """A value in one line."""
    text = yaml.safe_dump(value, allow_unicode=True, width=100_000, default_flow_style=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _beside(setting: str, comment: str) -> str:
    return f"{setting:<{_COLUMN}}  # {comment}" if comment else setting
