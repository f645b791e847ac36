"""Signal subtraction against images in closed form: what stays is the kept part, what goes is the rest."""

import dataclasses
import json

import mrcfile
import numpy as np
import pytest
import torch
from blob_set import BOX, KEPT, KEPT_AT, PIXEL, projections, volume, write_blob_set

from blush.cli.main import main
from blush.errors import BlushError
from blush.fourier.backproject import empty_accumulator, hermitian, insert, trim
from blush.fourier.fsc import fsc
from blush.fourier.packed import packed
from blush.io.mrc import read_volume, write_stack, write_volume
from blush.io.particles import read_particles
from blush.io.star import read_star, write_star
from blush.jobs.subtract import Subtraction, subtract
from blush.jobs.subtracted_table import revert
from blush.jobs.subtraction_plan import block_size
from blush.maximization.reconstruct import reconstruct


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """40 images without noise."""
    return write_blob_set(tmp_path_factory.mktemp("clean"))


def wanted(data, output, **changes) -> Subtraction:
    given = {"mask": data.folder / "mask.mrc", "output": output, "maps": (data.folder / "map.mrc",), "scale": "given"}
    return Subtraction(**(given | changes))


def power(images) -> float:
    return float(np.square(np.asarray(images, dtype=np.float64)).sum())


def test_what_lies_outside_the_mask_goes_and_what_lies_inside_stays(clean, tmp_path):
    """Of the other part's power 0.03 % is left, which is trilinear interpolation in the padded transform."""
    star = subtract(clean.star, wanted(clean, tmp_path / "out"))
    particles, blocks = read_particles(star)
    left = particles.images() - clean.kept
    assert power(left) < 5e-4 * power(clean.other)
    assert power(left) < 5e-4 * power(clean.kept)
    assert list(blocks["particles"]["rlnImageOriginalName"]) == [
        f"{i + 1:06d}@{clean.folder / 'images.mrcs'}" for i in range(40)
    ]
    for name in ("rlnAngleRot", "rlnOriginXAngst", "rlnDefocusAngle", "someColumn", "rlnRandomSubset"):
        np.testing.assert_array_equal(blocks["particles"][name], read_star(clean.star)["particles"][name])


def test_dark_images_stay_dark_and_their_table_still_says_so(clean, tmp_path):
    dark = tmp_path / "dark"
    dark.mkdir()
    images = mrcfile.read(clean.folder / "images.mrcs")
    write_stack(dark / "images.mrcs", -images, PIXEL)
    blocks = read_star(clean.star)
    blocks["optics"]["blushImageSign"] = np.array([-1])
    names = [f"{i + 1:06d}@images.mrcs" for i in range(len(images))]
    blocks["particles"]["rlnImageName"] = np.array(names, dtype=object)
    write_star(dark / "particles.star", blocks)
    star = subtract(dark / "particles.star", wanted(clean, tmp_path / "out"))
    bright = subtract(clean.star, wanted(clean, tmp_path / "bright"))
    made, expected = (read_particles(each)[0].images() for each in (star, bright))
    np.testing.assert_array_equal(made, expected)
    assert read_particles(star)[0].optics[0].image_sign == -1
    assert (
        mrcfile.read(read_particles(star)[0].stacks[0])[:] == -mrcfile.read(read_particles(bright)[0].stacks[0])
    ).all()


def test_noise_stays_as_it_is(tmp_path):
    data = write_blob_set(tmp_path, noise=3.0)
    star = subtract(data.star, wanted(data, tmp_path / "out"))
    left = read_particles(star)[0].images() - data.kept - data.noise
    assert power(left) < 5e-4 * power(data.other)


def test_each_half_loses_what_its_own_map_predicts(clean, tmp_path):
    """Half 2's map is empty here: its images stay as they are, to the bit."""
    write_volume(tmp_path / "empty.mrc", 1e-30 * volume(KEPT), PIXEL)
    maps = (clean.folder / "map.mrc", tmp_path / "empty.mrc")
    particles, _ = read_particles(subtract(clean.star, wanted(clean, tmp_path / "out", maps=maps)))
    images, before = particles.images(), read_particles(clean.star)[0].images()
    second = particles.half == 2
    np.testing.assert_array_equal(images[second], before[second])
    assert power(images[~second] - clean.kept[~second]) < 5e-4 * power(clean.other[~second])


