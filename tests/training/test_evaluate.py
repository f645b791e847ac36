"""Evaluation: what is known to help is found to help, what invents is caught, and equal seeds give equal figures."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from training_problem import VOXEL_ANGST, blob, training_config

from blush.config.regulariser import RegulariserSettings
from blush.denoise.card import BLUSH, Card
from blush.denoise.unet import UNet3d
from blush.denoise.weights import save_weights
from blush.errors import BlushError
from blush.fourier.filter import low_pass
from blush.report.training_evaluation import write_page
from blush.training import eval_hallucination, evaluate
from blush.training.eval_maps import Method, TestPair, apply, chosen_pairs, methods, resampled
from blush.training.eval_shells import EDGES, binned, by_bin, interval, measure, slopes
from blush.training.store import add_entry, open_store, write_index
from blush.training.synthesis import simulated_pair


def pair(seed: int = 1, resolution_angst: float = 7.0) -> TestPair:
    truth, mask = blob(seed)
    made = simulated_pair(truth, mask, VOXEL_ANGST, np.random.default_rng(seed), resolution_angst)
    return TestPair("x", "simulated", made[:2], made[2], mask, VOXEL_ANGST, 48.0)


class Fake:
    """Stands in for the network: a function of the pair. Others are what they are."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, make) -> None:
        def applied(method: Method, of: TestPair, seed: int = 1, curve=None):
            return (make(of), 0.0) if method.learned else apply(method, of, seed, curve)

        monkeypatch.setattr(eval_hallucination, "apply", applied)
        monkeypatch.setattr(eval_hallucination, "PASSES", 10)
        self.method = Method("network", None)  # type: ignore[arg-type]


def failed(found: Sequence[eval_hallucination.Finding], letter: str) -> bool:
    mine = [f for f in found if f.test.startswith(f"({letter})")]
    assert mine
    return not all(f.passed for f in mine)


def test_identity_invents_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(monkeypatch, lambda of: of.halves)
    found = eval_hallucination.findings(fake.method, [pair()], 1)
    assert not any(failed(found, letter) for letter in "abce")


def test_invented_detail_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that depends on the molecule's shape alone, added to both halves beyond what they know."""
    detail = low_pass(blob(9)[0], 4.2, VOXEL_ANGST) - low_pass(blob(9)[0], 8.0, VOXEL_ANGST)

    def make(of: TestPair) -> tuple[Tensor, Tensor]:
        return of.halves[0] + 20 * detail, of.halves[1] + 20 * detail

    fake = Fake(monkeypatch, make)
    found = eval_hallucination.findings(fake.method, [pair()], 1)
    assert all(failed(found, letter) for letter in "abc")


def test_damping_is_not_what_recursion_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the amplitude, as of a Wiener filter, comes back from particles at its own strength."""
    fake = Fake(monkeypatch, lambda of: (0.5 * of.halves[0], 0.5 * of.halves[1]))
    assert not failed(eval_hallucination.recursion(fake.method, pair()), "e")


def test_growth_and_decay_under_recursion_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(monkeypatch, lambda of: (1.1 * of.halves[0], 1.1 * of.halves[1]))
    assert failed(eval_hallucination.recursion(fake.method, pair()), "e")
    fake = Fake(monkeypatch, lambda of: (torch.roll(of.halves[0], 1, 0), of.halves[1]))
    assert failed(eval_hallucination.recursion(fake.method, pair()), "e")


def test_what_a_wiener_filter_loses_too_is_not_counted_against_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is Wiener: nothing beyond it, whatever ten masks and cuts take."""
    settings = RegulariserSettings(name="wiener")
    given = pair()
    curve = eval_hallucination.corrected_fsc(given)
    fake = Fake(monkeypatch, lambda of: apply(Method("network", settings), of, curve=curve)[0])
    beyond, lost, _ = eval_hallucination.recursion(fake.method, given)
    assert abs(beyond.figure) < 1e-3  # the true mask once or twice at its edge
    assert lost.passed


