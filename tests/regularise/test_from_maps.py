"""Half-maps from files: sums and spectra that agree with the maps and their FSC, and what is refused."""

import warnings

import numpy as np
import pytest
import torch
from problem import blobs

from blush.errors import BlushError
from blush.fourier.fsc import fsc, power_spectrum
from blush.fourier.mask import soft_sphere
from blush.io.half_maps import read_half_maps
from blush.io.mrc import write_volume
from blush.maximization.reconstruct import reconstruct
from blush.maximization.spectra import reference_noise
from blush.regularise.from_maps import half_maps, particle_mask

BOX = 24


def halves(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    first, second = (
        (blobs() + 0.2 * torch.randn(BOX, BOX, BOX, generator=draw, dtype=torch.float64)).to(dtype) for _ in range(2)
    )
    return first, second


def made(dtype: torch.dtype = torch.float64, **given):
    return half_maps(*halves(dtype), 3.0, particle_diameter_angst=50.0, **given)


def cut(volume: np.ndarray, pad: int, passed: float = 1.0) -> np.ndarray:
    """The slow way round: a padded, gridding-corrected transform cut at r_max = N/2 - 1, shells >= 5 times `passed`."""
    place = np.arange(BOX) - BOX // 2
    radius = np.sqrt((place[:, None, None] ** 2) + (place[:, None] ** 2) + place**2) / (pad * BOX)
    gridding = np.sinc(radius) ** 2
    padded = np.zeros((pad * BOX,) * 3)
    padded[:BOX, :BOX, :BOX] = volume * gridding
    axis = np.fft.fftfreq(pad * BOX, 1 / (pad * BOX))
    frequency = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) / pad
    gain = np.where(np.floor(frequency + 0.5) < 5, 1.0, passed) * (frequency < BOX // 2 - 1)
    return np.fft.ifftn(np.fft.fftn(padded) * gain).real[:BOX, :BOX, :BOX] / gridding


@pytest.mark.parametrize("pad", [1, 2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_the_sums_give_the_maps_back_up_to_the_shell_that_they_hold(pad, dtype, tolerance):
    """Inside the sphere that a reconstruction keeps; the tolerance is relative to the map."""
    maps = made(dtype, pad=pad)
    sphere = soft_sphere(BOX, BOX / 2 - 1, 0.0, dtype=dtype)
    for half, volume in enumerate(halves(dtype)):
        expected = torch.from_numpy(cut(volume.double().numpy(), pad)).to(dtype) * sphere
        found = reconstruct(maps.sums[half])
        assert found.dtype == dtype
        assert float((found * sphere - expected).norm() / expected.norm()) < tolerance


def test_maps_are_passed_on_as_they_are():
    first, second = halves()
    maps = made()
    assert torch.equal(maps.unregularised(0), first)
    assert torch.equal(maps.unregularised(1), second)


@pytest.mark.parametrize("pad", [1, 2])
def test_noise_of_the_sums_is_what_the_fsc_leaves_of_the_power(pad):
    maps = made(pad=pad)
    power = [power_spectrum(volume).numpy() / (2 * BOX**4) for volume in halves()]
    for half in (0, 1):
        used = slice(1, BOX // 2)
        np.testing.assert_allclose(maps.sigma2_ref[half], (1 - np.clip(maps.fsc, 0.001, 0.999)) * power[half])
        np.testing.assert_allclose(reference_noise(maps.sums[half])[used], maps.sigma2_ref[half][used], rtol=1e-6)
        ratio = maps.tau2[half] / (maps.tau2[half] + maps.sigma2_ref[half])
        np.testing.assert_allclose(ratio, np.clip(maps.fsc, 0.001, 0.999))


@pytest.mark.parametrize("pad", [1, 2])
def test_the_wiener_map_is_the_map_times_its_fsc(pad):
    """From the first regularised shell on."""
    curve = np.concatenate([np.ones(5), np.full(BOX // 2 - 4, 0.5)])
    maps, sphere = made(fsc=curve, pad=pad), soft_sphere(BOX, BOX / 2 - 1, 0.0, dtype=torch.float64)
    for half, volume in enumerate(halves()):
        expected = torch.from_numpy(cut(volume.numpy(), pad, passed=0.5)) * sphere
        assert float((maps.wiener(half) * sphere - expected).norm() / expected.norm()) < 1e-12


def test_the_fsc_is_that_of_the_maps_unless_one_is_given():
    maps = made()
    np.testing.assert_array_equal(maps.fsc_unmasked, fsc(*halves()).numpy())
    np.testing.assert_array_equal(maps.fsc, maps.fsc_unmasked)
    given = np.linspace(1, 0, BOX // 2 + 1)
    other = made(fsc=given)
    np.testing.assert_array_equal(other.fsc, given)
    np.testing.assert_array_equal(other.fsc_unmasked, maps.fsc_unmasked)


def test_without_a_mask_the_particle_s_sphere_is_used():
    maps = made()
    assert torch.equal(maps.mask, particle_mask(BOX, 50 / 6, halves()[0]))
    assert float(particle_mask(BOX, 100.0, halves()[0])[0, 0].max()) == 0  # a sphere stays in the box


def test_an_fsc_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"an FSC of \(5,\) does not fit maps of 24 voxels"):
        made(fsc=np.ones(5))


@pytest.fixture
def write(tmp_path):
    def written(name: str, array: np.ndarray, pixel_size_angst: float = 3.0):
        with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # mrcfile warns of what is not finite
            write_volume(tmp_path / name, array, pixel_size_angst)
        return tmp_path / name

    return written


def test_files_that_belong_together_are_read(write):
    first, second = (half.float().numpy() for half in halves())
    mask = np.ones_like(first)
    files = read_half_maps(write("1.mrc", first), write("2.mrc", second), write("mask.mrc", mask))
    assert files.pixel_size_angst == pytest.approx(3.0)
    np.testing.assert_array_equal(files.halves[1].numpy(), second)
    np.testing.assert_array_equal(files.mask.numpy(), mask)
    assert read_half_maps(write("1.mrc", first), write("2.mrc", second), None, 1.5).pixel_size_angst == 1.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v[:, :, :-2], r"map is not cubic \(found \(24, 24, 22\)\)"),
        (lambda v: v[:-1, :-1, :-1], r"box is odd \(found 23\); crop it to 22"),
        (lambda v: np.where(v == v.max(), np.nan, v), r"holds values that are not finite \(found 1 voxels\)"),
        (lambda v: 0 * v, "is zero everywhere"),
        (lambda v: v[:-2, :-2, :-2], r"differs in size from .*1.mrc \(found \(22, 22, 22\)\)"),
    ],
)
def test_halves_that_cannot_be_used_are_refused_with_their_file(write, change, message):
    first, second = (half.float().numpy() for half in halves())
    with pytest.raises(BlushError, match=rf"2\.mrc: {message}"):
        read_half_maps(write("1.mrc", first), write("2.mrc", change(second)))


def test_one_half_given_twice_is_refused(write):
    first = halves()[0].float().numpy()
    path = write("1.mrc", first)
    with pytest.raises(BlushError, match="is the same map as"):
        read_half_maps(path, path)


def test_all_mistakes_are_told_at_once(write):
    first, second = (half.float().numpy() for half in halves())
    second[0, 0, 0] = np.inf
    with pytest.raises(BlushError) as refused:
        read_half_maps(write("1.mrc", first), write("2.mrc", second, 2.0), write("m.mrc", 5 * np.ones_like(first)))
    messages = [problem.message.partition(" than ")[0] for problem in refused.value.problems]
    assert messages == [
        "holds values that are not finite",
        "has another pixel size",
        "a mask lies in [0, 1]",
    ]


def test_a_mask_of_another_size_is_refused(write):
    first, second = (half.float().numpy() for half in halves())
    with pytest.raises(BlushError, match=r"m\.mrc: differs in size from the maps .*give a mask of \(24, 24, 24\)"):
        read_half_maps(write("1.mrc", first), write("2.mrc", second), write("m.mrc", np.ones((8, 8, 8))))


def test_a_device_that_is_not_there_is_a_mistake_of_the_user(write):
    first, second = (half.float().numpy() for half in halves())
    files = read_half_maps(write("1.mrc", first), write("2.mrc", second))
    with pytest.raises(BlushError, match="the device cannot be used"):
        files.to("nonsense")
    assert files.to("cpu").halves[0].device.type == "cpu"
