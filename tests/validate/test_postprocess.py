"""Postprocessing of half-maps whose truth is known, and of files."""

import math
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from blush.errors import BlushError
from blush.fourier.filter import low_pass
from blush.fourier.fsc import fsc, resolution_at
from blush.fourier.mask import soft_sphere
from blush.io.mrc import read_volume, write_volume
from blush.io.star import read_star
from blush.validate.postprocess import Sharpening, postprocess
from blush.validate.postprocess_files import MaskSource, postprocess_files

BOX, PIXEL = 48, 2.0


def particle(seed=1):
    """A ball of random structure whose amplitudes decay with B = 150 Å²."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(BOX, BOX, BOX, generator=generator)
    return low_pass(white * soft_sphere(BOX, 11, 3), 7.0, PIXEL, edge_shells=8)


def halves(level=0.25, seed=1):
    truth = particle(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    return truth, [truth + level * torch.randn(truth.shape, generator=generator) for _ in range(2)]


@pytest.fixture(scope="module")
def mask():
    return soft_sphere(BOX, 16, 5)


def test_masked_resolution_is_no_better_than_the_true_one(mask):
    """Half-map FSC 0.143 predicts the shell where the average correlates 0.5 with the truth, within two shells."""
    for seed in (1, 2, 3):
        truth, (first, second) = halves(seed=seed)
        result = postprocess(first, second, PIXEL, mask, seed)
        true = resolution_at(fsc((first + second) / 2 * mask, truth * mask), 0.5, BOX, PIXEL)
        reported_shell, true_shell = BOX * PIXEL / result.resolution_angst, BOX * PIXEL / true
        assert result.mask_used
        assert result.resolution_angst < result.unmasked_resolution_angst
        assert abs(reported_shell - true_shell) <= 2


def test_a_mask_that_misses_the_particle_is_ignored_unless_forced():
    _, (first, second) = halves()
    corner = torch.roll(soft_sphere(BOX, 5, 3), (BOX // 2 - 6,) * 3, (0, 1, 2))
    result = postprocess(first, second, PIXEL, corner, 1)
    assert not result.mask_used
    assert result.resolution_angst == result.unmasked_resolution_angst
    assert torch.equal(result.curves.corrected, result.curves.unmasked)
    assert any("ignored" in warning for warning in result.warnings)
    forced = postprocess(first, second, PIXEL, corner, 1, force_mask=True)
    assert forced.mask_used
    assert forced.resolution_angst > result.resolution_angst


def test_given_bfactor_and_lowpass_shape_the_spectrum(mask):
    _, (first, second) = halves()
    plain = postprocess(first, second, PIXEL, mask, 1, Sharpening(adhoc_bfactor_angst2=0.0))
    sharp = postprocess(first, second, PIXEL, mask, 1, Sharpening(adhoc_bfactor_angst2=-100.0, lowpass_angst=12.0))
    ratio = torch.fft.rfftn(sharp.map) / torch.fft.rfftn(plain.map)
    for shell, edge in ((4, 1.0), (8, 0.5), (10, 0.0)):
        expected = edge * math.exp(100 / 4 * (shell / (BOX * PIXEL)) ** 2)
        assert float(ratio[0, 0, shell].real) == pytest.approx(expected, abs=2e-3)


def test_without_fsc_weighting_low_shells_are_the_average(mask):
    _, (first, second) = halves()
    bare = Sharpening(adhoc_bfactor_angst2=0.0, fsc_weighting=False)
    result = postprocess(first, second, PIXEL, mask, 1, bare)
    torch.testing.assert_close(low_pass(result.map, 6.0, PIXEL), low_pass((first + second) / 2, 6.0, PIXEL))


def test_too_few_shells_for_a_bfactor_are_reported(mask):
    _, (first, second) = halves(level=8.0)
    result = postprocess(first, second, PIXEL, mask, 1, Sharpening(autob_lowres_angst=4.2))
    assert result.fit is None
    assert result.bfactor_angst2 == 0
    assert any("Guinier" in warning for warning in result.warnings)


def test_the_bfactor_is_fitted_up_to_the_resolution_unless_another_end_is_asked_for(mask):
    """Beyond it the FSC weight falls by itself, and the line through that is steeper: RELION's fit to Nyquist."""
    _, (first, second) = halves()
    found = postprocess(first, second, PIXEL, mask, 1, Sharpening(autob_lowres_angst=20.0))
    assert math.isfinite(found.resolution_angst)
    assert found.fit.highest_angst == pytest.approx(found.resolution_angst)
    assert found.fit.lowest_angst <= 20.0
    assert found.bfactor_told == (
        f"{found.bfactor_angst2:.1f} Å² (Guinier fit from {found.fit.lowest_angst:.2f} to "
        f"{found.resolution_angst:.2f} Å)"
    )
    asked = Sharpening(autob_lowres_angst=20.0, autob_highres_angst=found.resolution_angst)
    assert postprocess(first, second, PIXEL, mask, 1, asked).bfactor_angst2 == found.bfactor_angst2
    whole = postprocess(first, second, PIXEL, mask, 1, Sharpening(autob_lowres_angst=20.0, autob_highres_angst=0.0))
    assert whole.fit.highest_angst < found.fit.highest_angst
    assert whole.bfactor_angst2 < found.bfactor_angst2
    given = postprocess(first, second, PIXEL, mask, 1, Sharpening(adhoc_bfactor_angst2=-30.0))
    assert given.bfactor_told == "-30.0 Å²"


