"""A whole global search, both passes, against relion_refine on the same unperturbed grid."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from relion_data import BOX_PX, DataSet, write_data_set
from relion_engine import Iteration, external_sums, model_of, model_value, padded_half, padded_radius

from blush.expectation.shard import Expectation
from blush.expectation.sums import Sums
from blush.fourier.backproject import hermitian, trim
from blush.geometry.rotation import angular_distance_deg, matrix_from_euler
from blush.geometry.sampling import OrientationGrid, offset_grid
from blush.io.particles import read_particles
from blush.io.star import read_star
from blush.kernels import native

pytestmark = pytest.mark.relion
# At 1 Å per pixel RELION's offset prior is free of its mixture of Å and pixels (docs/algorithm.md, section 3).
PIXEL_SIZE_ANGST, DIAMETER_ANGST, SIGMA_OFFSET_ANGST = 1.0, 22.0, 3.0
ORDER, RANGE_PX, STEP_PX = 1, 2.0, 1.0


@dataclass(frozen=True)
class Search:
    """RELION's tables and our sums of one iteration."""

    theirs: Iteration
    ours: Sums
    exact: bool

    @property
    def root(self) -> str:
        return self.theirs.root


@pytest.fixture(scope="module")
def data(once, relion_project_folder) -> DataSet:
    make = partial(write_data_set, relion_project_folder, "search", 24, PIXEL_SIZE_ANGST, noise=(0.3,))
    return once(("search set",), make)


@pytest.fixture(scope="module")
def theirs(data, once, run_relion) -> Iteration:
    """At the full size, where no row of pixels is lost by RELION's crop (see `Rim`)."""
    return once(("search",), lambda: search_in_relion(data, run_relion))


def search_in_relion(data: DataSet, run_relion) -> Iteration:
    (data.folder / "search").mkdir()
    run_relion(
        "refine", "--i", data.star.name, "--o", "search/run", "--ref", "search_map.mrc", "--iter", 1,
        "--external_reconstruct", "--ctf", "--ctf_corrected_ref", "--zero_mask", "--norm", "--scale",
        "--dont_check_norm", "--incr_size", BOX_PX, "--particle_diameter", DIAMETER_ANGST, "--healpix_order", ORDER,
        "--oversampling", 1, "--offset_range", RANGE_PX, "--offset_step", STEP_PX, "--perturb", 0,
        "--offset", SIGMA_OFFSET_ANGST,
    )  # fmt: skip
    assert model_value(data.folder / "search/run_it001_model.star", "rlnCurrentImageSize") == BOX_PX
    return Iteration(data, "search/run", None)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["float64", "float32"])
def search(request, data, theirs) -> Search:
    """With the compiled kernels in float32 where there is a compiler."""
    native.choose("auto")
    folder, dtype = data.folder, getattr(torch, request.param)
    # d = step of the grid in radians * pi diameter / 1.2, coarse size 2 ceil(N a / d) (docs/algorithm.md, section 4).
    arc_angst = 30 / 360 * np.pi * DIAMETER_ANGST / 1.2
    model = model_of(
        folder / "search/run_it000_model.star", folder / "search_map.mrc", BOX_PX // 2, DIAMETER_ANGST,
        grid=OrientationGrid.build(ORDER), offsets_angst=offset_grid(RANGE_PX, STEP_PX), offset_step_angst=STEP_PX,
        sigma_offset_angst=SIGMA_OFFSET_ANGST, coarse_radius=int(np.ceil(BOX_PX / arc_angst)), dtype=dtype,
    )  # fmt: skip
    particles, _ = read_particles(data.star)
    return Search(
        theirs, Expectation(model, particles, dtype, torch.device("cpu")).run(particles), dtype == torch.float64
    )


def column(search: Search, name: str) -> np.ndarray:
    return search.theirs.column(name)


def test_the_posteriors_are_neither_flat_nor_single(search):
    assert np.median(column(search, "rlnNrOfSignificantSamples")) > 10
    assert column(search, "rlnMaxValueProbDistribution").max() > 0.2


def test_the_same_coarse_poses_are_significant(search):
    """Their number, particle by particle; one more or less where float32 rounds at the 99.9th percentile."""
    ours = search.ours.table["n_significant"].numpy()
    difference = np.abs(ours - column(search, "rlnNrOfSignificantSamples"))
    assert difference.max() <= (0 if search.exact else 1)


def test_best_poses_are_the_same(search):
    table = search.ours.table
    eulers = torch.stack([table[f"{angle}_deg"] for angle in ("rot", "tilt", "psi")], -1)
    given = torch.from_numpy(np.stack([column(search, f"rlnAngle{angle}") for angle in ("Rot", "Tilt", "Psi")], -1))
    assert angular_distance_deg(matrix_from_euler(eulers), matrix_from_euler(given)).max() < 1e-5
    offsets = torch.stack([table["offset_x_angst"], table["offset_y_angst"]], -1).numpy()
    theirs = np.stack([column(search, f"rlnOrigin{axis}Angst") for axis in "XY"], -1)
    assert np.abs(offsets - theirs).max() < 1e-5


def test_probabilities_and_likelihoods_are_the_same(search):
    """The model of the last shell differs by the samples at the padded map's Nyquist: 1e-4 of a D^2 of thousands."""
    ours = search.ours.table["pmax"].numpy()
    assert np.abs(ours - column(search, "rlnMaxValueProbDistribution")).max() < (1e-4 if search.exact else 1e-3)
    ours, theirs = search.ours.table["log_likelihood"].numpy(), column(search, "rlnLogLikeliContribution")
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_norm_corrections_are_the_same_but_for_the_posterior_tail(search):
    """RELION leaves the residual as weighed, by a little under 1; ours is divided by that weight, 0.999 at least."""
    ratio = search.ours.table["norm_correction"].numpy() / column(search, "rlnNormCorrection")
    assert ratio.min() > 1 - 1e-5
    assert ratio.max() < 1 / np.sqrt(0.999) + 1e-5


def test_sums_are_the_same(search):
    data, weight = external_sums(search.theirs.data.folder, "search/run_it001_class001")
    volume = trim(hermitian(search.ours.volumes[0]))
    inside = padded_radius(BOX_PX) < 2 * volume.r_max - np.sqrt(3)
    for mine, theirs in ((volume.data, data), (volume.weight, weight)):
        difference = np.abs(padded_half(mine, BOX_PX) - theirs)[inside]
        # A posterior that moves by 1e-4 (see above) moves its share of the sums.
        assert np.linalg.norm(difference) < (1e-4 if search.exact else 1e-3) * np.linalg.norm(theirs[inside])


def test_offset_width_and_directions_are_the_same(search):
    sums, file = search.ours, search.theirs.file(1, "model")
    width = np.sqrt(float(sums.offset_square) / (2 * float(sums.weight.sum())))
    assert abs(width - model_value(file, "rlnSigmaOffsetsAngst")) < 1e-4
    theirs = np.asarray(read_star(file)["model_pdf_orient_class_1"]["rlnOrientationDistribution"], dtype=float)
    np.testing.assert_allclose((sums.directions / sums.directions.sum()).numpy(), theirs, atol=1e-5)
