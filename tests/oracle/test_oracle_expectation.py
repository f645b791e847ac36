"""The engine's expectation step against the slow float64 reference beside it."""

from collections import Counter
from dataclasses import dataclass, replace

import mrcfile
import numpy as np
import pytest
import torch
from oracle_expectation import Result, expectation
from oracle_sums import Grid

from blush.expectation.component import Component, Reference
from blush.expectation.fine import fine_posterior
from blush.expectation.model import Model
from blush.expectation.shard import Expectation
from blush.fourier.transform import transform
from blush.geometry.rotation import matrix_from_euler
from blush.geometry.sampling import OrientationGrid, fine_offsets, offset_grid
from blush.io.optics import OpticsGroup
from blush.io.particles import ParticleSet
from blush.kernels import native

N_IMAGES = 5
NOISE = 0.7
GROUPS = (
    OpticsGroup("first", 300.0, 2.7, 0.1, 5.0, 16),
    OpticsGroup("second", 200.0, 1.4, 0.07, 5.0, 16, ctf_premultiplied=True),
)


@dataclass(frozen=True)
class Case:
    """One random problem: what both programs are told."""

    volumes: tuple[np.ndarray, ...]
    images: np.ndarray
    particles: ParticleSet
    grid: OrientationGrid
    offsets_px: np.ndarray
    sigma2: np.ndarray
    log_priors: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (0.8, 1.3, 1.1)
    box: int = 16
    pixel_size: float = 5.0
    coarse_radius: int = 4
    radius: int = 6
    sigma_offset: float = 6.0
    norm_average: float = 0.93
    mask_radius_px: float = 4.5
    local_sigma_deg: float | None = None
    cross_correlation: bool = False

    @property
    def fine_offsets_px(self) -> np.ndarray:
        return fine_offsets(torch.from_numpy(self.offsets_px), 1.0).reshape(-1, 2).numpy()

    @property
    def scale_shells(self) -> np.ndarray:
        return np.arange(self.box // 2 + 1) < 5


def speckle(n: int, rng: np.random.Generator) -> np.ndarray:
    """White noise in a soft ball: views differ in every pixel, so a posterior is sharp at a small D^2."""
    z, y, x = np.indices((n, n, n)) - n // 2
    return rng.normal(size=(n, n, n)) * np.exp(-(((x**2 + y**2 + z**2) / (n / 4) ** 2) ** 2))


def build_case(folder, symmetry: str, seed: int, local: bool, n_references: int = 1) -> Case:
    rng = np.random.default_rng(seed)
    volume = speckle(16, rng)
    # The others differ from the first by less than the noise, so that most images are shared.
    others = [volume + 0.05 * speckle(16, rng) for _ in range(n_references - 1)]
    log_priors = (0.0,) if n_references == 1 else tuple(rng.uniform(-1, 1, n_references))
    grid = OrientationGrid.build(0 if symmetry == "C1" else 1, symmetry, perturbation=rng.uniform(-0.5, 0.5))
    eulers = rng.uniform(0, 360, (N_IMAGES, 3)) * [1, 0.5, 1]
    # Views along the axes: near grid orientations, with enough noise for a posterior that is neither flat nor single.
    images = [volume.sum(axis % 3) + rng.normal(0, NOISE, (16, 16)) for axis in range(N_IMAGES)]
    images = np.roll(np.array(images), (1, -1), (1, 2)).astype(np.float32)
    with mrcfile.new(folder / "stack.mrcs", overwrite=True) as stack:
        stack.set_data(images)
    column = {
        name: rng.uniform(*limits, N_IMAGES)
        for name, limits in {
            "defocus_u_angst": (9e3, 12e3),
            "defocus_v_angst": (12e3, 14e3),
            "defocus_angle_deg": (-90, 90),
            "phase_shift_deg": (0, 30),
            "ctf_bfactor": (0, 50),
            "ctf_scale": (0.8, 1),
            "offset_x_angst": (-9, 9),
            "offset_y_angst": (-9, 9),
            "norm_correction": (0.8, 1.2),
        }.items()
    }
    particles = ParticleSet(
        image_index=np.arange(N_IMAGES),
        stack_index=np.zeros(N_IMAGES, np.int32),
        optics_index=np.array([0, 1, 0, 1, 0], np.int32),
        group_index=np.array([0, 1, 2, 0, 1], np.int32),
        half=np.ones(N_IMAGES, np.int8),
        rot_deg=eulers[:, 0],
        tilt_deg=eulers[:, 1],
        psi_deg=eulers[:, 2],
        stacks=(str(folder / "stack.mrcs"),),
        optics=GROUPS,
        has_poses=True,
        **column,
    )
    offsets = offset_grid(2.0, 1.0).numpy() + rng.uniform(-0.5, 0.5, 2)
    sigma2 = NOISE**2 / (2 * 16**2) * rng.uniform(0.5, 1.5, (2, 9))
    sigma_deg = 20.0 if local else None
    volumes = (volume, *others)
    return Case(volumes, images, particles, grid, offsets, sigma2, local_sigma_deg=sigma_deg, log_priors=log_priors)


def reference(case: Case) -> tuple[list[Result], list[Grid]]:
    """The slow answer."""
    sums, results = [Grid(case.radius) for _ in case.volumes], []
    p = case.particles
    for i in range(len(p)):
        group = GROUPS[p.optics_index[i]]
        row = {
            "optics": p.optics_index[i],
            "group": p.group_index[i],
            "x": p.offset_x_angst[i],
            "y": p.offset_y_angst[i],
            "norm": p.norm_correction[i],
            "ctf": {
                "u": p.defocus_u_angst[i],
                "v": p.defocus_v_angst[i],
                "angle_deg": p.defocus_angle_deg[i],
                "phase_deg": p.phase_shift_deg[i],
                "bfactor": p.ctf_bfactor[i],
                "scale": p.ctf_scale[i],
            },
        }
        lens = {"kv": group.voltage_kv, "cs_mm": group.spherical_aberration_mm, "contrast": group.amplitude_contrast}
        optics = {"lens": lens, "premultiplied": group.ctf_premultiplied}
        local = None
        if case.local_sigma_deg:
            prior = [torch.from_numpy(angle[i : i + 1]) for angle in (p.rot_deg, p.tilt_deg, p.psi_deg)]
            index, log_prior = (table[0] for table in case.grid.local_neighbours(*prior, case.local_sigma_deg))
            near = index >= 0
            local = index[near].numpy(), log_prior[near].numpy() + np.log(near.sum().item())
        results.append(expectation(case.images[i].astype(float), row, optics, case, sums, local))
    return results, sums


def engine(case: Case, dtype: torch.dtype) -> Expectation:
    spheres = [transform(torch.from_numpy(volume).to(dtype), case.radius) for volume in case.volumes]
    references = tuple(Reference(sphere, prior) for sphere, prior in zip(spheres, case.log_priors, strict=True))
    model = Model(
        component=Component(references, case.grid),
        pixel_size_angst=case.pixel_size,
        particle_diameter_angst=2 * case.mask_radius_px * case.pixel_size,
        coarse_radius=case.coarse_radius,
        radius=case.radius,
        noise=torch.from_numpy(case.sigma2),
        scale=torch.tensor(case.scale, dtype=torch.float64),
        norm_average=case.norm_average,
        offsets_angst=torch.from_numpy(case.offsets_px) * case.pixel_size,
        offset_step_angst=case.pixel_size,
        sigma_offset_angst=case.sigma_offset,
        local_sigma_deg=case.local_sigma_deg,
        cross_correlation=case.cross_correlation,
        scale_shells=torch.from_numpy(case.scale_shells),
    )
    return Expectation(model, case.particles, dtype, torch.device("cpu"))


@pytest.fixture(
    scope="module",
    params=[("C1", 1, False), ("D2", 2, False), ("D2", 3, True), ("D2", 2, False, 2), ("D2", 3, True, 3)],
    ids=["global-C1", "global-D2", "local-D2", "global-two-maps", "local-three-maps"],
)
def case(request, tmp_path_factory) -> Case:
    return build_case(tmp_path_factory.mktemp("oracle"), *request.param)


@pytest.fixture(scope="module")
def slow(case: Case) -> tuple[list[Result], list[Grid]]:
    return reference(case)


@pytest.fixture(params=["float64", "float32-torch", "float32-native"])
def dtype(request, monkeypatch) -> torch.dtype:
    """Precision and kernels of the engine."""
    precision, _, kernels = request.param.partition("-")
    monkeypatch.setattr(native, "_choice", kernels or "torch")
    if kernels == "native" and native.library() is None:
        pytest.skip("no C++ compiler")
    return getattr(torch, precision)


def tolerance(dtype: torch.dtype) -> float:
    """Relative rounding after a few thousand additions."""
    return 1e-11 if dtype == torch.float64 else 3e-5


def test_posteriors_agree_to_1e_5(case, slow, dtype):
    fast = engine(case, dtype)
    block = fast._load(case.particles)
    weighted = fast._weighted(block)
    poses, _ = fast._coarse(block, weighted)
    posterior = fine_posterior(poses, weighted, fast.offsets.shared.vectors, fast.model, fast.pixels)
    found: list[dict] = [{} for _ in slow[0]]
    pair, corner, child = posterior.weight.nonzero(as_tuple=True)
    columns = (
        posterior.pairs.image[pair],
        posterior.row[posterior.pairs.orientation[pair]],
        child,
        4 * posterior.pairs.shift[pair] + corner,
        posterior.weight[pair, corner, child],
    )
    for image, orientation, child_, shift, weight in zip(*(column.tolist() for column in columns), strict=True):
        found[image][orientation, child_, shift] = weight
    for ours, theirs in zip(found, slow[0], strict=True):
        for key in ours.keys() | theirs.posterior.keys():
            assert abs(ours.get(key, 0) - theirs.posterior.get(key, 0)) < 1e-5


def test_the_problem_is_neither_flat_nor_single(case, slow):
    """Otherwise the other tests would prove little."""
    assert max(len(result.posterior) for result in slow[0]) > 10
    of_pose = [Counter() for _ in slow[0]]  # over all references
    for weights, result in zip(of_pose, slow[0], strict=True):
        for (row, *rest), weight in result.posterior.items():
            weights[row % case.grid.n_orientations, *rest] += weight
    most = [max(weights.values()) for weights in of_pose]
    assert min(most) < 0.5 < max(most)


def test_best_poses_and_tables_agree(case, slow, dtype):
    table = engine(case, dtype).run(case.particles).table
    eulers = torch.stack([table[f"{angle}_deg"] for angle in ("rot", "tilt", "psi")], -1)
    best = np.array([result.best_matrix for result in slow[0]])
    np.testing.assert_allclose(matrix_from_euler(eulers).numpy(), best, atol=1e-6)
    offsets = torch.stack([table["offset_x_angst"], table["offset_y_angst"]], -1) / case.pixel_size
    np.testing.assert_allclose(offsets.numpy(), [result.best_offset_px for result in slow[0]], atol=1e-6)
    assert table["n_significant"].tolist() == [result.n_significant for result in slow[0]]
    for name, bound in (("pmax", 1e-5), ("norm_correction", tolerance(dtype))):
        expected = [getattr(result, name) for result in slow[0]]
        np.testing.assert_allclose(table[name].numpy(), expected, atol=bound, rtol=0)
    expected = [result.log_likelihood for result in slow[0]]
    np.testing.assert_allclose(table["log_likelihood"].numpy(), expected, rtol=0.1 * tolerance(dtype))


def test_back_projected_sums_agree(case, slow, dtype):
    volumes = engine(case, dtype).run(case.particles).volumes
    largest = max(grid.half()[1].max() for grid in slow[1])
    for volume, grid in zip(volumes, slow[1], strict=True):
        data, weight = grid.half()
        ours_data, ours_weight = (common(array.numpy(), grid.size) for array in (volume.data, volume.weight))
        np.testing.assert_allclose(ours_data, data, atol=tolerance(dtype) * np.abs(data).max())
        np.testing.assert_allclose(ours_weight, weight, atol=tolerance(dtype) * largest)
        assert weight.max() > 0.05 * largest  # every reference has its share


def common(array: np.ndarray, size: int) -> np.ndarray:
    """Cells -size..size of a larger array; what is cut off must be zero."""
    margin = (array.shape[0] - 2 * size - 1) // 2
    cut = array[margin : margin + 2 * size + 1, margin : margin + 2 * size + 1, : size + 1]
    assert np.count_nonzero(cut) == np.count_nonzero(array)
    return cut


def test_noise_scale_and_offset_sums_agree(case, slow, dtype):
    sums = engine(case, dtype).run(case.particles)
    p, results = case.particles, slow[0]
    for group in range(2):
        rows = [r for r, o in zip(results, p.optics_index, strict=True) if o == group]
        expected = sum(r.residual for r in rows)
        np.testing.assert_allclose(sums.noise[group].numpy(), expected, atol=tolerance(dtype) * expected.max())
        np.testing.assert_allclose(float(sums.weight[group]), sum(r.weight for r in rows), rtol=1e-5)
    for group in range(3):
        rows = [r for r, g in zip(results, p.group_index, strict=True) if g == group]
        terms = np.sum([r.scale for r in rows], 0)
        found = [float(sums.scale_cross[group]), float(sums.scale_power[group])]
        np.testing.assert_allclose(found, terms, atol=tolerance(dtype) * terms.max())
    np.testing.assert_allclose(float(sums.offset_square), sum(r.offset_square for r in results), rtol=tolerance(dtype))


def test_two_shards_add_up_to_the_whole(case, dtype):
    fast = engine(case, dtype)
    whole = fast.run(case.particles)
    parts = [fast.run(case.particles.take(rows)) for rows in (np.arange(2), np.arange(2, N_IMAGES))]
    total = sum(part.volumes[0].grid for part in parts)
    grid = whole.volumes[0].grid
    torch.testing.assert_close(total, grid, atol=tolerance(dtype) * float(grid.max()), rtol=0)
    torch.testing.assert_close(torch.cat([p.table["pmax"] for p in parts]), whole.table["pmax"], atol=1e-5, rtol=0)


def test_no_particle_gives_empty_sums(case, dtype):
    sums = engine(case, dtype).run(case.particles.take(np.arange(0)))
    assert not sums.volumes[0].grid.any()
    assert float(sums.weight.sum()) == 0


def test_under_cross_correlation_the_same_pose_takes_all(tmp_path, dtype):
    """Pose, D and W; the likelihood and the noise are not defined there."""
    case = replace(build_case(tmp_path, "D2", 5, False), cross_correlation=True)
    results, (grid,) = reference(case)
    sums = engine(case, dtype).run(case.particles)
    eulers = torch.stack([sums.table[f"{angle}_deg"] for angle in ("rot", "tilt", "psi")], -1)
    best = np.array([result.best_matrix for result in results])
    np.testing.assert_allclose(matrix_from_euler(eulers).numpy(), best, atol=1e-6)
    assert (sums.table["pmax"] == 1).all()
    data, _ = grid.half()
    ours = common(sums.volumes[0].data.numpy(), grid.size)
    np.testing.assert_allclose(ours, data, atol=tolerance(dtype) * np.abs(data).max())
