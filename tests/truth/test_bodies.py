"""Bodies against the truth: what is still stays, what moves is found, and a molecule cut in two does not move."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hinged import BOX, HINGE, PIXEL, Hinged, N, make_hinged
from scipy.spatial.transform import Rotation

from blush.bodies.analyse import analyse
from blush.bodies.motions import read_motions
from blush.config import RunConfig
from blush.expectation.background import Background
from blush.expectation.prepare import packed_transform
from blush.fourier.packed import packed, shell_sums
from blush.fourier.transform import transform
from blush.geometry.bodies import BodyExtent, body_pose, hinge_shift, seen_shift
from blush.geometry.rotation import euler_from_matrix, matrix_from_euler
from blush.io.files import load_npz
from blush.io.mrc import read_volume
from blush.io.particles import read_particles
from blush.io.star import read_star, write_star
from blush.jobs.autorefine import autorefine
from blush.jobs.body_import import moved
from blush.jobs.body_runs import body_root
from blush.jobs.inputs import latest_state
from blush.jobs.layout import RunFolder

pytestmark = pytest.mark.slow


def refined(truth: Hinged):
    """Folder of a run of both bodies, from half-maps of a consensus and true poses of the first body."""
    folder = truth.folder
    shared = {
        "reference": folder / "map.mrc", "particle_diameter_angst": 180, "output": folder,
        "compute": {"device": "cpu", "memory_gb": 1},
    }  # fmt: skip
    whole = shared | {"name": "whole", "particles": folder / "particles.star", "initial_lowpass_angst": 20}
    whole["refinement"] = {"start_from": "poses", "max_iterations": 4, "reference_is_greyscale": True}
    consensus = autorefine(RunConfig.model_validate(whole))
    blocks, given = read_star(consensus / "run_data.star"), read_star(folder / "particles.star")["particles"]
    kept = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst", "rlnImageName")
    blocks["particles"] |= {name: given[name] for name in kept}
    write_star(folder / "consensus.star", blocks)
    bodies = [
        {"name": "first", "mask": folder / "first.mrc", "hinge_with": "second"},
        {"name": "second", "mask": folder / "second.mrc", "hinge_with": "first"},
    ]
    halves = tuple(consensus / f"run_half{half}_class001_unfil.mrc" for half in (1, 2))
    moving = shared | {
        "name": "bodies", "job": "multibody", "particles": folder / "consensus.star",
        "sampling": {"offset_range_px": 1.2, "offset_step_px": 0.6}, "refinement": {"max_iterations": 7},
        "multibody": {"half_maps": halves, "bodies": bodies},
    }  # fmt: skip
    return autorefine(RunConfig.model_validate(moving))


def errors_deg(run, truth: Hinged, body: int) -> np.ndarray:
    """(N,) angles between found and true poses of a body."""
    state = latest_state(body_root(run, body))
    columns = load_npz(RunFolder(body_root(run, body)).poses(state.iteration))
    euler = torch.from_numpy(np.stack([columns[f"{name}_deg"] for name in ("rot", "tilt", "psi")], 1))
    true = truth.views @ truth.turns if body else truth.views
    found = matrix_from_euler(euler).numpy() @ true.transpose(0, 2, 1)
    return np.rad2deg(np.linalg.norm(Rotation.from_matrix(found).as_rotvec(), axis=1))


def widths_deg(run, body: int) -> np.ndarray:
    """(3,) learned standard deviations of the rotation vector, both halves together."""
    motion = latest_state(body_root(run, body)).control.motion.mean(0)
    return np.rad2deg(np.sqrt(np.diag(motion)[:3]))


def test_a_hinge_is_found_and_what_is_still_stays(tmp_path):
    """9 degrees about z, 2 about the others: RELION 3.1.3 leaves medians of 5.9 and 7.3 degrees of such images."""
    truth = make_hinged(tmp_path, (2.0, 2.0, 9.0), seed=5)
    run = refined(truth)
    assert np.median(errors_deg(run, truth, 0)) < 3.0
    assert np.median(errors_deg(run, truth, 1)) < 4.5
    still, moving = widths_deg(run, 0), widths_deg(run, 1)
    assert still.max() < 3.0
    assert moving[2] == pytest.approx(9.0, rel=0.2)
    assert moving[:2].max() < 5.0
    found = analyse(read_motions(run / "motions.npz"), 1)
    angle = np.rad2deg(Rotation.from_matrix(truth.turns).as_rotvec())[:, 2]
    place = found.moving[0].place_angst
    assert len(place) == N
    assert abs(np.corrcoef(place, angle)[0, 1]) > 0.8
    summary = json.loads((run / "summary.json").read_text())
    assert all(one["resolution_angst"] < 15.0 for one in summary["bodies"])


def test_a_rigid_molecule_cut_in_two_does_not_move(tmp_path):
    truth = make_hinged(tmp_path, (0.0, 0.0, 0.0), seed=6)
    run = refined(truth)
    assert max(widths_deg(run, 0).max(), widths_deg(run, 1).max()) < 3.5
    found = analyse(read_motions(run / "motions.npz"), 1)
    assert found.verdict == "No motion beyond the uncertainty of the poses."
    assert not found.moving[0].component.is_beyond_noise


def test_true_bodies_at_true_poses_leave_the_noise(tmp_path):
    """Power of every shell without both, over that of white noise of variance 1: within 2 % and three of its errors."""
    truth = make_hinged(tmp_path, (2.0, 2.0, 9.0), seed=7)
    particles, _ = read_particles(tmp_path / "particles.star")
    view, turn = torch.from_numpy(truth.views), torch.from_numpy(truth.turns)
    origin = torch.from_numpy(np.stack([particles.offset_x_angst, particles.offset_y_angst], 1))
    left = torch.from_numpy(particles.images()).double()
    still = torch.eye(3, dtype=torch.float64).expand(N, 3, 3)
    pixels = packed(BOX)
    whole, _ = power(left, pixels)
    for name, rotation in (("first", still), ("second", turn)):
        density = torch.from_numpy(read_volume(tmp_path / f"true_{name}.mrc")[0]).double()
        extent = BodyExtent.of(torch.from_numpy(read_volume(tmp_path / f"{name}.mrc")[0]))
        centre, hinge = extent.centre_px * PIXEL, torch.from_numpy(HINGE)
        shift = seen_shift(view, hinge_shift(rotation, centre.expand(N, 3), hinge.expand(N, 3)))
        turned, moved_to = body_pose(view, origin, rotation, shift, centre)
        rot, tilt, psi = euler_from_matrix(turned).numpy().T
        x, y = moved_to.numpy().T
        posed = replace(particles, rot_deg=rot, tilt_deg=tilt, psi_deg=psi, offset_x_angst=x, offset_y_angst=y)
        about = moved(density, tuple(int(one) for one in extent.centre_px))
        left = left - Background(transform(about, BOX // 2), particles).images(posed, torch.ones(N).double())
    assert whole[:4].min() > 10
    rest, error = power(left, pixels)
    assert np.all(np.abs(rest - 1) < 0.02 + 3 * error)


def power(images: torch.Tensor, pixels) -> tuple[np.ndarray, np.ndarray]:
    """Mean power of each shell from 1 on, over that of white noise of variance 1, and the standard error of noise."""
    spectrum = torch.view_as_real(packed_transform(images, pixels)).square().sum(-1)
    shells = BOX // 2 + 1
    count = shell_sums(torch.ones_like(spectrum[:1]), pixels.shell, shells)[0]
    found = (shell_sums(spectrum, pixels.shell, shells).mean(0) * BOX**2 / count).numpy()
    return found[1:], 1 / np.sqrt(count.numpy()[1:] * len(images))
