"""RELION's external-reconstruct protocol: the files by which a refinement hands one map to another program and back.

A call is one STAR file R.star beside three arrays: real and imaginary part of D and the weight W, float32,
(pad N, pad N, pad N / 2 + 1) in the order of `rfftn`, phases about the centre voxel. The program
writes the map R.mrc, and may write new spectra to R_out.star.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.errors import Problem
from blush.fourier.backproject import Accumulator, empty_accumulator, trim
from blush.io.columns import numbers
from blush.io.mrc import read_volume, write_volume
from blush.io.star import read_star, write_star
from blush.regularise.call_values import (
    GENERAL,
    SPECTRA,
    check_single,
    check_size,
    file_name,
    optional,
    positive,
    spectrum,
    unusable,
    whole,
)

Floats = NDArray[np.float64]
SUFFIX = "_external_reconstruct"
_FILES = {
    "data_real": "rlnExtReconsDataReal",
    "data_imag": "rlnExtReconsDataImag",
    "weight": "rlnExtReconsWeight",
    "result": "rlnExtReconsResult",
    "result_star": "rlnExtReconsResultStarfile",
}
_NUMBERS = ("rlnPaddingFactor", "rlnOriginalImageSize", "rlnCurrentImageSize")
_INDEX = "rlnSpectralIndex"
_COLUMNS = (_INDEX, "rlnReferenceTau2", "rlnGoldStandardFsc")
_NAME = re.compile(
    r"^(?P<prefix>.+)_it(?P<iteration>[0-9]{3,9})_(?:half(?P<half>[12])_)?(?P<kind>class|body)[0-9]+" + SUFFIX + "$"
)


def call_root(prefix: str, iteration: int, half: int) -> str:
    """R as RELION names it for the one class of a half, as `Refine3D/job001/run_it005_half1_class001_external_...`."""
    return f"{prefix}_it{iteration:03d}_half{half}_class001{SUFFIX}"


@dataclass(frozen=True)
class Name:
    """What the name of a call says.

    Attributes
    ----------
    prefix
        Output root, without folder.
    half
        Half-set, where there is one.
    is_body
        Whether it is a body of a multi-body refinement, whose map is centred on the body.
    """

    prefix: str
    iteration: int
    half: int | None
    is_body: bool = False

    @classmethod
    def of(cls, star: Path) -> Name:
        """Read it off R.star.

        Raises
        ------
        BlushError
            Where the name is none of RELION's.
        """
        found = _NAME.match(star.stem)
        if found is None:
            wanted = f"RELION names it ROOT_itNNN[_halfH]_classKKK{SUFFIX}.star; keep that name"
            raise unusable([Problem("does not have the name of a call", wanted, str(star))])
        half = found["half"]
        return cls(found["prefix"], int(found["iteration"]), int(half) if half else None, found["kind"] == "body")


@dataclass(frozen=True)
class Call:
    """One call of an external program.

    Attributes
    ----------
    star
        R.star itself.
    data_real, data_imag, weight, result, result_star
        Files, from the folder that the program is called in.
    fudge
        T of the prior term 1 / (pad^3 T tau^2).
    box_px, r_max
        N and the last shell of the sums.
    pixel_size_angst, particle_diameter_angst
        None where the caller does not say, as RELION 3.1.
    tau2, fsc
        (N/2 + 1,) signal variance per component and half-map FSC; the latter 0 in classification.
    """

    star: Path
    data_real: Path
    data_imag: Path
    weight: Path
    result: Path
    result_star: Path
    fudge: float
    pad: int
    box_px: int
    r_max: int
    pixel_size_angst: float | None
    particle_diameter_angst: float | None
    tau2: Floats
    fsc: Floats


def write_call(
    folder: Path,
    root: str,
    sums: Accumulator,
    tau2: Floats,
    fsc: Floats,
    *,
    pixel_size_angst: float,
    particle_diameter_angst: float,
) -> Path:
    """Write one call as RELION 4 and 5 do; the STAR file last.

    Parameters
    ----------
    folder
        Where the program will be started; `root` and the names inside the STAR file are relative to it.
    sums
        D and W of one half, symmetrised.

    Returns
    -------
    Path of R.star, relative to `folder`.
    """
    names = {part: f"{root}_{part}.mrc" for part in ("data_real", "data_imag", "weight")}
    for channel, part in enumerate(names):
        array = _to_rfft(sums.grid[..., channel], sums.box_px, sums.pad)
        write_volume(folder / names[part], array, 0.0)  # RELION's headers hold no pixel size either
    names |= {"result": f"{root}.mrc", "result_star": f"{root}_out.star"}
    general: dict[str, Any] = {label: names[part] for part, label in _FILES.items()}
    general |= {
        "rlnTau2FudgeFactor": 1.0,
        "rlnPaddingFactor": float(sums.pad),
        "rlnReferenceDimensionality": 3,
        "rlnOriginalImageSize": sums.box_px,
        "rlnCurrentImageSize": 2 * sums.r_max,
        "rlnPixelSize": pixel_size_angst,
        "rlnParticleDiameter": particle_diameter_angst,
    }
    spectra = dict(zip(_COLUMNS, (np.arange(len(tau2)), tau2, fsc), strict=True))
    star = Path(f"{root}.star")
    write_star(folder / star, {GENERAL: general, SPECTRA: spectra})
    return star


def read_call(star: Path, folder: Path = Path()) -> Call:
    """Read R.star; the arrays are read by `read_sums`.

    Parameters
    ----------
    folder
        Where the program was started: paths in the file are relative to it.

    Raises
    ------
    BlushError
        With everything that is missing or cannot be used.
    """
    blocks = read_star(folder / star)
    general, spectra = blocks.get(GENERAL, {}), blocks.get(SPECTRA, {})
    lost = [(GENERAL, name) for name in (*_FILES.values(), "rlnTau2FudgeFactor", *_NUMBERS) if name not in general]
    lost += [(SPECTRA, name) for name in _COLUMNS if name not in spectra]
    if lost:
        remedy = "give the file that RELION writes with --external_reconstruct or --blush"
        raise unusable([Problem(f"has no {name}", remedy, str(star), f"data_{block}") for block, name in lost])
    check_single(general, star)
    problems: list[Problem] = []
    pad, box_px, size_px = (whole(general, name, star, problems) for name in _NUMBERS)
    index, tau2, fsc = (spectrum(spectra, name, star, problems) for name in _COLUMNS)
    if problems:
        raise unusable(problems)
    call = Call(
        star=folder / star,
        **{part: folder / file_name(general, label, star) for part, label in _FILES.items()},
        fudge=positive(general, "rlnTau2FudgeFactor", star),
        pad=pad,
        box_px=box_px,
        r_max=size_px // 2,
        pixel_size_angst=optional(general, "rlnPixelSize", star),
        particle_diameter_angst=optional(general, "rlnParticleDiameter", star),
        tau2=tau2,
        fsc=fsc,
    )
    if problems := _problems(call, star, index, optional(general, "rlnReferenceDimensionality", star) or 3):
        raise unusable(problems)
    return call


def _problems(call: Call, star: Path, index: Floats, dimensions: float) -> list[Problem]:
    """What the numbers of a call contradict."""
    problems = []
    if dimensions != 3:
        problems.append(Problem("is of images, not of a map", "use it for 3D", str(star), value=f"{dimensions:g}D"))
    if call.box_px % 2 or not 0 < call.r_max <= call.box_px // 2:
        value = f"box {call.box_px}, size {2 * call.r_max}"
        problems.append(
            Problem("image sizes make no sense", "the box is even, the size within", str(star), value=value)
        )
    if len(call.tau2) != call.box_px // 2 + 1:
        rows = f"{len(call.tau2)} rows, box {call.box_px}"
        problems.append(Problem("spectra do not fit the box", "N/2 + 1 rows", str(star), f"data_{SPECTRA}", rows))
    elif not np.array_equal(index, np.arange(len(index))):
        where = f"data_{SPECTRA}, rlnSpectralIndex"
        problems.append(Problem("shells are not in order", "give 0, 1, 2, ... N/2", str(star), where))
    return problems


def read_sums(call: Call, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Accumulator:
    """D and W of a call, zero beyond |k| = pad r_max.

    At the full size an even transform stores +-pad N / 2 once: both cells get it. No map or spectrum uses them.

    Raises
    ------
    BlushError
        Where an array is missing or has another size.
    """
    size = call.pad * call.box_px
    for path in (call.data_real, call.data_imag, call.weight):  # before anything of that size is allocated
        check_size(path, call.pad, call.box_px, call.star)
    sums = empty_accumulator(call.box_px, call.r_max, dtype=dtype, pad=call.pad)
    rows = np.arange(-sums.radius, sums.radius + 1) % size
    columns = np.arange(sums.radius + 1).clip(max=size // 2)  # cells that wrap are all beyond the sphere
    for channel, path in enumerate((call.data_real, call.data_imag, call.weight)):
        array, _ = read_volume(path)
        sums.grid[..., channel] = torch.from_numpy(array[np.ix_(rows, rows, columns)]).to(dtype)
    sums = trim(sums)
    return Accumulator(sums.grid.to(device), call.box_px, call.r_max, call.pad)


def read_returned(star: Path, shells: int) -> dict[str, list[float]]:
    """New spectra of an R_out.star: `fsc` or `tau2`, (N/2 + 1) numbers, 0 in shells that it leaves out.

    Raises
    ------
    BlushError
        Where it holds neither, or shells that there are not.
    """
    for block, table in read_star(star).items():
        for name, label in (("tau2", "rlnReferenceTau2"), ("fsc", "rlnFourierShellCorrelation")):
            if {_INDEX, label} <= table.keys():
                problems: list[Problem] = []
                index, given = (numbers(table, n, 0.0, f"data_{block}", star, problems) for n in (_INDEX, label))
                if problems:
                    raise unusable(problems)
                if not np.isin(index, np.arange(shells)).all() or len(np.unique(index)) < len(index):
                    message = "has shells beyond the map, or one twice"
                    raise unusable([Problem(message, f"give each of 0 to {shells - 1} once", str(star))])
                values = np.zeros(shells)
                values[index.astype(np.int64)] = given
                return {name: values.tolist()}
    remedy = "give rlnSpectralIndex with rlnReferenceTau2 or rlnFourierShellCorrelation"
    raise unusable([Problem("holds no spectrum", remedy, str(star))])


def write_result(call: Call, volume: Tensor, pixel_size_angst: float, path: Path | None = None) -> Path:
    """Write the map of a call, (N, N, N), to R.mrc or elsewhere."""
    target = call.result if path is None else path
    write_volume(target, volume.cpu().numpy(), pixel_size_angst)
    return target


def _to_rfft(cells: Tensor, box_px: int, pad: int) -> NDArray[np.float32]:
    """(d, d, h) cells of a sphere in the order of rfftn; of +-pad N / 2 the positive one is stored, as RELION's."""
    size, radius = pad * box_px, (cells.shape[0] - 1) // 2
    low, high = max(-radius, 1 - size // 2), min(radius, size // 2)
    span, rows = slice(radius + low, radius + high + 1), np.arange(low, high + 1) % size
    out = np.zeros((size, size, size // 2 + 1), dtype=np.float32)
    out[np.ix_(rows, rows, np.arange(high + 1))] = cells[span, span, : high + 1].cpu().numpy()
    return out
