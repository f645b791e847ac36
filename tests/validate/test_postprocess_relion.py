"""The same half-maps through RELION's postprocessing: equal to the printed digits wherever no random phase enters."""

import math
import shutil
import subprocess

import numpy as np
import pytest
import torch

from blush.fourier.filter import low_pass
from blush.fourier.fsc import fsc
from blush.fourier.mask import soft_sphere
from blush.io.mrc import read_volume, write_volume
from blush.io.optics import read_mtf
from blush.io.star import read_star, write_star
from blush.validate.postprocess import Sharpening
from blush.validate.postprocess_files import MaskSource, postprocess_files
from blush.validate.sharpen import fsc_weight

pytestmark = [
    pytest.mark.relion,
    pytest.mark.skipif(shutil.which("relion_postprocess") is None, reason="relion_postprocess is not on PATH"),
]
BOX, PIXEL = 64, 2.0


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Tables and maps of both programs."""
    folder = tmp_path_factory.mktemp("postprocess")
    generator = torch.Generator().manual_seed(1)
    white = torch.randn(BOX, BOX, BOX, generator=generator)
    truth = 30 * low_pass(white * soft_sphere(BOX, 15, 3), 7.0, PIXEL, edge_shells=14)
    truth += 0.3 * low_pass(soft_sphere(BOX, 15, 3), 20.0, PIXEL)
    for half in (1, 2):
        noisy = truth + 10 * torch.randn(truth.shape, generator=generator)
        write_volume(folder / f"half{half}.mrc", noisy.numpy(), PIXEL)
    write_volume(folder / "mask.mrc", soft_sphere(BOX, 20, 6).numpy(), PIXEL)
    frequency = np.linspace(0, 0.5, 251)
    mtf = {"rlnResolutionInversePixel": frequency, "rlnMtfValue": np.exp(-2 * frequency)}
    write_star(folder / "mtf.star", {"": mtf})
    (folder / "relion").mkdir()
    arguments = "--i half1.mrc --i2 half2.mrc --mask mask.mrc --angpix 2 --auto_bfac --autob_lowres 12 --o relion/pp"
    (folder / "relion/pp").mkdir()
    command = ["relion_postprocess", *arguments.split(), "--mtf", "mtf.star", "--mtf_angpix", "1.0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (folder / "relion/pp.star").exists(), done.stdout + done.stderr
    table = [torch.from_numpy(column) for column in read_mtf(folder / "mtf.star")]
    sharpening = Sharpening(
        autob_lowres_angst=12.0,
        autob_highres_angst=0.0,
        mtf_frequency=table[0],
        mtf_value=table[1],
        original_pixel_size_angst=1.0,
    )
    halves = (folder / "half1.mrc", folder / "half2.mrc")
    postprocess_files(folder, *halves, MaskSource(folder / "mask.mrc"), 1, sharpening)
    theirs, ours = read_star(folder / "relion/pp.star"), read_star(folder / "postprocess.star")
    return theirs, ours, folder


@pytest.mark.parametrize(
    "column",
    [
        "rlnFourierShellCorrelationUnmaskedMaps",
        "rlnFourierShellCorrelationMaskedMaps",
        "rlnFourierShellCorrelationParticleMaskFraction",
        "rlnAngstromResolution",
    ],
)
def test_curves_without_random_phases_agree_to_the_printed_digits(both, column):
    """Six decimals, five where a number is negative."""
    theirs, ours, _ = both
    np.testing.assert_allclose(ours["fsc"][column], theirs["fsc"][column], atol=6e-6)


def test_phases_are_randomised_from_the_same_shell(both):
    theirs, ours, _ = both
    for key in ("rlnRandomiseFrom", "rlnParticleBoxFractionSolventMask"):
        assert float(ours["general"][key][0]) == pytest.approx(float(theirs["general"][key][0]), abs=1e-5)


def test_randomised_and_corrected_curves_agree_within_the_spread_of_random_phases(both):
    """A shell holds n = 2 pi s² numbers, of which a mask of effective share f leaves n f independent.

    The correlation of random phases over n f numbers of exponential power varies by 1 / sqrt(n f); two programs
    draw apart, so they differ by sqrt(2) times that. Correcting multiplies by at most 1 - masked <= 1.
    """
    theirs, ours, folder = both
    mask = read_volume(folder / "mask.mrc")[0].astype(float)
    share = (mask**2).sum() ** 2 / (mask**4).sum() / mask.size
    start = round(BOX * PIXEL / float(theirs["general"]["rlnRandomiseFrom"][0])) + 2
    shell = np.arange(start, BOX // 2 + 1)
    spread = np.sqrt(2 / (2 * math.pi * shell**2 * share))
    for column in (
        "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps",
        "rlnFourierShellCorrelationCorrected",
    ):
        deviation = (ours["fsc"][column][start:] - theirs["fsc"][column][start:]) / spread
        assert np.abs(deviation).max() < 4
        assert np.sqrt((deviation**2).mean()) < 1.5
    np.testing.assert_allclose(
        ours["fsc"]["rlnFourierShellCorrelationCorrected"][:start],
        theirs["fsc"]["rlnFourierShellCorrelationCorrected"][:start],
        atol=1.5e-6,
    )


def test_guinier_plots_agree_before_the_weights_do(both):
    """Printed to six digits; RELION keeps another part of the corners in the last shell, which is left out."""
    theirs, ours, _ = both
    for column in ("rlnResolutionSquared", "rlnLogAmplitudesOriginal", "rlnLogAmplitudesMTFCorrected"):
        shells = slice(0, BOX // 2)
        np.testing.assert_allclose(ours["guinier"][column][shells], theirs["guinier"][column][shells], atol=2e-5)


def test_weighting_is_the_same_function_of_the_corrected_curve(both):
    """The programs' curves differ by their random phases; each must weigh by its own."""
    theirs, ours, _ = both
    for blocks in (theirs, ours):
        corrected = torch.from_numpy(blocks["fsc"]["rlnFourierShellCorrelationCorrected"])
        last = min(BOX // 2, int(torch.nonzero(fsc_weight(corrected) == 0).min()) if (corrected < 1e-4).any() else BOX)
        guinier = blocks["guinier"]
        gained = guinier["rlnLogAmplitudesWeighted"] - guinier["rlnLogAmplitudesMTFCorrected"]
        np.testing.assert_allclose(gained[1:last], fsc_weight(corrected).log()[1:last], atol=1e-4)


def test_maps_agree_apart_from_the_bfactor(both):
    """Both fitted their own B; as filters by frequency both leave the FSC between the maps at one."""
    theirs, ours, folder = both
    first, second = (torch.from_numpy(read_volume(folder / name)[0]) for name in ("postprocess.mrc", "relion/pp.mrc"))
    corrected = torch.from_numpy(theirs["fsc"]["rlnFourierShellCorrelationCorrected"])
    solid = int((fsc_weight(corrected) > 0.2).sum())
    assert float(fsc(first, second)[:solid].min()) > 0.999
    bfactors = [float(blocks["general"]["rlnBfactorUsedForSharpening"][0]) for blocks in (theirs, ours)]
    assert bfactors[0] == pytest.approx(bfactors[1], abs=0.5 * abs(bfactors[0]) + 20)
