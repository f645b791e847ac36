"""From the name in the configuration to the regulariser."""

from __future__ import annotations

from blush.errors import BlushError
from blush.regularise.base import Regulariser
from blush.regularise.wiener import Unregularised, Wiener

REGULARISERS: dict[str, type[Regulariser]] = {r.name: r for r in (Wiener, Unregularised)}


def regulariser(name: str) -> Regulariser:
    """Make the regulariser called `name`."""
    if name not in REGULARISERS:
        raise BlushError(f"regulariser.name is {name!r}; known are {', '.join(sorted(REGULARISERS))}")
    return REGULARISERS[name]()
