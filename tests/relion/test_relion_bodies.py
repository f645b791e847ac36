"""RELION 3.1.3 takes up a list of bodies, and takes a body away from its images where the simulated truth puts it."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from blush.geometry.rotation import euler_from_matrix, matrix_from_euler
from blush.io.mrc import map_stack, read_volume
from blush.io.particles import read_particles
from blush.io.star import read_star, write_star
from blush.simulate.acquisition import draw_acquisition
from blush.simulate.images import clean_images
from blush.simulate.particle_set import simulate
from blush.simulate.settings import SimulateConfig
from blush.simulate.slices import Slicer

pytestmark = [
    pytest.mark.relion,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("relion_refine_mpi") is None, reason="RELION 3.1.3 is not on PATH"),
    pytest.mark.skipif(shutil.which("mpirun") is None, reason="mpirun is not on PATH: apt-get install openmpi-bin"),
]
MARGIN = 12
"""Pixels at the border that a whole-pixel shift may bring in from the other side."""
SEARCH = (
    "--healpix_order 4 --auto_local_healpix_order 4 --dont_combine_weights_via_disc --pool 3 --pad 1 --j 1 "
    "--auto_iter_max 1"
)


def settings(folder: Path) -> SimulateConfig:
    upper = {"motion": "turn", "axis": [1, 0, 0], "spread": "bimodal", "separation_deg": 16, "width_deg": 2}
    return SimulateConfig.model_validate(
        {
            "bodies": [{"name": "lower"}, {"name": "upper", "select": {"copies": [1, 2, 4, 7]}, "motions": [upper]}],
            "imaging": {"n_particles": 40, "box_px": 48, "pixel_size_angst": 3.5},
            "noise": {"snr": 0.5},
            "particle_diameter_angst": 150,
            "output": folder / "set",
        }
    )


def relion(folder: Path, command: str) -> None:
    done = subprocess.run(command.split(), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A set, a refinement of one iteration of it by RELION, and one of its bodies, whose poses are then the truth."""
    folder = tmp_path_factory.mktemp("bodies")
    simulate(settings(folder))
    blocks = read_star(folder / "set/truth_bodies.star")
    particles = blocks["particles"]
    particles["rlnImageName"] = np.array([n.replace("@", "@set/") for n in particles["rlnImageName"]], dtype=object)
    write_star(folder / "p.star", {name: blocks[name] for name in ("optics", "particles")})
    bodies = read_star(folder / "set/bodies.star")["bodies"]
    bodies["rlnBodyMaskName"] = np.array([f"set/{name}" for name in bodies["rlnBodyMaskName"]], dtype=object)
    write_star(folder / "bodies.star", {"bodies": bodies})
    for name in ("cons", "mb"):
        (folder / name).mkdir()
    mpi = "mpirun --allow-run-as-root --oversubscribe -n"
    relion(
        folder,
        f"{mpi} 3 relion_refine_mpi --i p.star --ref set/reference.mrc --o cons/run --auto_refine "
        f"--split_random_halves --particle_diameter 150 --ini_high 40 --ctf --offset_range 3 --offset_step 2 "
        f"--norm --scale --flatten_solvent --zero_mask {SEARCH}",
    )
    relion(
        folder,
        f"{mpi} 3 relion_refine_mpi --continue cons/run_it001_optimiser.star --o mb/run --multibody_masks bodies.star "
        f"--solvent_correct_fsc --oversampling 1 --offset_range 1 --offset_step 0.5 {SEARCH}",
    )
    put_truth(folder, blocks)
    keep = "--mask set/mask_body001.mrc --o sub"
    relion(folder, f"{mpi} 2 relion_particle_subtract_mpi --i mb/run_it001_optimiser.star {keep}")
    return folder


def put_truth(folder: Path, truth) -> None:
    """True poses and maps in the place of those of the iteration; no correction of norms."""
    table = read_star(folder / "mb/run_it001_data.star")
    rows = order(table["particles"]["rlnImageName"], truth["particles"]["rlnImageName"])
    for name in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst"):
        table["particles"][name] = truth["particles"][name][rows]
    table["particles"]["rlnNormCorrection"] = np.ones(len(rows))
    for body in (1, 2):
        images = truth[f"images_body_{body}"]
        table[f"images_body_{body}"] = {name: column[rows] for name, column in images.items()}
        for half in (1, 2):
            shutil.copy(folder / f"set/true_map_body00{body}.mrc", folder / f"mb/run_it001_half{half}_body00{body}.mrc")
    write_star(folder / "mb/run_it001_data.star", table)
    for half in (1, 2):
        path = folder / f"mb/run_it001_half{half}_model.star"
        lines = path.read_text().splitlines()
        kept = ["_rlnNormCorrectionAverage 1.0" if "_rlnNormCorrectionAverage" in line else line for line in lines]
        path.write_text("\n".join(kept) + "\n")


