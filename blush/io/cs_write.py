"""Particles as a table of cryoSPARC, with the file that lets it import them as a result (docs/cryosparc.md)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xxhash

from blush.errors import Problem
from blush.io.cs_poses import pose_from_euler
from blush.io.cs_table import UID
from blush.io.files import atomic_write
from blush.io.particles import ParticleSet
from blush.io.star import Table

_CTF = (
    "accel_kv", "cs_mm", "amp_contrast", "df1_A", "df2_A", "df_angle_rad", "phase_shift_rad", "scale", "scale_const",
    "bfactor",
)  # fmt: skip
_CTF_VECTORS = {"shift_A": 2, "tilt_A": 2, "trefoil_A": 2, "tetra_A": 4, "anisomag": 4}
_FIT = (
    "error", "error_min", "resid_pow", "slice_pow", "image_pow", "cross_cor", "alpha", "alpha_min", "weight",
    "pose_ess", "shift_ess", "class_posterior", "class_ess",
)  # fmt: skip
_ONES = ("ctf/scale", "alignments3D/alpha", "alignments3D/class_posterior", "alignments3D/class_ess")
_MIX = tuple(np.uint64(one) for one in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
"""Constants of SplitMix64 (Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195)."""
_VERSION = "v4.0.0"


def refused_for_cs(particles: ParticleSet, star: Path, leave_out_aberrations: bool) -> list[Problem]:
    """What a table of cryoSPARC cannot say of these particles, or says in signs that are not published."""
    problems = []
    for group in (particles.optics[index] for index in np.unique(particles.optics_index)):
        where = f"data_optics {group.name!r}"
        if group.ctf_premultiplied:
            remedy = "extract the particles again without it"
            message = "images are multiplied by their CTF, which a .cs file cannot say"
            problems.append(Problem(message, remedy, str(star), where))
        terms = (group.beam_tilt_x_mrad, group.beam_tilt_y_mrad, *group.odd_zernike, *group.even_zernike)
        if any(terms) and not leave_out_aberrations:
            remedy = "import the STAR file itself in cryoSPARC, or add --leave-out-aberrations and fit them there"
            message = "has beam tilt or aberrations, which cannot be converted"
            problems.append(Problem(message, remedy, str(star), where))
    return problems


def cs_rows(particles: ParticleSet, table: Table, paths: Sequence[str]) -> np.ndarray:
    """Rows of a table of cryoSPARC.

    Parameters
    ----------
    table
        All columns of the particles; the uid of an earlier table of cryoSPARC and the class are taken of them.
    paths
        Path of each stack, as the table is to say it.

    Returns
    -------
    (n,) structured, with the slots blob and ctf, and alignments3D where the particles have poses.
    """
    n, group = len(particles), particles.optics_index
    optics = {
        name: np.array([getattr(one, name) for one in particles.optics])[group]
        for name in ("pixel_size_angst", "box_px", "voltage_kv", "spherical_aberration_mm", "amplitude_contrast")
    }
    columns: dict[str, np.ndarray] = {
        "uid": _uids(particles, table),
        "blob/path": np.array([path.encode("utf-8", "surrogateescape") for path in paths])[particles.stack_index],
        "blob/idx": particles.image_index,
        "blob/shape": np.stack([optics["box_px"]] * 2, 1),
        "blob/psize_A": optics["pixel_size_angst"],
        "blob/sign": particles.image_sign,
        "blob/import_sig": np.zeros(n),
        "ctf/type": np.full(n, b"imported"),
        "ctf/exp_group_id": group,
        "ctf/accel_kv": optics["voltage_kv"],
        "ctf/cs_mm": optics["spherical_aberration_mm"],
        "ctf/amp_contrast": optics["amplitude_contrast"],
        "ctf/df1_A": particles.defocus_u_angst,
        "ctf/df2_A": particles.defocus_v_angst,
        "ctf/df_angle_rad": np.deg2rad(particles.defocus_angle_deg),
        "ctf/phase_shift_rad": np.deg2rad(particles.phase_shift_deg),
        "ctf/scale": particles.ctf_scale,
        "ctf/bfactor": particles.ctf_bfactor,
    }
    if particles.has_poses:
        euler = np.stack([particles.rot_deg, particles.tilt_deg, particles.psi_deg], 1)
        origin = np.stack([particles.offset_x_angst, particles.offset_y_angst], 1)
        columns |= {
            "alignments3D/split": particles.half.clip(1) - 1,
            "alignments3D/shift": origin / optics["pixel_size_angst"][:, None],
            "alignments3D/pose": pose_from_euler(euler),
            "alignments3D/psize_A": optics["pixel_size_angst"],
            "alignments3D/class": _classes(table, n),
        }
    kinds = _kinds(len(max(columns["blob/path"].tolist(), key=len, default=b"x")), particles.has_poses)
    rows = np.zeros(n, dtype=kinds)
    for name in rows.dtype.names or ():
        rows[name] = columns[name] if name in columns else float(name in _ONES)
    return rows


def _kinds(longest_path: int, has_poses: bool) -> list[tuple[str, str] | tuple[str, str, tuple[int]]]:
    """Fields in the order in which cryoSPARC writes them, with their types."""
    fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = [
        ("uid", "<u8"), ("blob/path", f"|S{longest_path}"), ("blob/idx", "<u4"), ("blob/shape", "<u4", (2,)),
        ("blob/psize_A", "<f4"), ("blob/sign", "<f4"), ("blob/import_sig", "<u8"), ("ctf/type", "|S9"),
        ("ctf/exp_group_id", "<u4"),
    ]  # fmt: skip
    fields += [(f"ctf/{name}", "<f4") for name in _CTF]
    fields += [(f"ctf/{name}", "<f4", (width,)) for name, width in _CTF_VECTORS.items()]
    if has_poses:
        fields += [
            ("alignments3D/split", "<u4"),
            ("alignments3D/shift", "<f4", (2,)),
            ("alignments3D/pose", "<f4", (3,)),
        ]
        fields += [("alignments3D/psize_A", "<f4"), *((f"alignments3D/{name}", "<f4") for name in _FIT)]
        fields += [("alignments3D/class", "<u4")]
    return fields


def _classes(table: Table, n: int) -> np.ndarray:
    """Classes from 0."""
    column = table.get("rlnClassNumber", np.ones(n))
    return (column.astype(np.float64) - 1).clip(0).astype(np.int64) if column.dtype.kind in "iuf" else np.zeros(n)


def _uids(particles: ParticleSet, table: Table) -> np.ndarray:
    """The uid of an earlier table of cryoSPARC; else one that follows from file, image and how often it was listed."""
    known = table.get(UID)
    if known is not None:
        texts = [str(one) for one in known]
        if all(one.isdecimal() and len(one) <= 20 and int(one) < 2**64 for one in texts):
            uid = np.array([int(one) for one in texts], dtype=np.uint64)
            if len(np.unique(uid)) == len(uid):
                return uid
    stacks = np.array(
        [xxhash.xxh3_64_intdigest(os.fsencode(Path(one).name)) for one in particles.stacks], dtype=np.uint64
    )
    order = np.lexsort((np.arange(len(particles)), particles.image_index, particles.stack_index))
    stack, image = particles.stack_index[order], particles.image_index[order]
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = (stack[1:] != stack[:-1]) | (image[1:] != image[:-1])
    starts = np.flatnonzero(is_new)
    copy = np.empty(len(order), dtype=np.uint64)
    copy[order] = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    place = (particles.image_index.astype(np.uint64) << np.uint64(20)) + copy
    mixed = stacks[particles.stack_index] + (place + np.uint64(1)) * _MIX[0]
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX[1]
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX[2]
    uids: np.ndarray = mixed ^ (mixed >> np.uint64(31))
    return uids


def write_cs(path: Path, rows: np.ndarray, description: str) -> Path:
    """Write a table of cryoSPARC, and beside it the `.csg` that describes it as a group of results.

    Equal rows give equal bytes.

    Returns
    -------
    The `.csg`.
    """
    with atomic_write(path) as beside, beside.open("wb") as stream:
        np.lib.format.write_array(stream, rows, version=(1, 0), allow_pickle=False)
    slots = sorted({name.partition("/")[0] for name in rows.dtype.names or () if "/" in name})
    group = path.with_suffix(".csg")
    with atomic_write(group) as beside:
        beside.write_text(_group({slot: len(rows) for slot in slots}, path.name, description), encoding="utf-8")
    return group


def _group(slots: Mapping[str, int], name: str, description: str) -> str:
    """YAML of a group of particles as cryoSPARC exports it; `>` says that the table lies beside it."""
    lines = ["created: 2000-01-01 00:00:00.000000", "group:", f"  description: {description}", "  name: particles"]
    lines += ["  title: Particles", "  type: particle", "results:"]
    for slot, n in slots.items():
        lines += [f"  {slot}:", f"    metafile: '>{name}'", f"    num_items: {n}", f"    type: particle.{slot}"]
    return "\n".join([*lines, f"version: {_VERSION}", ""])
