"""Maps from D and W: a Gaussian comes back, the Wiener prior damps by SSNR / (1 + SSNR), gaps stay finite."""

import math

import numpy as np
import pytest
import torch

from blush.fourier.backproject import Accumulator, empty_accumulator, hermitian, insert, trim
from blush.fourier.packed import packed
from blush.fourier.transform import gridding_correction, inverse_transform, sphere_k2, transform
from blush.geometry.healpix import pixel_directions
from blush.geometry.rotation import matrix_from_euler
from blush.maximization.reconstruct import divide, reconstruct, refiltered
from blush.maximization.spectra import shells_of_cells

BOX = 36


def gaussian(box: int, sigma: float, centre=(1.0, -0.6, 0.4)) -> torch.Tensor:
    axis = torch.arange(box, dtype=torch.float64) - box // 2
    x, y, z = (torch.exp(-((axis - c) ** 2) / (2 * sigma**2)) for c in centre)
    return z[:, None, None] * y[:, None] * x


def sums_of(volume: torch.Tensor, r_max: int, weight: float | torch.Tensor, dtype: torch.dtype) -> Accumulator:
    """D = W F for a known F: what noise-free images would give."""
    sphere = transform(volume, r_max, corrected=False)
    sums = empty_accumulator(volume.shape[0], r_max, dtype=dtype)
    weight = torch.as_tensor(weight, dtype=torch.float64).expand(sums.grid.shape[:3])
    sums.grid[..., :2] = (torch.view_as_real(sphere.values) * weight[..., None]).to(dtype)
    sums.grid[..., 2] = weight.to(dtype)
    return trim(sums)


