"""Aberrations, premultiplied images and symmetry against relion_refine.

The detector's transfer function is not compared: refinement in 3.1.3 ignores rlnMtfFileName (same sums to the last
bit with and without it), unlike RELION 5.
"""

import numpy as np
import pytest
from relion_data import BOX_PX, write_data_set
from relion_engine import assert_sums_agree, external_sums, iterate, padded_half, padded_radius

from blush.fourier.backproject import hermitian, symmetrise, trim
from blush.geometry.symmetry import operators

pytestmark = pytest.mark.relion
FULL_SIZE = ("--incr_size", 10)


def vector(position: int, value: float, length: int) -> list[str]:
    """A Zernike vector as the STAR file holds it, with one coefficient that is not zero."""
    return ["[" + ",".join(str(value if i == position else 0.0) for i in range(length)) + "]"]


ODD = {f"odd{i}": {"OddZernike": vector(i, 100.0 if i < 2 else 3000.0, 6)} for i in range(6)}
EVEN = {f"even{i}": {"EvenZernike": vector(i, (0.3, 200.0, 0.7, 200.0, 1e4, 1e4)[i], 9)} for i in range(6)}
TILT = {"tilt-x": {"BeamTiltX": [3.0], "BeamTiltY": [0.0]}, "tilt-y": {"BeamTiltX": [0.0], "BeamTiltY": [-2.0]}}
ABERRATIONS = TILT | ODD | EVEN


@pytest.mark.parametrize("name", ABERRATIONS)
def test_every_aberration_enters_with_relions_sign(relion_project_folder, run_relion, name):
    """Each changes D or W by more than a per cent; they agree to float32."""
    data = write_data_set(relion_project_folder, name, n=40, **ABERRATIONS[name])
    iteration = iterate(data, run_relion, f"{name}/run", *FULL_SIZE)
    tables = iteration.ours.engine.tables
    if name.startswith("even"):
        assert tables.even_phase_rad.abs().max() > 0.2
    else:
        assert tables.correction[0, 1].abs().max() > 0.05
    assert_sums_agree(iteration)


def test_premultiplied_images_are_not_multiplied_again(relion_project_folder, run_relion):
    data = write_data_set(relion_project_folder, "premultiplied", n=40, CtfDataAreCtfPremultiplied=[1])
    iteration = iterate(data, run_relion, "premultiplied/run", *FULL_SIZE)
    assert iteration.ours.engine.tables.premultiplied.all()
    assert_sums_agree(iteration)


@pytest.mark.parametrize("name", ["C3", "D2", "O"])
def test_symmetrised_sums_are_the_same(data_set, run_relion, name):
    """Sum over operators, not their mean. A cell whose eight corners reach the rim is left out, as there."""
    iteration = iterate(data_set, run_relion, f"sym{name}/run", "--incr_size", 5, "--sym", name)
    data, weight = external_sums(data_set.folder, f"{iteration.root}_it001_class001")
    volume = trim(symmetrise(trim(hermitian(iteration.ours.sums.volumes[0])), operators(name)))
    inside = padded_radius(BOX_PX) < 2 * volume.r_max - 2 * np.sqrt(3)
    for mine, theirs in ((volume.data, data), (volume.weight, weight)):
        difference = np.abs(padded_half(mine, BOX_PX) - theirs)[inside]
        assert np.linalg.norm(difference) < 1e-6 * np.linalg.norm(theirs[inside])
