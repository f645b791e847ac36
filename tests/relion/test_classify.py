"""Classification as RELION 3.1.3 has it, iteration by iteration, and RELION going on from our tables."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from relion_classes import (
    GIVEN,
    ITERATIONS,
    NORMED,
    SEARCHED,
    Case,
    N,
    Tables,
    classify_in_blush,
    classify_in_relion,
    two_maps,
    write_mixture,
)
from relion_data import BOX_PX

from blush.io.files import read_record
from blush.io.mrc import read_volume
from blush.io.star import read_star

pytestmark = [pytest.mark.relion, pytest.mark.slow]
BELOW_NYQUIST = slice(0, BOX_PX // 2)
"""The last shell is left out: RELION stores the Nyquist frequency of the padded map on one side only."""


@dataclass(frozen=True)
class Agreement:
    """How near the numbers of a case come.

    Attributes
    ----------
    share
        Of `rlnClassDistribution`.
    pmax
        Largest and mean difference.
    noise, likelihood, tau2
        Relative.
    """

    case: Case
    share: float
    pmax: tuple[float, float]
    noise: float
    likelihood: float
    tau2: float


# Norm corrections: RELION leaves a residual as weighed, by 0.999 to 1, and so makes images brighter by 5e-5 a time.
# Searched poses: posteriors over hundreds of samples of one image repeat what an image's rounding is at the rim.
AGREEMENTS = [
    Agreement(GIVEN, 5e-6, (6e-4, 1e-5), 1e-6, 1e-7, 2.7e-4),
    Agreement(NORMED, 1e-5, (2e-3, 3e-5), 2e-4, 2e-5, 2.7e-4),
    Agreement(SEARCHED, 6e-5, (3e-2, 6e-4), 1.2e-4, 1e-6, 2.7e-4),
]


@pytest.fixture(scope="module", params=AGREEMENTS, ids=lambda one: one.case.name)
def runs(request, once, relion_project_folder, run_relion) -> tuple[Agreement, Path, Path]:
    """Both classifications of three iterations."""
    folder, case = relion_project_folder, request.param.case

    def make() -> tuple[Path, Path]:
        write_mixture(folder, case)
        theirs = classify_in_relion(folder, case, run_relion)
        return classify_in_blush(folder, case), theirs

    return request.param, *once(("classify", case.name), make)


@pytest.fixture(params=range(1, ITERATIONS + 1), ids=lambda n: f"iteration{n}")
def pair(request, runs) -> tuple[Agreement, Tables]:
    near, ours, theirs = runs
    return near, Tables(ours, theirs, request.param)


def spectra(pair: tuple[Agreement, Tables], name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both programs' spectrum of each class, below Nyquist."""
    found = [pair[1].model(f"model_class_{k}", name) for k in (1, 2)]
    return [(ours[BELOW_NYQUIST], theirs[BELOW_NYQUIST]) for ours, theirs in found]


def test_the_task_is_not_trivial(pair):
    """Both classes are there, and images are neither all certain nor all in doubt."""
    _, theirs = pair[1].model("model_classes", "rlnClassDistribution")
    _, pmax = pair[1].image("rlnMaxValueProbDistribution")
    assert theirs.min() > 0.3
    assert pmax.min() < 0.7 < pmax.max()


def test_class_distributions_are_the_same(pair):
    ours, theirs = pair[1].model("model_classes", "rlnClassDistribution")
    assert np.abs(ours - theirs).max() < pair[0].share


def test_labels_and_significant_samples_are_the_same(pair):
    for name in ("rlnClassNumber", "rlnNrOfSignificantSamples"):
        ours, theirs = pair[1].image(name)
        assert (ours == theirs).all(), name


def test_poses_are_the_same(pair):
    for name in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst"):
        ours, theirs = pair[1].image(name)
        difference = ours - theirs
        turns = 360 * np.round(difference / 360) if name == "rlnAnglePsi" else 0
        assert np.abs(difference - turns).max() < 2e-5, name


def test_posteriors_are_the_same(pair):
    ours, theirs = pair[1].image("rlnMaxValueProbDistribution")
    assert np.abs(ours - theirs).max() < pair[0].pmax[0]
    assert np.abs(ours - theirs).mean() < pair[0].pmax[1]


def test_likelihoods_are_the_same(pair):
    ours, theirs = pair[1].model("model_general", "rlnLogLikelihood")
    np.testing.assert_allclose(ours, theirs, rtol=pair[0].likelihood)
    ours, theirs = pair[1].image("rlnLogLikeliContribution")
    assert np.median(np.abs(ours - theirs) / theirs) < pair[0].likelihood


def test_signal_variances_are_those_of_the_masked_maps_before(pair):
    """Numbers above 0.001 are printed to 1e-6; in the last two shells what RELION stores of Nyquist leaks in."""
    for ours, theirs in spectra(pair, "rlnReferenceTau2"):
        assert (np.abs(ours - theirs) < pair[0].tau2 * theirs + 0.6e-6 * (theirs > 1e-3))[:-3].all()


