"""Stages on the devices that there are: against float64, and twice the same bytes."""

import pytest
import torch

from blush.device import stages
from blush.device.stages import STAGES, TOLERANCE, Numbers, Size, disagreement
from blush.expectation.significance import posterior_cut
from blush.fourier.compaction import places, running_sums
from blush.io.upload import downloaded, uploaded

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
SIZES = [Size(48, 20, 12, 8, 5, 200), Size(30, 13, 5, 3, 7, 61)]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    torch.use_deterministic_algorithms(request.param == "cuda")
    yield torch.device(request.param)
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("size", SIZES, ids=["even", "odd"])
@pytest.mark.parametrize("name", list(STAGES))
def test_a_stage_agrees_with_double_precision(name, size, device):
    seed = 100 + SIZES.index(size)
    found = STAGES[name](Numbers(size, device, torch.float32, seed))
    exact = STAGES[name](Numbers(size, torch.device("cpu"), torch.float64, seed))
    assert disagreement(found, exact) < TOLERANCE


@pytest.mark.parametrize("name", list(STAGES))
def test_a_stage_gives_the_same_bytes_twice(name, device):
    numbers = Numbers(SIZES[0], device, torch.float32, 7)
    one, two = STAGES[name](numbers), STAGES[name](numbers)
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_posterior_is_cut_where_a_sort_cuts_it(device):
    values = 3 * torch.randn(40, 32, generator=torch.Generator().manual_seed(1))
    image = torch.arange(40) // 8
    cut = posterior_cut(values.to(device), image.to(device), 5, 0.9)
    for b in range(5):
        mine = values[image == b].double().flatten().sort(descending=True).values
        weight = (mine - mine[0]).exp()
        last = int((weight.cumsum(0) <= 0.9 * weight.sum()).sum())
        assert float(cut.gap[b]) == pytest.approx(float(mine[0] - mine[last]), rel=1e-6)


def test_lists_are_made_in_order(device):
    mask = torch.rand(100, generator=torch.Generator().manual_seed(2)) < 0.3
    values = torch.rand(4, 9, generator=torch.Generator().manual_seed(3)).double()
    found = downloaded({"places": places(uploaded(mask, device), 30), "sums": running_sums(uploaded(values, device))})
    known = mask.nonzero().flatten().tolist()
    assert found["places"].tolist()[: len(known)] == known
    torch.testing.assert_close(found["sums"], values.cumsum(1), rtol=1e-12, atol=0)


@pytest.mark.slow
def test_a_small_refinement_is_the_one_of_the_cpu(device, tmp_path):
    from blush.device.small_run import compared

    assert compared(str(device), tmp_path, 3).passed


@pytest.mark.parametrize("stage", ["project", "score", "insert"])
def test_a_wrong_stage_is_told(stage, monkeypatch):
    """A result of half the size, another order, one lost number."""
    spoil = {
        "project": lambda x: x / 2,
        "score": lambda x: x.flip(0),
        "insert": lambda x: x.where(x != x.max(), torch.nan),
    }
    real = STAGES[stage]

    def wrong(numbers: Numbers):
        found = real(numbers)
        return {key: spoil[stage](one) if numbers.dtype == torch.float32 else one for key, one in found.items()}

    monkeypatch.setitem(stages.STAGES, stage, wrong)
    numbers, exact = (Numbers(SIZES[1], torch.device("cpu"), dtype, 3) for dtype in (torch.float32, torch.float64))
    assert not disagreement(STAGES[stage](numbers), STAGES[stage](exact)) < TOLERANCE
