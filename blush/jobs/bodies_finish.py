"""After the last iteration of all bodies: the record of their motions, RELION's maps and tables, summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blush.bodies.motions import BodyMotions, exponential, mask_extent, right_jacobian, write_motions
from blush.config.multibody import Body
from blush.errors import BlushError
from blush.geometry.bodies import (
    BodyExtent,
    body_axis,
    body_frame,
    body_motion,
    relion_offset,
    residual_euler,
    seen_shift,
)
from blush.geometry.rotation import matrix_from_euler
from blush.io.bodies import write_bodies
from blush.io.files import load_npz, read_json, write_json
from blush.io.mrc import read_volume, write_volume
from blush.io.particles import POSE
from blush.io.star import read_star, write_star
from blush.jobs.body_import import moved
from blush.jobs.body_runs import BodyFacts, body_mask, body_root, read_bodies
from blush.jobs.inputs import environment, latest_state, read_config, read_frozen_particles, read_plan
from blush.jobs.layout import RunFolder, Stopwatch
from blush.jobs.outputs import imported_blocks
from blush.jobs.sealed import checked, note
from blush.jobs.summary import origin
from blush.refine.bodies_star import BodyTable, bodies_data_blocks, bodies_model_blocks
from blush.refine.control import BodyControl
from blush.refine.outputs import named
from blush.refine.record import Floats
from blush.refine.schedule import angular_step_deg
from blush.refine.state import State, load_state
from blush.refine.subset import HALVES, Subset

MOTIONS = "motions.npz"


@dataclass(frozen=True, eq=False)
class Finished:
    """One body at the end of a run.

    Attributes
    ----------
    columns
        Those of its poses, in import order.
    before
        State from which the iteration ran that left them: its prior and its grids.
    """

    index: int
    facts: BodyFacts
    folder: RunFolder
    state: State
    columns: dict[str, Any]
    before: State

    @property
    def mark(self) -> str:
        """What marks its files beside those of the run."""
        return f"body{self.index + 1:03d}"

    def pose(self) -> tuple[Tensor, Tensor]:
        """(n, 3, 3) rotations and (n, 2) origins in Å of the body about its centre."""
        values = torch.from_numpy(np.stack([self.columns[name] for name in POSE], 1))
        return matrix_from_euler(values[:, :3]), values[:, 3:]


def finish(root: Path) -> Path:
    """Write motions, maps and tables of all bodies, and the summary.

    Raises
    ------
    BlushError
        If a body has not finished.
    """
    folder, watch = RunFolder(root), Stopwatch()
    environment(read_config(root))
    bodies = [_finished(root, index, facts) for index, facts in enumerate(read_bodies(root))]
    write_motions(root / MOTIONS, motions_of(root, bodies))
    made = [root / MOTIONS, *_write_maps(folder, bodies), *_write_tables(folder, bodies)]
    summary = root / "summary.json"
    write_json(summary, _summary(folder, bodies))
    note(folder, [*made, summary])
    folder.log(stage="finish", done=1, total=1, **watch.read())
    return summary


def _finished(root: Path, index: int, facts: BodyFacts) -> Finished:
    folder = RunFolder(body_root(root, index))
    state = latest_state(folder.root)
    if state is None or (facts.refine and not state.converged):
        raise BlushError(f"body {facts.name} has not finished refining; run the same command again to continue it")
    columns = load_npz(checked(folder, folder.poses(state.iteration)))
    before = load_state(checked(folder, folder.state(max(state.iteration - 1, 0))))
    return Finished(index, facts, folder, state, columns, before)


def motions_of(root: Path, bodies: Sequence[Finished]) -> BodyMotions:
    """What every body did in every image: the mean of its posterior, and how wide that is."""
    particles, plan = read_frozen_particles(root), read_plan(root)
    euler = np.stack([particles.rot_deg, particles.tilt_deg, particles.psi_deg], 1)
    half = np.zeros(len(particles), dtype=np.int64)
    for subset, rows in zip(plan.subsets, plan.rows, strict=True):
        half[rows] = subset.value
    pixel = particles.optics[0].pixel_size_angst
    whole, found = RunFolder(root), [_of_posterior(body) for body in bodies]
    masks = (read_volume(checked(whole, body_mask(root, body.index)))[0] for body in bodies)
    centres = np.array([body.facts.centre_px for body in bodies], dtype=np.float64) * pixel
    extents = [mask_extent(mask, centre, pixel) for mask, centre in zip(masks, centres, strict=True)]
    return BodyMotions(
        names=tuple(body.facts.name for body in bodies),
        centre_angst=centres,
        refined=np.array([body.facts.refine for body in bodies]),
        volume_angst3=np.array([volume for volume, _, _ in extents]),
        middle_angst=np.stack([middle for _, middle, _ in extents]),
        spread_angst2=np.stack([spread for _, _, spread in extents]),
        prior=np.stack([body.before.control_of(BodyControl).motion for body in bodies], 1),
        views=matrix_from_euler(torch.from_numpy(euler)).numpy(),
        rotations=np.stack([rotations for rotations, _, _ in found]),
        shift_angst=np.stack([shift for _, shift, _ in found]),
        covariance=np.stack([covariance for _, _, covariance in found]),
        grid=np.stack([_cell(body.before) if body.facts.refine else np.zeros(5) for body in bodies]),
        half=half,
    )


def _of_posterior(body: Finished) -> tuple[Floats, Floats, Floats]:
    """Rotations (n, 3, 3), seen shifts (n, 2), and their covariance with the rotation turned from the right."""
    mean, square = body.columns["motion_mean"], body.columns["motion_square"]
    jacobian = np.zeros((len(mean), 5, 5))
    jacobian[:, :3, :3], jacobian[:, 3:, 3:] = right_jacobian(mean[:, :3]), np.eye(2)
    covariance = at_least(square - mean[:, :, None] * mean[:, None], _cell(body.before))
    return exponential(mean[:, :3]), mean[:, 3:], jacobian @ covariance @ jacobian.transpose(0, 2, 1)


def at_least(covariance: Floats, variance: Floats) -> Floats:
    """Covariances (n, d, d) with no direction in which they are less than variances (d,): a sample stands for its cell.

    Sums over the samples of a Gaussian are those of the Gaussian itself once it is as wide as its cell (0.3 steps).
    """
    scale = np.sqrt(variance)
    values, axes = np.linalg.eigh(covariance / (scale[:, None] * scale))
    wide: Floats = (axes * np.maximum(values, 1)[:, None, :]) @ axes.swapaxes(1, 2) * (scale[:, None] * scale)
    return wide


def _cell(state: State) -> Floats:
    """(5,) variances of what is evenly spread over a cell of the fine grids."""
    search = state.search
    step = np.deg2rad(angular_step_deg(search.healpix_order, search.oversampling))
    return np.array([step, step, step, *[search.offset_step_angst / 2**search.oversampling] * 2]) ** 2 / 12


def _write_maps(folder: RunFolder, bodies: Sequence[Finished]) -> list[Path]:
    """Maps, half-maps and masks of all bodies in the frame of the consensus, by RELION's names."""
    made = []
    for body in bodies:
        x, y, z = body.facts.centre_px
        pixel, sources = body.state.facts.pixel_size_angst, _maps_of(body)
        for name, source in sources.items():
            volume = torch.from_numpy(read_volume(checked(body.folder, source))[0])
            made.append(folder.root / name)
            write_volume(made[-1], moved(volume, (-x, -y, -z)).numpy(), pixel)
        made.append(folder.root / f"run_{body.mark}_mask.mrc")
        write_volume(made[-1], read_volume(checked(folder, body_mask(folder.root, body.index)))[0], pixel)
    return made


