"""A trained denoiser on structures that it was not trained on, beside classical regularisers: figures and verdicts."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blush.config.training import TrainingConfig
from blush.denoise.weights import load_weights
from blush.errors import BlushError, Problem
from blush.io.files import save_npz, write_json
from blush.training.eval_hallucination import Finding, bias, findings
from blush.training.eval_maps import NETWORK, Method, TestPair, apply, chosen_pairs, methods, resampled
from blush.training.eval_shells import EDGES, Figures, binned, by_bin, interval, measure
from blush.training.store import INDEX, open_store, verify_maps

SLICES = 4
OTHER_VOXELS = (0.75, 1.25)
"""Voxel sizes, over the network's own, at which a few pairs are given to it as well."""
LEAST_GAIN, LEAST_GAIN_AT_HIGH = 0.0, -0.005
SLOPE_RANGE = (0.6, 1.1)
Tell = Callable[[str], None]


def evaluate(config: TrainingConfig, weights: Path, store_folder: Path, out: Path, tell: Tell) -> dict[str, Any]:
    """Judge weights on the held-out entries of a store.

    Returns
    -------
    What is written to `out/evaluation.json`; `out/slices.npz` has central slices for the page.

    Raises
    ------
    BlushError
        Where nothing is held out.
    """
    store = open_store(store_folder)
    if not store.select("test"):
        problem = Problem("holds nothing out of training", "raise evaluate.share", str(store_folder / INDEX))
        raise BlushError("cannot evaluate", [problem])
    verify_maps(store, store.select("test"))
    loaded = load_weights(weights)
    judged = methods(config, weights)
    figures: dict[str, list[Figures]] = {method.name: [] for method in judged}
    seconds: dict[str, float] = defaultdict(float)
    pairs: list[TestPair] = []
    biases: dict[str, list[Finding]] = {method.name: [] for method in judged}
    slices: list[np.ndarray] = []
    begun = time.monotonic()
    for number, pair in enumerate(chosen_pairs(config, store), start=1):
        pairs.append(pair)
        for method in judged:
            made, spent = apply(method, pair, config.seed)
            seconds[method.name] += spent
            figures[method.name].append(measure(pair, made[0]))
            biases[method.name].append(bias(pair, made))
            if len(slices) < SLICES * len(judged) and pair.signal is not None:
                slices.append(made[0][len(pair.mask) // 2].numpy())
        left = (time.monotonic() - begun) / number * (config.evaluate.maps - number)
        tell(f"pair {number} of {config.evaluate.maps}: {pair.name}, {max(left, 0) / 60:.0f} min left")
    known = [pair for pair in pairs if pair.signal is not None]
    count = min(config.evaluate.tested, len(known))
    tested = [known[(2 * i + 1) * len(known) // (2 * count)] for i in range(count)]
    tell(f"tests for invented detail on {len(tested)} pairs")
    found = {m.name: [*biases[m.name], *findings(m, tested, config.seed)] for m in judged}
    content = {
        "name": config.name,
        "weights_sha256": loaded.sha256,
        "parameters": loaded.n_parameters,
        "seed": config.seed,
        "pairs": [{"name": pair.name, "kind": pair.kind, "box_px": len(pair.mask)} for pair in pairs],
        "bins": list(EDGES),
        "methods": {m.name: summary(m.name, figures, pairs, config) for m in judged},
        "voxels": {f"{ratio:g}": other_voxels(judged, tested, ratio, config) for ratio in OTHER_VOXELS},
        "invented": [row(finding) for finding in found[NETWORK]],
        "invented_by_rivals": {name: worst(rows) for name, rows in found.items() if name != NETWORK},
        "seconds_per_map": {name: total / max(2 * len(pairs), 1) for name, total in sorted(seconds.items())},
    }
    content["verdicts"] = verdicts(content)
    write_json(out / "evaluation.json", content)
    save_npz(out / "slices.npz", _pictures(pairs, slices, judged))
    return content


def summary(name: str, figures: dict[str, list[Figures]], pairs: Sequence[TestPair], config: TrainingConfig) -> Any:
    """One method: gains over Wiener by bin of the input's FSC, slopes, errors; and by kind of pair."""
    draws, seed = config.evaluate.bootstrap, config.seed
    own, wiener = figures[name], figures["wiener"]
    known = [i for i, pair in enumerate(pairs) if pair.signal is not None]

    def gains(attribute: str, chosen: Sequence[int]) -> list[dict[str, Any]]:
        rows = [by_bin(own[i].input_fsc, getattr(own[i], attribute) - getattr(wiener[i], attribute)) for i in chosen]
        return binned(rows, draws, seed)

    kinds = sorted({pair.kind for pair in pairs})
    slope = [value for value in (own[i].slope for i in known) if value is not None]
    return {
        "gain": gains("to_signal", known),
        "gain_masked": gains("to_signal_masked", known),
        "gain_other_half": gains("to_other_half", range(len(pairs))),
        "slope": binned([by_bin(own[i].input_fsc, s) for i, s in zip(known, slope, strict=True)], draws, seed),
        "error_inside": interval([_ratio(own[i].error_inside, wiener[i].error_inside) for i in known], draws, seed),
        "error_outside": interval([_ratio(own[i].error_outside, wiener[i].error_outside) for i in known], draws, seed),
        "kinds": {
            kind: gains("to_signal", [i for i in known if pairs[i].kind == kind])
            for kind in kinds
            if any(pairs[i].kind == kind for i in known)
        },
    }


def _ratio(one: float | None, two: float | None) -> float:
    return one / max(two, 1e-30) if one is not None and two is not None else float("nan")


def other_voxels(judged: Sequence[Method], pairs: Sequence[TestPair], ratio: float, config: TrainingConfig) -> Any:
    """Gain over Wiener where maps come at another voxel size."""
    rows = []
    for pair in pairs:
        changed = resampled(pair, pair.voxel_size_angst * ratio)
        network, wiener = (apply(m, changed, config.seed)[0][0] for m in judged if m.name in (NETWORK, "wiener"))
        one, two = measure(changed, network), measure(changed, wiener)
        if one.to_signal is not None and two.to_signal is not None:
            rows.append(by_bin(one.input_fsc, one.to_signal - two.to_signal))
    return binned(rows, config.evaluate.bootstrap, config.seed)


def worst(found: Sequence[Finding]) -> dict[str, float]:
    """Largest figure of each test; one that is no number counts as infinite."""
    figures: dict[str, float] = {}
    for finding in found:
        figure = finding.figure if np.isfinite(finding.figure) else np.inf
        figures[finding.test] = max(figure, figures.get(finding.test, -np.inf))
    return figures


def row(finding: Finding) -> dict[str, Any]:
    """A finding as the result file has it."""
    return {
        "test": finding.test,
        "pair": finding.pair,
        "figure": finding.figure,
        "limit": finding.limit,
        "passed": finding.passed,
    }


def verdicts(content: dict[str, Any]) -> list[dict[str, Any]]:
    """What has to hold of a denoiser, whether it does, and the same figure of its rivals."""
    network = content["methods"][NETWORK]
    rivals = {name: figures for name, figures in content["methods"].items() if name != NETWORK}
    made = []
    for key, where in (("gain", ""), ("gain_masked", " inside the true mask")):
        for number, bounds in enumerate(network[key]):
            low, high = EDGES[number], EDGES[number + 1]
            if bounds["n"] == 0 or not (0.1 <= low < 0.7 or low >= 0.9):
                continue
            limit = LEAST_GAIN_AT_HIGH if low >= 0.9 else LEAST_GAIN
            what = f"gain of FSC over Wiener and mask{where} where the input has {low:g} to {high:g}: lower bound"
            others = {name: figures[key][number]["low"] for name, figures in rivals.items()}
            made.append(_verdict(what, bounds["low"], limit, bounds["low"] > limit, others))
    for number, bounds in enumerate(network["slope"]):
        if bounds["n"] and EDGES[number] >= 0.5:
            what = f"amplitude of the signal where the input has {EDGES[number]:g} to {EDGES[number + 1]:g}"
            passed = SLOPE_RANGE[0] <= bounds["mean"] <= SLOPE_RANGE[1]
            others = {name: figures["slope"][number]["mean"] for name, figures in rivals.items()}
            made.append(_verdict(what, bounds["mean"], list(SLOPE_RANGE), passed, others))
    for test in sorted({f["test"] for f in content["invented"]}):
        rows = [f for f in content["invented"] if f["test"] == test]
        largest = max(rows, key=lambda f: f["figure"] if np.isfinite(f["figure"]) else np.inf)
        others = {name: figures[test] for name, figures in content["invented_by_rivals"].items() if test in figures}
        made.append(_verdict(test, largest["figure"], largest["limit"], all(f["passed"] for f in rows), others))
    return made


def _verdict(what: str, figure: float, limit: Any, passed: bool, rivals: dict[str, float]) -> dict[str, Any]:
    return {"what": what, "figure": figure, "limit": limit, "passed": passed, "rivals": rivals}


def _pictures(pairs: Sequence[TestPair], slices: list[np.ndarray], judged: Sequence[Method]) -> dict[str, np.ndarray]:
    """Central slices of the first pairs: input, each method, signal; and their names."""
    made: dict[str, np.ndarray] = {}
    known = [pair for pair in pairs if pair.signal is not None][: len(slices) // len(judged)]
    for number, pair in enumerate(known):
        middle = len(pair.mask) // 2
        assert pair.signal is not None
        made[f"{number}_name"] = np.array(pair.name)
        made[f"{number}_input"] = pair.halves[0][middle].numpy()
        made[f"{number}_signal"] = pair.signal[middle].numpy()
        for index, method in enumerate(judged):
            made[f"{number}_{method.name}"] = slices[number * len(judged) + index]
    return made
