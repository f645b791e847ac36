"""Simulated filaments: their poses, their map, their strips, and the set that they leave."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from blush.errors import BlushError
from blush.geometry.helix import Helix, in_frame, polarity
from blush.io.filaments import units_per_segment, with_filaments
from blush.io.files import read_json
from blush.io.mrc import read_volume
from blush.io.particles import read_particles
from blush.simulate.acquisition import Acquisition, micrograph_defocus
from blush.simulate.filament_strips import Strips
from blush.simulate.filament_tracks import draw_filament
from blush.simulate.filament_unit import Unit, helix_map
from blush.simulate.images import clean_images
from blush.simulate.particle_set import simulate
from blush.simulate.settings import load_settings
from blush.simulate.slices import Slicer

BOX, PIXEL = 32, 5.0
CHAIN = {"beads": 6, "spacing_angst": 14, "sigma_angst": 5, "extent_angst": 22}
STRAIGHT = {
    "curvature_deg_per_angst": 0,
    "tilt_deg": 0,
    "stretch_sd": 0,
    "across_sd_angst": 0,
    "psi_error_deg": 0,
}


def settings(folder=None, imaging=None, **filaments):
    content = {
        "filaments": {
            "rise_angst": 20,
            "twist_deg": 50,
            "count": 4,
            "segments": 5,
            "units_per_segment": 2,
            "per_micrograph": 2,
            "chain": CHAIN,
            "radius_angst": 18,
        }
        | filaments,
        "imaging": {"box_px": BOX, "pixel_size_angst": PIXEL} | (imaging or {}),
        "noise": {"snr": 0.5},
    }
    return load_settings(None, content | ({} if folder is None else {"output": folder}))


@pytest.mark.parametrize("twist_deg", [50, -50, 180.6, -180.6])
@pytest.mark.parametrize("against", [False, True])
def test_rot_turns_along_the_filament_by_its_slow_twist(twist_deg, against):
    """rho = rot + s slope along is a line of slope s slope over the place of the box; s is -1 against the track."""
    made = settings(**STRAIGHT, twist_deg=twist_deg, reversed=4 if against else 0)
    filament = draw_filament(made, made.filaments, 1, 50.0)
    slope, period = {50: (2.5, 360), -50: (-2.5, 360), 180.6: (0.03, 180), -180.6: (-0.03, 180)}[twist_deg]
    sign = -1 if against else 1
    psi = filament.units.track_psi_deg[0]
    [along] = in_frame(filament.origin_angst[None], np.full((1, 5), psi))[..., 0]
    [place] = in_frame((filament.box_px * PIXEL)[None], np.full((1, 5), psi))[..., 0]
    away = (filament.euler_deg[:, 0] + sign * slope * along - sign * slope * place) % period
    away = np.angle(np.exp(2j * math.pi * (away - away[0]) / period))
    np.testing.assert_allclose(away, 0, atol=1e-9)
    assert np.abs(along).max() <= 10 + 1e-9
    assert np.abs(place - filament.track_angst).max() <= PIXEL
    assert polarity(filament.euler_deg[:, 2], filament.psi_prior_deg).tolist() == [int(against)] * 5


def test_a_curved_track_turns_as_its_directions_say():
    """An arc: chords between equal steps of a circle, and the direction noted of each box is that of its tangent."""
    made = settings(**STRAIGHT | {"curvature_deg_per_angst": 0.3}, segments=9)
    filament = draw_filament(made, made.filaments, 2, 0.0)
    turn = math.radians(filament.curvature_deg_per_angst)
    assert abs(turn) > math.radians(0.01)
    place, psi = filament.units.place_angst, np.radians(filament.units.track_psi_deg)
    step = np.diff(place, axis=0)
    np.testing.assert_allclose(np.hypot(*step.T), 2 / abs(turn) * math.sin(abs(turn) * 20 / 2), rtol=1e-9)
    middle = (psi[1:] + psi[:-1]) / 2
    along, across = in_frame(step, np.degrees(middle)).T
    assert along.min() > 0
    np.testing.assert_allclose(across, 0, atol=1e-9)
    np.testing.assert_allclose(np.diff(filament.track_angst), 40, rtol=1e-12)


def test_the_map_repeats_by_the_operator():
    """V(R(twist) (x, y), z + rise) = V(x, y, z), here with a quarter turn and four pixels."""
    made = settings(rise_angst=4 * PIXEL, twist_deg=90)
    unit = Unit(*(torch.tensor(v, dtype=torch.float64) for v in ([[28.0, 9.0, 3.0]], [[1.0]], [[3000.0]])))
    volume = helix_map(unit, Helix(4 * PIXEL, 90.0), made)[:, 1:, 1:]
    seen = volume[:-4]
    turned = torch.rot90(volume[4:], 1, (1, 2))  # from y to x: what lies at twist is brought back
    assert (seen - turned).abs().max() < 1e-4 * seen.max()
    assert (seen - torch.rot90(volume[4:], -1, (1, 2))).abs().max() > 0.5 * seen.max()


def test_images_are_projections_of_the_map_at_the_true_poses():
    """Strips are made without the map, unit by unit, and agree with projections of it through the same CTF."""
    made = settings(reversed=1, imaging={"defocus_max_angst": 9000}, stretch_sd=0.001, curvature_deg_per_angst=0.002)
    unit = Unit(
        *(torch.tensor(v, dtype=torch.float64) for v in ([[28.0, 9, 3], [10, -20, -4]], [[1.0]] * 2, [[2500.0]] * 2))
    )
    strips = Strips(unit, made, made.filaments)
    volume = helix_map(unit, Helix(20.0, 50.0), made)
    slicer = Slicer(torch.fft.rfftn(torch.fft.ifftshift(volume)))
    inside = torch.hypot(*torch.meshgrid(*[torch.arange(BOX) - BOX // 2.0] * 2, indexing="ij")) < BOX / 4
    polarities = []
    for number in range(made.filaments.count):
        filament = strips.filament(number)
        polarities.append(filament.polarity)
        seen = _seen(filament, made, number // 2)
        images = strips.clean(number).boxes(filament, BOX)[:, inside]
        for turn, least, most in ((0.0, 0.99, 1.01), (20.0, -1.0, 0.97)):
            view = seen.euler_deg + torch.tensor([turn, 0, 0])
            expected = clean_images(slicer, replace(seen, euler_deg=view), made.imaging)[:, inside]
            both = torch.stack([images, expected]).double()
            both = both - both.mean(-1, keepdim=True)
            correlation = (both[0] * both[1]).sum(1) / both.norm(dim=-1).prod(0)
            assert correlation.min() > least
            assert correlation.max() < most
    assert sorted(polarities) == [0, 0, 0, 1]


def _seen(filament, made, micrograph):
    count = len(filament.euler_deg)
    defocus, angle = micrograph_defocus(made, micrograph)
    return Acquisition(
        euler_deg=torch.from_numpy(filament.euler_deg),
        origin_angst=torch.from_numpy(filament.origin_angst),
        defocus_angst=torch.from_numpy(defocus).expand(count, -1),
        defocus_angle_deg=torch.from_numpy(angle).expand(count),
        micrograph=torch.zeros(count, dtype=torch.int64),
        optics=torch.zeros(count, dtype=torch.int64),
    )


def beads():
    return Unit(*(torch.tensor(v, dtype=torch.float64) for v in ([[20.0, 0.0, 0.0]], [[1.0]], [[3000.0]])))


def test_overlapping_boxes_show_the_same_pixels():
    made = settings(content="noise", units_per_segment=1)
    strips = Strips(beads(), made, made.filaments)
    filament, strip = strips.filament(0), strips.noisy(0, 1.0)
    boxes = strip.boxes(filament, BOX)
    shift_x, shift_y = (filament.box_px[1] - filament.box_px[0]).tolist()
    assert abs(shift_x) + abs(shift_y) > 0
    rows, columns = (slice(max(s, 0), BOX + min(s, 0)) for s in (shift_y, shift_x))
    other_rows, other_columns = (slice(max(-s, 0), BOX + min(-s, 0)) for s in (shift_y, shift_x))
    assert torch.equal(boxes[0, rows, columns], boxes[1, other_rows, other_columns])
    assert strip.image.var().item() == pytest.approx(1, abs=0.1)
    again = strips.noisy(1, 1.0).boxes(strips.filament(1), BOX)
    assert np.corrcoef(boxes[0].flatten(), again[0].flatten())[0, 1] < 0.1


def test_random_phases_keep_amplitudes_and_agree_with_nothing():
    plain, random = (settings(content=content) for content in ("filaments", "random_phases"))
    whole, scattered = (Strips(beads(), made, made.filaments).clean(0).image.double() for made in (plain, random))
    torch.testing.assert_close(torch.fft.rfft2(whole).abs(), torch.fft.rfft2(scattered).abs(), atol=1e-4, rtol=1e-3)
    assert abs(np.corrcoef(whole.flatten(), scattered.flatten())[0, 1]) < 0.2


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filaments")
    simulate(settings(folder, reversed=1, count=5))
    return folder


def test_the_table_is_that_of_extracted_segments(written):
    particles, blocks = read_particles(written / "particles.star")
    problems, warnings = [], []
    found, _ = with_filaments(particles, blocks, written, problems, warnings)
    assert (problems, warnings, particles.has_poses) == ([], [], False)
    assert found.filament.tolist() == np.repeat(np.arange(5), 5).tolist()
    assert found.track_angst.tolist() == [0, 40, 80, 120, 160] * 5
    assert units_per_segment(found, 20.0) == 2
    table = blocks["particles"]
    place = np.stack([np.asarray(table[f"rlnCoordinate{axis}"], dtype=float) for axis in "XY"], 1)
    step = np.hypot(*np.diff(place[:5], axis=0).T) * PIXEL
    np.testing.assert_allclose(step, 40, atol=2 * PIXEL)
    assert blocks["optics"]["rlnMicrographOriginalPixelSize"].tolist() == [PIXEL]


def test_the_truth_has_polarity_and_whole_filaments_in_halves(written):
    true, blocks = read_particles(written / "truth.star")
    found, table = with_filaments(true, blocks, written, [], [])
    flipped = polarity(true.psi_deg, found.track_psi_deg)
    assert np.array_equal(flipped, np.asarray(table["blushPolarity"], dtype=int))
    assert np.array_equal(flipped.reshape(5, 5).std(1), np.zeros(5))
    assert flipped.sum() == 5
    assert true.half.reshape(5, 5).std(1).max() == 0
    derived = read_json(written / "simulation.json")["derived"]
    assert [one["polarity"] for one in derived["filaments"]] == flipped[::5].tolist()
    assert derived["slope_deg_per_angst"] == pytest.approx(2.5)


def test_images_are_normalised_outside_the_tube(written):
    particles, blocks = read_particles(written / "particles.star")
    tube = read_json(written / "simulation.json")["derived"]["tube_diameter_angst"]
    axis = (np.arange(BOX) - BOX // 2) * PIXEL
    psi = np.radians(np.asarray(blocks["particles"]["rlnAnglePsiPrior"], dtype=float))[:, None, None]
    outside = np.abs(axis * np.sin(psi) + axis[:, None] * np.cos(psi)) > tube / 2
    for image, background in zip(particles.images(), outside, strict=True):
        assert image[background].mean() == pytest.approx(0, abs=1e-5)
        assert image[background].std() == pytest.approx(1, abs=1e-5)


def test_the_same_settings_give_the_same_bytes(written, tmp_path):
    simulate(settings(tmp_path, reversed=1, count=5))
    names = sorted(path.relative_to(written) for path in written.rglob("*") if path.is_file())
    assert len(names) == 9
    assert all((written / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)
    volume, pixel = read_volume(written / "true_map.mrc")
    assert (volume.shape, pixel) == ((BOX,) * 3, pytest.approx(PIXEL))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"filaments.reversed": 5}, "filaments: reversed 5 is over count 4; lower it"),
        ({"imaging.n_particles": 7}, "filaments.count times segments makes 20 images; leave imaging.n_particles out"),
        ({"junk": {"noise": 0.1}}, "filaments do not go with junk; leave one of them out"),
        ({"filaments.random_from_angst": 20}, "random_from_angst belongs to content: random_phases"),
        ({"filaments.rise_angst": 0}, "filaments.rise_angst: has to be greater than 0"),
    ],
)
def test_what_does_not_fit_is_told(changes, expected):
    content = {"filaments": {"rise_angst": 20, "twist_deg": 50, "count": 4, "segments": 5}}
    for key, value in changes.items():
        section, _, name = key.partition(".")
        content[section] = value if not name else content.get(section, {}) | {name: value}
    with pytest.raises(BlushError) as caught:
        load_settings(None, content)
    assert expected in str(caught.value)


def test_a_tube_beyond_the_box_and_a_chain_without_room_are_told(tmp_path):
    with pytest.raises(
        BlushError, match=r"is wider than the circle of 144 Å around a segment; raise imaging\.box_px to"
    ):
        simulate(settings(tmp_path, radius_angst=80))
    with pytest.raises(BlushError, match="no room for 40 beads"):
        simulate(settings(tmp_path, chain=CHAIN | {"beads": 40}))