def _maps_of(body: Finished) -> dict[str, Path]:
    """Files of a body's maps by their names in the folder of the run; of one that is not refined, the consensus."""
    if not body.facts.refine:
        return {f"run_{body.mark}.mrc": body.folder.imported / "reference.mrc"}
    halves = {f"run_{half.infix}_{body.mark}_unfil.mrc": body.folder.map(None, half, "unfiltered") for half in HALVES}
    return {f"run_{body.mark}.mrc": body.folder.map(None, Subset.ALL, "final")} | halves


def _write_tables(folder: RunFolder, bodies: Sequence[Finished]) -> list[Path]:
    """`run_data.star`, `run_model.star` and `run_bodies.star` as RELION 3.1 and later have them.

    RELION knows no fulcrum: its bodies turn about the centroids of their masks, and so do those of its tables.
    """
    particles, root = read_frozen_particles(folder.root), folder.root
    pixel = particles.optics[0].pixel_size_angst
    euler = torch.from_numpy(np.stack([particles.rot_deg, particles.tilt_deg, particles.psi_deg], 1))
    origin_angst = torch.from_numpy(np.stack([particles.offset_x_angst, particles.offset_y_angst], 1))
    view = matrix_from_euler(euler)
    centres = torch.stack([_centroid_px(folder, body) for body in bodies]) * pixel
    tables = []
    for body, centre in zip(bodies, centres, strict=True):
        partner = None if body.facts.hinge_with is None else centres[body.facts.hinge_with]
        axis = _axis(centre, partner, body.facts.name)
        turned, origin_of_body = body.pose()
        own = torch.tensor(body.facts.centre_px, dtype=torch.float64) * pixel
        origin_of_body = origin_of_body - seen_shift(turned, centre - own)
        rotation, _ = body_motion(view, origin_angst, turned, origin_of_body, centre)
        offset = relion_offset(view, origin_angst, origin_of_body, centre, pixel)
        angles = residual_euler(rotation, body_frame(axis))
        tables.append(
            BodyTable(
                f"{named(root)}/run_{body.mark}.mrc", body.state, body.facts.refine, axis.numpy(), angles.numpy(),
                offset.numpy(), body.columns["norm_correction"],
            )
        )  # fmt: skip
    first = next(body for body in bodies if body.facts.refine)
    model = read_star(first.folder.root / "run_model.star")
    write_star(root / "run_data.star", bodies_data_blocks(imported_blocks(root), tables))
    write_star(root / "run_model.star", bodies_model_blocks(model, tables))
    listed = [_as_listed(folder, body, bodies) for body in bodies]
    write_bodies(root / "run_bodies.star", listed, Path.cwd() if root.is_relative_to(Path.cwd()) else None)
    return [root / "run_data.star", root / "run_model.star", root / "run_bodies.star"]