def order(names, known) -> np.ndarray:
    """Rows of names in another list."""
    place = {name: row for row, name in enumerate(known)}
    return np.array([place[name] for name in names])


def aligned(images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Images shifted by the whole pixels that bring them onto others: RELION moves a body to the centre."""
    n = images.shape[-1]
    spectrum = torch.fft.rfft2(images) * torch.fft.rfft2(target).conj()
    best = torch.fft.irfft2(spectrum, s=(n, n)).flatten(1).argmax(1)
    shifts = [(-int(b // n), -int(b % n)) for b in best]
    return torch.stack([torch.roll(image, shift, (0, 1)) for image, shift in zip(images, shifts, strict=True)])


def inner(images: torch.Tensor) -> torch.Tensor:
    return images[:, MARGIN:-MARGIN, MARGIN:-MARGIN].flatten(1)


def test_the_list_of_bodies_is_read_as_it_is_meant(project):
    model = read_star(project / "mb/run_it001_half1_model.star")["model_bodies"]
    centres = [
        one["centre_angst"] for one in json.loads((project / "set/simulation.json").read_text())["derived"]["bodies"]
    ]
    axis = np.array(centres[1]) - np.array(centres[0])
    axis = axis / np.linalg.norm(axis)
    found = np.stack([model[f"rlnBodyRotateDirection{name}"] for name in "XYZ"], 1)
    np.testing.assert_allclose(found, [axis, -axis], atol=1e-5)
    assert list(model["rlnBodyKeepFixed"]) == [0, 0]


def test_what_is_taken_away_is_the_other_body_where_the_truth_has_it(project):
    """Turned as it is, not at rest and not turned the other way; RELION loses up to a pixel of its offset."""
    chosen = settings(project)
    subtracted = read_star(project / "sub/particles_subtracted.star")["particles"]
    truth = read_star(project / "set/truth.star")["particles"]
    rows = order([name.replace("@set/", "@") for name in subtracted["rlnImageOriginalName"]], truth["rlnImageName"])
    parts = [str(name).split("@") for name in subtracted["rlnImageName"]]
    left = torch.from_numpy(np.stack([map_stack(project / stack)[int(k) - 1] for k, stack in parts]).astype(np.float32))
    images = torch.from_numpy(read_particles(project / "set/truth.star")[0].images()[rows])
    taken = inner(images - aligned(left, images))
    volume, first, second = (
        torch.from_numpy(read_volume(project / f"set/{name}.mrc")[0])
        for name in ("true_map_body002", "mask_body001", "mask_body002")
    )
    slicer = Slicer(torch.fft.rfftn(torch.fft.ifftshift(volume * second * (1 - first))))
    seen = draw_acquisition(chosen).take(torch.from_numpy(rows))
    view = matrix_from_euler(seen.euler_deg)
    entry = json.loads((project / "set/simulation.json").read_text())["derived"]["bodies"][1]
    centre = torch.tensor(entry["centre_angst"], dtype=torch.float64)
    turn = np.stack([truth[f"blushBody2Turn{axis}"][rows] for axis in "XYZ"], 1)
    shift = torch.from_numpy(np.stack([truth[f"blushBody2Shift{axis}Angst"][rows] for axis in "XYZ"], 1))
    likeness = []
    for sign in (1, 0, -1):
        rotation = torch.from_numpy(Rotation.from_rotvec(sign * turn, degrees=True).as_matrix())
        place = centre + sign * shift - rotation @ centre
        origin = seen.origin_angst - torch.einsum("nij,nj->ni", view, place)[:, :2]
        posed = replace(seen, euler_deg=euler_from_matrix(view @ rotation), origin_angst=origin)
        shown = inner(clean_images(slicer, posed, chosen.imaging))
        likeness.append(float(torch.nn.functional.cosine_similarity(shown, taken).mean()))
    assert likeness[0] > 0.8
    assert likeness[0] > likeness[1] + 0.1 > likeness[2] + 0.2