def test_noise_of_the_maps_and_of_the_images_is_the_same(pair):
    for ours, theirs in spectra(pair, "rlnReferenceSigma2"):
        np.testing.assert_allclose(ours[:-1], theirs[:-1], rtol=max(2e-5, pair[0].noise))
    for group in range(1, len(pair[0].case.noise) + 1):
        ours, theirs = pair[1].model(f"model_group_{group}", "rlnSigma2Noise")
        np.testing.assert_allclose(ours, theirs, rtol=max(5e-6, pair[0].noise))


def test_ssnr_and_resolutions_are_the_same(pair):
    for ours, theirs in spectra(pair, "rlnSsnrMap"):
        assert (np.abs(ours - theirs) < 4e-4 * theirs + 1e-6)[:-3].all()
    for name in ("rlnCurrentResolution", "rlnCurrentImageSize"):
        ours, theirs = pair[1].model("model_general", name)
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    ours, theirs = pair[1].model("model_classes", "rlnEstimatedResolution")
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_the_image_model_is_the_same(pair):
    ours, theirs = pair[1].model("model_groups", "rlnGroupScaleCorrection")
    np.testing.assert_allclose(ours, theirs, atol=2e-5)
    for name in ("rlnSigmaOffsetsAngst", "rlnNormCorrectionAverage"):
        ours, theirs = pair[1].model("model_general", name)
        np.testing.assert_allclose(ours, theirs, rtol=4e-5)


def test_maps_are_the_same(pair):
    for k in (1, 2):
        ours, theirs = pair[1].maps(k)
        assert np.linalg.norm(ours - theirs) < 5e-4 * np.linalg.norm(theirs)


@pytest.fixture(scope="module", params=[GIVEN, SEARCHED], ids=lambda case: case.name)
def continued(request, once, relion_project_folder, run_relion, monkeypatch_module) -> Tables:
    """The fourth iteration: Blush's own, and RELION's from Blush's third."""
    folder, case = relion_project_folder, request.param
    monkeypatch_module.chdir(folder)  # names in the tables start where RELION is run
    return once(("continue", case.name), lambda: continue_in_both(folder, case, run_relion))


def continue_in_both(folder: Path, case: Case, run_relion) -> Tables:
    if not (folder / f"{case.name}.star").exists():
        write_mixture(folder, case)
    third, fourth = (classify_in_blush(folder, case, n) for n in (ITERATIONS, ITERATIONS + 1))
    out = folder / f"continued_{case.name}"
    out.mkdir()
    # 3.1.3 forgets that poses were given.
    again = ("--skip_align",) if case is GIVEN else ()
    optimiser = third.relative_to(folder) / f"run_it{ITERATIONS:03d}_optimiser.star"
    run_relion("refine", "--continue", optimiser, "--o", f"{out.name}/run", "--iter", ITERATIONS + 1,
               "--skip_gridding", *again)  # fmt: skip
    return Tables(fourth, out, ITERATIONS + 1)


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_relion_goes_on_from_our_tables_as_we_do(continued):
    for name in ("rlnClassNumber", "rlnNrOfSignificantSamples"):
        ours, theirs = continued.image(name)
        assert (ours == theirs).all(), name
    ours, theirs = continued.model("model_classes", "rlnClassDistribution")
    assert np.abs(ours - theirs).max() < 6e-5
    for k in (1, 2):
        ours, theirs = continued.model(f"model_class_{k}", "rlnSsnrMap")
        assert (np.abs(ours - theirs) < 4e-4 * theirs + 1e-6)[:-2].all()
        ours, theirs = continued.maps(k)
        assert np.linalg.norm(ours - theirs) < 2e-5 * np.linalg.norm(theirs)


def test_relion_reconstructs_a_class_by_its_number(continued, run_relion):
    """And the images of a class are as many in its table as in ours."""
    folder = continued.theirs.parent
    star = continued.ours.relative_to(folder) / f"run_it{continued.iteration:03d}_data.star"
    truth, counts = two_maps(), read_record(continued.ours / "classes.json", members=("classes",))["classes"]
    for k in (1, 2):
        run_relion("reconstruct", "--i", star, "--o", "one_class.mrc", "--ctf", "--class", k)
        found, _ = read_volume(folder / "one_class.mrc")
        others = [np.corrcoef(found.ravel(), volume.ravel())[0, 1] for volume in truth]
        assert int(np.argmax(others)) == k - 1
        run_relion("star_handler", "--i", star, "--o", "one_class.star", "--select", "rlnClassNumber",
                   "--minval", k, "--maxval", k)  # fmt: skip
        chosen = read_star(folder / "one_class.star")["particles"]
        assert 0 < len(chosen["rlnImageName"]) == counts[k - 1]["images"] < N