def _centroid_px(folder: RunFolder, body: Finished) -> Tensor:
    """(3,) x, y, z of the centroid of a body's mask, in whole voxels."""
    mask = read_volume(checked(folder, body_mask(folder.root, body.index)))[0]
    return BodyExtent.of(torch.from_numpy(mask)).centre_px


def _axis(centre: Tensor, partner: Tensor | None, name: str) -> Tensor:
    """Axis of RELION's angles of a body; Z, which serves as well, where its centre is the point that it turns to."""
    if torch.equal(centre, torch.zeros_like(centre) if partner is None else partner):
        return torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    return body_axis(centre, partner, name)


def _as_listed(folder: RunFolder, body: Finished, bodies: Sequence[Finished]) -> Body:
    facts = body.facts
    return Body(
        name=facts.name,
        mask=folder.root / f"run_{body.mark}_mask.mrc",
        hinge_with=None if facts.hinge_with is None else bodies[facts.hinge_with].facts.name,
        sigma_rotation_deg=facts.sigma_rotation_deg,
        sigma_offset_angst=facts.sigma_offset_angst,
        refine=facts.refine,
    )


def _summary(folder: RunFolder, bodies: Sequence[Finished]) -> dict[str, Any]:
    """What a run found: of each body its resolution and how far it moves."""
    config, state = read_config(folder.root), max((body.state for body in bodies), key=lambda one: one.iteration)
    told = [_of_body(folder, body) for body in bodies]
    resolutions = [one["resolution_angst"] for one in told if one["resolution_angst"] is not None]
    reasons = {body.state.stop_reason for body in bodies if body.facts.refine}
    warnings = [f"body {one['name']}: {text}" for one in told for text in one.pop("warnings")]
    return {
        "name": config.name,
        "job": config.job,
        "resolution_angst": min(resolutions, default=None),
        "bodies": told,
        "iterations": state.iteration,
        "stop_reason": "max_iterations" if "max_iterations" in reasons else "converged",
        "particles": {"total": len(read_frozen_particles(folder.root))},
        "box_px": state.facts.box_px,
        "pixel_size_angst": state.facts.pixel_size_angst,
        "warnings": warnings,
        **origin(folder, config),
    }


def _of_body(folder: RunFolder, body: Finished) -> dict[str, Any]:
    """Plain numbers of one body."""
    known = read_json(body.folder.root / "summary.json") if body.facts.refine else {}
    motion = body.state.control_of(BodyControl).motion.mean(0)
    rotation = np.sqrt(np.linalg.eigvalsh(motion[:3, :3])[::-1])
    offset = np.sqrt(np.linalg.eigvalsh(motion[3:, 3:])[::-1])
    return {
        "name": body.facts.name,
        "refined": body.facts.refine,
        "map": f"run_{body.mark}.mrc",
        "page": f"{body.mark}/report.html" if body.facts.refine else None,
        "resolution_angst": known.get("resolution_angst"),
        "iterations": body.state.iteration,
        "motion_rotation_deg": [round(float(one), 3) for one in np.rad2deg(rotation)] if body.facts.refine else None,
        "motion_offset_angst": [round(float(one), 3) for one in offset] if body.facts.refine else None,
        "accuracy_rotation_deg": body.state.references.best_accuracy_rotation_deg,
        "warnings": known.get("warnings", []),
    }
