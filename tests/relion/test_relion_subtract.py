"""Signal subtraction against relion_particle_subtract: the same images in every shell below Nyquist.

RELION ends the prediction at its model's present image size, which after an auto-refinement is the box. Slices within a
cell of |k| = N/2 take in samples of the padded transform on its rim, which Blush leaves out. RELION writes images times
the average norm correction over their own; Blush leaves their grey scale, so that the column stays true.
"""

from pathlib import Path

import numpy as np
import pytest
from relion_data import BOX_PX, DataSet, write_data_set

from blush.io.mrc import write_volume
from blush.io.particles import ParticleSet, read_particles
from blush.io.star import Table, read_star
from blush.jobs.subtract import Subtraction, subtract

pytestmark = pytest.mark.relion
CENTRE = (5, -3, 2)
OPTICS = {
    "plain": {},
    "aberrations": {
        "BeamTiltX": [2.0],
        "BeamTiltY": [-1.0],
        "OddZernike": ["[20,0,900,0,0,500]"],
        "EvenZernike": ["[0.1,60,0.4,90,1000,0,500,0,0]"],
    },
    "premultiplied": {"CtfDataAreCtfPremultiplied": [1]},
}
RECENTRED = ("--recenter_on_mask", "--new_box", 24)


def soft_mask(folder: Path) -> Path:
    """A sphere of 6 to 9 px around `CENTRE`."""
    z, y, x = np.indices((BOX_PX,) * 3) - BOX_PX // 2
    distance = np.sqrt((x - CENTRE[0]) ** 2 + (y - CENTRE[1]) ** 2 + (z - CENTRE[2]) ** 2)
    mask = 0.5 + 0.5 * np.cos(np.pi * ((distance - 6) / 3).clip(0, 1))
    write_volume(folder / "subtract_mask.mrc", mask.astype(np.float32), 6.0)
    return folder / "subtract_mask.mrc"


def refined(data: DataSet, run_relion) -> Path:
    """One iteration without search: poses as given, norm corrections and a reference of RELION's own, to Nyquist."""
    folder = data.folder / data.name
    folder.mkdir()
    run_relion("refine", "--i", data.star.name, "--o", f"{data.name}/run", "--ref", f"{data.name}_map.mrc",
               "--skip_align", "--iter", 1, "--ctf", "--ctf_corrected_ref", "--zero_mask", "--norm", "--scale",
               "--particle_diameter", 180, "--dont_check_norm", "--incr_size", 16)  # fmt: skip
    return folder


def both(data: DataSet, run_relion, options: tuple, **ours: object) -> tuple[ParticleSet, ParticleSet, Table]:
    """Our particles, RELION's in our order, and our table."""
    mask, job = soft_mask(data.folder), refined(data, run_relion)
    (job / "theirs").mkdir()
    run_relion("particle_subtract", "--i", f"{data.name}/run_it001_optimiser.star", "--mask", mask.name,
               "--o", f"{data.name}/theirs", *options)  # fmt: skip
    wanted = Subtraction(mask, job / "ours", (job / "run_it001_class001.mrc",), scale="given", **ours)
    mine, blocks = read_particles(subtract(job / "run_it001_data.star", wanted))
    theirs, other = read_particles(job / "theirs/particles_subtracted.star")
    place = {str(name): row for row, name in enumerate(other["particles"]["rlnImageOriginalName"])}
    names = blocks["particles"]["rlnImageOriginalName"]
    return mine, theirs.take(np.array([place[str(name)] for name in names])), blocks