def test_the_shell_that_nyquist_cuts_in_half_is_left_out_of_the_fit(mask):
    """White maps that agree everywhere have no decay; the halved last shell alone would give them one."""
    random = torch.Generator().manual_seed(4)
    white = torch.randn(BOX, BOX, BOX, generator=random, dtype=torch.float64)
    ones = torch.ones(BOX, BOX, BOX, dtype=torch.float64)
    first, second = (white + 1e-2 * torch.randn(white.shape, generator=random, dtype=torch.float64) for _ in (1, 2))
    found = postprocess(first, second, PIXEL, ones, 1, Sharpening(autob_lowres_angst=20.0))
    assert found.resolution_angst == pytest.approx(2 * PIXEL)
    assert found.fit.highest_angst == pytest.approx(BOX * PIXEL / (BOX // 2 - 1))
    assert abs(found.bfactor_angst2) < 3
    whole = postprocess(first, second, PIXEL, ones, 1, Sharpening(autob_lowres_angst=20.0, autob_highres_angst=0.0))
    assert whole.bfactor_angst2 < -10


def test_a_detector_response_without_pixel_size_is_refused(mask):
    _, (first, second) = halves()
    ones = torch.ones(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="original_pixel_size_angst"):
        postprocess(first, second, PIXEL, mask, 1, Sharpening(mtf_frequency=ones.cumsum(0), mtf_value=ones))


@pytest.fixture
def files(tmp_path):
    _, maps = halves()
    paths = [tmp_path / f"half{i}.mrc" for i in (1, 2)]
    for path, volume in zip(paths, maps, strict=True):
        write_volume(path, volume.numpy(), PIXEL)
    return paths


def test_files_have_relions_names_and_tables(files, tmp_path):
    result = postprocess_files(tmp_path / "out", *files, MaskSource(particle_diameter_angst=70.0), seed=1)
    blocks = read_star(tmp_path / "out/postprocess.star")
    assert list(blocks) == ["general", "fsc", "guinier"]
    assert float(blocks["general"]["rlnFinalResolution"][0]) == pytest.approx(result.resolution_angst, abs=1e-5)
    assert blocks["general"]["rlnUnfilteredMapHalf1"][0] == str(files[0])
    corrected = blocks["fsc"]["rlnFourierShellCorrelationCorrected"]
    np.testing.assert_allclose(corrected, result.curves.corrected, atol=1e-6)
    assert blocks["fsc"]["rlnAngstromResolution"][-1] == pytest.approx(2 * PIXEL)
    volume, pixel = read_volume(tmp_path / "out/postprocess.mrc")
    solvent, _ = read_volume(tmp_path / "out/mask.mrc")
    masked, _ = read_volume(tmp_path / "out/postprocess_masked.mrc")
    assert pixel == pytest.approx(PIXEL)
    np.testing.assert_allclose(masked, volume * solvent, atol=1e-6)


def test_fsc_xml_is_what_emdb_reads(files, tmp_path):
    result = postprocess_files(tmp_path, *files, MaskSource(particle_diameter_angst=70.0), seed=1)
    root = ElementTree.parse(tmp_path / "fsc.xml").getroot()
    assert (root.tag, root.get("xaxis"), root.get("yaxis")) == ("fsc", "Resolution (A-1)", "Correlation Coefficient")
    points = [(float(p.find("x").text), float(p.find("y").text)) for p in root.findall("coordinate")]
    assert len(points) == BOX // 2
    assert points[3] == (
        pytest.approx(4 / (BOX * PIXEL), abs=1e-6),
        pytest.approx(float(result.curves.corrected[4]), abs=1e-6),
    )


def test_equal_inputs_give_equal_bytes(files, tmp_path):
    for name in ("a", "b"):
        postprocess_files(tmp_path / name, *files, MaskSource(particle_diameter_angst=70.0), seed=7)
    for file in ("postprocess.mrc", "postprocess_masked.mrc", "mask.mrc", "fsc.xml"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_halves_that_do_not_fit_are_refused_with_every_reason(tmp_path):
    write_volume(tmp_path / "a.mrc", np.zeros((8, 8, 8), np.float32), 2.0)
    write_volume(tmp_path / "b.mrc", np.zeros((8, 8, 10), np.float32), 3.0)
    with pytest.raises(BlushError) as caught:
        postprocess_files(tmp_path / "out", tmp_path / "a.mrc", tmp_path / "b.mrc", MaskSource(), seed=1)
    message = str(caught.value)
    assert all(text in message for text in ("not cubic", "differs in size", "another pixel size than", "b.mrc"))


@pytest.mark.parametrize(("scale", "size", "reason"), [(5.0, BOX, "lies in"), (1.0, BOX - 2, "differs in size")])
def test_a_mask_that_cannot_be_one_is_refused(files, tmp_path, scale, size, reason):
    write_volume(tmp_path / "mask.mrc", scale * np.ones((size,) * 3, np.float32), PIXEL)
    with pytest.raises(BlushError, match=reason):
        postprocess_files(tmp_path, *files, MaskSource(tmp_path / "mask.mrc"), seed=1)
