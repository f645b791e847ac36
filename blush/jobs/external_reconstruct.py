"""Taking part in a refinement by RELION: its map of one half, class or body, made by a regulariser of ours.

RELION calls a program for every map of every iteration and leaves sums, FSC and tau^2 in files
(docs/external-programs.md).
What is made of them depends on the call: references of a half-set are regularised as in a refinement of our own; the
final map of all particles stays the Wiener map, and its regularised version is written beside.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from blush.config.embedded import EmbeddedConfig
from blush.errors import BlushError, Problem
from blush.fourier.backproject import Accumulator
from blush.fourier.transform import inverse_transform
from blush.io.files import write_json
from blush.jobs.inputs import environment
from blush.jobs.relion_job import RelionJob, read_job, solvent_mask
from blush.jobs.rendezvous import Rendezvous
from blush.maximization.halves import half_sum_fsc
from blush.maximization.reconstruct import divide
from blush.maximization.spectra import reference_noise
from blush.refine.subset import HALVES, Subset
from blush.regularise.base import HalfMaps
from blush.regularise.drive import Policy, drive
from blush.regularise.protocol import Call, Floats, Name, read_call, read_sums, write_result
from blush.regularise.select import regulariser

Mode = Literal["half", "final", "classification"]
ONE_HALF = ("wiener", "none", "lowpass", "blush")
"""Regularisers that look at one half-map and the FSC alone; all others need both halves at the same time."""


@dataclass(frozen=True)
class Request:
    """One call with all that is known about it.

    Attributes
    ----------
    mode
        "half": a reference of one half-set; "final": the map of all particles; "classification".
    """

    star: Path
    name: Name
    call: Call
    job: RelionJob

    @property
    def mode(self) -> Mode:
        """By name and FSC, as the Blush module of RELION 5 tells them apart."""
        if self.name.half is not None:
            return "half"
        return "final" if np.any(self.call.fsc[1:]) else "classification"

    def beside(self, ending: str) -> Path:
        """A file of ours beside R.star."""
        return self.star.with_name(f"{self.star.stem}{ending}")


def external_reconstruct(
    star: Path, settings: EmbeddedConfig, *, out: Path | None = None, wait_seconds: float = 600
) -> Path:
    """Make the map that a call asks for.

    Parameters
    ----------
    star
        R.star, relative to the working folder as all names in it.
    out
        Where to write the map instead of R.mrc.
    wait_seconds
        For the other half, where the regulariser needs both.

    Returns
    -------
    The map. R_blush.json says how it was made.

    Raises
    ------
    BlushError
        If the call cannot be read, or the regulariser cannot do it.
    """
    name, call = Name.of(star), read_call(star)
    call.result_star.unlink(missing_ok=True)  # RELION believes whatever lies there
    request = Request(star, name, call, read_job(star, name, call))
    _refuse(request, settings)
    sums, tau2, mine = _load(request, settings, wait_seconds)
    maps = _maps(request, sums, tau2)
    if request.mode == "final":
        volume, record = _final(request, settings, maps)
    else:
        volume, record = _regularised(request, settings, maps, mine)
    target = write_result(call, volume, request.job.pixel_size_angst, out)
    write_json(request.beside("_blush.json"), {"mode": request.mode, "regulariser": record})
    return target


def _one_half(settings: EmbeddedConfig) -> bool:
    """Whether the regulariser, and for red its denoiser, looks at one half-map and the FSC alone."""
    chosen = settings.regulariser
    if chosen.amplitude == "cross_validated" and chosen.name != "wiener":
        return False
    return all(name in ONE_HALF for name in settings.regulariser.used if name != "red")


def _refuse(request: Request, settings: EmbeddedConfig) -> None:
    """What cannot be asked for, before any work."""
    chosen = settings.regulariser
    if "external" in chosen.used:
        remedy = "name that program in RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE"
        problem = Problem("RELION can call the external program itself", remedy, where="regulariser.name")
        raise BlushError("cannot take part in an external reconstruction", [problem])
    if request.mode != "classification":
        return
    if not _one_half(settings):
        remedy = f"in classification use one of {', '.join(ONE_HALF)}"
        problem = Problem("needs two half-maps, and this map has none", remedy, where="regulariser", value=chosen.name)
        raise BlushError("cannot regularise a class", [problem])
    if chosen.name == "lowpass" and chosen.lowpass.resolution_angst is None:
        remedy = "set regulariser.lowpass.resolution_angst"
        raise BlushError("cannot regularise a class", [Problem("there is no FSC to follow in classification", remedy)])


def _load(
    request: Request, settings: EmbeddedConfig, wait_seconds: float
) -> tuple[tuple[Accumulator, Accumulator], tuple[Floats, Floats], int]:
    """Sums and T tau^2 of both halves, and which of them is this call's; a lone map stands for both."""
    device, dtype = environment(settings)
    half, call = request.name.half, request.call
    if half is None or _one_half(settings):
        sums = read_sums(call, dtype, device)
        return (sums, sums), (call.fudge * call.tau2, call.fudge * call.tau2), 0
    half = Subset(half)
    other_star = request.star.with_name(request.star.name.replace(f"_{half.infix}_", f"_{half.other.infix}_"))
    meeting = Rendezvous(
        request.beside("_ready.json"), other_star.with_name(f"{other_star.stem}_ready.json"), wait_seconds
    )
    meeting.reach(1)  # the caller has written everything of a half before it calls for it
    calls = [call, read_call(other_star)][:: 1 if half is Subset.FIRST else -1]
    first, second = (read_sums(each, dtype, device) for each in calls)
    meeting.reach(2)  # the caller may remove the files of a half as soon as its program has ended
    _check_pair(calls, other_star)
    return (first, second), (calls[0].fudge * calls[0].tau2, calls[1].fudge * calls[1].tau2), HALVES.index(half)