def below_nyquist(images: np.ndarray) -> np.ndarray:
    """Coefficients of |k| < N/2 - 1."""
    k = np.fft.fftfreq(images.shape[-1], 1 / images.shape[-1])
    return np.fft.fft2(images)[:, np.hypot(k[:, None], k) < images.shape[-1] // 2 - 1]


def normed(particles: ParticleSet) -> np.ndarray:
    """Images as RELION corrects them."""
    factor = particles.norm_correction.mean() / particles.norm_correction
    return particles.images() * factor[:, None, None]


def test_group_scales_of_the_optimiser_enter_as_they_do_in_relion(relion_project_folder, run_relion):
    """Micrographs of unlike contrast; without their scales 8 % of what is subtracted would be wrong."""
    groups = {"OpticsGroup": [1, 2], "OpticsGroupName": ["a", "b"], "Voltage": [300.0] * 2}
    groups |= {"SphericalAberration": [2.7] * 2, "AmplitudeContrast": [0.1] * 2, "ImagePixelSize": [6.0] * 2}
    groups |= {"ImageSize": [BOX_PX] * 2, "ImageDimensionality": [2] * 2}
    folder, name = relion_project_folder, "subtract-scales"
    data = write_data_set(folder, name, n=60, noise=(0.4, 0.4), signal=(1.0, 0.7), **groups)
    mine, theirs, _ = both(data, run_relion, ())
    wanted = Subtraction(folder / "subtract_mask.mrc", folder / name / "scaled")
    told = []
    star = subtract(folder / name / "run_it001_optimiser.star", wanted, told.append)
    ours, blocks = read_particles(star)
    place = {str(image): row for row, image in enumerate(blocks["particles"]["rlnImageOriginalName"])}
    before, table = read_particles(folder / name / "run_it001_data.star")
    ours = ours.take(np.array([place[str(image)] for image in table["particles"]["rlnImageName"]]))
    images = theirs.images()
    removed = np.linalg.norm(below_nyquist(normed(before) - images))
    assert np.linalg.norm(below_nyquist(normed(ours) - images)) < 1e-5 * removed
    assert np.linalg.norm(below_nyquist(normed(mine) - images)) > 0.05 * removed
    assert told == []


@pytest.mark.parametrize("name", OPTICS)
def test_subtracted_images_are_the_same(relion_project_folder, run_relion, name):
    data = write_data_set(relion_project_folder, f"subtract-{name}", n=30, **OPTICS[name])
    mine, theirs, _ = both(data, run_relion, ())
    corrected = data.images * (mine.norm_correction.mean() / mine.norm_correction)[:, None, None]
    removed = below_nyquist(corrected - theirs.images())
    difference = below_nyquist(normed(mine) - theirs.images())
    assert np.linalg.norm(removed) > 0.01 * np.linalg.norm(below_nyquist(corrected))
    assert np.linalg.norm(difference) < 1e-5 * np.linalg.norm(removed)


def test_recentred_images_and_origins_are_the_same(relion_project_folder, run_relion):
    """Origins to the six digits that RELION prints; images cropped by both, so all of a rim pixel's error counts."""
    data = write_data_set(relion_project_folder, "subtract-recentred", n=30)
    mine, theirs, blocks = both(data, run_relion, RECENTRED, recentre="mask", box_px=24)
    np.testing.assert_allclose(mine.offset_x_angst, theirs.offset_x_angst, atol=1e-5)
    np.testing.assert_allclose(mine.offset_y_angst, theirs.offset_y_angst, atol=1e-5)
    assert blocks["optics"]["rlnImageSize"][0] == 24
    images = theirs.images()
    assert np.linalg.norm(normed(mine) - images) < 1e-3 * np.linalg.norm(images)


def test_relion_refines_subtracted_images_and_keeps_what_reverting_needs(relion_project_folder, run_relion):
    """And its own --revert takes our table back to the original images."""
    data = write_data_set(relion_project_folder, "subtract-onwards", n=30)
    both(data, run_relion, RECENTRED, recentre="mask", box_px=24)
    ours = "subtract-onwards/ours"
    (data.folder / "subtract-onwards/next").mkdir()
    run_relion("refine", "--i", f"{ours}/particles_subtracted.star", "--o", "subtract-onwards/next/run", "--ref",
               f"{ours}/reference.mrc", "--skip_align", "--iter", 1, "--ctf", "--particle_diameter", 120,
               "--dont_check_norm")  # fmt: skip
    after = read_star(data.folder / "subtract-onwards/next/run_it001_data.star")["particles"]
    assert {"blushShiftX", "blushShiftY", "blushCentreX", "blushCentreY", "blushCentreZ"} <= after.keys()
    (data.folder / "subtract-onwards/back").mkdir()
    run_relion("particle_subtract", "--revert", f"{ours}/particles_subtracted.star", "--o", "subtract-onwards/back/")
    back = read_star(data.folder / "subtract-onwards/back/original.star")
    assert sorted(back["particles"]["rlnImageName"]) == sorted(data.particles["rlnImageName"])
    assert back["optics"]["rlnImageSize"][0] == BOX_PX
