"""The import of a run of several bodies: each becomes a run of its own, about its own centre."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import torch
from torch import Tensor

from blush.bodies.rest import rest_mask
from blush.config import RunConfig
from blush.config.multibody import REST, Body
from blush.geometry.bodies import BodyExtent, body_pose
from blush.geometry.rotation import matrix_from_euler
from blush.io.files import load_npz, save_npz, write_json
from blush.io.mrc import read_volume, write_volume
from blush.io.particles import ParticleSet
from blush.io.star import Table, write_star
from blush.jobs.body_inputs import bodies_of
from blush.jobs.body_runs import BODIES, BodyFacts, body_config, body_mask, body_root, half_map
from blush.jobs.consensus import half_maps_of
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import blank, checked, read_identity, write_identity, written
from blush.refine.subset import HALVES


def moved(volume: Tensor, by_px: tuple[int, int, int]) -> Tensor:
    """A map whose voxel at `by_px` (x, y, z from the centre) becomes the centre; what comes in is zero."""
    out = torch.zeros_like(volume)
    source, target = [], []
    for shift, size in zip(reversed(by_px), volume.shape, strict=True):
        begin, end = max(0, shift), min(size, size + shift)
        source.append(slice(begin, end))
        target.append(slice(begin - shift, end - shift))
    out[tuple(target)] = volume[tuple(source)]
    return out


def import_bodies(folder: RunFolder, config: RunConfig, particles: ParticleSet, blocks: dict[str, Table]) -> None:
    """Freeze half-maps, masks and what is known of every body, and give each the folder of a run, ready to start."""
    pixel_angst = particles.optics[0].pixel_size_angst
    listed, _ = bodies_of(config, pixel_angst)
    maps = {half_map(folder.root, half): path for half, path in zip(HALVES, half_maps_of(config), strict=True)}
    maps |= {body_mask(folder.root, index): body.mask for index, body in enumerate(listed)}
    for target, source in maps.items():
        with written(folder, target) as beside:
            write_volume(beside, read_volume(source)[0], pixel_angst)
    bodies = (*listed, _rest(folder, config, len(listed), pixel_angst)) if config.multibody.rest else listed
    names, facts = [one.name for one in bodies], []
    for index, body in enumerate(bodies):
        mask = torch.from_numpy(read_volume(checked(folder, body_mask(folder.root, index)))[0])
        chosen = body.fulcrum_angst
        fulcrum_px = None if chosen is None else torch.tensor(chosen, dtype=torch.float64) / pixel_angst
        extent = BodyExtent.of(mask, fulcrum_px)
        x, y, z = (int(value) for value in extent.centre_px)
        partner = None if body.hinge_with is None else names.index(body.hinge_with)
        widths = (body.sigma_rotation_deg, body.sigma_offset_angst)
        facts.append(BodyFacts(body.name, (x, y, z), float(extent.radius_px), partner, *widths, body.refine))
    with written(folder, folder.imported / BODIES) as beside:
        write_json(beside, {"bodies": [asdict(one) for one in facts]})
    for index, one in enumerate(facts):
        _import_body(folder, config, index, one, particles, blocks)


def _rest(folder: RunFolder, config: RunConfig, n_listed: int, pixel_angst: float) -> Body:
    """The body of what no mask covers, the last one, with its mask written."""
    target = body_mask(folder.root, n_listed)
    covered = [read_volume(checked(folder, body_mask(folder.root, index)))[0] for index in range(n_listed)]
    consensus = torch.from_numpy(read_volume(checked(folder, folder.first_map()))[0])
    mask = rest_mask(consensus, torch.from_numpy(np.stack(covered)), pixel_angst, config.particle_diameter_angst)
    with written(folder, target) as beside:
        write_volume(beside, mask.numpy(), pixel_angst)
    return Body(name=REST, mask=target, refine=False)


def _import_body(
    whole: RunFolder,
    config: RunConfig,
    index: int,
    facts: BodyFacts,
    particles: ParticleSet,
    blocks: dict[str, Table],
) -> None:
    """The import of one body: images that are centred on it, its mask and the consensus map about its centre."""
    folder, pixel_angst = RunFolder(body_root(whole.root, index)), particles.optics[0].pixel_size_angst
    folder.imported.mkdir(parents=True, exist_ok=True)
    identity = read_identity(whole)
    if identity is None:
        raise ValueError(f"{whole.root} has no identity")
    if read_identity(folder) != (own := identity | {"body": str(index + 1)}):
        write_identity(folder, own)
    centred = on_body(particles, facts, pixel_angst)
    with written(folder, folder.imported / "particles.npz") as beside:
        centred.save(beside)
    table = {
        **blocks["particles"],
        "rlnOriginXAngst": centred.offset_x_angst,
        "rlnOriginYAngst": centred.offset_y_angst,
        "rlnRandomSubset": particles.half.astype(np.int64),
    }
    star = folder.imported / "particles.star"
    with written(folder, star) as beside:
        write_star(beside, {**blocks, "particles": table}, comment=blank(folder, star))
    with written(folder, folder.imported / "plan.npz") as beside:
        save_npz(beside, load_npz(checked(whole, whole.imported / "plan.npz")))
    maps = {"mask.mrc": body_mask(whole.root, index), "reference.mrc": whole.first_map()}
    for name, source in maps.items():
        volume = torch.from_numpy(read_volume(checked(whole, source))[0])
        with written(folder, folder.imported / name) as beside:
            write_volume(beside, moved(volume, facts.centre_px).numpy(), pixel_angst)
    with written(folder, folder.imported / "config.json") as beside:
        reach_px = facts.radius_px + config.sampling.offset_range_px
        # A body about a fulcrum apart from it may need a larger circle than the particle about its centre.
        own_px = min(2 * facts.radius_px, particles.optics[0].box_px)
        most_angst = max(config.particle_diameter_angst, own_px * pixel_angst)
        diameter_angst = min(2 * reach_px * pixel_angst, most_angst)
        write_json(beside, body_config(config, whole.root, index, diameter_angst).model_dump(mode="json"))


def on_body(particles: ParticleSet, facts: BodyFacts, pixel_angst: float) -> ParticleSet:
    """Particles posed so that the body's centre is that of their images, as the consensus has it."""
    euler = torch.from_numpy(np.stack([particles.rot_deg, particles.tilt_deg, particles.psi_deg], 1))
    origin = torch.from_numpy(np.stack([particles.offset_x_angst, particles.offset_y_angst], 1))
    centre = torch.tensor(facts.centre_px, dtype=torch.float64) * pixel_angst
    still = torch.eye(3, dtype=torch.float64)
    _, found = body_pose(matrix_from_euler(euler), origin, still, torch.zeros_like(origin), centre)
    x, y = found.numpy().T
    return replace(particles, offset_x_angst=x.copy(), offset_y_angst=y.copy())
