"""A simulated set of a molecule in bodies, on disk, with the pose of every body in every image."""

from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from blush.config.multibody import Body
from blush.fourier.filter import low_pass
from blush.geometry.bodies import body_axis, body_frame, body_pose, relion_offset, residual_euler, seen_shift
from blush.geometry.rotation import euler_from_matrix, matrix_from_euler
from blush.io.bodies import bodies_yaml, write_bodies
from blush.io.files import atomic_write, write_json
from blush.io.mrc import write_volume
from blush.io.star import Table, read_star, write_star
from blush.simulate.acquisition import Acquisition, draw_acquisition
from blush.simulate.atoms import read_unit
from blush.simulate.bodies import SimulatedBody, build_bodies
from blush.simulate.body_motions import Moved, draw_motions
from blush.simulate.images import clean_images, signal_variance
from blush.simulate.set_files import Progress, rows_of, settings_content, write_stacks, write_tables
from blush.simulate.settings import SimulateConfig
from blush.simulate.slices import Slicer

_LEAST_SIGMA_DEG, _LEAST_SIGMA_ANGST = 3, 2
"""Widths of priors in bodies.star of bodies that hardly move."""


def simulate_bodies(settings: SimulateConfig, progress: Progress) -> Path:
    """Make a particle set of a molecule in bodies.

    Beside the files of `blush.simulate.particle_set.simulate`, of which the map and mask are those of the resting
    molecule: true_map_bodyNNN.mrc and mask_bodyNNN.mrc of each body where it rests, its motion in truth.star and, as
    RELION's tables, in truth_bodies.star, and bodies.star and bodies.yaml, which describe the bodies to a refinement.

    Returns
    -------
    Path of particles.star.

    Raises
    ------
    BlushError
        Where the model, a body or a motion cannot be used.
    """
    out = settings.output
    progress("density", 0, 1)
    unit, seen = read_unit(settings.specimen), draw_acquisition(settings)
    bodies = build_bodies(unit, settings)
    moved = draw_motions(unit, bodies, settings)
    images = BodyImages(bodies, moved, seen, settings)
    diameter = max(body.particle.diameter_angst for body in bodies)
    radius_px = min(diameter / 2 / settings.imaging.pixel_size_angst, 0.49 * settings.imaging.box_px)
    variance = signal_variance(images.micrograph(0), radius_px)
    grey_scale = (settings.noise.snr / variance) ** 0.5
    _write_maps(out, bodies, grey_scale, settings)
    write_stacks(settings, images.micrograph, grey_scale, radius_px, progress)
    write_tables(out, seen, settings, _truth(bodies, moved))
    described = _described(out, bodies, moved, settings)
    write_bodies(out / "bodies.star", described)
    with atomic_write(out / "bodies.yaml") as beside:
        beside.write_text(bodies_yaml(described, out), encoding="utf-8")
    _write_relion_truth(out, bodies, described, moved, seen, settings)
    derived = {
        "bodies": [_entry(number, body, moved) for number, body in enumerate(bodies, 1)],
        "grey_scale": grey_scale,
        "particle_diameter_angst": diameter,
        "signal_variance": variance,
    }
    write_json(out / "simulation.json", {"settings": settings_content(settings), "derived": derived})
    return out / "particles.star"


class BodyImages:
    """Noise-free images: the sum of the projections of all bodies, each in its own pose.

    Parameters
    ----------
    moved
        What each body does in each image.
    seen
        Poses of the resting molecule.
    """

    def __init__(
        self, bodies: tuple[SimulatedBody, ...], moved: Moved, seen: Acquisition, settings: SimulateConfig
    ) -> None:
        self.settings = settings
        self._slicers = [Slicer(body.particle.spectrum) for body in bodies]
        self._seen = [
            _seen_body(*one, seen) for one in zip(bodies, moved.rotation, moved.displacement_angst, strict=True)
        ]

    def micrograph(self, number: int) -> Tensor:
        """Images of one micrograph, (n, N, N)."""
        rows = rows_of(number, self.settings)
        pairs = zip(self._slicers, self._seen, strict=True)
        parts = [clean_images(slicer, seen.take(rows), self.settings.imaging) for slicer, seen in pairs]
        return torch.stack(parts).sum(0)


def _seen_body(body: SimulatedBody, rotation: Tensor, displacement: Tensor, seen: Acquisition) -> Acquisition:
    """How a body is seen that turns about its own centre: its map rests in its place in the box of the molecule."""
    view = matrix_from_euler(seen.euler_deg)
    body_view, origin = body_pose(view, seen.origin_angst, rotation, seen_shift(view, displacement), body.centre_angst)
    origin = origin + seen_shift(body_view, body.centre_angst)
    return replace(seen, euler_deg=euler_from_matrix(body_view), origin_angst=origin)


