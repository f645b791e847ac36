"""What the pretend device refuses and counts, on operations whose answer is known."""

import pytest
import torch
from pretend import CUDA, MixedDevices, NotDeterministic, Pretend

from blush.fourier.compaction import counted, number_of_each, places, running_sums
from blush.io.upload import downloaded, uploaded


def test_it_computes_what_the_cpu_computes():
    values = torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    with Pretend() as device:
        here = values.to(CUDA)
        here[:, 0] = 2
        found = torch.fft.rfft2(here).abs().cumprod(0) @ torch.ones(4, 2, device="cuda")
        assert found.device == CUDA
        back = found.cpu()
        whole = torch.fft.fft2(here)
        product = (whole * whole.flip(0).conj()).imag.cpu()
    values[:, 0] = 2
    assert torch.equal(back, torch.fft.rfft2(values).abs().cumprod(0) @ torch.ones(4, 2))
    spectrum = torch.fft.fft2(values)
    assert torch.equal(product, (spectrum * spectrum.flip(0).conj()).imag)
    assert sum(device.synchronisations.values()) == 3  # there and back, twice
    assert device.flops == 2 * 5 * 4 * 2


@pytest.mark.parametrize("mix", [
    lambda here, host: here + host,
    lambda here, host: torch.cat((here, host)),
    lambda here, host: host.index_add_(0, here.long(), host),
    lambda here, host: here.masked_fill_(host > 0, 1),
    lambda here, host: torch.randn(3, generator=torch.Generator(), device=here.device),
])  # fmt: skip
def test_two_devices_do_not_mix(mix):
    with Pretend(), pytest.raises(MixedDevices):
        mix(torch.ones(3, device="cuda"), torch.ones(3))


def test_a_number_of_the_host_may_be_mixed_in():
    with Pretend() as device:
        (torch.ones(3, device="cuda") * torch.tensor(2.0) + 1).clamp_min(0)
    assert not device.synchronisations


@pytest.mark.parametrize("refused", [
    lambda x: x.cumsum(0), lambda x: torch.bincount(x.long(), weights=x), lambda x: x.histc(3), lambda x: x.median(0),
])  # fmt: skip
def test_what_is_not_reproducible_on_a_gpu_is_refused(refused):
    with Pretend(), pytest.raises(NotDeterministic):
        refused(torch.ones(3, device="cuda"))


@pytest.mark.parametrize(("waits", "wanted"), [
    (lambda x: float(x.sum()), "_local_scalar_dense"),
    (lambda x: x.nonzero(), "nonzero"),
    (lambda x: x[x > 0], "boolean index"),
    (lambda x: x.tolist(), "tolist"),
    (lambda x: x.cpu(), "device to host"),
    (lambda x: x.unique(), "_unique2"),
    (lambda x: x.long().bincount(), "bincount"),
    (lambda x: torch.ones(2).to(x), "host to device"),
    (lambda x: x.copy_(torch.zeros(3), non_blocking=True), "host to device"),  # memory that the system may move
])  # fmt: skip
def test_what_the_host_waits_for_is_counted(waits, wanted):
    with Pretend() as device:
        waits(torch.ones(3, device="cuda"))
    assert [name.split(" at ")[0] for name in device.synchronisations.elements()] == [wanted]


def test_numpy_of_a_tensor_on_the_device_is_refused():
    with Pretend(), pytest.raises(TypeError, match="cuda"):
        torch.ones(3, device="cuda").numpy()


def test_uploads_and_lists_make_nobody_wait():
    mask = torch.rand(40, generator=torch.Generator().manual_seed(2)) < 0.4
    index, values = torch.arange(40) % 7, torch.rand(3, 40, generator=torch.Generator().manual_seed(3)).double()
    n = int(mask.sum())
    with Pretend() as device:
        here, index_here, values_here = (uploaded(one, CUDA) for one in (mask, index, values.numpy()))
        lists = places(here, n + 2), counted(index_here, here, 7), number_of_each(index_here, 7)
        sums = running_sums(values_here)
        assert not device.synchronisations
        found = downloaded({"places": lists[0], "counted": lists[1], "each": lists[2], "sums": sums})
        assert device.synchronisations.total() == 1
    assert found["places"].tolist() == [*mask.nonzero().flatten().tolist(), 40, 40]
    assert found["counted"].tolist() == torch.bincount(index[mask], minlength=7).tolist()
    assert found["each"].tolist() == torch.bincount(index).tolist()
    torch.testing.assert_close(found["sums"], values.cumsum(1), rtol=1e-13, atol=0)
