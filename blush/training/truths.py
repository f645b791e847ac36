"""Noise-free maps of atomic models, with the disorder that real particles have, as entries of a store.

Each variant of a model has B-factors that grow away from its core, sometimes a domain or a tail that is partly absent
and moves, and, where it lives in a membrane, a micelle. All is drawn from the seed and the model's name.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from blush.config.training import TrainingConfig
from blush.errors import BlushError, Problem
from blush.simulate.atoms import Atoms
from blush.simulate.particle import build_particle_of
from blush.simulate.settings import Belt, SimulateConfig
from blush.training.models import Model, read_models
from blush.training.store import Entry, add_entry, noted_entry, write_sealed

FILLED = 0.85
"""Of the box, at most, by a model."""
ENVELOPE_ANGST2 = 20.0
MOBILE_COPIES = 4
VERSION = 1
"""Of how maps are made; another number makes all of them again."""


def add_truths(config: TrainingConfig, out: Path, tell: Callable[[str], None]) -> list[Entry]:
    """Make the maps of every model that fits the box; those that are there already are not made again.

    Raises
    ------
    BlushError
        Where there are no models, or none fits.
    """
    source = config.sources.simulated
    if source.models is None:
        return []
    models = read_models(source.models)
    side = source.box_px * config.network.voxel_size_angst
    fitting = [model for model in models if 2 * model.atoms.radius_angst <= FILLED * side]
    fitting = _some(fitting, source.largest_number)
    if not fitting:
        problem = Problem("holds no model that fits the box", "raise sources.simulated.box_px", str(source.models))
        raise BlushError("cannot make maps of models", [problem])
    begun = time.monotonic()
    entries: list[Entry] = []
    for number, model in enumerate(fitting, start=1):
        entries.extend(_entry(config, model, variant, out) for variant in range(source.variants))
        if number % 10 == 0 or number == len(fitting):
            left = (time.monotonic() - begun) / number * (len(fitting) - number)
            tell(f"model {number} of {len(fitting)}: {model.row.name}, {left / 60:.0f} min left")
    return entries


def _some(models: list[Model], largest_number: int | None) -> list[Model]:
    """As many models as are wanted, of both splits."""
    if largest_number is None:
        return models
    held_out = [model for model in models if model.row.split == "test"][: max(1, largest_number // 4)]
    trained_on = [model for model in models if model.row.split == "train"][: largest_number - len(held_out)]
    return sorted([*held_out, *trained_on], key=lambda model: model.row.name)


def _entry(config: TrainingConfig, model: Model, variant: int, out: Path) -> Entry:
    """Maps of one variant; taken up where they are there, made of the same atoms with the same settings."""
    row = model.row
    name, note = f"{row.name}_{variant}", out / f"{row.name}_{variant}.json"
    mark = made_of(config, model, variant)
    if note.exists() and (out / f"{name}.npy").exists():
        kept = noted_entry(note, mark)
        if kept is not None:
            return kept
    volume, mask = _maps(config, model, variant)
    entry = add_entry(
        out,
        name,
        {"truth": volume.numpy(), "mask": mask.numpy()},
        group=row.group,
        split=row.split,
        source="simulated",
    )
    write_sealed(note, {"made_of": mark, "entry": asdict(entry)})
    return entry


def made_of(config: TrainingConfig, model: Model, variant: int) -> str:
    """Hash of what decides the maps of a variant."""
    digest = hashlib.sha256(f"{VERSION} {config.seed} {variant} {config.network.voxel_size_angst:g}".encode())
    digest.update(f"{config.sources.simulated.box_px} {model.row.group} {model.row.split} {model.row.kind}".encode())
    for values in (model.atoms.element, model.atoms.position_angst, model.atoms.occupancy, model.atoms.bfactor_angst2):
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def _maps(config: TrainingConfig, model: Model, variant: int) -> tuple[torch.Tensor, torch.Tensor]:
    """True map, of unit variance in its mask, and the mask: (N, N, N) each."""
    random = _random(config.seed, model.row.name, variant)
    atoms = disordered(model.atoms, random)
    belt = _micelle(atoms, random) if model.row.kind == "membrane" and random.random() < 0.7 else None
    settings = SimulateConfig.model_validate(
        {
            "imaging": {
                "box_px": config.sources.simulated.box_px,
                "pixel_size_angst": config.network.voxel_size_angst,
                "envelope_bfactor_angst2": ENVELOPE_ANGST2,
            }
        }
    )
    particle = build_particle_of(atoms, belt, settings)
    volume, mask = particle.volume().float(), particle.mask.float()
    return volume / volume[mask > 0.5].std(), mask


def _random(seed: int, name: str, variant: int) -> np.random.Generator:
    """Source of one variant's disorder."""
    word = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return np.random.default_rng([seed, word, variant])


def disordered(atoms: Atoms, random: np.random.Generator) -> Atoms:
    """Atoms with B-factors that rise outwards, and at times a mobile part.

    The mobile part is what lies beyond a random plane: at an occupancy of up to 0.7, spread over a few poses.
    """
    distance = atoms.position_angst.norm(dim=1)
    core = float(random.uniform(20, 60))
    rise = float(random.uniform(0, 120)) * (distance / distance.max()) ** 2
    spread = atoms.bfactor_angst2 - atoms.bfactor_angst2.mean()
    bfactor = (core + rise + 0.5 * spread).clamp(10, 250)
    loose = replace(atoms, bfactor_angst2=bfactor)
    if random.random() >= 0.35:
        return loose
    direction = torch.from_numpy(_unit(random.standard_normal(3)))
    height = loose.position_angst @ direction
    beyond = height > torch.quantile(height, float(random.uniform(0.65, 0.95)))
    return _with_mobile_part(loose, beyond, random)


def _with_mobile_part(atoms: Atoms, mobile: torch.Tensor, random: np.random.Generator) -> Atoms:
    """The part in several poses about its lowest point, each with a share of its occupancy."""
    share = float(random.uniform(0, 0.7)) / MOBILE_COPIES
    part = atoms.position_angst[mobile]
    hinge = part[part.norm(dim=1).argmin()]
    positions, kept = [atoms.position_angst[~mobile]], ~mobile
    occupancy, element, bfactor = [atoms.occupancy[kept]], [atoms.element[kept]], [atoms.bfactor_angst2[kept]]
    for _ in range(MOBILE_COPIES):
        vector = torch.from_numpy(_unit(random.standard_normal(3)) * np.radians(random.uniform(2, 12)))
        x, y, z = vector.tolist()
        turn = torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64))
        positions.append((part - hinge) @ turn.T + hinge)
        occupancy.append(atoms.occupancy[mobile] * share)
        element.append(atoms.element[mobile])
        bfactor.append(atoms.bfactor_angst2[mobile])
    return Atoms(torch.cat(element), torch.cat(positions), torch.cat(occupancy), torch.cat(bfactor))


def _micelle(atoms: Atoms, random: np.random.Generator) -> Belt:
    """A belt about the z axis, at the height where the model is widest or thereabouts."""
    height = float(random.uniform(-0.25, 0.25)) * atoms.radius_angst
    return Belt(
        center_z_angst=height,
        core_height_angst=float(random.uniform(24, 34)),
        core_width_angst=float(random.uniform(8, 16)),
        shell_angst=float(random.uniform(5, 9)),
        core_contrast=float(random.uniform(0.0, 0.03)),
        shell_contrast=float(random.uniform(0.03, 0.08)),
    )


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