def test_a_map_of_another_grey_scale_is_fitted_per_half(tmp_path):
    """Images are 0.3 times what the map predicts; norm corrections of 0.8 and 1.2 make some of them 20 % off."""
    norm = np.where(np.arange(60) % 3 == 0, 0.8, 1.1)
    data = write_blob_set(tmp_path, 60, noise=1.0, gain=0.3, rlnNormCorrection=norm)
    each = (norm / norm.mean())[:, None, None]  # stored images are norm / average times the model's
    with mrcfile.open(tmp_path / "images.mrcs", "r+") as stack:
        stack.set_data(((data.kept + data.other) * each + data.noise).astype(np.float32))
    told = []
    maps = (tmp_path / "half1.mrc", tmp_path / "half2.mrc")
    star = subtract(data.star, wanted(data, tmp_path / "out", maps=maps, scale=None), told.append)
    found = [float(text.split("amplitude ")[1].split()[0]) for text in told]
    assert found == pytest.approx([0.3, 0.3], abs=0.01)
    left = read_particles(star)[0].images() - data.kept * each - data.noise
    assert power(left) < 3e-3 * power(data.other)
    reference, expected = read_volume(tmp_path / "out/reference.mrc")[0], 0.3 * volume(KEPT)
    assert np.abs(reference - expected).max() < 0.04 * expected.max()


def test_images_that_do_not_show_the_map_are_refused(tmp_path):
    data = write_blob_set(tmp_path, noise=1.0, gain=-0.5)
    with pytest.raises(BlushError, match="the images do not show this map"):
        subtract(data.star, wanted(data, tmp_path / "out", scale="fit"))


def test_the_region_becomes_the_centre_at_every_orientation(clean, tmp_path):
    """The point given is the kept part's: its images are those of the part moved there, for the origin left over."""
    out = wanted(clean, tmp_path / "out", recentre=tuple(KEPT_AT))
    particles, blocks = read_particles(subtract(clean.star, out))
    left_px = np.stack([particles.offset_x_angst, particles.offset_y_angst], 1) / PIXEL
    assert np.abs(left_px).max() <= 0.5
    moved = (KEPT[0] - KEPT_AT, KEPT[1])
    expected = projections(moved, clean.table, -left_px)
    assert power(particles.images() - expected) < 1e-3 * power(expected)
    assert blocks["optics"]["rlnImageSize"][0] == BOX


def test_reboxed_images_reconstruct_to_the_masked_map(tmp_path):
    """400 images recentred on the mask and cropped to 20 px give back the kept part, and nothing else."""
    data = write_blob_set(tmp_path, 400)
    out = tmp_path / "out"
    star = subtract(data.star, wanted(data, out, recentre="mask", box_px=20))
    particles, blocks = read_particles(star)
    assert particles.images().shape == (400, 20, 20)
    assert blocks["optics"]["rlnImageSize"][0] == 20
    reference, pixel = read_volume(out / "reference.mrc")
    assert (reference.shape, pixel) == ((20, 20, 20), PIXEL)
    z, y, x = (np.indices((20, 20, 20)) - 10).astype(float)
    expected = sum(
        height * np.exp(-(((x, y, z) - centre[:, None, None, None]) ** 2).sum(0) / (2 * 1.6**2))
        for centre, height in zip(KEPT[0] - KEPT_AT, KEPT[1], strict=True)
    )
    assert np.abs(reference - expected).max() < 0.02 * expected.max()
    curve = fsc(torch.from_numpy(reconstruction(particles)), torch.from_numpy(expected.astype(np.float32)))
    assert curve[1:7].min() > 0.995  # beyond, blobs of 1.6 px have no signal: 1e-5 of the power at the origin


