"""Particles to cryoSPARC and back: the same refinement, the same map, and files that lead to the images."""

import os
import re
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from blush.cli.main import main
from blush.errors import BlushError
from blush.io import seal
from blush.io.cs_fields import CsOptions
from blush.io.particles import read_particles
from blush.io.star import read_star, write_star
from blush.jobs import steps
from blush.jobs.autorefine import iterate
from blush.jobs.export_cs import export_cs, export_star
from blush.simulate.particle_set import simulate
from blush.simulate.settings import load_settings


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 300 clear images, with their poses."""
    out = tmp_path_factory.mktemp("truth")
    imaging = {"n_particles": 300, "box_px": 32, "pixel_size_angst": 6.5}
    simulate(load_settings(None, {"imaging": imaging, "noise": {"snr": 20}, "output": out}))
    return out


@pytest.fixture
def exported(truth: Path, tmp_path: Path) -> Path:
    return export_cs(truth / "truth.star", tmp_path / "cs").with_suffix(".cs")


def back_projected(table: Path, *, pose: float = 1.0, shift: float = 1.0) -> np.ndarray:
    """A map in the words of cryoSPARC alone: raw fields, a textbook's CTF, the nearest cell of each sample.

    An image's frequency k lies at R k of the volume, R the turn of its rotation vector; a shift moves the image.
    """
    rows = np.load(table)
    box, pixel = int(rows["blob/shape"][0, 0]), float(rows["blob/psize_A"][0])
    axis = np.fft.fftshift(np.fft.fftfreq(box, pixel))
    ky, kx = np.meshgrid(axis, axis, indexing="ij")
    square, angle = kx**2 + ky**2, np.arctan2(ky, kx)
    top, bottom = np.zeros((box,) * 3, complex), np.full((box,) * 3, 1e-3)
    for row in rows:
        path = table.parent / row["blob/path"].decode().removeprefix(">")
        image = mrcfile.mmap(path, permissive=True).data[row["blob/idx"]] * row["blob/sign"]
        spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image.astype(float))))
        x, y = shift * row["alignments3D/shift"] * row["alignments3D/psize_A"]
        volt = 1e3 * row["ctf/accel_kv"]
        wave = 12.2643 / np.sqrt(volt + 0.978466e-6 * volt**2)
        mean, half = (row["ctf/df1_A"] + row["ctf/df2_A"]) / 2, (row["ctf/df1_A"] - row["ctf/df2_A"]) / 2
        defocus = mean + half * np.cos(2 * (angle - row["ctf/df_angle_rad"]))
        phase = np.pi * wave * square * defocus - np.pi / 2 * row["ctf/cs_mm"] * 1e7 * wave**3 * square**2
        ctf = np.sin(phase + np.arcsin(row["ctf/amp_contrast"]))
        spectrum = spectrum * np.exp(-2j * np.pi * (kx * x + ky * y))
        turn = Rotation.from_rotvec(pose * row["alignments3D/pose"].astype(float)).as_matrix()
        place = np.stack([kx, ky, 0 * kx], -1) @ turn.T * box * pixel
        x0, y0, z0 = np.moveaxis(np.rint(place).astype(int) + box // 2, -1, 0)
        inside = (square * (box * pixel) ** 2 < (box / 2 - 2) ** 2).nonzero()
        cells = z0[inside], y0[inside], x0[inside]
        np.add.at(top, cells, (spectrum * ctf)[inside])
        np.add.at(bottom, cells, (ctf**2)[inside])
    return np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(top / bottom))).real


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Mean correlation of two maps in shells 2 to 8."""
    one, two = (np.fft.fftshift(np.fft.fftn(each)) for each in (first, second))
    radius = np.rint(np.linalg.norm(np.indices(one.shape) - len(one) // 2, axis=0))
    found = []
    for shell in range(2, 9):
        a, b = one[radius == shell], two[radius == shell]
        found.append((a * b.conj()).sum().real / np.sqrt((abs(a) ** 2).sum() * (abs(b) ** 2).sum()))
    return float(np.mean(found))


def test_the_map_comes_back_from_the_exported_fields_alone_and_from_no_other_signs(truth, exported):
    true = mrcfile.read(truth / "true_map.mrc").astype(float)
    right = agreement(back_projected(exported), true)
    assert right > 0.95
    assert agreement(back_projected(exported, pose=-1), true) < right - 0.1
    assert agreement(back_projected(exported, shift=-1), true) < right - 0.1


def test_what_was_exported_is_read_as_what_it_was(truth, exported):
    before, after = read_particles(truth / "truth.star")[0], read_particles(exported)[0]
    assert [Path(stack).resolve() for stack in after.stacks] == [Path(stack).resolve() for stack in before.stacks]
    np.testing.assert_array_equal(after.images(), before.images())
    for name in ("rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), atol=2e-4)
    assert after.half.tolist() == before.half.tolist() or not before.half.any()


def test_the_group_names_every_slot_and_lies_beside_its_table(exported):
    group = yaml.safe_load(exported.with_suffix(".csg").read_text())
    rows = np.load(exported)
    assert group["group"]["type"] == "particle"
    assert set(group["results"]) == {"blob", "ctf", "alignments3D"}
    for slot, result in group["results"].items():
        assert result == {"metafile": ">particles.cs", "num_items": len(rows), "type": f"particle.{slot}"}
    assert len(np.unique(rows["uid"])) == len(rows)
    assert all((exported.parent / path.decode()[1:]).is_file() for path in np.unique(rows["blob/path"]))


def test_the_same_particles_give_the_same_bytes(truth, exported, tmp_path):
    again = export_cs(truth / "truth.star", tmp_path / "again")
    for name in ("particles.cs", "particles.csg"):
        assert (again.parent / name).read_bytes() == (exported.parent / name).read_bytes()


def test_the_uid_of_cryosparc_is_kept_and_that_of_others_follows_from_the_image(exported, tmp_path):
    export_star(exported, exported.with_suffix(".star"), CsOptions())
    again = export_cs(exported.with_suffix(".star"), tmp_path / "again").with_suffix(".cs")
    rows = np.load(exported)
    np.testing.assert_array_equal(np.load(again)["uid"], rows["uid"])
    blocks = read_star(exported.with_suffix(".star"))
    columns = {name: values[5:] for name, values in blocks["particles"].items() if name != "blushCryosparcUid"}
    write_star(exported.with_name("some.star"), {**blocks, "particles": columns})
    some = export_cs(exported.with_name("some.star"), tmp_path / "some").with_suffix(".cs")
    assert len(np.unique(np.load(some)["uid"])) == len(rows) - 5


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("rlnBeamTiltX", 0.3, "has beam tilt or aberrations, which cannot be converted"),
        ("rlnCtfDataAreCtfPremultiplied", 1, "images are multiplied by their CTF"),
    ],
)
def test_what_a_table_of_cryosparc_cannot_say_is_refused(truth, tmp_path, column, value, message):
    blocks = read_star(truth / "truth.star")
    blocks["optics"][column] = np.array([value])
    star = truth / f"{column}.star"
    write_star(star, blocks)
    with pytest.raises(BlushError, match=message):
        export_cs(star, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    if column == "rlnBeamTiltX":
        assert export_cs(star, tmp_path / "out", leave_out_aberrations=True).exists()


def test_image_names_of_a_star_file_lead_to_the_stacks_from_where_it_lies(exported, tmp_path):
    made = export_star(exported, tmp_path / "elsewhere/p.star", CsOptions())
    assert (made.particles, made.warnings) == (300, ())
    np.testing.assert_array_equal(
        read_particles(tmp_path / "elsewhere/p.star")[0].images(), read_particles(exported)[0].images()
    )


def test_the_commands(truth, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ["export-cs", str(truth / "truth.star"), "-o", "cs"],
        ["export-star", "cs/particles.cs", "p.star"],
    ):
        monkeypatch.setattr("sys.argv", ["blush", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code
    assert capsys.readouterr().out == (
        f"{tmp_path}/cs/particles.csg: give it to cryoSPARC's job Import Result Group\np.star: 300 particles\n"
    )
    assert len(read_particles("p.star")[0]) == 300


def contents(run: Path) -> dict[str, bytes]:
    """Every sealed file of a run but for its seal, which says whose it is; the configuration names its table."""
    paths = [path for path in run.rglob("*") if path.is_file() and seal.is_sealed(path)]
    by_name = (".identity.json", ".seals.json", "config.json", "settings.json")
    return {
        str(path.relative_to(run)): re.sub(rb"blush-seal 1 [0-9a-f ]{66}", b"", path.read_bytes())
        for path in paths
        if path.name not in by_name
    }


def test_a_refinement_from_cs_and_from_its_star_file_has_the_same_bytes(simulated, make_config, tmp_path):
    table = export_cs(simulated / "particles.star", tmp_path / "cs").with_suffix(".cs")
    export_star(table, table.with_suffix(".star"), CsOptions())
    runs = []
    for suffix in (".cs", ".star"):
        config = make_config(tmp_path / suffix, particles=table.with_suffix(suffix), refinement={"max_iterations": 2})
        steps.import_run(config)
        steps.start(config.run_dir)
        for number in (1, 2):
            iterate(config.run_dir, number)
        runs.append(contents(config.run_dir))
    assert runs[0].keys() == runs[1].keys()
    assert [name for name, content in runs[0].items() if content != runs[1][name]] == []
    assert {"import/particles.npz", "import/particles.star", "it002/poses.npz"} <= runs[0].keys()


def test_another_passthrough_file_is_another_run(simulated, make_config, tmp_path):
    table = export_cs(simulated / "particles.star", tmp_path / "cs").with_suffix(".cs")
    rows = np.load(table)
    beside = table.with_name("J1_passthrough_particles.cs")
    for number, defocus in enumerate((0.0, 1.0)):
        rows["ctf/df1_A"] += defocus
        with beside.open("wb") as stream:
            np.save(stream, rows)
        if not number:
            with table.open("wb") as stream:
                np.save(
                    stream, rows[["uid", "blob/path", "blob/idx", "blob/shape", "blob/psize_A", "blob/sign"]].copy()
                )
            os.utime(table)
        config = make_config(tmp_path / "runs", particles=table)
        if number:
            with pytest.raises(BlushError, match="passthrough"):
                steps.import_run(config)
        else:
            steps.import_run(config)
            steps.start(config.run_dir)
