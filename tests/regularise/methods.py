"""One ready regulariser of every name, for the tests that hold all of them to the contract."""

import sys
from collections.abc import Callable
from pathlib import Path

from blush.config.regulariser import RedSettings, RegulariserSettings
from blush.regularise.base import Regulariser
from blush.regularise.select import MAKERS


def _plain(name: str) -> Callable[[Path], Regulariser]:
    """For those that need no more than their name."""
    return lambda _: MAKERS[name](RegulariserSettings(name=name))


def _red(_: Path) -> Regulariser:
    """Between full and no weight at the resolution of the tests' half-maps."""
    settings = RedSettings(denoiser="nonuniform", full_weight_angst=6.0, no_weight_angst=20.0)
    return MAKERS["red"](RegulariserSettings(name="red", red=settings))


def _external(_: Path) -> Regulariser:
    """A program that makes the Wiener map from the protocol's files alone."""
    from blush.config.regulariser import ExternalSettings
    from blush.regularise.external import External

    return External(ExternalSettings(command=f"{sys.executable} {Path(__file__).with_name('external_wiener.py')}"))


def _blush(folder: Path) -> Regulariser:
    """The identity: a small network that finds no noise."""
    from identity_networks import write_identity_unet

    path = write_identity_unet(folder / "blush.safetensors", width=1, depth=1, block_px=48)
    return MAKERS["blush"](RegulariserSettings(name="blush", blush={"weights": path, "stride_px": 20}))


def _cref(folder: Path) -> Regulariser:
    """The identity, times a constant that the driver has to find."""
    from identity_networks import write_identity_cref

    path = write_identity_cref(folder / "cref.safetensors")
    return MAKERS["cref"](RegulariserSettings(name="cref", cref={"weights": path}))


def _localwiener(folder: Path) -> Regulariser:
    """The Wiener map: a network that has learned nothing."""
    from identity_networks import write_identity_gains

    path = write_identity_gains(folder / "gains.safetensors")
    return MAKERS["localwiener"](RegulariserSettings(name="localwiener", localwiener={"weights": path}))


METHODS: dict[str, Callable[[Path], Regulariser]] = {
    "wiener": _plain("wiener"),
    "none": _plain("none"),
    "lowpass": _plain("lowpass"),
    "blush": _blush,
    "cref": _cref,
    "localwiener": _localwiener,
    "nonuniform": _plain("nonuniform"),
    "sidesplitter": _plain("sidesplitter"),
    "red": _red,
    "external": _external,
}
