"""RELION 3.1.3 refines with our program as its external reconstruction, and its own program takes our files."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch
from relion_data import BOX_PX, DataSet, write_data_set

from blush.fourier.fsc import fsc
from blush.io.files import read_json
from blush.io.mrc import read_volume
from blush.io.star import read_star, write_star
from blush.regularise.protocol import call_root, read_call, read_sums, write_call

pytestmark = pytest.mark.relion
PROGRAM = f"{sys.executable} -P -m blush external-reconstruct"  # -P: other tests leave a folder `blush` here
OPTIONS = (
    "--auto_refine --split_random_halves --external_reconstruct --ctf --ctf_corrected_ref --zero_mask --norm --scale "
    "--flatten_solvent --dont_check_norm --low_resol_join_halves 40 --ini_high 40 --random_seed 1 "
    "--particle_diameter 130 --healpix_order 3 --auto_local_healpix_order 3 --auto_ignore_angles --offset_range 2 "
    "--offset_step 2"
)
SUFFIX = "_external_reconstruct.star"


@pytest.fixture(scope="module")
def particles(once, relion_project_folder) -> DataSet:
    """150 views with their poses, from where refinement is local and takes few iterations."""
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not on PATH: apt-get install openmpi-bin")
    return once(("local set",), lambda: write_data_set(relion_project_folder, "local", n=150, noise=(0.25,)))


@pytest.fixture(scope="module")
def refine(particles, once):
    """Refine to convergence with our program and these settings (YAML); gives the folder, which RELION finished."""

    def run(name: str, settings: str | None = None) -> Path:
        return once(("external", name), lambda: make(name, settings))

    def make(name: str, settings: str | None) -> Path:
        project = particles.folder
        (project / name).mkdir()
        environment = os.environ | {"RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE": PROGRAM, "OMP_NUM_THREADS": "1"}
        environment.pop("BLUSH_REGULARISER", None)
        if settings is not None:
            (project / f"{name}.yaml").write_text(settings)
            environment["BLUSH_REGULARISER"] = str(project / f"{name}.yaml")
        command = (
            f"mpirun --allow-run-as-root --oversubscribe -n 3 relion_refine_mpi --i {particles.star.name} "
            f"--o {name}/run --ref local_map.mrc {OPTIONS}"
        )
        ended = subprocess.run(
            command.split(), cwd=project, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-3000:]
        assert (project / name / "run_class001.mrc").exists()  # written after convergence alone
        return project / name

    return run


def calls(folder: Path) -> list[Path]:
    """R.star of every call, relative to the project."""
    return [path.relative_to(folder.parent) for path in sorted(folder.glob(f"*{SUFFIX}"))]


def relative_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def test_every_map_of_a_refinement_is_relions_own(refine, run_relion, monkeypatch):
    """relion_external_reconstruct without its iterative gridding; float32 here, double there."""
    folder = refine("wiener")
    stars = calls(folder)
    assert len(stars) >= 7  # three iterations of two halves, and the joined one
    for star in stars:
        run_relion("external_reconstruct", star, "--o", "theirs.mrc", "--skip_gridding")
        ours = mrcfile.read(folder.parent / star.with_suffix(".mrc")).astype(float)
        assert relative_difference(ours, mrcfile.read(folder.parent / "theirs.mrc").astype(float)) < 1e-6


def test_the_final_map_is_the_one_relion_got(refine):
    folder = refine("wiener")
    [final] = [star for star in calls(folder) if "_half" not in star.name]
    ours = mrcfile.read(folder.parent / final.with_suffix(".mrc"))
    assert np.array_equal(mrcfile.read(folder / "run_class001.mrc"), ours)
    assert read_json(folder / f"{final.stem}_blush.json")["mode"] == "final"


def test_a_denoiser_of_both_halves_refines_to_the_end(refine, particles):
    """Non-uniform regularisation: the two processes that RELION starts meet, and each has its own half."""
    folder = refine("nonuniform", "regulariser: {name: nonuniform}\n")
    for star in calls(folder):
        record = read_json(folder.parent / star.with_name(f"{star.stem}_blush.json"))
        if "_half" not in star.name:
            assert record["regulariser"]["denoised"] == "nonuniform works on half-maps only"
            continue
        assert record["regulariser"]["name"] == "nonuniform"
        own, other = (read_volume(folder.parent / name)[0] for name in pair_of(star))
        made, given = torch.from_numpy(own), unregularised(folder.parent, star)
        curve = fsc(made, given)[1 : int(record["regulariser"]["trailing_shell"])]
        assert float(curve.min()) > 0.9  # the reference is of this half, filtered
        assert not np.array_equal(own, other)
    truth = torch.from_numpy(particles.volume)
    final = torch.from_numpy(read_volume(folder / "run_class001.mrc")[0])
    assert float(fsc(final, truth)[1:7].min()) > 0.7


def pair_of(star: Path) -> Iterator[Path]:
    """Result of this half and of the other."""
    swapped = star.name.replace("half1", "half0").replace("half2", "half1").replace("half0", "half2")
    return (star.with_name(name).with_suffix(".mrc") for name in (star.name, swapped))


def unregularised(project: Path, star: Path) -> torch.Tensor:
    from blush.maximization.reconstruct import reconstruct

    return reconstruct(read_sums(read_call(star, project)))


def test_one_half_methods_leave_a_denoised_final_map(refine, particles, monkeypatch):
    """The delivered map is the Wiener map; the low-passed one of the same call lies beside."""
    from blush.config.embedded import EmbeddedConfig
    from blush.jobs.external_reconstruct import external_reconstruct

    folder = refine("wiener")
    monkeypatch.chdir(folder.parent)
    [star] = [star for star in calls(folder) if "_half" not in star.name]
    before = mrcfile.read(star.with_suffix(".mrc"))
    settings = EmbeddedConfig.model_validate({"regulariser": {"name": "lowpass"}})
    target = external_reconstruct(star, settings, out=Path("again.mrc"))
    assert np.array_equal(mrcfile.read(target), before)
    low = torch.from_numpy(read_volume(star.with_name(f"{star.stem}_denoised.mrc"))[0])
    assert float(fsc(low, torch.from_numpy(before.copy()))[1:4].min()) > 0.99
    spectrum = torch.fft.rfftn(low).abs()
    assert float(spectrum[BOX_PX // 2].max()) < 1e-6 * float(spectrum.max())


def test_relion_takes_the_files_that_we_write(refine, run_relion):
    """A real half written again by `write_call`: its program makes the same map from both."""
    folder = refine("wiener")
    project, star = folder.parent, calls(folder)[-2]
    call = read_call(star, project)
    sums = read_sums(call)
    ours = write_call(
        project, call_root("again/run", 3, 2), sums, call.tau2, call.fsc,
        pixel_size_angst=6.0, particle_diameter_angst=130.0,
    )  # fmt: skip
    maps = []
    for name, given in (("a.mrc", star), ("b.mrc", ours)):
        run_relion("external_reconstruct", given, "--o", name, "--skip_gridding")
        maps.append(mrcfile.read(project / name).astype(float))
    assert relative_difference(maps[1], maps[0]) < 1e-6


def test_relions_own_program_serves_as_external_regulariser(relion_project_folder):
    """Direction RELION -> us: the program that every published wrapper calls runs on our files."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "regularise"))
    from problem import half_maps

    from blush.config.regulariser import ExternalSettings
    from blush.fourier.transform import inverse_transform
    from blush.maximization.reconstruct import divide
    from blush.regularise.external import External

    maps = half_maps(torch.float32)
    program = shutil.which("relion_external_reconstruct")
    wrapper = relion_project_folder / "wrapper.sh"
    wrapper.write_text(f'#!/bin/sh\nexec {program} "$1" --skip_gridding\n')
    wrapper.chmod(0o755)
    references = External(ExternalSettings(command=str(wrapper))).regularise(maps).references
    for half, reference in enumerate(references):
        ours = inverse_transform(divide(maps.sums[half], maps.tau2[half], first_shell=0))
        assert relative_difference(reference.numpy(), ours.numpy()) < 1e-6