def reconstruction(particles) -> np.ndarray:
    """Sum of CTF-weighted slices over the sum of CTF^2, by the project's own back-projection."""
    from blush.expectation.background import origins_angst, rotations
    from blush.expectation.optics import OpticsTables
    from blush.expectation.prepare import packed_transform
    from blush.fourier.shift import multiply, phases

    box = particles.optics[0].box_px
    pixels = packed(box)
    count = pixels.inside(box // 2)
    images = torch.from_numpy(particles.images())
    data = torch.view_as_real(packed_transform(images, pixels)[:, :count]).movedim(-1, 1)
    data = multiply(data, phases(origins_angst(particles) / PIXEL, pixels, count, torch.float32))
    ctf = OpticsTables(particles, pixels, torch.float32).ctf(particles, count)
    sums = empty_accumulator(box, box // 2)
    insert(sums, rotations(particles).float(), data * ctf[:, None], ctf.square(), pixels)
    return reconstruct(trim(hermitian(sums)), None).numpy()


@pytest.mark.parametrize("recentre", [None, "mask"])
def test_reverting_gives_the_table_that_was_given(clean, tmp_path, recentre):
    """Column for column; origins that moved and came back to the last digit that STAR files hold."""
    box = None if recentre is None else 24
    star = subtract(clean.star, wanted(clean, tmp_path / "out", recentre=recentre, box_px=box))
    back, given = read_star(revert(star, tmp_path / "back")), read_star(clean.star)
    assert list(back["particles"]) == [*given["particles"]]
    assert back["optics"].keys() == given["optics"].keys()
    for name, column in given["optics"].items():
        np.testing.assert_array_equal(back["optics"][name], column)
    for name, column in given["particles"].items():
        if name == "rlnImageName":
            expected = [str(text).replace("images.mrcs", str(clean.folder / "images.mrcs")) for text in column]
            assert list(back["particles"][name]) == expected
        elif name.startswith("rlnOrigin"):
            np.testing.assert_allclose(back["particles"][name], column, rtol=0, atol=2e-6)
        else:
            np.testing.assert_array_equal(back["particles"][name], column)


def test_reverting_to_images_that_are_gone_is_refused(tmp_path):
    data = write_blob_set(tmp_path / "project", 4)
    star = subtract(data.star, wanted(data, tmp_path / "out"))
    (data.folder / "images.mrcs").unlink()
    with pytest.raises(BlushError, match=r"original stack does not exist \(found .*images.mrcs\); restore"):
        revert(star, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_reverting_keeps_poses_found_since(clean, tmp_path):
    """The region turned and moved in the new frame: its place in the original image follows from the new pose."""
    star = subtract(clean.star, wanted(clean, tmp_path / "out", recentre=tuple(KEPT_AT)))
    blocks = read_star(star)
    table = blocks["particles"]
    table["rlnAngleRot"] = table["rlnAngleRot"] + 10
    table["rlnOriginXAngst"] = table["rlnOriginXAngst"] + PIXEL / 2
    write_star(tmp_path / "refined.star", blocks)
    back = read_particles(revert(tmp_path / "refined.star", tmp_path / "back"))[0]
    moved = dict(clean.table) | {"rlnAngleRot": clean.table["rlnAngleRot"] + 10}
    spot = (KEPT_AT[None], np.ones(1))
    origin = np.stack([back.offset_x_angst, back.offset_y_angst], 1) / PIXEL
    in_original = projections(spot, moved, -origin)  # where the centre of the region is said to be
    centred = projections((np.zeros((1, 3)), np.ones(1)), moved, -region_offset(table))
    shifts = np.stack([table["blushShiftX"], table["blushShiftY"]], 1).astype(int)
    for image, shift, expected in zip(in_original, shifts, centred, strict=True):
        np.testing.assert_allclose(np.roll(image, shift[::-1], (0, 1)), expected, atol=2e-3 * expected.max())


def region_offset(table) -> np.ndarray:
    return np.stack([table["rlnOriginXAngst"], table["rlnOriginYAngst"]], 1).astype(float) / PIXEL


def test_names_stay_where_they_lead_to_their_stack_from_the_new_place(clean):
    """Below the project's folder they do, as in RELION's projects."""
    star = subtract(clean.star, wanted(clean, clean.folder / "below"))
    assert read_star(star)["particles"]["rlnImageOriginalName"][0] == "000001@images.mrcs"


def test_a_stopped_call_goes_on_to_the_same_bytes(clean, tmp_path, monkeypatch):
    """Stopped in the third of four stacks: two are there, and nothing under the name of the third."""
    whole = wanted(clean, tmp_path / "whole", images_per_stack=10)
    subtract(clean.star, whole)
    names = sorted(path.name for path in whole.output.glob("*.mrcs"))
    assert names == [f"subtracted_half{half}_000{part}.mrcs" for half in (1, 2) for part in (1, 2)]
    part = dataclasses.replace(whole, output=tmp_path / "part")

    def stop(stage, done, total):
        if stage.startswith("half2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        subtract(clean.star, part, progress=stop)
    assert sorted(path.name for path in part.output.iterdir()) == [*names[:2], "subtraction.json"]
    kept = (part.output / names[0]).stat().st_mtime_ns
    subtract(clean.star, part)
    for name in ("reference.mrc", "mask.mrc"):
        assert (part.output / name).read_bytes() == (whole.output / name).read_bytes()
    assert (part.output / names[0]).stat().st_mtime_ns == kept
    for name in names:
        assert (part.output / name).read_bytes() == (whole.output / name).read_bytes()


def test_a_folder_of_another_subtraction_is_refused(clean, tmp_path):
    subtract(clean.star, wanted(clean, tmp_path))
    with pytest.raises(BlushError, match="holds the results of other inputs or options"):
        subtract(clean.star, wanted(clean, tmp_path, box_px=24))


def test_stacks_that_nothing_vouches_for_are_refused(clean, tmp_path):
    subtract(clean.star, wanted(clean, tmp_path))
    (tmp_path / "subtraction.json").unlink()
    with pytest.raises(BlushError, match="holds the results of other inputs or options"):
        subtract(clean.star, wanted(clean, tmp_path))


def test_as_many_images_at_once_as_the_memory_holds():
    """Box 256: 0.29 GB, 20 N^3 = 0.34 GB of maps, and 8 x 519^2 x 260 = 0.56 GB; 50 x 256^2 = 3.3 MB per image."""
    fixed = 0.29e9 + 20 * 256**3 + 8 * 519**2 * 260
    assert block_size(256, 1.9) == int((1.9e9 - fixed) / (50 * 256**2))
    assert block_size(256, 40) == 256
    with pytest.raises(BlushError, match=r"box of 256 px needs more memory than given \(found 1.8 GB\)"):
        block_size(256, 1.8)  # the transform of the padded map: 72 N^3 = 1.2 GB


def test_one_map_for_two_halves_is_told(clean, tmp_path):
    told = []
    subtract(clean.star, wanted(clean, tmp_path, recentre=(10, 0, 0), box_px=16), told.append)
    assert [text.split(":")[0] for text in told] == ["warning"] * 3
    assert "made with the other half's images, too" in told[0]
    assert "beyond a box of 16 px" in told[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box_px": 21}, "the new box does not fit"),
        ({"box_px": 64}, "the new box does not fit"),
        ({"recentre": (0.0, 16.0, 0.0)}, "the new centre lies outside the map"),
        ({"recentre": (0.0, float("nan"), 0.0)}, "the new centre lies outside the map"),
        ({"maps": ()}, "a table needs one map, or two half-maps"),
        ({"memory_gb": 0.1}, "give --memory-gb 0.3"),
    ],
)
def test_impossible_wishes_are_refused(clean, tmp_path, change, message):
    with pytest.raises(BlushError, match=message):
        subtract(clean.star, wanted(clean, tmp_path / "out", **change))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("values", "pixel", "message"),
    [
        (np.ones((24, 24, 24)) * np.arange(24) / 23, PIXEL, "mask has another box than the particles"),
        (np.ones((BOX, BOX, BOX)) * np.arange(BOX) / 31, 5.0, "mask has another pixel size than the particles"),
        (np.ones((BOX, BOX, BOX)) * np.arange(BOX), PIXEL, r"mask is not in \[0, 1\]"),
        (np.zeros((BOX, BOX, BOX)), PIXEL, "mask is constant"),
        (np.ones((BOX, BOX, BOX)) * np.arange(BOX) / 100, PIXEL, "mask lets nothing through"),
    ],
)
def test_masks_that_do_not_fit_are_refused(clean, tmp_path, values, pixel, message):
    write_volume(tmp_path / "mask.mrc", values, pixel)
    with pytest.raises(BlushError, match=message):
        subtract(clean.star, wanted(clean, tmp_path / "out", mask=tmp_path / "mask.mrc"))


def changed(data, folder, remove=(), **columns):
    blocks = read_star(data.star)
    blocks["particles"] = {k: v for k, v in (blocks["particles"] | columns).items() if k not in remove}
    blocks["particles"]["rlnImageName"] = [f"{i + 1}@{data.folder}/images.mrcs" for i in range(40)]
    write_star(folder / "changed.star", blocks)
    return folder / "changed.star"


def test_tables_that_do_not_serve_are_refused(clean, tmp_path):
    out = wanted(clean, tmp_path / "out")
    with pytest.raises(BlushError, match="has no poses: rlnAngleTilt missing"):
        subtract(changed(clean, tmp_path, ["rlnAngleTilt"]), out)
    two = dataclasses.replace(out, maps=(clean.folder / "half1.mrc", clean.folder / "half2.mrc"))
    with pytest.raises(BlushError, match="two half-maps, but no half-sets"):
        subtract(changed(clean, tmp_path, ["rlnRandomSubset"]), two)
    classes = changed(clean, tmp_path, rlnClassNumber=np.arange(40) % 2 + 1)
    with pytest.raises(BlushError, match="rows of several classes, but one map"):
        subtract(classes, out)
    subtract(classes, dataclasses.replace(out, ignore_class=True))
    with pytest.raises(BlushError, match="column rlnImageOriginalName is missing"):
        revert(clean.star, tmp_path)
    again = subtract(clean.star, wanted(clean, tmp_path / "once", recentre="mask"))
    with pytest.raises(BlushError, match="subtracted and recentred already"):
        subtract(again, wanted(clean, tmp_path / "twice"))


def test_an_image_that_holds_no_numbers_is_named(tmp_path):
    data = write_blob_set(tmp_path)
    with mrcfile.open(tmp_path / "images.mrcs", "r+") as stack:
        stack.data[6, 3, 3] = np.nan
    with pytest.raises(BlushError, match="row 7: image holds values that are not finite"):
        subtract(data.star, wanted(data, tmp_path / "out"))
    assert not list((tmp_path / "out").glob("*half1*"))


def test_a_finished_run_brings_its_poses_scales_and_half_maps(run, tmp_path):
    """The same images come of its state's numbers, by hand, and the table without scales."""
    mask = np.zeros((32, 32, 32))
    mask[:, :, 16:] = 1
    write_volume(tmp_path / "mask.mrc", mask, 6.5)
    star = subtract(run, Subtraction(tmp_path / "mask.mrc", tmp_path / "out"))
    table = read_star(star)["particles"]
    before = read_star(run / "run_data.star")["particles"]
    for name in ("rlnAngleRot", "rlnOriginXAngst", "rlnNormCorrection", "rlnRandomSubset"):
        np.testing.assert_array_equal(table[name], before[name])
    state = json.loads((run / "it003/state.json").read_text())
    fsc = np.array(state["references"]["fsc"][0])
    weight = fsc.clip(0, 1)
    weight[np.flatnonzero(fsc[1:] <= 0)[0] + 1 :] = 0
    weight[0] = 1
    halves = []
    for half in (1, 2):
        values = read_volume(run / f"run_half{half}_class001_unfil.mrc")[0]
        shell = np.floor(np.sqrt(sum(np.meshgrid(*[np.fft.fftfreq(32, 1 / 32) ** 2] * 3))) + 0.5).astype(int)
        gain = np.append(weight, np.zeros(20))[shell]
        halves.append(tmp_path / f"half{half}.mrc")
        write_volume(halves[-1], np.fft.ifftn(np.fft.fftn(values) * gain).real, 6.5)
    particles = read_particles(star)[0]
    scale = np.array(state["images"]["scale"])[particles.half - 1, particles.group_index]
    average = np.array([table["rlnNormCorrection"][particles.half == half].mean() for half in (1, 2)])
    ratio = scale * average[particles.half - 1] / np.array(state["images"]["norm_average"])[particles.half - 1]
    by_name = with_absolute_names(run, tmp_path)
    original = read_particles(by_name)[0].images()
    by_table = subtract(by_name, Subtraction(tmp_path / "mask.mrc", tmp_path / "table", tuple(halves), scale="given"))
    removed = original - read_particles(by_table)[0].images()
    expected = original - removed * ratio[:, None, None]
    assert power(removed) > 1e-4 * power(original)
    np.testing.assert_allclose(particles.images(), expected, rtol=0, atol=1e-4)


def with_absolute_names(run, folder):
    """The run's table, which names stacks relative to the set's folder, for another place."""
    blocks = read_star(run / "run_data.star")
    home = json.loads((run / "import/config.json").read_text())["particles"].rpartition("/")[0]
    names = [str(name).partition("@") for name in blocks["particles"]["rlnImageName"]]
    blocks["particles"]["rlnImageName"] = [f"{number}@{home}/{stack}" for number, _, stack in names]
    write_star(folder / "run_data.star", blocks)
    return folder / "run_data.star"


def test_the_command_says_what_it_did_and_what_is_wrong(clean, tmp_path, monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["blush", "subtract", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, capsys.readouterr()

    maps = ("--map", clean.folder / "half1.mrc", "--map", clean.folder / "half2.mrc")
    options = ("--mask", clean.folder / "mask.mrc", "--output", tmp_path / "out", *maps, "--recentre", "mask")
    code, said = call(clean.star, *options)
    assert code == 0
    assert said.out.strip() == str(tmp_path / "out/particles_subtracted.star")
    assert said.err.startswith("half1: amplitude 0.9999 ")
    code, said = call("--revert", tmp_path / "out/particles_subtracted.star", "--output", tmp_path / "back")
    assert (code, said.out.strip()) == (0, str(tmp_path / "back/original.star"))
    assert call(clean.star, "--output", tmp_path)[1].err.startswith(
        "blush: nothing can be subtracted\n  images or mask"
    )
    for option, value in (("--recentre", "1,2"), ("--scale", "no")):
        code, said = call(clean.star, *options, option, value)
        assert (code, f"{option}: is neither" in said.err) == (2, True)
    assert call(tmp_path, *options)[1].err.endswith("or a particle STAR file\n")
