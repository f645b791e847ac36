"""A step of filaments without images: segments with tracks, and what an expectation step would find of them."""

from pathlib import Path

import numpy as np

from blush.config import RunConfig
from blush.geometry.helix import Helix, from_frame
from blush.io.particles import ParticleSet
from blush.jobs.helix_columns import first_columns
from blush.jobs.helix_converge import FilamentStep
from blush.jobs.inputs import TABLE_COLUMNS
from blush.refine.control import ControlSettings, HelixControl
from blush.refine.start import FirstSampling, ParticleGeometry, first_helix_state, first_state

TRUE = Helix(21.0, 37.0)
FILAMENTS, SEGMENTS, STEP_ANGST = 16, 12, 42.0
N = FILAMENTS * SEGMENTS
REVERSED = np.arange(FILAMENTS) % 16 < 7


def particles() -> ParticleSet:
    """Straight filaments in all directions, those of even numbers in half 1."""
    zeros, whole = np.zeros(N), np.zeros(N, np.int32)
    filament = np.repeat(np.arange(FILAMENTS), SEGMENTS).astype(np.int32)
    names = ("defocus_u_angst", "defocus_v_angst", "defocus_angle_deg", "phase_shift_deg", "ctf_bfactor", "ctf_scale",
             "rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst", "norm_correction")  # fmt: skip
    return ParticleSet(
        image_index=np.arange(N), stack_index=whole, optics_index=whole, group_index=whole,
        half=(filament % 2 + 1).astype(np.int8), **dict.fromkeys(names, zeros), stacks=("none",), optics=(),
        has_poses=False, filament=filament, track_angst=np.tile(np.arange(SEGMENTS) * STEP_ANGST, FILAMENTS),
        track_psi_deg=np.linspace(-170, 170, FILAMENTS)[filament], track_tilt_deg=np.full(N, 90.0),
        psi_flip_ratio=np.full(N, 0.5),
    )  # fmt: skip


def found(of: ParticleSet, seed: int, sigma_deg: float, bins: int, true: Helix = TRUE) -> dict[str, np.ndarray]:
    """Columns that an expectation step would leave: true poses with errors, Gaussian evidence of rho."""
    random = np.random.default_rng(seed)
    against = REVERSED[of.filament].astype(int)
    sign = 1 - 2 * against
    start, period = random.uniform(0, 360, FILAMENTS)[of.filament], true.chain_period_deg
    rho = start + sign * true.slope_deg_per_angst * of.track_angst
    seen = rho + random.normal(size=N) * sigma_deg
    gap = (np.arange(bins) * period / bins - seen[:, None] + period / 2) % period - period / 2
    said = np.full((N, 2, bins), -9.0)
    said[np.arange(N), against] = np.maximum(-((gap / sigma_deg) ** 2) / 2, -9.0)
    along, across = random.uniform(-10, 10, N), random.normal(size=N) * 3
    psi = of.track_psi_deg + random.normal(size=N)
    offsets = from_frame(np.stack((along, across), 1), psi)
    tilt = 90 + random.normal(size=N) * 2
    rot = seen - sign * true.slope_deg_per_angst * along
    pose = np.column_stack((rot, np.where(against, 180 - tilt, tilt), psi + 180 * against, offsets))
    both = np.full((N, 2, 5), np.nan)
    both[np.arange(N), against] = pose
    columns = dict.fromkeys(TABLE_COLUMNS, np.zeros(N)) | dict(
        zip(("rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst"), pose.T, strict=True)
    )
    return columns | {
        "rot_evidence": said.astype(np.float32),
        "polarity_pose": both,
        "across_mean": across,
        "across_square": across**2 + 1.0,
    }


def step(columns: dict[str, np.ndarray], of: ParticleSet, start: Helix, **helix: object) -> FilamentStep:
    """The step of an iteration that found these columns, from a symmetry to start with."""
    config = RunConfig(
        name="x", job="helix", particles=Path("p.star"), reference=Path("r.mrc"), particle_diameter_angst=160,
        helix={"rise_angst": start.rise_angst, "twist_deg": start.twist_deg, "tube_diameter_angst": 120, **helix},
    )  # fmt: skip
    geometry = ParticleGeometry(48, 4.0, 160.0, "C1", 1)
    refined = first_state(geometry, FirstSampling(), ControlSettings(), np.ones((2, 1, 25)), 1, False)
    state = first_helix_state(refined, start, 3.33, 5.0, 0.1)
    old = first_columns(of, state.control_of(HelixControl).bins)
    rows = [np.flatnonzero(of.half == number) for number in (1, 2)]
    return FilamentStep(config, of, rows, state, state, {}, old, columns)
