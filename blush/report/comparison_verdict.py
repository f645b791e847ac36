"""Which regulariser did best, and whether that is more than what another seed changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import mean, stdev

from blush.jobs.progress import Record

HALF_MAP_NOTE = (
    "Half-map FSC is measured on the unregularised halves of the final iteration, so no regulariser raises it by what "
    "it adds to a map; what remains is what its references did to the alignment. Where both halves were aligned to the "
    "same false detail it can still be too good: only a known truth, or particles with random phases "
    "(blush check-regulariser), show that."
)
BASELINE = "wiener"


@dataclass(frozen=True)
class Figure:
    """A number by which runs are compared.

    Attributes
    ----------
    of_truth
        Whether the truth must be known for it.
    """

    key: str
    label: str
    unit: str
    digits: int
    of_truth: bool

    def value(self, number: float | None) -> str:
        """A number with its unit."""
        return "not resolved" if number is None else f"{number:.{self.digits}f}{self.unit}"

    def shown(self, found: Record) -> str:
        """Mean and, of several seeds, standard deviation."""
        if found["mean"] is None or found["sd"] is None:
            return self.value(found["mean"])
        return f"{found['mean']:.{self.digits}f} ± {found['sd']:.{self.digits}f}{self.unit}"


TRUE, HALF = (
    Figure("true_resolution_angst", "True resolution", " Å", 2, True),
    Figure("half_resolution_angst", "Half-map resolution", " Å", 2, False),
)
FIGURES = (
    TRUE,
    HALF,
    Figure("angle_median_deg", "Angular error", "°", 2, True),
    Figure("shift_median_angst", "Shift error", " Å", 2, True),
    Figure("average_pmax", "P max", "", 2, False),
    Figure("iterations", "Iterations", "", 1, False),
)


def known_truth(members: Mapping[str, Record]) -> bool:
    """Whether every run could be compared with a truth."""
    return bool(members) and all("true_fsc" in member for member in members.values())


def summarise(members: Mapping[str, Record]) -> Record:
    """Mean and standard deviation over seeds of every figure, by regulariser."""
    by_name: dict[str, list[Record]] = {}
    for member in members.values():
        by_name.setdefault(member["regulariser"], []).append(member)
    return {name: {"seeds": len(mine)} | _figures(mine, known_truth(members)) for name, mine in by_name.items()}


def _figures(mine: list[Record], with_truth: bool) -> Record:
    return {f.key: _spread([m[f.key] for m in mine]) for f in FIGURES if f.of_truth <= with_truth}


def _spread(values: list[float | None]) -> Record:
    """A value that one seed lacks, as a resolution where nothing is resolved, leaves no mean."""
    known = [value for value in values if value is not None]
    complete = len(known) == len(values)
    return {
        "values": values,
        "mean": mean(known) if complete else None,
        "sd": stdev(known) if complete and len(known) > 1 else None,
    }


def verdict(members: Mapping[str, Record]) -> Record:
    """The best by true resolution, or by half-map resolution where no truth is known, and how sure that is.

    Seeds that a regulariser has not finished count for none: the same seeds are compared, pair by pair.
    """
    figure = TRUE if known_truth(members) else HALF
    found: dict[str, dict[int, float | None]] = {}
    for member in members.values():
        found.setdefault(member["regulariser"], {})[member["seed"]] = member[figure.key]
    common = sorted(set.intersection(*map(set, found.values()))) if found else []
    values = {name: [of_seed[seed] for seed in common] for name, of_seed in found.items()}
    resolved = {name: [v for v in row if v is not None] for name, row in values.items() if common and None not in row}
    order = sorted(resolved, key=lambda name: mean(resolved[name]))
    against = BASELINE if BASELINE in resolved else next(iter(resolved), None)
    pairs = {name: compare(resolved[name], resolved[against]) for name in resolved if against and name != against}
    return {
        "figure": figure.key,
        "seeds": common,
        "order": order,
        "unresolved": sorted(set(found) - set(resolved)),
        "baseline": against,
        "against_baseline": pairs,
        "sentences": [
            *_best(order, resolved, figure),
            *_others(pairs, against, figure),
            *_at_nyquist(members.values(), figure),
            *([] if figure is TRUE else [HALF_MAP_NOTE]),
        ],
    }


def compare(values: list[float], others: list[float]) -> Record:
    """How much better (finer, so positive) one is than another, over the same seeds.

    Returns
    -------
    better_angst, the mean difference; spread_angst, the larger of both standard deviations over seeds (None for one
    seed); seeds_better; exceeds_spread: None for one seed, when nothing can be said.
    """
    better = mean(others) - mean(values)
    spread = max(stdev(values), stdev(others)) if len(values) > 1 else None
    return {
        "better_angst": better,
        "spread_angst": spread,
        "seeds": len(values),
        "seeds_better": sum(value < other for value, other in zip(values, others, strict=True)),
        "exceeds_spread": None if spread is None else abs(better) > spread,
    }


def _best(order: list[str], resolved: Mapping[str, list[float]], figure: Figure) -> list[str]:
    """The one sentence that users look for."""
    if not order:
        return ["No regulariser resolved anything in every seed."]
    best = order[0]
    said = f"Best by {_lower(figure.label)}: {best}, {figure.value(mean(resolved[best]))}"
    if len(order) == 1:
        return [said + "."]
    pair = compare(resolved[best], resolved[order[1]])
    said += f"; next is {order[1]}, {figure.value(mean(resolved[order[1]]))}."
    return [f"{said} {_certainty(pair, figure)}"]


def _certainty(pair: Record, figure: Figure) -> str:
    amount = figure.value(abs(pair["better_angst"]))
    if pair["exceeds_spread"] is None:
        return f"With one seed nobody knows whether {amount} is more than chance: give --seeds 1 2 3."
    spread = f"the spread between {pair['seeds']} seeds ({figure.value(pair['spread_angst'])})"
    if pair["exceeds_spread"]:
        return f"The difference, {amount}, exceeds {spread}."
    return f"The difference, {amount}, does not exceed {spread}: on these data they are equally good."


def _others(pairs: Mapping[str, Record], against: str | None, figure: Figure) -> list[str]:
    """Every other against the baseline."""
    lines = []
    for name, pair in pairs.items():
        word = "finer" if pair["better_angst"] >= 0 else "coarser"
        beyond = {None: "spread unknown", True: "beyond the spread", False: "within the spread"}[pair["exceeds_spread"]]
        lines.append(
            f"{name} against {against}: {figure.value(abs(pair['better_angst']))} {word}, {beyond}; "
            f"finer in {pair['seeds_better']} of {pair['seeds']} seed(s)."
        )
    return lines


def _at_nyquist(members: Iterable[Record], figure: Figure) -> list[str]:
    """Maps resolved to their last shells cannot get better, whatever refined them."""
    limits = {2 * member["box_angst"] / (2 * len(member["half_fsc"]) - 4) for member in members}
    values = [member[figure.key] for member in members]
    if not values or any(value is None or value > max(limits) for value in values):
        return []
    return ["Every run resolved all but the last shell that its pixels hold: these particles cannot tell them apart."]


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]
