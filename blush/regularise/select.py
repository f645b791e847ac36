"""From the configuration to the regulariser: the one list of all there are."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from blush.config.regulariser import RegulariserSettings
from blush.errors import BlushError
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


def _nonuniform(settings: RegulariserSettings) -> Regulariser:
    from blush.regularise.nonuniform import Nonuniform

    chosen = settings.nonuniform
    return Nonuniform(chosen.awf, chosen.cutoffs, chosen.share_cutoffs)


def _sidesplitter(settings: RegulariserSettings) -> Regulariser:
    from blush.regularise.sidesplitter import Sidesplitter

    return Sidesplitter(settings.sidesplitter.taper)


def _red(settings: RegulariserSettings) -> Regulariser:
    from blush.regularise.red import Red

    chosen = settings.red
    return Red(MAKERS[chosen.denoiser](settings), chosen.full_weight_angst, chosen.no_weight_angst)


def _external(settings: RegulariserSettings) -> Regulariser:
    from blush.regularise.external import External

    return External(settings.external)


def _blush(settings: RegulariserSettings) -> Regulariser:
    from blush.denoise.card import BLUSH
    from blush.denoise.weights import load_weights
    from blush.regularise.blush import Blush

    chosen = settings.blush
    return Blush(
        load_weights(chosen.file, BLUSH),
        stride_px=chosen.stride_px,
        batch=chosen.batch,
        precision=chosen.precision,
        cpu_minutes=chosen.cpu_minutes,
        own_mask=chosen.own_mask,
    )


def _cref(settings: RegulariserSettings) -> Regulariser:
    from blush.denoise.card import CREF
    from blush.denoise.weights import load_weights
    from blush.regularise.cref import Cref

    if settings.cref.weights is None:
        raise BlushError("regulariser cref needs weights: give regulariser.cref.weights")
    return Cref(load_weights(settings.cref.weights, CREF))


def _localwiener(settings: RegulariserSettings) -> Regulariser:
    from blush.denoise.card import LOCAL_WIENER
    from blush.denoise.weights import load_weights
    from blush.regularise.localwiener import LocalWiener

    return LocalWiener(load_weights(settings.localwiener.file, LOCAL_WIENER))


MAKERS: dict[str, Callable[[RegulariserSettings], Regulariser]] = {
    "wiener": _wiener,
    "none": _none,
    "lowpass": _lowpass,
    "blush": _blush,
    "cref": _cref,
    "localwiener": _localwiener,
    "nonuniform": _nonuniform,
    "sidesplitter": _sidesplitter,
    "red": _red,
    "external": _external,
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
