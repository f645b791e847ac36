"""The numeric particle table: defaults, groups, images, storage."""

import mrcfile
import numpy as np
import pytest

from blush.errors import BlushError
from blush.io.check import check_particles
from blush.io.files import write_json
from blush.io.optics import read_mtf
from blush.io.particles import ParticleSet, read_particles


def test_columns_keep_the_order_of_the_rows(project):
    project.particles["rlnImageName"] = project.particles["rlnImageName"][::-1].copy()
    particles, _ = read_particles(project.write())
    assert particles.image_index.tolist() == [3, 2, 1, 0] * 2
    assert [particles.stacks[i] for i in particles.stack_index] == (
        [str(project.root / "second.mrcs")] * 4 + [str(project.root / "first.mrcs")] * 4
    )
    np.testing.assert_allclose(particles.defocus_u_angst, np.linspace(10000, 12000, 8), atol=1e-6)
    assert particles.half.tolist() == [1, 2] * 4
    assert particles.half.dtype == np.int8


def test_images_follow_the_rows_whatever_their_order(project):
    particles, _ = read_particles(project.write())
    everything = np.concatenate([project.stacks["first.mrcs"], project.stacks["second.mrcs"]])
    rows = np.array([6, 0, 5, 5, 1])
    taken = particles.take(rows)
    assert len(taken) == 5
    assert taken.images().dtype == np.float32
    np.testing.assert_array_equal(taken.images(), everything[rows])
    np.testing.assert_array_equal(particles.take(particles.half == 2).images(), everything[1::2])


def test_no_particles_have_no_images(project):
    particles, _ = read_particles(project.write())
    nobody = particles.take(np.array([], dtype=int))
    assert len(nobody) == 0
    assert nobody.images().shape[0] == 0


def test_defaults_are_relions(project):
    del project.particles["rlnDefocusV"]
    particles, _ = read_particles(project.write())
    np.testing.assert_array_equal(particles.defocus_v_angst, particles.defocus_u_angst)
    assert set(particles.ctf_scale) == {1.0}
    assert set(particles.norm_correction) == {1.0}
    for name in ("phase_shift_deg", "ctf_bfactor", "rot_deg", "tilt_deg", "psi_deg", "offset_x_angst"):
        assert set(getattr(particles, name)) == {0.0}
    assert not particles.has_poses
    optics = particles.optics[0]
    assert optics.original_pixel_size_angst == 3.0
    assert optics.odd_zernike == ()


def test_poses_offsets_and_groups_are_read(project):
    generator = np.random.default_rng(0)
    names = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst")
    project.particles |= {name: np.round(generator.standard_normal(8), 4) for name in names}
    project.particles["rlnGroupName"] = np.array(list("babacabc"), dtype=object)
    particles, _ = read_particles(project.write())
    assert particles.has_poses
    fields = ("rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst")
    for name, field in zip(names, fields, strict=True):
        np.testing.assert_allclose(getattr(particles, field), project.particles[name], atol=1e-9)
    assert particles.group_index.tolist() == [1, 0, 1, 0, 2, 0, 1, 2]


def test_micrographs_group_where_no_group_is_named(project):
    assert read_particles(project.write())[0].group_index.tolist() == [0] * 4 + [1] * 4


MTF = "data_\nloop_\n_rlnResolutionInversePixel\n_rlnMtfValue\n0.0 1.0\n0.5 0.2\n"


def test_anisotropic_magnification_is_refused(project):
    project.optics |= {"rlnMagMat00": np.array([1.01]), "rlnMagMat11": np.array([1.0])}
    with pytest.raises(BlushError, match=r"anisotropic magnification .* cannot be refined"):
        read_particles(project.write())


def test_a_detector_table_is_found_by_its_columns(tmp_path):
    (tmp_path / "mtf.star").write_text(f"data_general\n_rlnMicrographScale 1\n\n{MTF}")
    assert [column.tolist() for column in read_mtf(tmp_path / "mtf.star")] == [[0.0, 0.5], [1.0, 0.2]]


