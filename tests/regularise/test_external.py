"""External programs: what they are given, how they are run, and what becomes of their failures."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from problem import BOX, DIAMETER_ANGST, PIXEL_ANGST, R_MAX, half_maps, half_sums

from blush.config.regulariser import ExternalSettings
from blush.errors import BlushError
from blush.fourier.transform import inverse_transform, sphere_k2
from blush.io.mrc import read_volume, write_volume
from blush.io.star import read_star, write_star
from blush.maximization.reconstruct import divide
from blush.regularise.base import RegulariserError
from blush.regularise.drive import Policy, drive
from blush.regularise.external import External
from blush.regularise.protocol import Name, call_root, read_call, read_returned, read_sums, write_call

WIENER = f"{sys.executable} {Path(__file__).with_name('external_wiener.py')}"
CALL = "Refine3D/job001/run_it003_half{}_class001_external_reconstruct"


def script(folder: Path, body: str) -> str:
    """An executable shell script; `$star`, `$map` and `$half` say what it is called for."""
    path = folder / "program.sh"
    head = "#!/bin/sh\nstar=$1\nmap=${star%.star}.mrc\nhalf=${star#*half}\nhalf=${half%%_*}\n"
    path.write_text(head + body)
    path.chmod(0o755)
    return str(path)


def external(command: str, **settings) -> External:
    return External(ExternalSettings(command=command, **settings))


def failure(command: str, maps, **settings) -> str:
    with pytest.raises(RegulariserError) as caught:
        external(command, **settings).regularise(maps)
    return str(caught.value)


@pytest.fixture
def maps(tmp_path):
    return half_maps(torch.float32, scratch=tmp_path / "scratch")


def written(folder: Path, sums, **numbers):
    given = {"pixel_size_angst": PIXEL_ANGST, "particle_diameter_angst": DIAMETER_ANGST} | numbers
    spectrum = np.linspace(1, 0, BOX // 2 + 1)
    return write_call(folder, call_root("run", 3, 1), sums, spectrum, spectrum, **given)


@pytest.mark.parametrize("r_max", [R_MAX, BOX // 2, 5])
def test_sums_survive_the_files(tmp_path, r_max):
    """To the bit in float32, but for |k| = pad N / 2, where an even transform has one place for two cells."""
    sums = half_sums(1, torch.float32)
    if r_max != R_MAX:
        from blush.fourier.backproject import Accumulator, empty_accumulator, hermitian, trim

        grid = empty_accumulator(BOX, r_max).grid
        grid[..., :3] = torch.randn(grid[..., :3].shape, generator=torch.Generator().manual_seed(3))
        sums = trim(hermitian(Accumulator(grid, BOX, r_max)))
    call = read_call(written(tmp_path, sums), tmp_path)
    again = read_sums(call)
    inside = sphere_k2(sums.radius) < (sums.pad * sums.r_max) ** 2
    assert (call.box_px, call.r_max, call.pad, call.fudge) == (BOX, r_max, 2, 1.0)
    assert (call.pixel_size_angst, call.particle_diameter_angst) == (PIXEL_ANGST, DIAMETER_ANGST)
    assert torch.equal(again.grid[inside][:, :3], sums.grid[inside][:, :3])
    assert not again.grid[sphere_k2(sums.radius) > (sums.pad * sums.r_max) ** 2].any()


def test_arrays_lie_as_a_full_transform_does(tmp_path):
    """A map in, `rfftn` order out: the array over N^2 is numpy's transform of the padded map, origin at its centre."""
    sums = half_sums(1, torch.float64, noise=0)
    written(tmp_path, sums)
    parts = [read_volume(tmp_path / f"{call_root('run', 3, 1)}_{part}.mrc")[0] for part in ("data_real", "data_imag")]
    from problem import blobs

    padded = np.zeros((2 * BOX,) * 3)
    padded[:BOX, :BOX, :BOX] = blobs().numpy()
    spectrum = np.fft.rfftn(np.roll(padded, -(BOX // 2), (0, 1, 2))) / BOX**2
    k = np.fft.fftfreq(2 * BOX, 1 / (2 * BOX))
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + np.arange(BOX + 1) ** 2)
    inside = radius < 2 * R_MAX
    ours = (parts[0] + 1j * parts[1])[inside] / 40  # the weight of the problem's data
    assert np.abs(ours - spectrum[inside]).max() < 1e-6 * np.abs(spectrum).max()


def test_names_are_those_of_relion():
    assert call_root("Refine3D/job012/run", 5, 2) == "Refine3D/job012/run_it005_half2_class001_external_reconstruct"
    assert Name.of(Path("a/run_it005_half2_body003_external_reconstruct.star")) == Name("run", 5, 2, True)
    assert Name.of(Path("run_ct7_it012_class004_external_reconstruct.star")) == Name("run_ct7", 12, None)
    with pytest.raises(BlushError, match="does not have the name of a call"):
        Name.of(Path("particles.star"))


@pytest.mark.parametrize("kind", ["rlnReferenceTau2", "rlnFourierShellCorrelation"])
def test_returned_spectra_are_read_from_any_block(tmp_path, kind):
    write_star(tmp_path / "out.star", {"whatever": {"rlnSpectralIndex": [0, 2], kind: [1.0, 0.25]}})
    name = "tau2" if kind == "rlnReferenceTau2" else "fsc"
    assert read_returned(tmp_path / "out.star", 4) == {name: [1.0, 0.0, 0.25, 0.0]}
    with pytest.raises(BlushError, match="shells beyond"):
        read_returned(tmp_path / "out.star", 2)


def test_a_program_that_knows_the_protocol_alone_makes_the_wiener_map(maps):
    """To float32's rounding inside the mask; like RELION's own program it regularises from shell 0 on."""
    outcome = external(WIENER).regularise(maps)
    for half, reference in enumerate(outcome.references):
        wiener = inverse_transform(divide(maps.sums[half], maps.tau2[half], first_shell=0))
        assert float(((reference - wiener) * maps.mask).norm() / (wiener * maps.mask).norm()) < 1e-6
    assert np.allclose(outcome.notes["returned_fsc"], maps.fsc, atol=1e-6)


def test_the_folder_is_a_relion_job(maps, tmp_path):
    """Names, ninth word and keywords as the published wrappers look for them, from the folder that they start in."""
    command = script(
        tmp_path,
        "[ -f Refine3D/job001/run_it002_sampling.star ] || exit 4\n"
        "awk '/rlnHealpixOrder/ {print \"order\", $2}' Refine3D/job001/run_it002_sampling.star\n"
        "awk '/opticsGroup1/ {print \"pixel\", $9}' Refine3D/job001/run_it002_data.star\n"
        "awk '/fn_mask|nr_threads|fn_bodies/' Refine3D/job001/job.star\n"
        f'exec {WIENER} "$star"',
    )
    external(command).regularise(replace(maps, healpix_order=4))
    project = tmp_path / "scratch/external"
    log = (project / f"{CALL.format(2)}.log").read_text().split()
    assert log[:4] == ["order", "4", "pixel", "3.000000"]
    assert log[4:] == ["fn_mask", "Refine3D/job001/mask.mrc", "nr_threads", "1", "fn_bodies", '""']
    assert np.allclose(read_volume(project / "Refine3D/job001/mask.mrc")[0], maps.mask)
    general = read_star(project / f"{CALL.format(1)}.star")["external_reconstruct_general"]
    assert general["rlnExtReconsResult"][0] == f"{CALL.format(1)}.mrc"
    assert not list(project.glob("**/*_data_real.mrc"))  # the large files go


def test_job_files_can_be_left_out(maps, tmp_path):
    external(WIENER, job_files=False).regularise(replace(maps, mask=None))
    assert not (tmp_path / "scratch/external/Refine3D/job001/job.star").exists()


def test_without_a_scratch_folder_nothing_is_left(maps, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    external(WIENER).regularise(replace(maps, scratch=None))
    assert list(tmp_path.iterdir()) == []


def test_halves_run_at_once_and_may_wait_for_each_other(maps, tmp_path):
    """Each holds a lock until it has seen the other's, as the SIDESPLITTER wrapper does."""
    command = script(
        tmp_path,
        "mkdir lock$half\nwhile [ ! -d lock$((3 - half)) ]; do sleep 0.02; done\n" + f'exec {WIENER} "$star"',
    )
    external(command, timeout_minutes=0.5).regularise(maps)


def test_a_failing_half_ends_the_other_that_waits_for_it(maps, tmp_path):
    command = script(tmp_path, '[ "$half" = 1 ] && { echo no licence; exit 3; }\nsleep 60 & echo $! >waits; wait')
    text = failure(command, maps)
    assert "half1_class001_external_reconstruct.star` ended with status 3" in text
    assert text.endswith("\n    no licence")
    gone(tmp_path / "scratch/external/waits")


def gone(file: Path) -> None:
    """The process whose number is in a file, if it came to write it, has ended or is a corpse."""
    for pid in file.read_text().split() if file.exists() else []:
        status = Path(f"/proc/{pid}/status")
        deadline = time.monotonic() + 5
        while status.exists() and "State:\tZ" not in status.read_text():
            assert time.monotonic() < deadline, f"{pid} is alive"
            time.sleep(0.02)


def test_time_over_ends_both_with_their_children(maps, tmp_path, monkeypatch):
    """Also those that do not listen when asked to end."""
    monkeypatch.setattr("blush.regularise.children.GRACE_SECONDS", 0.3)
    command = script(tmp_path, "trap '' TERM\nsleep 60 & echo $! >child$half\nwhile :; do wait; done")
    begin = time.monotonic()
    assert "had not ended after 0.01 minutes" in failure(command, maps, timeout_minutes=0.01)
    assert time.monotonic() - begin < 20
    for half in (1, 2):
        gone(tmp_path / f"scratch/external/child{half}")


def test_a_killed_run_takes_its_programs_along(tmp_path):
    """SIGKILL to the process that called them: the guard, which nothing tells to end, ends their groups."""
    program = script(tmp_path, "sleep 60 & echo $! >child$half\nwait")
    code = (
        "from pathlib import Path; from blush.regularise.children import run_together; import sys\n"
        "run_together([f'{sys.argv[1]} half{half}_x.star' for half in (1, 2)], [Path('a'), Path('b')], Path(), 60)"
    )
    run = subprocess.Popen([sys.executable, "-c", code, program], cwd=tmp_path)
    files = [tmp_path / f"child{half}" for half in (1, 2)]
    while not all(file.exists() and file.read_text() for file in files):
        assert run.poll() is None
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    for file in files:
        gone(file)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("exit 0", r"ended well but wrote no run_it003_half1_class001_external_reconstruct\.mrc"),
        ("exit 3", "ended with status 3; it said last, in .*log:\n    nothing"),
        ("kill -9 $$", "was killed by signal 9"),
        ("echo x >$map", "shorter than the 1024 bytes of an MRC header"),
        ("cp $maps/small.mrc $map", r"is 12 x 12 x 12, not 24\^3"),
        ("cp $maps/nan.mrc $map", "values that are not finite"),
        (f"{WIENER} $star && echo nonsense >${{star%.star}}_out.star", "not a STAR file"),
        (
            f"{WIENER} $star && printf 'data_\\nloop_\\n_rlnSpectralIndex\\n_rlnReferenceTau2\\n0 one\\n' "
            ">${star%.star}_out.star",
            r"is not a finite number \(found one\)",
        ),
    ],
    ids=["no-map", "status", "signal", "no-mrc", "small", "nan", "bad-spectra", "text-spectra"],
)
def test_what_is_no_map_is_refused(maps, tmp_path, monkeypatch, body, message):
    monkeypatch.setenv("maps", str(tmp_path))
    write_volume(tmp_path / "small.mrc", np.ones((12, 12, 12)), 3.0)
    write_volume(tmp_path / "nan.mrc", np.ones((BOX, BOX, BOX)), 3.0)
    with (tmp_path / "nan.mrc").open("r+b") as stream:
        stream.seek(1024 + 4 * 99)
        stream.write(np.float32(np.nan).tobytes())
    assert re.search(message, failure(script(tmp_path, body), maps))


def test_a_map_of_an_earlier_call_is_not_believed(maps, tmp_path, monkeypatch):
    """The program writes once, then no more: the second call must not take the first one's maps, or its lock."""
    command = script(tmp_path, f'mkdir lock$half || exit 5\n[ -n "$DONE" ] || {WIENER} "$star"')
    external(command).regularise(maps)
    assert (tmp_path / f"scratch/external/{CALL.format(1)}_out.star").exists()
    monkeypatch.setenv("DONE", "1")
    assert "wrote no" in failure(command, maps)


def test_another_scale_is_refused_by_the_driver(maps, tmp_path):
    write_volume(tmp_path / "big.mrc", 1000 * maps.wiener(0).numpy(), PIXEL_ANGST)
    command = script(tmp_path, f"cp {tmp_path}/big.mrc $map")
    with pytest.raises(BlushError, match="its map has another scale"):
        drive(external(command), maps, Policy())


def test_a_failure_can_lead_to_wiener(maps, tmp_path):
    said = []
    made = drive(external(script(tmp_path, "exit 3")), maps, Policy(fallback="wiener"), said.append)
    assert torch.equal(made.references[0], maps.wiener(0))
    assert "ended with status 3" in said[0]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no-such-program --x", "names no program of this machine.*no-such-program"),
        ("tools/denoise.sh", "has a relative path"),
        ("'open", "is not a command line"),
        ("A=1", "names no program"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused_at_once(command, message):
    with pytest.raises(BlushError, match=message):
        external(command)


def test_a_refinement_by_a_foreign_program(tmp_path):
    """Three iterations of the whole loop, its references from the script; with Wiener's resolution in the end."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "truth"))
    from truth_runs import make_set, refine_iterations

    truth = make_set(tmp_path / "set", particles=40, box_px=24, pixel_size_angst=7.0)
    settings = {"name": "external", "external": {"command": WIENER}}
    foreign = refine_iterations(truth, tmp_path / "foreign", 2, regulariser=settings)
    own = refine_iterations(truth, tmp_path / "own", 2, regulariser={"name": "wiener"}, trailing={"enabled": True})
    from blush.io.files import read_json

    record = read_json(foreign / "it002/maps.json")["regulariser"]
    assert (record["name"], record["asked_for"]) == ("external", "external")
    assert len(record["notes"]["returned_fsc"]) == 2
    states = [read_json(run / "it002/state.json") for run in (foreign, own)]
    assert states[0]["resolution_angst"] == states[1]["resolution_angst"]
    assert (foreign / "it002/regulariser/external" / CALL.replace("003", "002").format(1)).with_suffix(".log").exists()