def test_the_script_of_the_documentation_is_a_regulariser(relion_project_folder):
    """RELION reconstructs and filters: nothing beyond 8 Å is left of maps that reach to 6 Å."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "regularise"))
    from problem import PIXEL_ANGST, half_maps

    from blush.config.regulariser import ExternalSettings
    from blush.fourier.fsc import power_spectrum
    from blush.regularise.external import External

    page = (Path(__file__).parents[2] / "docs/external-programs.md").read_text()
    text = page.partition("```sh\n")[2].partition("```")[0]
    assert "--angpix 1.06" in text
    program = relion_project_folder / "documented.sh"
    program.write_text(text.replace("--angpix 1.06", f"--angpix {PIXEL_ANGST}"))
    program.chmod(0o755)
    maps = half_maps(torch.float32)
    shell = round(maps.box_px * PIXEL_ANGST / 8)
    for half, reference in enumerate(External(ExternalSettings(command=str(program))).regularise(maps).references):
        kept = power_spectrum(reference) / power_spectrum(maps.wiener(half))
        assert float(kept[1 : shell - 3].min()) > 0.9
        assert float(kept[shell + 2 :].max()) < 1e-3


def test_classification_without_fsc_returns_a_regularised_class(refine, monkeypatch, tmp_path):
    """No half in the name and no FSC: what is filtered is the Wiener map, and nothing is trailed."""
    from blush.config.embedded import EmbeddedConfig
    from blush.jobs.external_reconstruct import external_reconstruct

    folder = refine("wiener")
    monkeypatch.chdir(folder.parent)
    blocks = read_star(calls(folder)[0])
    spectra = blocks["external_reconstruct_tau2"]
    spectra["rlnGoldStandardFsc"] = np.zeros(len(spectra["rlnSpectralIndex"]))
    general = {key: value[0] for key, value in blocks["external_reconstruct_general"].items()}
    general |= {"rlnPixelSize": 6.0, "rlnParticleDiameter": 130.0}  # as RELION 4 and 5 say it
    star = Path("class/run_it001_class002_external_reconstruct.star")
    write_star(star, {"external_reconstruct_general": general, "external_reconstruct_tau2": spectra})
    maps = []
    for name in ("wiener", "none"):
        settings = EmbeddedConfig.model_validate({"regulariser": {"name": name}})
        maps.append(mrcfile.read(external_reconstruct(star, settings, out=tmp_path / f"{name}.mrc")))
        record = read_json(star.with_name(f"{star.stem}_blush.json"))
        assert (record["mode"], record["regulariser"]["trailing_shell"]) == ("classification", None)
    assert np.array_equal(*maps)