def test_drift_is_caught_beyond_what_wiener_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(monkeypatch, lambda of: (torch.roll(of.halves[0], 1, 0), of.halves[1]))
    beyond, *_ = eval_hallucination.recursion(fake.method, pair())
    assert not beyond.passed


def test_bias_common_to_both_halves_is_measured() -> None:
    """M = S + N, D = S + B: the share is var B / var S, whatever the scale of D."""
    random = torch.Generator().manual_seed(3)
    signal, other = (low_pass(torch.randn((40,) * 3, generator=random), 9.0, 2.0) for _ in range(2))
    halves = [signal + 0.2 * low_pass(torch.randn((40,) * 3, generator=random), 5.0, 2.0) for _ in range(2)]
    mask = torch.ones_like(signal)
    given = TestPair("x", "simulated", (halves[0], halves[1]), signal, mask, 2.0, 70.0)
    for share in (0.0, 0.25):
        biased = signal + share**0.5 * other
        assert eval_hallucination.bias(given, (3 * biased, 3 * biased)).figure == pytest.approx(share, abs=0.08)
    assert eval_hallucination.bias(given, given.halves).passed


def test_figures_of_the_truth_are_perfect() -> None:
    given = pair()
    assert given.signal is not None
    found = measure(given, given.signal)
    assert found.to_signal is not None
    assert found.to_signal[1:10].min() == pytest.approx(1)
    assert found.error_inside == found.error_outside == 0
    np.testing.assert_allclose(slopes(0.5 * given.signal, given.signal)[1:15], 0.5, rtol=1e-6)


def test_bins_of_the_inputs_fsc() -> None:
    curve = np.array([9.0, 0.05, 0.2, 0.25, 0.95, -0.3])
    found = by_bin(curve, np.array([9.0, 1, 2, 4, 5, 7]))
    assert found == [1.0, 3.0, None, None, None, 5.0]  # negative shells are in no bin
    assert len(found) == len(EDGES) - 1
    rows = binned([found, [2.0, 3.0, None, None, None, None]], 100, 1)
    assert (rows[0]["mean"], rows[0]["n"], rows[2]["n"], rows[5]["n"]) == (1.5, 2, 0, 1)


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    hits = 0
    for seed in range(200):
        found = interval(random.standard_normal(30).tolist(), 300, seed)
        hits += found["low"] <= 0 <= found["high"]
    assert 0.88 < hits / 200 < 0.99
    assert interval([], 10, 1)["n"] == 0


def test_resampling_keeps_the_map() -> None:
    given = pair()
    finer = resampled(given, 1.6)
    assert len(finer.mask) == 50
    back = resampled(finer, 2.0)
    smooth = low_pass(given.halves[0], 6.0, 2.0)
    torch.testing.assert_close(low_pass(back.halves[0], 6.0, 2.0)[8:-8, 8:-8, 8:-8], smooth[8:-8, 8:-8, 8:-8],
                               atol=0.03, rtol=0)  # fmt: skip


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict]]:
    """A network that returns its input, evaluated on two held-out truths and one pair without a truth."""
    folder = tmp_path_factory.mktemp("evaluation")
    entries = []
    for number in range(3):
        truth, mask = blob(number)
        maps = {"truth": truth.numpy(), "mask": mask.numpy()}
        if number == 2:
            noise = np.random.default_rng(5).standard_normal((2, *truth.shape))
            maps = {"half1": truth.numpy() + noise[0], "half2": truth.numpy() + noise[1], "mask": mask.numpy()}
        made = add_entry(folder / "maps", f"m{number}", maps, group=f"g{number}", split="test", source="simulated")
        entries.append(made)
    write_index(folder / "maps", VOXEL_ANGST, entries)
    network = UNet3d(2, 1)
    torch.nn.init.zeros_(network.outc.weight)
    torch.nn.init.zeros_(network.outc.bias)
    card = Card(BLUSH, 2, 1, voxel_size_angst=VOXEL_ANGST, block_px=64)
    save_weights(folder / "w.safetensors", network.state_dict(), card)
    config = replace_evaluate(maps=3, bootstrap=50, rivals=("wiener",), tested=1)
    with pytest.MonkeyPatch.context() as fewer:
        fewer.setattr(eval_hallucination, "PASSES", 2)
        fewer.setattr(eval_hallucination, "RANDOM_FROM_ANGST", (6.0,))
        content = evaluate.evaluate(config, folder / "w.safetensors", folder / "maps", folder / "out", lambda _: None)
        yield folder, content


