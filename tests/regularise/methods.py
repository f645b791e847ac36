"""One ready regulariser of every name, for the tests that hold all of them to the contract."""

from collections.abc import Callable
from pathlib import Path

from blush.config.regulariser import RegulariserSettings
from blush.regularise.base import Regulariser
from blush.regularise.select import MAKERS


def _plain(name: str) -> Callable[[Path], Regulariser]:
    """For those that need no more than their name."""
    return lambda _: MAKERS[name](RegulariserSettings(name=name))


METHODS: dict[str, Callable[[Path], Regulariser]] = {
    "wiener": _plain("wiener"),
    "none": _plain("none"),
    "lowpass": _plain("lowpass"),
}
