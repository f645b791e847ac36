"""Real tables and stacks from several programs, where the shared folder is there."""

from pathlib import Path

import numpy as np
import pytest

from blush.io.check import check_particles

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "particles"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data beside the repository"),
]


def test_betagal_float16_stacks_are_clean():
    findings = check_particles(SHARED / "betagal-empiar10204" / "particles_clean.star", 200.0)
    assert not findings.problems
    assert not findings.warnings
    particles = findings.particles
    assert len(particles) == 1211
    assert len(particles.stacks) == 10
    assert particles.optics[0].box_px == 64
    assert particles.optics[0].pixel_size_angst == 3.54
    assert Path(particles.optics[0].mtf_file).name == "mtf_k2_200kV.star"
    images = particles.take(np.arange(100)).images()
    assert images.shape == (100, 64, 64)
    assert abs(images.std() - 1) < 0.1


def test_relion_3_1_file_with_an_old_header_lacks_its_second_half():
    findings = check_particles(SHARED / "fixtures-small" / "relion31-5" / "relion31.star")
    assert [problem.message for problem in findings.problems] == ["half 2 is empty"]
    particles = findings.particles
    assert particles.has_poses
    assert particles.rot_deg[0] == pytest.approx(-102.30296)
    assert particles.images().shape == (5, 256, 256)


def test_table_from_before_3_1_is_converted_and_its_inverted_contrast_noticed():
    findings = check_particles(SHARED / "fixtures-small" / "empiar10076-7" / "empiar_10076_7.star")
    assert not findings.problems
    assert findings.particles.optics[0].pixel_size_angst == pytest.approx(1.31, abs=1e-4)
    assert findings.particles.optics[0].box_px == 320
    # the published 50S stacks are dark on light
    assert [warning.message for warning in findings.warnings] == ["particles are darker than their background"]


def test_premultiplied_tilt_images_are_read():
    findings = check_particles(SHARED / "ribosome-sta-warptools" / "particles_2d_tilts.star")
    assert not findings.problems
    assert len(findings.particles) == 1430
    assert findings.particles.optics[0].ctf_premultiplied
    assert ["not normalised" in warning.message for warning in findings.warnings] == [True]


def test_relion_5_stacks_of_tilts_are_refused_with_a_remedy():
    name = "warptools_test_4-tomos_10-ptcls_box-32_angpix-12.star"
    findings = check_particles(SHARED / "ribosome-sta-warptools" / name)
    assert [problem.message for problem in findings.problems] == [
        "is a table of sub-tomograms or stacks of tilt images, not of single-particle images"
    ]