def replace_evaluate(**changes: object):
    config = training_config()
    return config.model_copy(update={"evaluate": config.evaluate.model_copy(update=changes)})


def test_the_result_is_complete_and_said_on_a_page(judged) -> None:
    folder, content = judged
    assert json.loads((folder / "out" / "evaluation.json").read_text())["weights_sha256"] == content["weights_sha256"]
    assert {p["kind"] for p in content["pairs"]} == {"simulated"}
    assert content["methods"]["wiener"]["gain"][1]["mean"] in (0.0, None)
    assert {v["what"][:3] for v in content["verdicts"]} >= {"(a)", "(b)", "(c)", "(d)", "(e)"}
    assert all(set(v["rivals"]) == {"wiener"} for v in content["verdicts"])
    assert content["invented_by_rivals"]["wiener"]["(d) bias common to both halves over signal"] < 0.05
    page = write_page(folder / "out" / "evaluation.json", folder / "out" / "e.html").read_text()
    assert "Verdicts" in page
    assert page.count("FAILED") >= sum(not v["passed"] for v in content["verdicts"])
    assert "data:image/png" in page


def test_a_network_that_does_nothing_gains_nothing(judged) -> None:
    """Within its sphere, which is these blobs' own mask, the input is as good as its Wiener-filtered self."""
    network = judged[1]["methods"]["network"]
    means = [b["mean"] for b in network["gain_masked"] if b["n"]]
    assert len(means) > 2
    assert max(abs(mean) for mean in means) < 0.12


def test_equal_seeds_give_equal_figures(judged) -> None:
    folder, content = judged
    config = replace_evaluate(maps=3, bootstrap=50, rivals=("wiener",), tested=1)
    again = evaluate.evaluate(config, folder / "w.safetensors", folder / "maps", folder / "two", lambda _: None)
    for one in (content, again):
        one.pop("seconds_per_map", None)
    assert again == content


def test_pairs_are_spread_over_resolutions(judged) -> None:
    folder, _ = judged
    found = list(chosen_pairs(replace_evaluate(maps=6), open_store(folder / "maps")))
    given = [p for p in found if "at" in p.name]
    limits = [float(p.name.split(" at ")[1].removesuffix(" Å")) for p in given]
    assert limits == sorted(limits)
    assert limits[0] < 6 < 14 < limits[-1]
    assert any(p.signal is None for p in found)


def test_rivals_get_the_true_mask_and_the_network_does_not(judged) -> None:
    folder, _ = judged
    network, wiener = methods(replace_evaluate(rivals=("wiener",)), folder / "w.safetensors")
    given = pair()
    inside = given.mask < 1e-3
    assert float(apply(wiener, given)[0][0][inside].abs().max()) < 1e-2
    assert float(apply(network, replace(given, diameter_angst=76.0))[0][0][inside].abs().max()) > 0.1


def test_nothing_held_out_is_told(store: Path, judged, tmp_path: Path) -> None:
    with pytest.raises(BlushError, match="holds nothing out of training"):
        evaluate.evaluate(training_config(), judged[0] / "w.safetensors", store, tmp_path, lambda _: None)
