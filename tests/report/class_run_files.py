"""A run folder as a classification of 60 images in three classes leaves it after four iterations."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from blush.io.files import save_npz, write_json
from blush.io.mrc import write_volume
from blush.io.optics import OpticsGroup
from blush.io.particles import ParticleSet
from blush.io.star import write_star
from blush.jobs.layout import RunFolder
from blush.refine.classify import first_class_state
from blush.refine.control import ClassifyControl, ControlSettings
from blush.refine.state import PoseSearch, RunFacts, State, save_state

BOX, PIXEL, N, LAST = 24, 3.0, 60, 4
SHELLS = BOX // 2 + 1
LABELS = np.repeat([1, 2, 3], [30, 20, 10])
"""Classes after the last iteration; each stated with 0.9."""
TRUTH = np.concatenate([np.repeat([2, 1], [27, 3]), np.repeat([1, 2], [18, 2]), np.repeat(3, 10)])
"""True classes: 5 of 60 are wrong once 1 and 2 are exchanged."""
MICROGRAPH = np.arange(N) % 3


def labels_after(iteration: int) -> np.ndarray:
    """Six images of class 1 were in class 2 before the last iteration."""
    labels = LABELS.copy()
    if iteration < LAST:
        labels[:6] = 2
    return labels


def class_state(iteration: int, n_classes: int = 3) -> State:
    """State after an iteration at given poses; the shares are those of the labels."""
    facts = RunFacts(job="classify", seed=1, box_px=BOX, pixel_size_angst=PIXEL, particle_diameter_angst=50.0,
                     symmetry="C1", n_optics_groups=1)  # fmt: skip
    search = PoseSearch(
        healpix_order=2, local=False, sigma_angle_deg=0.0, offset_range_angst=6.0, offset_step_angst=3.0,
        oversampling=1, perturbation=0.0, current_size_px=0, coarse_size_px=0, first_cc=False, fixed=True,
        temperature=1.5,
    )  # fmt: skip
    control = ClassifyControl(ControlSettings(), 2, 6.0, 48.0, 10, settled_fraction=0.005, max_pose_iterations=50)
    state = first_class_state(facts, search, control, np.ones((1, 1, SHELLS)), 3, n_classes)
    if iteration == 0:
        return state
    labels = labels_after(iteration)
    curve = 1 / (1 + np.exp(np.arange(SHELLS)[None] - np.array([8.0, 6.0, 4.0])[:, None]))
    return replace(
        state,
        iteration=iteration,
        converged=iteration == LAST,
        stop_reason="converged" if iteration == LAST else "",
        references=replace(
            state.references,
            fsc=curve,
            share=np.bincount(labels, minlength=4)[1:] / N,
            resolution_angst=BOX * PIXEL / np.array([8.0, 6.0, 5.0]),
        ),
        resolution_angst=9.0,
        change_rotation_deg=0.0,
        change_offset_angst=0.0,
        change_class=0.1 if iteration == LAST else 0.0,
        average_pmax=0.9,
    )


def write_class_iterations(root: Path, last: int = LAST) -> None:
    """States, poses and log."""
    folder, random, lines = RunFolder(root), np.random.default_rng(2), []
    for n in range(last + 1):
        save_state(folder.state(n), class_state(n))
        labels = labels_after(n)
        shares = np.full((N, 3), 0.05)
        shares[np.arange(N), labels - 1] = 0.9
        save_npz(folder.poses(n), {
            "rot_deg": random.uniform(-180, 180, N), "tilt_deg": np.rad2deg(np.arccos(random.uniform(-1, 1, N))),
            "psi_deg": random.uniform(-180, 180, N), "offset_x_angst": np.zeros(N), "offset_y_angst": np.zeros(N),
            "pmax": np.full(N, 0.9), "class_number": labels, **({"shares": shares} if n else {}),
        })  # fmt: skip
        stages = ("shard", "maps", "converge") if n else ("start",)
        common = {"time": 1000.0 + 10 * n, "iteration": n, "seconds": 2.0, "cpu_seconds": 1.0}
        lines += [common | {"stage": stage} for stage in stages]
    folder.progress.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_class_import(root: Path, micrograph: np.ndarray = MICROGRAPH) -> None:
    """Frozen particles and configuration, with the truth beside the run."""
    truth = {"rlnClassNumber": TRUTH, "blushClassName": np.array([f"state<{t}>" for t in TRUTH], dtype=object)}
    write_star(root.parent / "truth.star", {"particles": truth})
    optics = OpticsGroup("a", 300.0, 2.7, 0.1, PIXEL, BOX)
    zeros, ints = np.zeros(N), np.zeros(N, dtype=np.int32)
    particles = ParticleSet(
        image_index=np.arange(N), stack_index=ints, optics_index=ints, group_index=micrograph.astype(np.int32),
        half=np.ones(N, dtype=np.int8), defocus_u_angst=1e4 + np.arange(N) % 7, defocus_v_angst=1e4 + zeros,
        defocus_angle_deg=zeros, phase_shift_deg=zeros, ctf_bfactor=zeros, ctf_scale=zeros + 1, rot_deg=zeros,
        tilt_deg=zeros, psi_deg=zeros, offset_x_angst=zeros, offset_y_angst=zeros, norm_correction=zeros + 1,
        stacks=("a.mrcs",), optics=(optics,), has_poses=True,
    )  # fmt: skip
    (root / "import").mkdir(parents=True)
    particles.save(root / "import/particles.npz")
    truth_files = {"particles": str(root.parent / "truth.star"), "map": "true_map.mrc"}
    config = {"name": "mixed", "job": "classify", "symmetry": "C1", "classification": {"prior": "difference"}}
    write_json(root / "import/config.json", config | {"truth": truth_files})


def ball(centre: tuple[float, float, float], radius_px: float) -> np.ndarray:
    """1 within a sphere, falling softly; z y x from the middle."""
    axes = np.indices((BOX, BOX, BOX)) - BOX // 2 - np.array(centre)[:, None, None, None]
    return 1 / (1 + np.exp(3 * (np.sqrt((axes**2).sum(0)) - radius_px)))


def write_class_results(root: Path, content: Mapping[str, object]) -> None:
    """Maps that are alike but for a ball that only class 1 has, where differences are confirmed; lists of the end."""
    folder = RunFolder(root)
    for k in range(3):
        density = ball((0, 0, 0), 5) + (ball((6, 4, -3), 2.5) if k == 0 else 0)
        write_volume(root / f"run_it{LAST:03d}_class{k + 1:03d}.mrc", density.astype(np.float32), PIXEL)
    write_volume(folder.confirmed(LAST), ball((6, 4, -3), 4).astype(np.float32), PIXEL)
    write_json(root / "classes.json", {"classes": [], "warnings": [], **content})
    write_json(root / "summary.json", {"name": "mixed", "warnings": ["class <2> looks odd"], "seed": 1})
