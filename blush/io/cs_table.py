"""A particle table of cryoSPARC as the blocks `optics` and `particles` of a STAR file (docs/cryosparc.md).

Values are rounded to the six decimals that STAR files are written with: a table and its STAR file are the same numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from blush.errors import Problem
from blush.io.columns import row_problems
from blush.io.cs_aberrations import check_aberrations
from blush.io.cs_fields import CsOptions, Fields, passthrough_files, read_cs_fields
from blush.io.cs_filaments import filament_columns
from blush.io.cs_poses import euler_from_pose
from blush.io.optics import IMAGE_SIGN
from blush.io.star_parse import Table

BLOCK = "table"
UID = "blushCryosparcUid"
_DECIMALS = 6
_WIDTHS: dict[str, int] = {
    "blob/path": 0, "blob/idx": 0, "blob/psize_A": 0, "ctf/accel_kv": 0, "ctf/cs_mm": 0, "ctf/amp_contrast": 0,
    "ctf/df1_A": 0, "ctf/df2_A": 0, "ctf/df_angle_rad": 0, "ctf/phase_shift_rad": 0, "ctf/bfactor": 0, "ctf/scale": 0,
    "ctf/exp_group_id": 0, "blob/sign": 0, "blob/shape": 2, "ctf/shift_A": 2, "ctf/tilt_A": 2, "ctf/trefoil_A": 2,
    "ctf/tetra_A": 4, "ctf/anisomag": 4, "location/micrograph_path": 0, "micrograph_blob/path": 0,
    "location/micrograph_uid": 0, "filament/filament_uid": 0, "filament/filament_pose": 0, "filament/position_A": 0,
    "location/center_x_frac": 0, "location/center_y_frac": 0, "location/micrograph_shape": 2,
}  # fmt: skip
"""Numbers in each row of a field; 0 for one alone."""
_REQUIRED = tuple(_WIDTHS)[:9]
_POSE_WIDTHS = {"pose": 3, "shift": 2, "psize_A": 0, "split": 0, "class": 0, "class_posterior": 0}
_WHOLE = {"uid", "idx", "shape", "exp_group_id", "micrograph_uid", "filament_uid", "split", "class"}
"""Last parts of the names of fields that hold whole numbers."""
_NO_PATH = re.compile(rb"[\x00-\x1f\x7f]|'.*\"|\".*'", re.DOTALL)
"""Control characters, and both kinds of quotes: STAR files cannot hold them."""
_POSED = re.compile(r"(alignments3D|alignments_class_(\d{1,4}))/(\w+)")
_WORDS = {
    "rlnImageName": "blob/path", "rlnImageSize": "blob/shape", "rlnImagePixelSize": "blob/psize_A",
    IMAGE_SIGN: "blob/sign", "rlnVoltage": "ctf/accel_kv", "rlnSphericalAberration": "ctf/cs_mm",
    "rlnAmplitudeContrast": "ctf/amp_contrast", "rlnDefocusU": "ctf/df1_A", "rlnDefocusV": "ctf/df2_A",
    "rlnDefocusAngle": "ctf/df_angle_rad", "rlnPhaseShift": "ctf/phase_shift_rad", "rlnCtfBfactor": "ctf/bfactor",
    "rlnCtfScalefactor": "ctf/scale", "rlnRandomSubset": "alignments3D/split", "rlnHelicalTubeID": "filament_uid",
    "rlnHelicalTrackLengthAngst": "filament/position_A", "rlnAnglePsiPrior": "filament/filament_pose",
    "rlnAngleRot": "alignments3D/pose", "rlnAngleTilt": "pose", "rlnAnglePsi": "pose",
    "rlnOriginXAngst": "alignments3D/shift", "rlnOriginYAngst": "shift", "data_particles": "table",
    "data_optics": "exposure groups",
}  # fmt: skip
"""Words of STAR files that checks use, and what stands for them in a table of cryoSPARC."""
_WORD = re.compile("|".join(sorted(_WORDS, key=len, reverse=True)))


def is_cs(path: Path | str) -> bool:
    """Whether a file is a table of cryoSPARC, or a group of them, by its name."""
    return Path(path).suffix in (".cs", ".csg")


def in_cs_words(problems: Sequence[Problem]) -> list[Problem]:
    """The same mistakes, with fields of cryoSPARC for columns of STAR files."""

    def told(text: str | None) -> str | None:
        return None if text is None else _WORD.sub(lambda found: _WORDS[found[0]], text)

    return [
        replace(one, message=told(one.message) or "", remedy=told(one.remedy) or "", where=told(one.where))
        for one in problems
    ]


def read_cs(
    path: Path, options: CsOptions, problems: list[Problem], warnings: list[Problem] | None = None
) -> dict[str, Table]:
    """Read a particle table of cryoSPARC with its passthrough files.

    Parameters
    ----------
    problems, warnings
        Mistakes and what is seldom meant are appended to them.

    Returns
    -------
    `optics`, one group for each exposure group, and `particles`; {} where the table has too many mistakes to go on.

    Raises
    ------
    BlushError
        A file cannot be read.
    """
    fields = read_cs_fields(path, passthrough_files(path, options), problems)
    missing = [name for name in _REQUIRED if name not in fields]
    if missing:
        setting = "cryosparc: {passthrough: [...]} in the configuration, or --passthrough of `blush init` and "
        remedy = f"put the passthrough file of its job beside it, or name it: {setting}`blush export-star`"
        problems.append(Problem(f"has no {', '.join(missing)}", remedy, str(path)))
    if missing or _of_other_shapes(fields, path, problems) or problems:
        return {}
    refused, left_out = check_aberrations(fields, path, options.leave_out_aberrations)
    problems += refused
    noted = [*left_out, *_sign_notes(fields, path, problems)]
    optics, group = _optics(fields)
    table: Table = {
        "rlnImageName": _image_names(fields, options.project),
        **_micrographs(fields),
        "rlnOpticsGroup": group + 1,
        **_ctf(fields),
        **_poses(fields, path, problems, noted),
    }
    table |= filament_columns(fields)
    if "uid" in fields:
        table[UID] = _texts(fields["uid"].astype(str))
    if warnings is not None:
        warnings += noted
    return {"optics": optics, "particles": table}


def _of_other_shapes(fields: Fields, path: Path, problems: list[Problem]) -> bool:
    """Append a problem for each field that is of another kind or length than it should be."""
    before = len(problems)
    for name, column in fields.items():
        posed = _POSED.fullmatch(name)
        width = _POSE_WIDTHS.get(posed[3]) if posed else _WIDTHS.get(name)
        if width is None:
            continue
        last = name.partition("/")[2]
        kinds = "S" if last.endswith("path") else "iu" if last in _WHOLE else "iuf"
        if column.shape[1:] != ((width,) if width else ()) or column.dtype.kind not in kinds:
            value = f"{column.dtype} of the shape {column.shape[1:]}"
            remedy = "give the file as cryoSPARC wrote it"
            problems.append(Problem("is not what this field holds", remedy, str(path), name, value))
        elif kinds == "S" and (odd := [one for one in np.unique(column).tolist() if _NO_PATH.search(one)]):
            problems.append(
                Problem("is no path", "rename the file, or restore the table", str(path), name, str(odd[0]))
            )
    return len(problems) > before


def _sign_notes(fields: Fields, path: Path, problems: list[Problem]) -> list[Problem]:
    """What to know of images that are multiplied by -1; a sign of another size is refused."""
    sign = fields.get("blob/sign")
    if sign is None:
        return []
    bad = np.flatnonzero(abs(sign) != 1)
    problems += row_problems(bad, sign[bad], "blob/sign is neither 1 nor -1", "correct it", path, BLOCK)
    dark = int(np.count_nonzero(sign == -1))
    if not dark:
        return []
    remedy = "expected of cryoSPARC's own stacks; invert them for programs that read the stacks themselves"
    message = "images are dark on bright (blob/sign -1), and are multiplied by -1 whenever they are read here"
    return [Problem(message, remedy, str(path), "blob/sign", f"{dark} of {len(sign)} rows")]


def _rounded(values: np.ndarray) -> np.ndarray:
    """Numbers as a STAR file keeps them."""
    rounded: np.ndarray = np.round(values.astype(np.float64), _DECIMALS)
    return rounded + 0.0  # -0.0 and 0.0 are one number, written in two ways


def _texts(values: np.ndarray) -> np.ndarray:
    """A text column."""
    return values.astype(object)


def _decoded(paths: np.ndarray) -> np.ndarray:
    """Paths as text, without the mark that makes them relative."""
    known, row = np.unique(paths, return_inverse=True)
    texts = [one.decode("utf-8", "surrogateescape").removeprefix(">") for one in known.tolist()]
    return np.array(texts, dtype=object)[row.reshape(-1)]


def _image_names(fields: Fields, project: Path | None) -> np.ndarray:
    """`000001@stack`: paths as they are, or below the folder of the project that is given."""
    paths = _decoded(fields["blob/path"])
    if project is not None:
        placed = {path: str(project / path) for path in dict.fromkeys(paths)}
        paths = np.array([placed[path] for path in paths], dtype=object)
    pairs = zip(fields["blob/idx"].tolist(), paths, strict=True)
    return np.array([f"{index + 1:06d}@{path}" for index, path in pairs], dtype=object)


def _micrographs(fields: Fields) -> Table:
    """Names of micrographs, where the table says which image is of which."""
    for name in ("location/micrograph_path", "micrograph_blob/path"):
        if name in fields and fields[name].astype(bool).all():
            return {"rlnMicrographName": _decoded(fields[name])}
    if "location/micrograph_uid" in fields:
        return {"rlnMicrographName": _texts(fields["location/micrograph_uid"].astype(str))}
    return {}


def _optics(fields: Fields) -> tuple[Table, np.ndarray]:
    """Optics groups in the order of their exposure groups, and the group of each row, from 0."""
    n = len(fields["blob/idx"])
    shape = fields.get("blob/shape", np.zeros((n, 2)))
    columns = {
        "number": fields.get("ctf/exp_group_id", np.zeros(n)).astype(np.float64),
        "rlnVoltage": _rounded(fields["ctf/accel_kv"]),
        "rlnSphericalAberration": _rounded(fields["ctf/cs_mm"]),
        "rlnAmplitudeContrast": _rounded(fields["ctf/amp_contrast"]),
        "rlnImagePixelSize": _rounded(fields["blob/psize_A"]),
        "rlnImageSize": shape[:, 1].astype(np.float64),
        IMAGE_SIGN: fields.get("blob/sign", np.ones(n)).astype(np.float64),
    }
    known, first, group = np.unique(np.stack(list(columns.values()), 1), axis=0, return_index=True, return_inverse=True)
    numbering = np.arange(1, len(known) + 1)
    optics: Table = {
        "rlnOpticsGroup": numbering,
        "rlnOpticsGroupName": _texts(np.array([f"exposureGroup{number:g}" for number in known[:, 0]])),
        **{name: column[first] for name, column in columns.items() if name != "number"},
        "rlnImageDimensionality": np.full(len(known), 2),
    }
    for name in ("rlnImageSize", IMAGE_SIGN):
        optics[name] = np.nan_to_num(optics[name]).clip(-(2**31), 2**31).astype(np.int64)
    if not optics["rlnImageSize"].all():
        del optics["rlnImageSize"]  # as the stacks have it
    if (optics[IMAGE_SIGN] == 1).all():
        del optics[IMAGE_SIGN]
    return optics, group.reshape(-1)


def _ctf(fields: Fields) -> Table:
    """What differs from image to image; envelope, scale and phase shift where they say something."""
    table: Table = {
        "rlnDefocusU": _rounded(fields["ctf/df1_A"]),
        "rlnDefocusV": _rounded(fields["ctf/df2_A"]),
        "rlnDefocusAngle": _rounded(np.rad2deg(fields["ctf/df_angle_rad"].astype(np.float64))),
    }
    if (shift := fields.get("ctf/phase_shift_rad", np.zeros(0))).any():
        table["rlnPhaseShift"] = _rounded(np.rad2deg(shift.astype(np.float64)))
    if (bfactor := fields.get("ctf/bfactor", np.zeros(0))).any():
        table["rlnCtfBfactor"] = _rounded(bfactor)
    if (fields.get("ctf/scale", np.ones(1)) != 1).any():
        table["rlnCtfScalefactor"] = _rounded(fields["ctf/scale"])
    return table


def _poses(fields: Fields, path: Path, problems: list[Problem], noted: list[Problem]) -> Table:
    """Angles, origins, halves and classes, where the table has alignments in three dimensions."""
    found = _chosen_alignments(fields)
    if found is None:
        return {}
    pose, shift = found["pose"].astype(np.float64), found["shift"].astype(np.float64)
    pixel = found.get("psize_A", fields["blob/psize_A"]).astype(np.float64)
    for name, values in (("pose", pose), ("shift", shift), ("psize_A", pixel[:, None])):
        bad = np.flatnonzero(~np.isfinite(values).all(1) | (abs(values) > 1e6).any(1))
        shown = [str(row) for row in values[bad].tolist()]
        message = f"alignments3D/{name} is no number of a pose"
        problems += row_problems(bad, shown, message, "remove the row, or refine again", path, BLOCK)
        values[bad] = 0
    euler, origin = euler_from_pose(pose), shift * pixel[:, None]
    names = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
    table: Table = {name: _rounded(euler[:, axis]) for axis, name in enumerate(names)}
    table |= {"rlnOriginXAngst": _rounded(origin[:, 0]), "rlnOriginYAngst": _rounded(origin[:, 1])}
    if "class" in found:
        table["rlnClassNumber"] = found["class"].astype(np.int64) + 1
    split = found.get("split")
    if split is not None and len(np.unique(split)) > 1:
        table["rlnRandomSubset"] = split.astype(np.int64) + 1
    elif split is not None:
        remedy = "expected after a job without half-sets; else give the table of the refinement"
        message = "all rows are of one split, so half-sets are drawn anew"
        noted.append(Problem(message, remedy, str(path), "alignments3D/split"))
    return table


def _chosen_alignments(fields: Fields) -> Fields | None:
    """Alignments of each row, by the last part of their names: those of its most probable class, if there are several.

    None where the table has no poses.
    """
    if {"alignments3D/pose", "alignments3D/shift"} <= fields.keys():
        return {name: fields[f"alignments3D/{name}"] for name in _POSE_WIDTHS if f"alignments3D/{name}" in fields}
    numbers = sorted({int(found[2]) for name in fields if (found := _POSED.fullmatch(name)) and found[2] is not None})
    starts = [f"alignments_class_{number}" for number in numbers]
    needed = ("pose", "shift", "class_posterior") if len(starts) > 1 else ("pose", "shift")
    if not starts or any(f"{start}/{name}" not in fields for start in starts for name in needed):
        return None
    best = np.zeros(len(fields["blob/idx"]), dtype=np.int64)
    if len(starts) > 1:
        posterior = np.stack([fields[f"{start}/class_posterior"] for start in starts])
        best = np.nan_to_num(posterior.astype(np.float64)).argmax(0)
    names = [name for name in _POSE_WIDTHS if all(f"{start}/{name}" in fields for start in starts)]
    rows = np.arange(len(best))
    chosen = {name: np.stack([fields[f"{start}/{name}"] for start in starts])[best, rows] for name in names}
    return {**chosen, "class": np.array(numbers)[best]}
