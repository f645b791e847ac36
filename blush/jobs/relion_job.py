"""What a running refinement by RELION says about itself in the tables of its last finished iteration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blush.errors import BlushError, Problem
from blush.fourier.mask import soft_sphere
from blush.io.columns import numbers, shown
from blush.io.mrc import read_volume
from blush.io.star import Table, read_star
from blush.regularise.protocol import Call, Name

MASK_EDGE_PX = 5.0
_LARGEST = 1 << 32


@dataclass(frozen=True)
class RelionJob:
    """A refinement under way.

    Attributes
    ----------
    local
        Whether its searches are local.
    mask_file
        Solvent mask, relative to the project; None where it flattens by a sphere, and for bodies, which are centred
        where the mask is not.
    """

    pixel_size_angst: float
    particle_diameter_angst: float
    symmetry: str = "C1"
    healpix_order: int = 0
    local: bool = False
    seed: int = 0
    mask_file: Path | None = None


def read_job(star: Path, name: Name, call: Call) -> RelionJob:
    """Read what a call leaves open from the tables beside it.

    RELION 3.1 says neither pixel size nor diameter in R.star; RELION 4 and 5 do, and their values count. Symmetry,
    sampling and mask stand only in the tables, as optimiser, model and sampling of iteration N - 1.

    Raises
    ------
    BlushError
        Where there is no such table and R.star does not say it either.
    """
    optimiser_file = _latest_optimiser(star, name)
    if optimiser_file is None:
        if call.pixel_size_angst is None or call.particle_diameter_angst is None:
            remedy = f"keep {name.prefix}_itNNN_optimiser.star and the tables that it names beside it"
            problem = Problem("does not say pixel size and diameter, nor does a table beside it", remedy, str(star))
            raise BlushError("cannot take part in an external reconstruction", [problem])
        return RelionJob(call.pixel_size_angst, call.particle_diameter_angst)
    optimiser = _general(optimiser_file, "optimiser_general")
    sampling = _named(optimiser_file, optimiser, "rlnOrientSamplingStarFile", "sampling_general")
    order = int(_number(sampling, "rlnHealpixOrder", optimiser_file))
    pixel, diameter = call.pixel_size_angst, call.particle_diameter_angst
    if pixel is None:
        model = _named(optimiser_file, optimiser, "rlnModelStarFile", "model_general")
        pixel = _positive(model, "rlnPixelSize", optimiser_file)
    if diameter is None:
        diameter = _positive(optimiser, "rlnParticleDiameter", optimiser_file)
    named = "rlnSolventMaskName" in optimiser and not name.is_body
    mask = str(optimiser["rlnSolventMaskName"][0]) if named else "None"
    return RelionJob(
        pixel_size_angst=pixel,
        particle_diameter_angst=diameter,
        symmetry=str(_value(sampling, "rlnSymmetryGroup", optimiser_file)).upper(),
        healpix_order=order,
        local=order >= int(_number(optimiser, "rlnAutoLocalSearchesHealpixOrder", optimiser_file)),
        seed=int(_number(optimiser, "rlnRandomSeed", optimiser_file)),
        mask_file=None if mask in ("None", "") else Path(mask),
    )


def solvent_mask(job: RelionJob, box_px: int, like: Tensor) -> Tensor:
    """The mask that RELION will flatten the map with: its file, or the sphere of the particle's diameter."""
    if job.mask_file is None:
        return soft_sphere(box_px, job.particle_diameter_angst / (2 * job.pixel_size_angst), MASK_EDGE_PX).to(like)
    mask, _ = read_volume(job.mask_file)
    if mask.shape != (box_px,) * 3:
        shape = " x ".join(map(str, mask.shape))
        problem = Problem("has another box than the map", f"{box_px} px", str(job.mask_file), value=shape)
        raise BlushError("cannot use the solvent mask", [problem])
    return torch.from_numpy(mask).to(like)


def _latest_optimiser(star: Path, name: Name) -> Path | None:
    """The optimiser table of the iteration before, else the youngest: a continued job renames its root."""
    expected = star.with_name(f"{name.prefix}_it{name.iteration - 1:03d}_optimiser.star")
    if expected.exists():
        return expected
    present = list(star.parent.glob("*_it*_optimiser.star"))
    return max(present, key=lambda path: path.stat().st_mtime_ns) if present else None


def _named(optimiser_file: Path, optimiser: Table, key: str, block: str) -> Table:
    """A block of a table that the optimiser names, which lies beside it.

    Raises
    ------
    BlushError
        Where it cannot be read, with the optimiser.
    """
    path = optimiser_file.with_name(Path(str(_value(optimiser, key, optimiser_file))).name or "?")
    try:
        return _general(path, block)
    except BlushError as error:
        named = Problem(f"names that file as {key}", "give back both as RELION wrote them", str(optimiser_file))
        raise BlushError("cannot read the tables of the refinement", [*error.problems, named]) from None


def _general(path: Path, block: str) -> Table:
    return read_star(path).get(block, {})


def _positive(table: Table, key: str, file: Path) -> float:
    """A number above 0 of these tables.

    Raises
    ------
    BlushError
        Where it is missing or none.
    """
    value = _number(table, key, file)
    if value <= 0:
        raise _no_number(table, key, file)
    return value


def _number(table: Table, key: str, file: Path) -> float:
    """A number of these tables, no larger than a 32-bit integer.

    Raises
    ------
    BlushError
        Where it is missing or none.
    """
    _value(table, key, file)
    value = float(numbers(table, key, 0.0, "general", file, [])[0])
    if not abs(value) < _LARGEST:
        raise _no_number(table, key, file)
    return value


def _no_number(table: Table, key: str, file: Path) -> BlushError:
    remedy = "give back the table as RELION wrote it"
    found = shown(table[key][0]).encode("ascii", "backslashreplace").decode()
    problem = Problem(f"it or a table it names holds no such number as {key}", remedy, str(file), value=found)
    return BlushError("cannot read the tables of the refinement", [problem])


def _value(table: Table, key: str, file: Path) -> Any:
    if key not in table or not len(table[key]):
        problem = Problem(
            f"neither it nor a table it names has {key}", "give back the table as RELION wrote it", str(file)
        )
        raise BlushError("cannot read the tables of the refinement", [problem])
    return table[key][0]