def _write_maps(out: Path, bodies: tuple[SimulatedBody, ...], grey_scale: float, settings: SimulateConfig) -> None:
    """Maps and masks of the bodies and of the resting molecule, and the starting reference."""
    pixel = settings.imaging.pixel_size_angst
    volumes = [grey_scale * body.particle.volume() for body in bodies]
    for number, (body, volume) in enumerate(zip(bodies, volumes, strict=True), 1):
        write_volume(out / _map_name(number), volume.numpy(), pixel)
        write_volume(out / _mask_name(number), body.mask.numpy(), pixel)
    whole = torch.stack(volumes).sum(0)
    write_volume(out / "true_map.mrc", whole.numpy(), pixel)
    write_volume(out / "reference.mrc", low_pass(whole, settings.initial_lowpass_angst, pixel).numpy(), pixel)
    write_volume(out / "mask.mrc", torch.stack([body.particle.mask for body in bodies]).amax(0).numpy(), pixel)


def _truth(bodies: tuple[SimulatedBody, ...], moved: Moved) -> Table:
    """Columns of truth.star beside the poses: motions of every body against the resting molecule."""
    table: Table = {}
    for b in range(len(bodies)):
        turn = Rotation.from_matrix(moved.rotation[b].numpy()).as_rotvec(degrees=True)
        for axis, name in enumerate("XYZ"):
            table[f"blushBody{b + 1}Turn{name}"] = turn[:, axis]
            table[f"blushBody{b + 1}Shift{name}Angst"] = moved.displacement_angst[b, :, axis].numpy()
        if bool(moved.mode[b].any()):
            table[f"blushBody{b + 1}Mode"] = moved.mode[b].numpy()
    return table


def _described(
    out: Path, bodies: tuple[SimulatedBody, ...], moved: Moved, settings: SimulateConfig
) -> tuple[Body, ...]:
    """The bodies as a refinement is told of them, with priors as wide as the widest of their motions."""
    described = []
    for b, body in enumerate(bodies):
        partner = settings.bodies[b].rides_on or bodies[1 if b == 0 else 0].name
        turn_deg, shift_angst = _widest(moved, b)
        described.append(
            Body(
                name=body.name,
                mask=out / _mask_name(b + 1),
                hinge_with=partner,
                sigma_rotation_deg=max(_LEAST_SIGMA_DEG, ceil(turn_deg)),
                sigma_offset_angst=max(_LEAST_SIGMA_ANGST, ceil(shift_angst)),
            )
        )
    return tuple(described)


def _widest(moved: Moved, number: int) -> tuple[float, float]:
    """Root mean square of a body's rotation in degrees and displacement in Å, along the direction of the widest."""
    turn = Rotation.from_matrix(moved.rotation[number].numpy()).as_rotvec(degrees=True)
    vectors = (turn, moved.displacement_angst[number].numpy())
    turn_deg, shift_angst = (float(np.linalg.svd(one, compute_uv=False)[0] / len(one) ** 0.5) for one in vectors)
    return turn_deg, shift_angst


def _write_relion_truth(
    out: Path,
    bodies: tuple[SimulatedBody, ...],
    described: tuple[Body, ...],
    moved: Moved,
    seen: Acquisition,
    settings: SimulateConfig,
) -> None:
    """truth_bodies.star: the true poses as RELION's tables of a multi-body run."""
    view, centres = matrix_from_euler(seen.euler_deg), {body.name: body.centre_angst for body in bodies}
    blocks: dict[str, Table] = dict(read_star(out / "truth.star"))
    particles = {name: column for name, column in blocks["particles"].items() if name.startswith("rln")}
    tables: dict[str, Table] = {"optics": blocks["optics"], "particles": particles}
    for b, (body, told) in enumerate(zip(bodies, described, strict=True)):
        partner = centres[told.hinge_with] if told.hinge_with else None
        frame = body_frame(body_axis(body.centre_angst, partner, body.name))
        shift = seen_shift(view, moved.displacement_angst[b])
        _, origin = body_pose(view, seen.origin_angst, moved.rotation[b], shift, body.centre_angst)
        pixel = settings.imaging.pixel_size_angst
        offset = relion_offset(view, seen.origin_angst, origin, body.centre_angst, pixel).numpy()
        euler = residual_euler(moved.rotation[b], frame).numpy()
        tables[f"images_body_{b + 1}"] = {
            "rlnOriginXAngst": offset[:, 0],
            "rlnOriginYAngst": offset[:, 1],
            "rlnAngleRot": euler[:, 0],
            "rlnAngleTilt": euler[:, 1],
            "rlnAnglePsi": euler[:, 2],
            "rlnNormCorrection": np.ones(len(offset)),
        }
    write_star(out / "truth_bodies.star", tables)


def _entry(number: int, body: SimulatedBody, moved: Moved) -> dict[str, Any]:
    """What one body is, for simulation.json."""
    turn_deg, shift_angst = _widest(moved, number - 1)
    return {
        "number": number,
        "name": body.name,
        "n_atoms": len(body.atoms),
        "mass_kda": round(body.kilodalton, 3),
        "centre_angst": body.centre_angst.tolist(),
        "widest_turn_deg": turn_deg,
        "widest_shift_angst": shift_angst,
        "map": _map_name(number),
        "mask": _mask_name(number),
    }


def _map_name(number: int) -> str:
    return f"true_map_body{number:03d}.mrc"


def _mask_name(number: int) -> str:
    return f"mask_body{number:03d}.mrc"
