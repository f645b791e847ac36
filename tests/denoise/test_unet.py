"""The Blush network: size, names, cost, and what its wrapping does to scale."""

import pytest
import torch
from identity_networks import identity_unet, random_unet
from torch.utils.flop_counter import FlopCounterMode

from blush.denoise.unet import InstanceNorm, UNet3d, denoise_patches

PUBLISHED_PARAMETERS = 12_974_578


@pytest.mark.parametrize(
    ("width", "depth", "parameters"),
    [(16, 5, PUBLISHED_PARAMETERS), (16, 4, 3_239_026), (8, 4, 810_810), (6, 3, 113_684), (1, 1, 238)],
)
def test_number_of_parameters(width, depth, parameters):
    with torch.device("meta"):
        network = UNet3d(width, depth)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_names_and_shapes_are_the_published_ones():
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in UNet3d().state_dict().items()}
    parts = [f"{kind}{n}.{what}" for n in (1, 2) for kind in ("conv", "norm") for what in ("weight", "bias")]
    blocks = ["inc.double_conv", *(f"down.{n}.double_conv" for n in range(5))]
    blocks += [f"up.{n}.conv.double_conv" for n in range(5)]
    names = {f"{block}.{part}" for block in blocks for part in parts} | {"outc.weight", "outc.bias"}
    assert shapes.keys() == names
    assert shapes["down.4.double_conv.conv1.weight"] == (256, 256, 3, 3, 3)  # the deepest level does not double
    assert shapes["up.0.conv.double_conv.conv1.weight"] == (256, 512, 3, 3, 3)  # middle: half of what is joined
    assert shapes["up.4.conv.double_conv.conv1.weight"] == (16, 32, 3, 3, 3)
    assert shapes["up.4.conv.double_conv.conv2.weight"] == (16, 16, 3, 3, 3)
    assert shapes["outc.weight"] == (2, 16, 1, 1, 1)


@pytest.mark.parametrize(("width", "depth"), [(1, 1), (2, 3), (16, 5)])
def test_operations_are_those_that_are_counted(width, depth):
    with torch.device("meta"):
        network, patch = UNet3d(width, depth), torch.empty(1, 2, 64, 64, 64)
    with FlopCounterMode(display=False) as counter:
        network(patch)
    assert network.forward_flop(64) == counter.get_total_flops()


def test_a_published_patch_costs_28_6_gflop():
    with torch.device("meta"):
        assert UNet3d().forward_flop(64) == pytest.approx(28.6e9, rel=1e-3)


def test_against_the_network_written_out_layer_by_layer():
    """Width 2, depth 2, in float64: skips before pooling, [skip, up] joined in this order, align_corners."""
    network, patch = random_unet(2, 2).double(), torch.randn(2, 2, 8, 8, 8, dtype=torch.float64)
    state, functional = network.state_dict(), torch.nn.functional

    def block(values, name):
        for n in (1, 2):
            prefix = f"{name}.double_conv."
            values = functional.conv3d(
                values, state[f"{prefix}conv{n}.weight"], state[f"{prefix}conv{n}.bias"], padding=1
            )
            mean = values.mean((2, 3, 4), keepdim=True)
            variance = (values - mean).square().mean((2, 3, 4), keepdim=True)
            weight, bias = (state[f"{prefix}norm{n}.{kind}"].view(1, -1, 1, 1, 1) for kind in ("weight", "bias"))
            values = (values - mean) / torch.sqrt(variance + 1e-5) * weight + bias
            values = values / (1 + torch.exp(-values))
        return values

    def pooled(values):
        return values.unfold(2, 2, 2).unfold(3, 2, 2).unfold(4, 2, 2).amax((-1, -2, -3))

    def doubled(values):
        old = torch.linspace(0, values.shape[-1] - 1, 2 * values.shape[-1], dtype=torch.float64)
        matrix = (1 - (old[:, None] - torch.arange(values.shape[-1])).abs()).clamp_min(0)
        return torch.einsum("bczyx,kz,jy,ix->bckji", values, matrix, matrix, matrix)

    full = block(patch, "inc")
    half = block(pooled(full), "down.0")
    quarter = block(pooled(half), "down.1")
    up = block(torch.cat([half, doubled(quarter)], 1), "up.0.conv")
    up = block(torch.cat([full, doubled(up)], 1), "up.1.conv")
    expected = torch.einsum("bczyx,kc->bkzyx", up, state["outc.weight"][:, :, 0, 0, 0])
    torch.testing.assert_close(
        network(patch), expected + state["outc.bias"].view(1, -1, 1, 1, 1), rtol=1e-10, atol=1e-10
    )


def test_samples_of_a_batch_do_not_see_each_other():
    network, patches = random_unet(2, 2).double(), torch.randn(3, 2, 8, 8, 8, dtype=torch.float64)
    alone = torch.cat([network(patch[None]) for patch in patches])
    torch.testing.assert_close(network(patches), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sides", [(10, 8, 8), (8, 8, 4), (0, 8, 8)])
def test_sides_that_do_not_halve_are_refused(sides):
    with pytest.raises(ValueError, match="not multiples of 4 from 8 on"):
        random_unet(1, 2)(torch.zeros(1, 2, *sides))


@pytest.mark.parametrize(("width", "depth"), [(0, 5), (16, 0)])
def test_a_network_without_channels_or_levels_is_refused(width, depth):
    with pytest.raises(ValueError, match="at least 1"):
        UNet3d(width, depth)


def test_norm_keeps_its_statistics_in_float32_where_values_are_shorter():
    """Around 1000, bfloat16 has steps of 4: summed in it, the mean of 4096 values would be far off."""
    values = (1000 + 8 * torch.randn(1, 1, 16, 16, 16)).bfloat16()
    norm = InstanceNorm(1).requires_grad_(False)
    made, exact = norm(values), norm(values.float())
    assert made.dtype == torch.bfloat16
    assert float((made.float() - exact).abs().max()) <= 2**-8 * float(exact.abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_that_finds_no_noise_gives_the_patch_back(dtype):
    patches = 3 + 100 * torch.randn(2, 2, 8, 8, 8, dtype=dtype)
    denoised, logit = denoise_patches(identity_unet(2, 1).to(dtype), patches)
    torch.testing.assert_close(denoised, patches[:, :1], rtol=0, atol=float(300 * torch.finfo(dtype).eps * 4))
    assert logit.shape == denoised.shape
    assert logit.unique().tolist() == [20]  # its mask is one everywhere


def test_denoising_follows_scale_and_offset_of_each_patch():
    network, patches = random_unet(2, 1).double(), torch.randn(2, 2, 8, 8, 8, dtype=torch.float64)
    other = patches.clone()
    other[0, 0] = 7 * other[0, 0] - 30
    plain, scaled = (denoise_patches(network, p)[0] for p in (patches, other))
    torch.testing.assert_close(scaled[0], 7 * plain[0] - 30, rtol=0, atol=1e-9)
    torch.testing.assert_close(scaled[1], plain[1], rtol=0, atol=1e-12)


def test_an_empty_patch_stays_finite():
    denoised, _ = denoise_patches(random_unet(2, 1), torch.zeros(1, 2, 8, 8, 8))
    assert torch.isfinite(denoised).all()