@pytest.mark.parametrize("box", [36, 38, 96])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gaussian_comes_back_whatever_its_weights(box, dtype):
    sums = sums_of(gaussian(box, 2.2), box // 2, 1.0, dtype)
    uneven = 1 + 0.5 * torch.cos(torch.arange(sums.grid[..., 2].numel(), dtype=torch.float64)).view(sums.grid.shape[:3])
    sums = sums_of(gaussian(box, 2.2), box // 2, uneven, dtype)
    found = reconstruct(sums).double()
    expected = gaussian(box, 2.2) / gridding_correction(box, like=found)  # the blur of insertion, undone
    # The rim of the ball is 6 sigma away: exp(-18); beyond Nyquist exp(-24); then rounding.
    assert (found - expected).abs().max() < 3e-8 + 20 * torch.finfo(dtype).eps


@pytest.mark.parametrize("pad_sums", [True, False])
def test_the_prior_damps_each_shell_by_its_signal_to_noise(pad_sums):
    """D / (W + 1 / (pad^3 T tau^2)) = F SSNR / (1 + SSNR), SSNR = pad^3 T tau^2 W; none below shell 5, as in RELION."""
    weight, fudge = 0.3, (2.0 if pad_sums else 1.0)
    sums = sums_of(gaussian(BOX, 1.5), BOX // 2, weight, torch.float64)
    tau2 = np.linspace(2.0, 0.01, BOX // 2 + 1)
    found, plain = divide(sums, tau2, fudge=fudge).values, divide(sums, None).values
    ssnr = torch.from_numpy(8 * fudge * tau2 * weight)
    shell = shells_of_cells(sums).clamp_max(BOX // 2)
    damping = torch.where(shell < 5, 1.0, (ssnr / (1 + ssnr))[shell])
    torch.testing.assert_close(found, plain * damping, rtol=1e-12, atol=1e-20)


def test_the_first_regularised_shell_can_be_set():
    sums = sums_of(gaussian(BOX, 1.5), 10, 0.3, torch.float64)
    tau2 = np.full(BOX // 2 + 1, 0.1)
    all_shells, few = divide(sums, tau2, first_shell=0).values, divide(sums, tau2, first_shell=9).values
    plain, shell = divide(sums, None).values, shells_of_cells(sums)
    torch.testing.assert_close(few[shell < 9], plain[shell < 9], rtol=1e-12, atol=0)
    torch.testing.assert_close(all_shells[shell == 9], few[shell == 9], rtol=1e-12, atol=0)
    assert (all_shells[shell < 9].abs() <= 0.5 * plain[shell < 9].abs()).all()


def test_a_shell_without_signal_is_annihilated():
    sums = sums_of(gaussian(BOX, 1.5), 12, 0.3, torch.float64)
    tau2 = np.ones(BOX // 2 + 1)
    tau2[8] = 0
    ratio = divide(sums, tau2).values.abs() / divide(sums, None).values.abs().clamp_min(1e-300)
    shell = shells_of_cells(sums)
    np.testing.assert_allclose(ratio[shell == 8], 0.3 / (0.3 + 1000 / 0.3), rtol=1e-10)
    # Shells 7 and 9 share the floor of denominators, a mean over whole shells, with what was annihilated.
    np.testing.assert_allclose(ratio[(shell == 6) | (shell == 10)], 0.3 / (0.3 + 1 / 8), rtol=1e-10)


def test_nothing_is_left_beyond_the_rim():
    sums = sums_of(gaussian(BOX, 1.5), 10, 0.3, torch.float64)
    sums.grid[..., :3] = 1.0  # cells beyond were neighbours of the rim when slices were inserted
    outside = sphere_k2(sums.radius) >= 20**2
    for tau2 in (None, np.ones(BOX // 2 + 1)):
        values = divide(sums, tau2).values
        assert not values[outside].any()
        assert (values[~outside] != 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cells_of_little_weight_are_held_by_the_average_of_their_shell(dtype):
    """D / W of a nearly empty cell is noise over nothing; the floor is a thousandth of the mean."""
    sums = sums_of(gaussian(BOX, 1.5), 10, 1.0, dtype)
    r = sums.radius
    sums.grid[r + 2, r + 9, 5] = torch.tensor([1.0, 0, 1e-12, 0], dtype=dtype)
    sums.grid[r + 3, r + 9, 5] = torch.tensor([0.0, 0, 0, 0], dtype=dtype)
    values = divide(sums, None).values
    assert float(values[r + 2, r + 9, 5].real) == pytest.approx(1000, rel=1e-2)
    assert values[r + 3, r + 9, 5] == 0
    assert torch.isfinite(torch.view_as_real(values)).all()


@pytest.mark.parametrize("tau2", [None, np.full(BOX // 2 + 1, 0.5), np.zeros(BOX // 2 + 1)])
def test_empty_sums_give_an_empty_map(tau2):
    volume = reconstruct(empty_accumulator(BOX, 9), tau2)
    assert volume.shape == (BOX, BOX, BOX)
    assert not volume.any()


def test_a_map_is_linear_in_the_data():
    one = sums_of(gaussian(BOX, 1.5), 12, 0.7, torch.float64)
    two = sums_of(gaussian(BOX, 2.5), 12, 0.7, torch.float64)
    grid = one.grid.clone()
    grid[..., :2] = 2 * one.grid[..., :2] - two.grid[..., :2]
    tau2 = np.geomspace(1, 0.01, BOX // 2 + 1)
    expected = 2 * reconstruct(one, tau2) - reconstruct(two, tau2)
    torch.testing.assert_close(reconstruct(Accumulator(grid, BOX, 12), tau2), expected, rtol=0, atol=1e-12)


def test_slices_of_a_gaussian_in_all_directions_make_it_again(real):
    """The whole way: analytic transforms of projections, inserted, divided and inverted."""
    sigma, centre, order = 2.5, torch.tensor([1.0, -0.6, 0.4], dtype=torch.float64), 4
    pixels = packed(BOX)
    n = pixels.inside(BOX // 2)
    rot, tilt = pixel_directions(order)
    psi = torch.arange(len(rot), dtype=torch.float64) * 360 * (math.sqrt(5) - 1) / 2 % 360
    rotations = matrix_from_euler(torch.stack((rot, tilt, psi), -1))
    k = torch.stack((pixels.kx, pixels.ky), -1)[:n].double()
    decay = torch.exp(-2 * math.pi**2 * sigma**2 / BOX**2 * k.square().sum(1))
    phase = -2 * math.pi / BOX * ((rotations @ centre)[:, :2] @ k.T)
    spectrum = (2 * math.pi) ** 1.5 * sigma**3 / BOX**2 * decay * torch.exp(1j * phase)
    data = torch.stack((spectrum.real, spectrum.imag), 1).to(real)
    sums = empty_accumulator(BOX, BOX // 2, dtype=real)
    insert(sums, rotations, data, torch.ones(len(rotations), n, dtype=real), pixels)
    found = reconstruct(trim(hermitian(sums))).double()
    expected = gaussian(BOX, sigma, centre.tolist())
    # Slices crowd at the origin, as 1 / |k|, so cells there are not at the mean place of their samples.
    assert (found - expected).norm() < 0.02 * expected.norm()


def test_reconstruct_is_divide_and_invert():
    sums = sums_of(gaussian(BOX, 1.5), 12, 0.7, torch.float64)
    tau2 = np.full(BOX // 2 + 1, 0.3)
    assert torch.equal(reconstruct(sums, tau2, fudge=4.0), inverse_transform(divide(sums, tau2, fudge=4.0)))


@pytest.mark.parametrize("pad", [1, 2])
def test_the_filter_of_a_map_is_that_of_its_sums(pad):
    """The unregularised map gives the Wiener map back, whatever the weights; another map is filtered alike."""
    plain = sums_of(gaussian(BOX, 1.5), BOX // 2, 1.0, torch.float64) if pad == 2 else None
    if plain is None:
        values = transform(gaussian(BOX, 1.5), BOX // 2, 1, corrected=False).values
        plain = empty_accumulator(BOX, BOX // 2, dtype=torch.float64, pad=1)
        plain.grid[..., :2], plain.grid[..., 2] = torch.view_as_real(values), 1
    uneven = 1.2 + torch.cos(torch.arange(plain.grid[..., 2].numel(), dtype=torch.float64)).view(plain.grid.shape[:3])
    plain.grid[..., :2] *= uneven[..., None]
    plain.grid[..., 2] = uneven
    tau2 = np.linspace(2.0, 0.01, BOX // 2 + 1)
    wiener, raw = reconstruct(plain, tau2), reconstruct(plain)
    scale = float(wiener.abs().max())
    assert float((refiltered(raw, plain, tau2) - wiener).abs().max()) < 1e-6 * scale
    assert float((refiltered(3 * raw, plain, tau2) - 3 * wiener).abs().max()) < 3e-6 * scale
    other = gaussian(BOX, 2.0, centre=(-2.0, 1.0, 0.0))
    moved = refiltered(raw + other, plain, tau2) - refiltered(raw, plain, tau2)
    assert float((moved - refiltered(other, plain, tau2)).abs().max()) < 1e-6 * scale
    assert float((refiltered(other, plain, tau2) - other).abs().max()) > 0.01 * float(other.max())


def test_shells_below_five_are_not_regularised():
    """As in RELION 3.1.3 (`minres_map`): the lowest resolutions are kept whole, whatever their prior."""
    sums = sums_of(gaussian(BOX, 1.5), 10, 1.0, torch.float64)
    plain, held = divide(sums, None).values, divide(sums, np.full(BOX // 2 + 1, 1e-3)).values
    shell = shells_of_cells(sums)
    torch.testing.assert_close(held[shell < 4], plain[shell < 4], rtol=1e-12, atol=0)
    assert (held[shell == 5].abs() <= 0.02 * plain[shell == 5].abs()).all()
