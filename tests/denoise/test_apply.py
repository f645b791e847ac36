"""The inference on a whole map: grid, mask, local deviation, patches and scale."""

import numpy as np
import pytest
import torch
from identity_networks import identity_unet, random_unet
from scipy import ndimage

from blush.denoise.apply import (
    Plan,
    denoise_map,
    local_deviation,
    model_box,
    padded_box,
    particle_mask,
    plan_patches,
)
from blush.denoise.tiling import overlap_weight, patch_means, patch_starts
from blush.fourier.filter import resize_volume
from blush.fourier.fsc import power_spectrum
from blush.fourier.grid import centred_radius
from blush.fourier.mask import soft_sphere


def gaussian(box: int, sigma_px: float, offset_px=(0.0, 0.0, 0.0)) -> torch.Tensor:
    """Value exp(-r²/(2σ²)) around the centre voxel plus an offset; float64."""
    axis = torch.arange(box, dtype=torch.float64) - box // 2
    z, y, x = (torch.exp(-((axis - offset) ** 2) / (2 * sigma_px**2)) for offset in offset_px)
    return z[:, None, None] * y[None, :, None] * x


def noise(box: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(box, box, box, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def coverage(plan: Plan) -> torch.Tensor:
    """Which voxels of the model's box some patch covers."""
    weight = torch.zeros((plan.padded_px,) * 3)
    for z, y, x in plan.first.tolist():
        weight[z : z + 64, y : y + 64, x : x + 64] += overlap_weight(64)
    border = (plan.padded_px - plan.model_box_px) // 2
    inside = slice(border, border + plan.model_box_px)
    return weight[inside, inside, inside] >= 0.1


@pytest.mark.parametrize(
    ("box", "pixel", "expected"),
    [(64, 1.5, 64), (64, 3.0, 128), (100, 1.06, 70), (200, 0.7125, 96), (200, 0.7275, 98), (180, 0.8, 96), (1, 1.5, 2)],
)
def test_the_model_box_is_even_with_voxels_closest_to_those_of_the_network(box, pixel, expected):
    made = model_box(box, pixel, 1.5)
    assert made == expected
    width = box * pixel
    if made > 2:
        assert abs(width / made - 1.5) <= min(abs(width / (made + s) - 1.5) for s in (-2, 2)) + 1e-12


@pytest.mark.parametrize(("box", "pixel"), [(48, 2.0), (45, 2.0), (96, 1.0), (95, 1.0)])
def test_the_rescaled_map_is_the_same_density_on_another_grid(box, pixel):
    """A Gaussian, whose values at any grid are known; its spectrum ends (e^-25) before either Nyquist frequency."""
    n = model_box(box, pixel, 1.5)
    voxel = box * pixel / n
    offset = (3.1, -2.0, 0.7)
    given = gaussian(box, 5.0 / pixel, tuple(o / pixel for o in offset))
    made = resize_volume(given, pixel, n, voxel)
    expected = gaussian(n, 5.0 / voxel, tuple(o / voxel for o in offset))
    assert float((made - expected).abs().max()) < 1e-8
    # Densities keep their values, so the integral, sum times volume of a voxel, does as well.
    assert float(made.sum()) * voxel**3 == pytest.approx(float(given.sum()) * pixel**3, rel=1e-10)


@pytest.mark.parametrize(("box", "pixel"), [(48, 2.0), (64, 1.0)])
def test_rescaling_is_cropping_and_padding_in_fourier_space(box, pixel):
    """Against FFTs written out: coefficients times (N'/N)³, those at the Nyquist frequency of the smaller box aside."""
    n = model_box(box, pixel, 1.5)
    given, least = noise(box), min(box, n)
    frequency = torch.fft.fftfreq(least, 1 / least).long()
    inner = frequency[frequency.abs() < least // 2]
    spectrum = torch.fft.fftn(given)
    cropped = torch.zeros(n, n, n, dtype=torch.complex128)
    from_index, to_index = (
        torch.meshgrid(*[inner % box] * 3, indexing="ij"),
        torch.meshgrid(*[inner % n] * 3, indexing="ij"),
    )
    cropped[to_index] = spectrum[from_index] * (n / box) ** 3
    made = torch.fft.fftn(resize_volume(given, pixel, n, box * pixel / n))
    torch.testing.assert_close(made[to_index], cropped[to_index], rtol=0, atol=1e-9)


@pytest.mark.parametrize("box", [24, 37])
def test_local_deviation_against_a_direct_sum(box):
    """float64, window and zero padding written out; and scipy's correlation of the same window."""
    volume = noise(box) + 0.3
    taps = np.exp(-((0.15 * np.arange(-10, 11)) ** 2))
    taps /= taps.sum()
    padded = np.pad(volume.numpy(), 10)

    def mean(values: np.ndarray) -> np.ndarray:
        for axis in range(3):
            values = sum(t * np.take(values, range(i, i + box), axis) for i, t in enumerate(taps))
        return values

    expected = np.sqrt(np.maximum(mean(padded**2) - mean(padded) ** 2, 0))
    made = local_deviation(volume).numpy()
    np.testing.assert_allclose(made, expected / expected.mean(), rtol=0, atol=1e-12)
    first, second = volume.numpy(), volume.numpy() ** 2
    for axis in range(3):
        first, second = (ndimage.correlate1d(v, taps, axis, mode="constant") for v in (first, second))
    scipys = np.sqrt(np.maximum(second - first**2, 0))
    np.testing.assert_allclose(made, scipys / scipys.mean(), rtol=0, atol=1e-12)
    assert made.mean() == pytest.approx(1, abs=1e-12)


def test_a_map_of_zeros_deviates_nowhere():
    """Of a pair of halves that share nothing, the Wiener filter leaves nothing."""
    assert not local_deviation(torch.zeros(24, 24, 24)).any()
    faint = 1e-12 * noise(24).float()
    assert local_deviation(faint).mean() == pytest.approx(1, abs=1e-5)


def test_the_mask_is_one_in_the_particle_and_zero_six_voxels_beyond():
    mask, radius = particle_mask(64, 20.0), centred_radius(64)
    assert (mask[radius <= 20] == 1).all()
    assert (mask[radius >= 26] == 0).all()
    assert float(mask[32, 32, 32 + 23]) == pytest.approx(0.5)  # D / (2 · 1.5) + 3 is the middle of the edge


def test_the_mask_of_a_particle_as_wide_as_the_box_is_capped():
    assert torch.equal(particle_mask(64, 32.0), particle_mask(64, 500.0))
    assert torch.equal(particle_mask(64, 500.0), soft_sphere(64, 27.0, 6.0))  # middle of the edge at (64 - 6) / 2 + 1


def test_the_published_mask_would_skip_every_patch_of_a_small_box():
    """The trap: an edge of 30 voxels, its middle at (N' - 30) / 2, against the fixed limit of 0.3."""
    for box, padded in ((64, 84), (80, 80)):
        widest = soft_sphere(box, (box - 30) / 2 - 15, 30.0)
        border = (padded - box) // 2
        inside = torch.nn.functional.pad(widest, (border,) * 6)
        assert float(patch_means(inside, patch_starts(padded, 64, 20), 64).max()) < 0.3


def test_padding():
    assert padded_box(64, 20.0) == 84
    assert padded_box(40, 10.0) == 84
    assert padded_box(96, 20.0) == 96
    assert padded_box(66, 33.0) == 84  # the sphere's edge, at 31 voxels, and 11 voxels beside it
    assert padded_box(48, 10.0, 48) == 68


@pytest.mark.parametrize("box", range(40, 101, 6))
@pytest.mark.parametrize("share", [0.4, 0.7, 1.2])
@pytest.mark.parametrize("stride", [20, 40])
def test_the_patches_leave_no_hole_in_the_mask(box, share, stride):
    plan = plan_patches(box, 1.5, share * box * 1.5, 1.5, stride_px=stride)
    assert plan.padded_px % 2 == 0
    assert coverage(plan)[plan.mask > 0.5].all()


@pytest.mark.parametrize(("stride", "patches"), [(20, 8), (40, 8)])
def test_a_particle_of_two_thirds_of_64_voxels_takes_eight_patches(stride, patches):
    assert plan_patches(64, 1.5, 64.0, 1.5, stride_px=stride).n_patches == patches


def test_patches_of_solvent_are_left_out():
    plan = plan_patches(160, 1.5, 60.0, 1.5, stride_px=20)
    assert 0 < plan.n_patches < len(patch_starts(160, 64, 20)) / 3


def test_gaps_are_refused():
    with pytest.raises(ValueError, match="every 41 px leave gaps; a step of 1 to 40 px"):
        plan_patches(64, 1.5, 60.0, 1.5, stride_px=41)


@pytest.mark.parametrize(("box", "pixel"), [(40, 1.5), (64, 1.5), (70, 1.5), (45, 2.0), (100, 1.0)])
def test_the_identity_network_gives_the_masked_map_back(box, pixel):
    """Closed form: standardised and masked, given back, brought to scale, masked."""
    plan = plan_patches(box, pixel, 0.6 * box * pixel, 1.5)
    volume = 2 + 3 * noise(box)
    made = denoise_map(identity_unet(), volume, plan, batch=4)
    coarse = resize_volume(volume, pixel, plan.model_box_px, plan.voxel_size_angst)
    mask, mean = plan.mask.double(), coarse.mean()
    expected = ((coarse - mean) * mask * coverage(plan) + mean) * mask
    expected = resize_volume(expected, plan.voxel_size_angst, box, pixel)
    assert made.dtype == torch.float64
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5 * float(volume.abs().max()))  # float32 inside
    if plan.model_box_px == box:
        inside = plan.mask == 1
        torch.testing.assert_close(made[inside], volume[inside], rtol=0, atol=1e-5 * float(volume.abs().max()))


@pytest.mark.parametrize("box", [40, 44, 52, 64, 68, 80])
def test_no_small_box_is_lost(box):
    plan = plan_patches(box, 1.5, 0.9 * box * 1.5, 1.5)
    made = denoise_map(identity_unet(), noise(box, dtype=torch.float32), plan, batch=8)
    assert float((made != 0).float().mean()) > 0.25


def test_the_batch_changes_rounding_alone():
    """A network that does something: sums inside a convolution may be ordered by the batch, in float32."""
    volume = noise(40, dtype=torch.float32)
    plan = plan_patches(40, 1.5, 40.0, 1.5, block_px=48)
    network = random_unet(2, 2)
    maps = [denoise_map(network, volume, plan, batch=batch) for batch in (1, 3, 8)]
    assert plan.n_patches == 8
    assert float((maps[0] - volume * plan.mask).norm() / (volume * plan.mask).norm()) > 0.05
    for made in maps[1:]:
        assert float((made - maps[0]).abs().max()) < 1e-5 * float(maps[0].abs().max())


def test_scale_and_offset_pass_through_a_network_that_is_not_linear():
    volume, plan = noise(40), plan_patches(40, 1.5, 36.0, 1.5, block_px=48)
    network = random_unet(2, 1)
    plain = denoise_map(network, volume, plan)
    scaled = denoise_map(network, 1e-6 * volume, plan)
    torch.testing.assert_close(scaled, 1e-6 * plain, rtol=0, atol=1e-11)  # float32 inside


def test_nothing_is_left_beyond_the_networks_nyquist_frequency():
    """Half the pixel size of the network: the outer half of the shells."""
    plan = plan_patches(96, 0.75, 40.0, 1.5, block_px=48)
    assert (plan.model_box_px, plan.voxel_size_angst) == (48, 1.5)
    spectrum = power_spectrum(denoise_map(identity_unet(), noise(96), plan))
    assert float(spectrum[:20].min()) > 1e-6
    assert float(spectrum[43:].max()) < 1e-20  # corners of the cube of N'/2 reach to √3 N'/2 = 41.6


def test_classification_takes_the_given_map_over_where_the_network_ends():
    """Identity, in the sphere: what comes back is the map itself, at every frequency."""
    volume = gaussian(96, 0.6, (3.0, -2.0, 1.0))  # has 0.64 of its amplitude left at the network's Nyquist frequency
    plan = plan_patches(96, 0.75, 56.0, 1.5, block_px=48)
    filled = denoise_map(identity_unet(), volume, plan, classification=True)
    plain = denoise_map(identity_unet(), volume, plan)
    assert float((plain - volume).norm() / volume.norm()) > 0.3
    inside = soft_sphere(96, 28 / 0.75, 12.0, dtype=torch.float64)
    assert float((filled - volume * inside).norm() / volume.norm()) < 1e-2
    ratio = power_spectrum(filled) / power_spectrum(volume * inside)
    assert ((ratio[25:40] - 1).abs() < 1e-9).all()  # a shell beyond N'/2 - 1 = 23 on: the given map alone


def test_classification_leaves_a_map_that_is_coarser_than_the_network():
    volume, plan = noise(24), plan_patches(24, 3.0, 40.0, 1.5, block_px=48)
    made = [denoise_map(identity_unet(), volume, plan, classification=value) for value in (True, False)]
    assert torch.equal(*made)


def test_bfloat16_is_close_to_float32():
    """Eight bits of mantissa in a residual of the patch's own size."""
    volume, plan = noise(40, dtype=torch.float32), plan_patches(40, 1.5, 40.0, 1.5, block_px=48)
    network = random_unet(2, 2)
    exact, short = (denoise_map(network, volume, plan, precision=kind) for kind in ("float32", "bfloat16"))
    change = float((exact - short).norm() / exact.norm())
    assert 1e-5 < change < 0.02


def test_the_same_map_gives_the_same_bytes_and_is_not_changed():
    volume, plan = noise(40, dtype=torch.float32), plan_patches(40, 1.5, 40.0, 1.5, block_px=48)
    before, network = volume.clone(), random_unet(2, 2)
    one, two = (denoise_map(network, volume, plan) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(volume, before)
    assert not one.is_inference()


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_map_with_nothing_in_it_is_refused(value):
    with pytest.raises(ValueError, match="nothing to denoise"):
        denoise_map(identity_unet(), torch.full((40,) * 3, value), plan_patches(40, 1.5, 40.0, 1.5))


def test_a_map_of_another_box_is_refused():
    with pytest.raises(ValueError, match=r"shape \(24, 24, 24\), the plan is for a box of 40"):
        denoise_map(identity_unet(), noise(24), plan_patches(40, 1.5, 40.0, 1.5))
