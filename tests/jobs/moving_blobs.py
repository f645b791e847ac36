"""Blobs of two bodies, one of which turns about its own centre: images in closed form, and a consensus of them."""

from pathlib import Path

import numpy as np
from blob_set import BOX, KEPT, KEPT_AT, OTHER, PIXEL, mask, particle_table, projections, volume
from scipy.spatial.transform import Rotation

from blush.config import RunConfig
from blush.io.mrc import write_stack, write_volume
from blush.io.star import write_star


def moved_images(table: dict, turns: np.ndarray) -> np.ndarray:
    """(n, N, N) images of the kept part, turned by rotations (n, 3, 3) about its own centre."""
    images = []
    for i, turn in enumerate(turns):
        one = {name: np.asarray(column)[i : i + 1] for name, column in table.items()}
        images.append(projections(((KEPT[0] - KEPT_AT) @ turn.T + KEPT_AT, KEPT[1]), one)[0])
    return np.stack(images)


def make_set(folder: Path, n: int = 24, noise: float = 0.3, turn_deg: float = 12.0) -> np.ndarray:
    """Write particles, map, half-maps and masks; returns the rotations of the kept part, (n, 3, 3)."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(8)
    table = particle_table(n)
    turns = Rotation.from_rotvec(np.deg2rad(turn_deg) * np.array([[0, 0, 1.0]]) * rng.normal(size=(n, 1))).as_matrix()
    images = moved_images(table, turns) + projections(OTHER, table)
    images += noise * rng.normal(size=images.shape)
    write_stack(folder / "images.mrcs", images.astype(np.float32), PIXEL)
    optics = {
        "rlnOpticsGroupName": np.array(["one"], dtype=object), "rlnOpticsGroup": np.array([1]),
        "rlnVoltage": np.array([300.0]), "rlnSphericalAberration": np.array([2.7]),
        "rlnAmplitudeContrast": np.array([0.1]), "rlnImagePixelSize": np.array([PIXEL]),
        "rlnImageSize": np.array([BOX]), "rlnImageDimensionality": np.array([2]),
    }  # fmt: skip
    write_star(folder / "particles.star", {"optics": optics, "particles": table})
    whole = volume(KEPT) + volume(OTHER)
    for name, values in {
        "map": whole,
        "half1": whole + 0.02 * rng.normal(size=whole.shape),
        "half2": whole + 0.02 * rng.normal(size=whole.shape),
        "mask1": np.roll(mask()[::-1, ::-1, ::-1], (1, 0, 2), (0, 1, 2)),
        "mask2": mask(),
    }.items():
        write_volume(folder / f"{name}.mrc", values.astype(np.float32), PIXEL)
    return turns


def config_of(folder: Path, output: Path, **changes) -> RunConfig:
    """A short run of both bodies."""
    settings = {
        "name": "moving", "job": "multibody", "particles": folder / "particles.star", "reference": folder / "map.mrc",
        "particle_diameter_angst": 110, "sampling": {"healpix_order": 3, "local_from_order": 3, "offset_range_px": 1,
                                                     "offset_step_px": 1},
        "refinement": {"max_iterations": 3, "keep_iterations": 9},
        "compute": {"device": "cpu", "memory_gb": 1, "shards_per_half": 2},
        "multibody": {
            "half_maps": (folder / "half1.mrc", folder / "half2.mrc"),
            "bodies": (
                {"name": "base", "mask": folder / "mask1.mrc"},
                {"name": "arm", "mask": folder / "mask2.mrc", "hinge_with": "base", "sigma_rotation_deg": 12.0},
            ),
        },
        "output": output,
    }  # fmt: skip
    return RunConfig.model_validate(settings | changes)
