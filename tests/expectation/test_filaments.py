"""Segments of filaments: their posterior against one that is enumerated, and what symmetry says of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dense_step import dense_step
from small_problem import BOX, COARSE, PIXEL, PIXELS, RADIUS, SUMS, model, particle_set, speckle

from blush.expectation import shard
from blush.expectation.batches import batches
from blush.expectation.image_masks import tubes
from blush.expectation.kept_poses import Poses
from blush.expectation.model import FilamentModel, Model
from blush.expectation.rot_evidence import evidence, smoothing
from blush.expectation.shard import Expectation
from blush.expectation.sums import Sums
from blush.fourier.transform import transform
from blush.geometry.helix import Helix
from blush.geometry.rotation import matrix_from_euler
from blush.geometry.sampling import OrientationGrid, frame_offsets

COUNT, BINS = 4, 24
HELIX = Helix(rise_angst=12.0, twist_deg=-50.0)
NOISE = torch.tensor([[1.0], [1.7]]).double() * torch.linspace(3, 1.5, BOX // 2 + 1).double() / BOX**2


def segments_model(**changes) -> Model:
    """Both halves of a turn at 30 degrees, offsets within half a rise and 4 Å; all samples count."""
    offsets, along_step = frame_offsets((6.0, 6.0), (4.0, 4.0))
    filament = FilamentModel(HELIX, 6.0, 5.0, 5.0, along_step, 30.0, BINS)
    filament = replace(filament, **{name: changes.pop(name) for name in list(changes) if hasattr(filament, name)})
    plain = {
        "grid": OrientationGrid.build(1, "C1", perturbation=0.3),
        "noise": NOISE,
        "scale": torch.tensor([0.8, 1.0, 1.3]).double(),
        "scale_shells": torch.arange(BOX // 2 + 1) < 5,
        "adaptive_fraction": 1 - 1e-13,
        "offsets_angst": offsets + torch.tensor([0.3 * along_step, 1.2]),
        "norm_average": 0.93,
    }
    return model(torch.float64, **(plain | changes), filament=filament)


def segments(folder: Path, images: np.ndarray | None = None, **columns) -> object:
    """Views of the ball under noise, tracks in all directions, priors that prefer something."""
    rng = np.random.default_rng(3)
    if images is None:
        images = np.stack([speckle().sum(i % 3).numpy() for i in range(COUNT)]) + rng.normal(size=(COUNT, BOX, BOX))
    n = len(images)
    psi = rng.uniform(-180, 180, n)
    table = rng.normal(size=(n, 2, BINS))
    table -= np.log(np.exp(table).mean((1, 2)))[:, None, None]
    rot, jitter = rng.uniform(-180, 180, (n, 2)), rng.normal(size=(n, 2, 2)) * 6
    poses = np.stack([rot, 84 + np.array([0.0, 12.0]) + jitter[..., 0], psi[:, None] + [0, 180] + jitter[..., 1]], -1)
    plain = {
        "filament_prior": np.stack([psi, np.full(n, 84.0), rng.normal(size=n) * 3], 1),
        "rot_log_prior": table,
        "polarity_pose": np.concatenate([poses, rng.uniform(-5, 5, (n, 2, 2))], 2),
        **{f"offset_{axis}_angst": rng.uniform(-6, 6, n) for axis in "xy"},
        "norm_correction": rng.uniform(0.8, 1.2, n),
    }
    return particle_set(folder, images, **(plain | columns))


def run(given: Model, particles, **arguments) -> Sums:
    return Expectation(given, particles, torch.float64, torch.device("cpu"), **arguments).run(particles)


def assert_is_enumerated(given: Model, particles) -> Sums:
    """Every sum and column of the step is that of the formulas over all samples."""
    expected, found = dense_step(given, particles), run(given, particles)
    for name in SUMS:
        one, two = getattr(found, name), getattr(expected, name)
        assert (one - two).abs().max() <= 1e-7 * two.abs().max(), name
    grid = expected.volumes[0].grid
    assert (found.volumes[0].grid - grid).abs().max() <= 1e-7 * grid.abs().max()
    assert float(found.offset_square) == pytest.approx(float(expected.offset_square), rel=1e-7)
    for name in ("log_likelihood", "norm_correction", "pmax", "offset_x_angst", "across_mean", "across_square"):
        torch.testing.assert_close(found.table[name].double(), expected.table[name].double(), rtol=1e-7, atol=1e-7)
    told = (one.table["rot_evidence"].double() for one in (found, expected))
    torch.testing.assert_close(*told, rtol=0, atol=1e-5, equal_nan=True)
    poses, truth = found.table["polarity_pose"], expected.table["polarity_pose"]
    assert torch.equal(poses.isnan(), truth.isnan())
    known = ~truth[..., 0].isnan()
    turned = matrix_from_euler(poses[known][:, :3]) - matrix_from_euler(truth[known][:, :3])
    assert turned.abs().max() < 1e-9
    assert (poses[known][:, 3:] - truth[known][:, 3:]).abs().max() < 1e-9
    return found


@pytest.mark.parametrize("fold", [1, 2])
def test_the_posterior_of_a_global_search_is_the_enumerated_one(tmp_path, fold):
    grid = OrientationGrid.build(1, f"C{fold}", perturbation=0.3)
    found = assert_is_enumerated(segments_model(grid=grid, helix=replace(HELIX, fold=fold)), segments(tmp_path))
    assert 0.001 < float(found.table["pmax"].max()) < 0.5
    assert found.table["rot_evidence"].std() > 0.2
    assert found.table["rot_evidence"].min() > np.log(1e-4)  # no bin is at the bound, so nothing hides there


def test_the_posterior_of_a_local_search_is_the_enumerated_one(tmp_path):
    """One of the segments knows no pose of polarity 1, the polarity of another is decided."""
    particles = segments(tmp_path)
    particles.polarity_pose[1, 1] = np.nan
    particles.rot_log_prior[2, 0] -= 12
    found = assert_is_enumerated(segments_model(local_sigma_deg=10.0), particles)
    known = ~found.table["polarity_pose"][..., 0].isnan()
    assert known.tolist() == [[True, True], [True, False], [False, True], [True, True]]
    assert torch.equal(found.table["rot_evidence"].isnan().all(2), ~known)
    assert not found.table["rot_evidence"][known].isnan().any()


def test_the_evidence_under_the_prior_has_a_mean_of_one(tmp_path):
    """It is the posterior's mass of a bin over the prior's, both spread over the distance between samples."""
    particles = segments(tmp_path, rot_log_prior=np.zeros((COUNT, 2, BINS)))
    step = Expectation(segments_model(), particles, torch.float64, torch.device("cpu"))
    known = step.priors.candidates(step._load(particles)).mass.by_bin
    table = step.run(particles).table["rot_evidence"].double()
    known = known @ smoothing(BINS, 15 / (360 / BINS)).double()
    torch.testing.assert_close((table.exp() * known).sum((1, 2)), torch.ones(COUNT).double(), rtol=0, atol=1e-6)


def turned_by_half(images: np.ndarray) -> np.ndarray:
    """By 180 degrees about the centre pixel."""
    return np.roll(images[:, ::-1, ::-1], (1, 1), (1, 2))


def test_a_reversed_object_swaps_the_polarities(tmp_path):
    """Turned in the image: what was said of one polarity is said of the other, at the same reduced rot."""
    images = np.random.default_rng(5).normal(size=(COUNT, BOX, BOX)) + speckle().sum(1).numpy()
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    still = {f"offset_{axis}_angst": np.zeros(COUNT) for axis in "xy"}
    prior = np.stack([90.0 * np.arange(COUNT), np.full(COUNT, 90.0), np.zeros(COUNT)], 1)
    columns = still | {"filament_prior": prior, "rot_log_prior": np.zeros((COUNT, 2, BINS))}
    offsets, _ = frame_offsets((6.0, 6.0), (4.0, 4.0))
    given = segments_model(grid=OrientationGrid.build(1), offsets_angst=offsets)
    one = run(given, segments(folders[0], images, **columns)).table["rot_evidence"]
    two = run(given, segments(folders[1], turned_by_half(images), **columns)).table["rot_evidence"]
    torch.testing.assert_close(two, one.flip(1), rtol=0, atol=1e-5)
    assert (one - two).abs().max() > 0.5


def screw(rise_px: int, quarter_turns: int) -> torch.Tensor:
    """A periodic helix of speckles: V(R(90 q)(x, y), z + rise) = V(x, y, z) with R(90)(x, y) = (-y, x)."""
    place = torch.arange(BOX) - BOX // 2
    y, x = torch.meshgrid(place, place, indexing="ij")
    unit, total = speckle(4), torch.zeros(BOX, BOX, BOX, dtype=torch.float64)
    for h in range(BOX // rise_px):
        turned = unit
        for _ in range(h * quarter_turns % 4):
            turned = turned[:, (BOX // 2 - x) % BOX, (BOX // 2 + y) % BOX]  # V'(x, y) = V(y, -x)
        total += torch.roll(turned, h * rise_px, 0)
    return total


@pytest.mark.parametrize("quarter_turns", [1, 3])
def test_reduced_rot_follows_the_screw(tmp_path, quarter_turns):
    """Which unit offsets are counted from does not matter; an image one rise on is at another reduced rot.

    It is the twist farther, up for one polarity and down for the other.
    """
    rise_px, noise = 4, torch.full((2, BOX // 2 + 1), 4.0 / BOX**2, dtype=torch.float64)
    helix = Helix(rise_px * PIXEL, 90.0 if quarter_turns == 1 else -90.0)
    view = screw(rise_px, quarter_turns).sum(1).numpy().T  # along z is along x: psi 0, or its reverse
    images = np.stack([view, view[:, ::-1]] * 2)
    plain = {
        "filament_prior": np.tile([0.0, 90.0, 0.0], (4, 1)), "rot_log_prior": np.zeros((4, 2, BINS)),
        "norm_correction": np.ones(4), "defocus_u_angst": np.full(4, 1e4), "defocus_v_angst": np.full(4, 1e4),
        **{f"offset_{axis}_angst": np.zeros(4) for axis in "xy"},
    }  # fmt: skip
    offsets, step = frame_offsets((rise_px * PIXEL / 2, 4.0), (0.0, 1.0))
    found = []
    for name, stack, unit in (("a", images, 0), ("b", images, 1), ("c", np.roll(images, rise_px, 2), 0)):
        given = segments_model(
            grid=OrientationGrid.build(3), sphere=transform(screw(rise_px, quarter_turns), RADIUS, corrected=False),
            offsets_angst=offsets + unit * torch.tensor([rise_px * PIXEL, 0.0]), along_step_angst=step, helix=helix,
            sigma_tilt_deg=0.2, sigma_psi_deg=2.0, noise=noise, offset_step_angst=1e-3, norm_average=1.0,
            particle_diameter_angst=1e3, scale=torch.ones(3).double(),
        )  # fmt: skip
        (tmp_path / name).mkdir()
        found.append(run(given, segments(tmp_path / name, stack, **plain)).table["rot_evidence"])
    still, counted, moved = found
    assert still.amax((1, 2)).min() > 1.0
    assert (still - counted).abs().max() < 0.3  # a map that ends is no helix between the lines of its transform
    bins = BINS // 4 if quarter_turns == 1 else -BINS // 4
    on = torch.stack((still[:, 0].roll(-bins, 1), still[:, 1].roll(bins, 1)), 1)
    assert (moved - on).abs().max() < 0.3
    assert (moved - still).abs().amax((1, 2)).min() > 2.0


def test_a_tube_is_one_inside_and_zero_beyond_its_edge():
    """Along the track (cos psi, -sin psi), whichever way; half a cosine between."""
    psi = np.array([0.0, 30.0, 90.0, -120.0])
    found = tubes(32, 5.0, torch.from_numpy(psi)).numpy()
    for i, angle in enumerate(np.deg2rad(psi)):
        for y in range(-16, 16):
            for x in range(-16, 16):
                distance = abs(x * np.sin(angle) + y * np.cos(angle))
                if distance <= 5:
                    expected = 1.0
                elif distance >= 15:
                    expected = 0.0
                else:
                    expected = 0.5 + 0.5 * np.cos(np.pi * (distance - 5) / 10)
                assert found[i, y + 16, x + 16] == pytest.approx(expected, abs=1e-9)


def test_memory_counts_the_ramps_of_every_segment(tmp_path):
    """Coarse ones and shifted images of both polarities, fine ones of a batch, and candidates of one image."""
    particles, given = segments(tmp_path), segments_model()
    step = Expectation(given, particles, torch.float64, torch.device("cpu"))
    size, block = step._size(), step._load(particles)
    candidates = step.priors.candidates(block)
    shifts = 2 * len(given.offsets_angst)
    assert candidates.orientation.shape[1:].numel() <= size.n_orientations
    assert candidates.log_prior.shape[1:] == (shifts, candidates.orientation.shape[2])
    assert (size.shifts * 2, size.lists, size.local) == (shifts, 2, False)
    ramps = step.offsets.coarse(block)
    assert ramps.shape[:2] == (COUNT, shifts / 2)  # those of both polarities are alike
    whole = (
        size.peak(COUNT).first_pass - 8 * 8 * BOX**2 * COUNT - (2 * 8 + 29) * COUNT * size.shifts * size.n_orientations
    )
    assert whole == 4 * ramps.numel() * 8 + 128 * 2**20
    every = torch.arange(shifts).repeat(COUNT)
    image = torch.arange(COUNT).repeat_interleave(shifts)
    poses = Poses(image, every, 0 * every, 0.0 * every, torch.full((COUNT,), shifts))
    fine, listed = step.offsets.fine(block, poses)
    assert torch.equal(listed.shift, torch.arange(COUNT * shifts))
    one = fine.px.numel() * PIXELS.inside(given.radius) * 8 // COUNT
    grid = 2 * PIXELS.inside(COARSE) * size.shared_rows * 8
    assert size.shared_rows <= sum(map(len, step.priors.shared.groups)) * 12
    assert size.peak(COUNT).slices == grid + (COUNT + 1) * one
    assert step.offsets.at_once * one >= 2**28 * shifts * 0.99


def test_few_images_make_a_batch_where_each_has_ramps_of_its_own():
    """Those of a batch number at most so many, of different shifts of each image."""
    image = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3])
    shift = torch.tensor([4, 4, 5, 0, 1, 1, 2, 3])
    nothing = torch.zeros(8)
    poses = Poses(image, shift, 0 * shift, nothing, torch.bincount(image))
    assert list(batches(poses, 100, 4)) == [slice(0, 2), slice(2, 4)]
    assert list(batches(poses, 100, 3)) == [slice(0, 1), slice(1, 3), slice(3, 4)]
    assert list(batches(poses, 3, 100)) == [slice(0, 1), slice(1, 3), slice(3, 4)]


@pytest.mark.parametrize("memory", [1.0, 2e9])
def test_blocks_and_batches_of_segments_change_nothing(tmp_path, memory, monkeypatch):
    particles = segments(tmp_path)
    whole = run(segments_model(), particles)
    monkeypatch.setattr(shard, "PAIRS_PER_BATCH", 700)
    parts = run(segments_model(), particles, memory_bytes=memory)
    for name, column in whole.table.items():
        torch.testing.assert_close(parts.table[name], column, rtol=0, atol=2e-6, equal_nan=True)
    assert (parts.volumes[0].grid - whole.volumes[0].grid).abs().max() < 1e-9 * whole.volumes[0].grid.abs().max()


def test_compiled_kernels_serve_shifts_of_each_segment(tmp_path, both_kernels):
    particles = segments(tmp_path)
    given = segments_model(sphere=transform(speckle().float(), RADIUS), adaptive_fraction=0.9999)

    def found() -> Sums:
        return Expectation(given, particles, torch.float32, torch.device("cpu")).run(particles)

    one, two = both_kernels(found)
    for name in ("rot_evidence", "polarity_pose", "across_mean", "log_likelihood"):
        torch.testing.assert_close(one.table[name], two.table[name], rtol=0, atol=2e-3, equal_nan=True)
    assert (one.volumes[0].grid - two.volumes[0].grid).abs().max() < 1e-4 * two.volumes[0].grid.abs().max()
    exact = run(segments_model(adaptive_fraction=0.9999), particles).table["rot_evidence"]
    assert (one.table["rot_evidence"] - exact).abs().max() < 2e-3


def test_segments_of_which_nothing_is_known_are_refused(tmp_path):
    bare = replace(segments(tmp_path), polarity_pose=None)
    with pytest.raises(ValueError, match="need filament_prior, rot_log_prior and polarity_pose"):
        run(segments_model(), bare)
    lost = segments(tmp_path)
    lost.polarity_pose[1] = np.nan
    with pytest.raises(ValueError, match="a pose of one polarity at least"):
        run(segments_model(local_sigma_deg=10.0), lost)


def test_a_prior_of_psi_that_reaches_the_other_polarity_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"30\.0 degrees does not tell polarities"):
        run(segments_model(sigma_psi_deg=30.0), segments(tmp_path))


def test_correlation_has_no_evidence_but_poses_of_both_polarities(tmp_path):
    table = run(segments_model(cross_correlation=True), segments(tmp_path)).table
    assert not table["rot_evidence"].any()
    assert not table["polarity_pose"].isnan().any()
    best = torch.stack([table[f"{name}_deg"] for name in ("rot", "tilt", "psi")], 1)
    assert ((table["polarity_pose"][..., :3] - best[:, None]).abs().amax(2) < 1e-9).any(1).all()


def test_evidence_is_bounded_below():
    """An image that says nothing for a bin at all may show something else: ln 1e-4 is the least."""
    seen = torch.zeros(1, 2, 4, dtype=torch.float64)
    seen[0, 0, 1] = 8
    found = evidence(seen, torch.full((1, 2, 4), 0.125, dtype=torch.float64), smoothing(4, 1.0))
    assert found[0, 0, 1] == pytest.approx(np.log(64))
    assert found[0, 1].tolist() == pytest.approx([np.log(1e-4)] * 4)
