"""RELION's tables of a multi-body refinement: poses of every body in every image, and what is known of each body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from blush.io.star import Table
from blush.refine.model_star import NOT_MEASURED, Blocks, abscissa, known
from blush.refine.record import Floats
from blush.refine.state import State


@dataclass(frozen=True, eq=False)
class BodyTable:
    """One body as RELION writes it.

    Attributes
    ----------
    map_name
        Its map, as it is to be written.
    state
        What is known of it in the end.
    axis
        (3,) rlnBodyRotateDirection.
    angles_deg, offset_angst
        (n, 3) residual rot, tilt and psi, and (n, 2) offsets, of RELION's conventions.
    norm_correction
        (n,)
    """

    map_name: str
    state: State
    refined: bool
    axis: Floats
    angles_deg: Floats
    offset_angst: Floats
    norm_correction: Floats


def bodies_data_blocks(blocks: Mapping[str, Table], bodies: Sequence[BodyTable]) -> dict[str, Table]:
    """Blocks of a `_data.star`: optics and particles as the consensus had them, and a table of poses for each body."""
    found: dict[str, Table] = dict(blocks)
    for number, body in enumerate(bodies, start=1):
        names = ("rlnOriginXAngst", "rlnOriginYAngst", "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
        columns = (*body.offset_angst.T, *body.angles_deg.T)
        found[f"images_body_{number}"] = {
            **dict(zip(names, columns, strict=True)),
            "rlnNormCorrection": body.norm_correction,
        }
    return found


def bodies_model_blocks(of_one: Mapping[str, Any], bodies: Sequence[BodyTable]) -> Blocks:
    """Blocks of a `_model.star`.

    Parameters
    ----------
    of_one
        Those of the model of the first body, from which what all share is taken.
    """
    shared = {name: table for name, table in of_one.items() if "class" not in name}
    general = {name: np.asarray(value).flat[0] for name, value in of_one["model_general"].items()}
    shared["model_general"] = general | {"rlnNrBodies": len(bodies), "rlnNrClasses": 1}
    states = [body.state.references for body in bodies]
    table = {
        "rlnReferenceImage": np.array([body.map_name for body in bodies], dtype=object),
        "rlnClassDistribution": np.ones(len(bodies)),
        "rlnAccuracyRotations": np.array([known(one.best_accuracy_rotation_deg) for one in states]),
        "rlnAccuracyTranslationsAngst": np.array([known(one.best_accuracy_offset_angst) for one in states]),
        "rlnEstimatedResolution": np.array([float(one.resolution_angst.min(initial=NOT_MEASURED)) for one in states]),
        "rlnOverallFourierCompleteness": np.ones(len(bodies)),
        **{
            f"rlnBodyRotateDirection{name}": np.array([body.axis[i] for body in bodies]) for i, name in enumerate("XYZ")
        },
        "rlnBodyKeepFixed": np.array([int(not body.refined) for body in bodies]),
    }
    ordered: Blocks = {"model_general": shared.pop("model_general"), "model_bodies": table}
    ordered |= {f"model_body_{number}": _spectra(body.state) for number, body in enumerate(bodies, start=1)}
    ordered |= shared
    pdf = of_one.get("model_pdf_orient_class_1")
    return ordered | ({} if pdf is None else {f"model_pdf_orient_body_{n}": pdf for n in range(1, len(bodies) + 1)})


def _spectra(state: State) -> dict[str, Any]:
    known = state.references
    return {
        **abscissa(state.facts),
        "rlnSsnrMap": known.ssnr[0],
        "rlnGoldStandardFsc": known.fsc[0],
        "rlnReferenceSigma2": known.sigma2_ref.mean(0)[0],
        "rlnReferenceTau2": known.tau2.mean(0)[0],
    }