@pytest.mark.parametrize(
    "content",
    ["<html>404</html>\n", MTF.replace("InversePixel", ""), MTF.partition("0.0")[0], MTF.replace("0.2", "-1")],
)
def test_files_that_are_no_transfer_function_are_refused(project, content):
    (project.root / "mtf.star").write_text(content)
    project.optics["rlnMtfFileName"] = np.array(["mtf.star"], dtype=object)
    with pytest.raises(BlushError, match=r"mtf\.star"):
        read_particles(project.write())


def test_optional_optics_are_read(project):
    (project.root / "mtf.star").write_text(MTF)
    project.optics |= {
        "rlnCtfDataAreCtfPremultiplied": np.array([1]),
        "rlnBeamTiltX": np.array([0.5]),
        "rlnBeamTiltY": np.array([-0.25]),
        "rlnOddZernike": np.array(["[1,2.5,-3]"], dtype=object),
        "rlnEvenZernike": np.array(["[0.5]"], dtype=object),
        "rlnMagMat00": np.array([1.00001]),
        "rlnMagMat01": np.array([0.00002]),
        "rlnMtfFileName": np.array(["mtf.star"], dtype=object),
        "rlnMicrographOriginalPixelSize": np.array([1.5]),
    }
    optics = read_particles(project.write())[0].optics[0]
    assert optics.ctf_premultiplied
    assert (optics.beam_tilt_x_mrad, optics.beam_tilt_y_mrad) == (0.5, -0.25)
    assert optics.odd_zernike == (1.0, 2.5, -3.0)
    assert optics.even_zernike == (0.5,)
    assert optics.mtf_file == str(project.root / "mtf.star")
    assert optics.original_pixel_size_angst == 1.5


def test_what_is_saved_is_loaded_and_bytes_repeat(project, tmp_path):
    particles, _ = read_particles(project.write())
    particles.save(tmp_path / "a.npz")
    loaded = ParticleSet.load(tmp_path / "a.npz")
    loaded.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert loaded.optics == particles.optics
    assert loaded.stacks == particles.stacks
    np.testing.assert_array_equal(loaded.images(), particles.images())


def test_every_mistake_is_raised_at_once(project):
    project.particles["rlnDefocusU"][0] = np.nan
    project.particles["rlnRandomSubset"][1] = 7
    with pytest.raises(BlushError) as caught:
        read_particles(project.write())
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("kept", [slice(None), slice(0, 1), slice(3, 4)])
def test_images_that_are_others_than_they_were_are_refused_by_their_stack(project, kept):
    """A single pixel, in whichever rows are read; the size of the file stays."""
    particles = check_particles(project.write()).particles
    changed = particles.take(np.arange(8)[kept])
    assert np.array_equal(changed.images(), particles.images()[kept])
    with mrcfile.mmap(changed.stacks[changed.stack_index[0]], "r+") as stack:
        stack.data[changed.image_index[0], 5, 7] += 1
    with pytest.raises(BlushError, match=r"(?s)changed since its import.*\.mrcs: .*imported \(found 1 of \d others\)"):
        changed.images()
    others = particles.take(np.flatnonzero(particles.stack_index != changed.stack_index[0]))
    assert len(others.images()) == 4


def test_a_table_in_the_folder_of_a_run_finds_the_images_that_the_run_was_imported_from(project, tmp_path_factory):
    """Names stay as they came, relative to the project of the input; the results lie elsewhere."""
    star, run = project.write(), tmp_path_factory.mktemp("results") / "run"
    write_json(run / "import/config.json", {"particles": str(star)})
    (run / "run_data.star").write_bytes(star.read_bytes())
    particles, _ = read_particles(run / "run_data.star")
    assert set(particles.stacks) == {str(project.root / "first.mrcs"), str(project.root / "second.mrcs")}
    (project.root / "first.mrcs").rename(project.root / "moved.mrcs")
    with pytest.raises(BlushError, match=r"run_data.star.*stack file does not exist .found first.mrcs"):
        read_particles(run / "run_data.star")
