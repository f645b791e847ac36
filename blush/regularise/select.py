"""From the configuration to the regulariser: the one list of all there are."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from blush.config.regulariser import RegulariserSettings
from blush.regularise.base import Regulariser


def _wiener(_: RegulariserSettings) -> Regulariser:
    from blush.regularise.wiener import Wiener

    return Wiener()


def _none(_: RegulariserSettings) -> Regulariser:
    from blush.regularise.wiener import Unregularised

    return Unregularised()


def _lowpass(settings: RegulariserSettings) -> Regulariser:
    from blush.regularise.wiener import LowPass

    return LowPass(settings.lowpass.resolution_angst)


MAKERS: dict[str, Callable[[RegulariserSettings], Regulariser]] = {
    "wiener": _wiener,
    "none": _none,
    "lowpass": _lowpass,
}


@lru_cache(maxsize=2)
def regulariser(settings: RegulariserSettings) -> Regulariser:
    """The regulariser of a configuration. A worker keeps it, and with it the network it has loaded.

    Raises
    ------
    BlushError
        If its settings lack something, or its weights cannot be used.
    """
    return MAKERS[settings.name](settings)
