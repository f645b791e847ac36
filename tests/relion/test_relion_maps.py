"""Maps, spectra, FSC and the joining of halves, from RELION's own sums, against relion_refine and its helpers."""

import shutil
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from relion_data import BOX_PX, DataSet
from relion_engine import DIAMETER_ANGST, accumulator_of, model_value

from blush.fourier.transform import inverse_transform, sphere_k2
from blush.io.star import read_star
from blush.maximization.halves import half_sum_fsc, join_shell
from blush.maximization.reconstruct import divide
from blush.maximization.spectra import reference_noise, signal_to_noise

pytestmark = pytest.mark.relion
ROOT = "halves{increment}/run_it001_half{half}_class001"


@pytest.fixture(scope="module", params=[10, 5], ids=["full-size", "cut-size"])
def increment(request) -> int:
    """Shells beyond the resolution: the full box, or a smaller current size."""
    return request.param


@pytest.fixture(scope="module")
def halves(data_set, once, relion_project_folder, increment) -> tuple[Path, int]:
    """One gold-standard iteration of RELION with given poses; its folder and r_max."""
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not on PATH: apt-get install openmpi-bin")
    return once(("halves", increment), lambda: iterate_in_halves(data_set, relion_project_folder, increment))


def iterate_in_halves(data_set: DataSet, relion_project_folder: Path, increment: int) -> tuple[Path, int]:
    (relion_project_folder / f"halves{increment}").mkdir()
    command = (
        f"mpirun --allow-run-as-root --oversubscribe -n 3 relion_refine_mpi --i {data_set.star.name} "
        f"--o halves{increment}/run --ref {data_set.name}_map.mrc --auto_refine --split_random_halves --skip_align "
        "--iter 1 --auto_iter_max 1 --external_reconstruct --ctf --ctf_corrected_ref --zero_mask --norm --scale "
        f"--dont_check_norm --low_resol_join_halves 40 --ini_high 30 --random_seed 1 --incr_size {increment} "
        f"--particle_diameter {DIAMETER_ANGST}"
    )
    done = subprocess.run(command.split(), cwd=relion_project_folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    size = model_value(relion_project_folder / f"halves{increment}/run_it001_half1_model.star", "rlnCurrentImageSize")
    return relion_project_folder, int(size) // 2


def sums(halves: tuple[Path, int], increment: int, half: int):
    return accumulator_of(halves[0], ROOT.format(increment=increment, half=half), halves[1])


def class_column(halves: tuple[Path, int], increment: int, name: str) -> np.ndarray:
    table = read_star(halves[0] / f"halves{increment}/run_it001_half1_model.star")["model_class_1"]
    return np.asarray(table[name], dtype=float)


def close_to_printed(ours: np.ndarray, theirs: np.ndarray, factor: float = 1.0) -> None:
    """RELION prints six decimals from 0.001 on, and seven digits below; one of either for a minus sign."""
    step = np.where(np.abs(theirs) >= 1e-3, 1e-6, 1e-6 * 10.0 ** np.floor(np.log10(np.abs(theirs) + 1e-300)))
    step = np.where(theirs < 0, 10 * step, step)
    assert (np.abs(ours - theirs) <= 0.51 * factor * step + 1e-6 * np.abs(theirs)).all()


def test_half_map_fsc_is_the_same(halves, increment):
    """From the sums after joining. At the full size the last shell meets Nyquist, which RELION stores on one side."""
    ours = half_sum_fsc(sums(halves, increment, 1), sums(halves, increment, 2))
    theirs = class_column(halves, increment, "rlnGoldStandardFsc")
    last = halves[1] if halves[1] == BOX_PX // 2 else BOX_PX // 2 + 1
    close_to_printed(ours[:last], theirs[:last])
    assert abs(ours[-1] - theirs[-1]) < 1e-3


def test_spectra_are_the_same(halves, increment):
    """sigma^2 of the reference from W, SSNR from the FSC, and tau^2 = SSNR sigma^2."""
    noise = reference_noise(sums(halves, increment, 1))
    theirs = class_column(halves, increment, "rlnReferenceSigma2")
    close_to_printed(noise, theirs)
    fsc, inside = class_column(halves, increment, "rlnGoldStandardFsc"), slice(0, halves[1] + 1)
    ssnr = signal_to_noise(fsc, joined=False)
    printed = class_column(halves, increment, "rlnSsnrMap")
    # The FSC is printed to 1e-6, which SSNR = F / (1 - F) amplifies by 1 / (1 - F)^2; negative ones to 1e-5.
    bound = 6e-7 * (1 + np.maximum(ssnr, 0)) ** 2 + 1e-6 * printed + 0.51e-6
    assert (np.abs(ssnr - printed) <= bound)[inside].all()
    tau2 = class_column(halves, increment, "rlnReferenceTau2")
    assert (np.abs(printed * noise - tau2) <= 1e-6 * tau2 + 0.51e-6 * noise + 0.51e-6 * (tau2 >= 1e-3))[inside].all()


def test_low_shells_are_joined_up_to_the_same_cell(halves, increment):
    first, second = (sums(halves, increment, half) for half in (1, 2))
    k2 = sphere_k2(first.radius)
    # ini_high is the resolution of the first iteration.
    shell = join_shell(BOX_PX, 6.0, 40.0, 30.0)
    equal = (first.grid == second.grid).all(-1)
    assert equal[k2 <= (2 * shell) ** 2].all()
    beyond = (k2 > (2 * shell) ** 2) & (k2 < (2 * halves[1]) ** 2)
    assert not (equal & (first.weight > 0))[beyond].any()


@pytest.mark.parametrize("tau2_scale", [1.0, 1e-3, 1e6])
def test_maps_are_the_same(data_set: DataSet, halves, run_relion, increment, tau2_scale):
    """relion_external_reconstruct without its iterative gridding; it regularises from shell 0."""
    folder, _ = halves
    root = ROOT.format(increment=increment, half=1)
    text = (folder / f"{root}_external_reconstruct.star").read_text()
    head, _ = text.split("_rlnGoldStandardFsc #3")
    tau2 = class_column(halves, increment, "rlnReferenceTau2") * tau2_scale
    tau2[tau2 == 0] = 1e-30
    rows = "".join(f"{shell:12d} {value:.9e} 0.0\n" for shell, value in enumerate(tau2))
    (folder / "given.star").write_text(f"{head}_rlnGoldStandardFsc #3\n{rows}\n")
    run_relion("external_reconstruct", "given.star", "--o", "given.mrc", "--skip_gridding")
    theirs = mrcfile.read(folder / "given.mrc").astype(float)
    ours = inverse_transform(divide(sums(halves, increment, 1), tau2, first_shell=0)).numpy()
    assert np.linalg.norm(ours - theirs) < 1e-6 * np.linalg.norm(theirs)