def _check_pair(calls: list[Call], other_star: Path) -> None:
    """Both halves of one iteration have the same sizes and the same FSC."""
    first, second = calls
    sizes = [(call.box_px, call.pad, call.r_max) for call in calls]
    if sizes[0] != sizes[1] or not np.array_equal(first.fsc, second.fsc):
        problem = Problem("is of another map or iteration: sizes or FSC differ", "start RELION again", str(other_star))
        raise BlushError("the halves do not belong together", [problem])


def _maps(request: Request, sums: tuple[Accumulator, Accumulator], tau2: tuple[Floats, Floats]) -> HalfMaps:
    """What the regulariser is given. The Wiener map is that of RELION's external program: a prior in all shells."""
    call, job = request.call, request.job
    alone = sums[0] is sums[1]  # then both "halves" are one and the same map, made once
    maps = [cache(lambda half=half: inverse_transform(divide(half, None))) for half in sums]
    wiener = [cache(lambda h=h: inverse_transform(divide(sums[h], tau2[h], first_shell=0))) for h in (0, 1)]
    return HalfMaps(
        sums=sums,
        fsc=call.fsc,
        fsc_unmasked=call.fsc if alone else half_sum_fsc(*sums),
        tau2=np.stack(tau2),
        sigma2_ref=np.stack([reference_noise(half) for half in sums]),
        unregularised=lambda half: maps[0 if alone else half](),
        wiener=lambda half: wiener[0 if alone else half](),
        pixel_size_angst=job.pixel_size_angst,
        particle_diameter_angst=job.particle_diameter_angst,
        symmetry=job.symmetry,
        mask=solvent_mask(job, call.box_px, sums[0].grid),
        iteration=request.name.iteration,
        local=job.local,
        healpix_order=job.healpix_order,
        current_size_px=2 * call.r_max,
        seed=job.seed * 1000 + request.name.iteration,
    )


def _regularised(
    request: Request, settings: EmbeddedConfig, maps: HalfMaps, mine: int
) -> tuple[Tensor, dict[str, Any]]:
    """The regulariser's map; classes are not trailed, since they have no FSC."""
    chosen, trailing = settings.regulariser, settings.trailing
    trails = trailing.enabled and request.mode != "classification"
    policy = Policy(trailing.shells if trails else None, chosen.starts, chosen.fallback, chosen.amplitude)
    method = regulariser(chosen)
    if request.mode == "classification" and method.takes_alone == "wiener":
        maps = replace(maps, unregularised=maps.wiener)
    made = drive(method, maps, policy, _warn)
    return made.references[mine], made.diagnostics


def _final(request: Request, settings: EmbeddedConfig, maps: HalfMaps) -> tuple[Tensor, dict[str, Any]]:
    """The map of all particles, Wiener-filtered; what the regulariser makes of it is for looking at."""
    final = maps.wiener(0)
    if settings.regulariser.name == "wiener":
        return final, {"name": "wiener"}
    target = request.beside("_denoised.mrc")
    target.unlink(missing_ok=True)
    if not _one_half(settings):
        return final, {"name": "wiener", "denoised": f"{settings.regulariser.name} works on half-maps only"}
    try:
        volume, record = _regularised(request, settings, maps, 0)
    except BlushError as error:  # the refinement has come to its end, and its map needs no denoiser
        _warn(f"no {target.name}: {error}")
        return final, {"name": "wiener", "denoised": str(error)}
    write_result(request.call, volume, request.job.pixel_size_angst, target)
    return final, {"name": "wiener", "denoised": record}


def _warn(text: str) -> None:
    sys.stderr.write(f"blush: warning: {text}\n")
