"""The folder that a multi-body run leaves, with bodies of lumps in noise."""

import numpy as np
from drawn import Bodies

from blush.bodies.motions import write_motions
from blush.io.mrc import write_volume

BOX, PIXEL = 36, 4.0
LUMPS = Bodies(np.array([[-28.0, -8.0, 4.0], [32.0, 16.0, -8.0]]), (28.0, 20.0))


def lumps(body, seed, n=60, sigma=5.0):
    """Density of a body about its own centre, (BOX,) * 3: Gaussians inside its ball."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 3))
    points *= (LUMPS.radii[body] - sigma) * rng.random(n)[:, None] ** (1 / 3) / np.linalg.norm(points, axis=1)[:, None]
    return sum_of_gaussians(points, sigma)


def sum_of_gaussians(points, sigma):
    """Density (BOX,) * 3, z y x, of Gaussians about points x, y, z in Å from the centre of the box."""
    axis = (np.arange(BOX) - BOX // 2) * PIXEL
    x, y, z = (np.exp(-((axis - points[:, [k]]) ** 2) / (2 * sigma**2)) for k in range(3))
    return np.einsum("pz,py,px->zyx", z, y, x)


def ball(radius, edge=12.0):
    """Soft mask about the centre of the box."""
    axis = (np.arange(BOX) - BOX // 2) * PIXEL
    distance = np.sqrt(sum(np.meshgrid(axis**2, axis**2, axis**2, indexing="ij")))
    return 0.5 + 0.5 * np.cos(np.pi * np.clip((distance - radius) / edge, 0, 1))


def write_run(run, motions, noise=0.3, seed=1):
    """Write the record, and maps and masks of all bodies with white noise in their halves."""
    rng = np.random.default_rng(seed)
    for b, radius in enumerate(LUMPS.radii):
        root = run / f"body{b + 1:03d}"
        (root / "import").mkdir(parents=True)
        density, mask = lumps(b, seed + b), ball(radius)
        halves = [density + noise * rng.normal(size=density.shape) for _ in (1, 2)]
        for number, half in enumerate(halves, 1):
            write_volume(root / f"run_half{number}_class001_unfil.mrc", half, PIXEL)
        write_volume(root / "run_class001.mrc", density + 0.1 * noise * rng.normal(size=density.shape), PIXEL)
        write_volume(root / "import/mask.mrc", mask, PIXEL)
    (run / "import").mkdir()
    for number in (1, 2):
        write_volume(run / f"import/half{number}.mrc", noise * rng.normal(size=(BOX,) * 3), PIXEL)
    (run / "import/bodies.json").write_text("{}")
    write_motions(run / "motions.npz", motions)
