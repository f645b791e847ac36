"""Which pairs of half-maps to learn from: figures of every pair, a verdict with all its reasons, and the last word.

Criteria after `Kimanius et al. 2024`, who removed artefacts, overfitted maps and repeated structures by hand: halves
must be unfiltered (no agreement at Nyquist) and unmasked (noise around the particle), good enough, and not twice the
same structure. A table of decisions overrules every figure.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from blush.config.training import Curate, TrainingConfig
from blush.errors import BlushError, Problem
from blush.fourier.filter import low_pass, raised_cosine
from blush.fourier.fsc import fsc, resolution_at
from blush.fourier.grid import centred_radius
from blush.fourier.thresholds import HALF_MAPS
from blush.io.files import atomic_write, write_json
from blush.io.tsv import read_cells
from blush.training.pairs import Pair, PairMaps, all_pairs, read_maps

MASK_LOWPASS_ANGST, MASK_DILATE_ANGST, MASK_EDGE_ANGST = 10.0, 3.0, 6.0
COLUMNS = ("name", "verdict", "half1", "half2", "mask", "truth", "source", "group", "symmetry", "contour", "box_px",
           "pixel_size_angst", "resolution_found_angst", "resolution_angst", "fsc_at_nyquist", "outside",
           "reasons", "remarks")  # fmt: skip
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Judgement:
    """Figures of one pair, and what they mean.

    Attributes
    ----------
    fsc
        (N / 2 + 1,) between the halves in the mask.
    reasons
        Against it; empty where it is kept.
    remarks
        What is told and decides nothing.
    """

    pair: Pair
    box_px: int
    pixel_size_angst: float
    resolution_angst: float
    fsc_at_nyquist: float
    outside: float
    fsc: np.ndarray
    slices: tuple[np.ndarray, ...]
    reasons: tuple[str, ...]
    remarks: tuple[str, ...]


def curate(config: TrainingConfig, manifest: Path | None, out: Path, tell: Tell) -> list[dict[str, str]]:
    """Judge all pairs; writes `out/curated.tsv` and `out/curation.json`.

    Raises
    ------
    BlushError
        Where a table has mistakes, or nothing is kept.
    """
    pairs = all_pairs(config, manifest)
    decisions = read_decisions(config.curate.decisions, [pair.name for pair in pairs])
    begun, judged = time.monotonic(), []
    for number, pair in enumerate(pairs, start=1):
        found = judge(pair, config.curate)
        judged.append(found)
        left = (time.monotonic() - begun) / number * (len(pairs) - number)
        verdict = "; ".join(found.reasons) or "fine"
        tell(f"{pair.name} ({number} of {len(pairs)}): {verdict}; {left / 60:.0f} min left")
    twice = duplicates([j for j in judged if not j.reasons], config.curate.identity)
    rows = [_row(j, decisions.get(j.pair.name), twice.get(j.pair.name, "")) for j in judged]
    write_json(
        out / "curation.json", {"name": config.name, "pairs": [_shown(j, r) for j, r in zip(judged, rows, strict=True)]}
    )
    text = StringIO()
    writer = csv.DictWriter(text, COLUMNS, dialect="excel-tab", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_write(out / "curated.tsv") as beside:
        beside.write_text(text.getvalue(), encoding="utf-8")
    kept = sum(row["verdict"] == "keep" for row in rows)
    tell(f"{kept} of {len(rows)} pairs are kept")
    if not kept:
        problem = Problem("drops every pair", "see the reasons there; relax curate", str(out / "curated.tsv"))
        raise BlushError("nothing is left to train on", [problem])
    return rows


def read_decisions(path: Path | None, known: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Table of what was decided by eye: (keep or drop, why) by name.

    Raises
    ------
    BlushError
        With every row that is neither, or names no pair.
    """
    if path is None:
        return {}
    found: dict[str, tuple[str, str]] = {}
    problems = []
    for number, cells in read_cells(path, "the decisions cannot be read", "correct curate.decisions"):
        if cells[0] in ("", "name", "entry"):
            continue
        word = cells[1].strip().lower() if len(cells) > 1 else ""
        if word not in ("keep", "drop"):
            problems.append(Problem("is neither keep nor drop", "write one", str(path), f"line {number}", word[:80]))
        elif cells[0] not in known:
            problems.append(
                Problem("is no pair of this training", "remove the row", str(path), f"line {number}", cells[0][:80])
            )
        elif cells[0] in found:
            problems.append(Problem("is decided twice", "keep one of the rows", str(path), f"line {number}", cells[0]))
        else:
            found[cells[0]] = (word, cells[2] if len(cells) > 2 else "")
    if problems:
        raise BlushError("the decisions cannot be used", problems)
    return found


def judge(pair: Pair, settings: Curate) -> Judgement:
    """Figures of one pair and the reasons against it; a pair that cannot be read has that as its reason."""
    if pair.reason:
        return _unread(pair, pair.reason)
    try:
        maps = read_maps(pair)
    except BlushError as error:
        return _unread(pair, "; ".join(str(problem) for problem in error.problems))
    mask = particle_mask(pair, maps)
    curve = torch.nan_to_num(fsc(maps.half1 * mask, maps.half2 * mask))
    box, pixel = len(mask), maps.pixel_size_angst
    at_nyquist = float(curve[-max(2, box // 32) :].mean())
    outside = outside_variance(maps, mask)
    resolution = resolution_at(curve, HALF_MAPS, box, pixel)
    hard, soft = [], []
    if torch.equal(maps.half1, maps.half2):
        hard.append("both halves are the same map")
    elif at_nyquist > settings.largest_fsc_at_nyquist:
        hard.append(f"FSC of {at_nyquist:.2f} at Nyquist: the halves are filtered, or one map")
    if outside < settings.least_solvent_variance:
        hard.append(f"variance of the solvent is {outside:.3f} of the particle's: the halves are masked")
    if pixel > settings.largest_pixel_size_angst:
        soft.append(f"pixel of {pixel:.2f} Å")
    if resolution > settings.worst_resolution_angst:
        soft.append(f"resolution of {resolution:.2f} Å")
    deposited = pair.resolution_angst
    if deposited is not None and abs(resolution - deposited) > settings.largest_deviation_angst:
        soft.append(f"resolution of {resolution:.2f} Å, deposited as {deposited:.2f} Å")
    remarks = [] if settings.strict else list(soft)
    mean = (maps.half1 + maps.half2) / 2
    if float((mean * mask).sum() / mask.sum()) < float((mean * (1 - mask)).sum() / (1 - mask).sum().clamp_min(1)):
        remarks.append("the particle is darker than the solvent: is the contrast inverted?")
    reasons = (*hard, *(soft if settings.strict else ()))
    middle = box // 2
    slices = tuple(part.numpy() for part in (mean[middle], mean[:, middle], mean[:, :, middle]))
    return Judgement(pair, box, pixel, resolution, at_nyquist, outside, curve.numpy(), slices, reasons, tuple(remarks))


def _unread(pair: Pair, reason: str) -> Judgement:
    nothing = np.zeros(0)
    return Judgement(pair, 0, 0.0, math.nan, math.nan, math.nan, nothing, (), (reason,), ())


def particle_mask(pair: Pair, maps: PairMaps) -> Tensor:
    """The given mask, or one of the low-passed mean beyond the contour, dilated by 3 Å, with an edge of 6 Å.

    Without a contour the level is three standard deviations of the solvent above it.
    """
    if maps.mask is not None and float(maps.mask.max()) > 0:
        return (maps.mask / maps.mask.max()).clamp(0, 1)
    smooth = low_pass((maps.half1 + maps.half2) / 2, MASK_LOWPASS_ANGST, maps.pixel_size_angst)
    distance = centred_radius(len(smooth))
    ball = distance < len(smooth) / 2
    solvent = smooth[ball & (distance > 0.45 * len(smooth))]
    level = pair.contour
    filled = smooth > level if level is not None else torch.zeros(0)
    if level is None or not 0.002 < float(filled.float().mean()) < 0.5:
        filled = smooth > float(solvent.mean() + 3 * solvent.std())
    labels, count = ndimage.label((filled & ball).numpy())
    if count:
        sizes = ndimage.sum_labels(np.ones_like(labels), labels, range(1, count + 1))
        filled = torch.from_numpy(np.isin(labels, 1 + np.nonzero(sizes >= 0.05 * sizes.max())[0]))
    away = torch.from_numpy(ndimage.distance_transform_edt(~filled.numpy())) * maps.pixel_size_angst
    return raised_cosine(away, MASK_DILATE_ANGST + MASK_EDGE_ANGST / 2, MASK_EDGE_ANGST).float()


def outside_variance(maps: PairMaps, mask: Tensor) -> float:
    """Variance of half 1 well outside its mask, in the ball of the box, over that inside."""
    away = torch.from_numpy(ndimage.distance_transform_edt((mask < 0.01).numpy()))
    far = (away > 3) & (centred_radius(len(mask)) < 0.48 * len(mask))
    if not far.any():
        return 1.0
    return float(maps.half1[far].var() / maps.half1[mask > 0.5].var().clamp_min(1e-30))


def duplicates(judged: Sequence[Judgement], identity: float) -> dict[str, str]:
    """Pairs of published structures that another one of better resolution stands for: reason by name.

    The same group (proteins and point group), or sequences given in the table that are alike. Pairs from a folder are
    duplicates only by their sequence: their groups say what to keep on one side of the split.
    """
    found: dict[str, str] = {}
    best: list[Judgement] = []
    for one in sorted(judged, key=lambda j: (j.resolution_angst, j.pair.name)):
        twin = next((other for other in best if _same(one.pair, other.pair, identity)), None)
        if twin is None:
            best.append(one)
        else:
            found[one.pair.name] = f"the same structure as {twin.pair.name}, which is better"
    return found


def _same(one: Pair, two: Pair, identity: float) -> bool:
    if one.sequence and two.sequence:
        return similarity(one.sequence, two.sequence) >= identity and one.symmetry == two.symmetry
    return one.source == two.source == "emdb" and one.group == two.group


def similarity(first: str, second: str) -> float:
    """Share of the longer sequence that an alignment finds equal in the other."""
    import gemmi

    result = gemmi.align_string_sequences(list(first), list(second), [])
    return result.match_count / max(len(first), len(second), 1)


def _row(judged: Judgement, decision: tuple[str, str] | None, twin: str) -> dict[str, str]:
    reasons = [*judged.reasons, *([twin] if twin else [])]
    verdict = "drop" if reasons else "keep"
    remarks = list(judged.remarks)
    if decision is not None:
        if decision[0] != verdict:
            remarks += reasons
            reasons = []
        verdict = decision[0]
        reasons = [f"decided by hand: {decision[1] or 'no reason given'}"] if verdict == "drop" else []
    if verdict == "keep" and not judged.box_px:
        verdict, reasons = "drop", list(judged.reasons)  # nothing to keep
    pair = judged.pair
    return {
        "name": pair.name,
        "verdict": verdict,
        "half1": str(pair.half1),
        "half2": str(pair.half2),
        "mask": str(pair.mask or ""),
        "truth": str(pair.truth or ""),
        "source": pair.source,
        "group": pair.group or pair.name,
        "symmetry": pair.symmetry,
        "contour": "" if pair.contour is None else f"{pair.contour:g}",
        "box_px": str(judged.box_px),
        "pixel_size_angst": f"{judged.pixel_size_angst:.4f}",
        "resolution_found_angst": f"{judged.resolution_angst:.3f}",
        "resolution_angst": "" if pair.resolution_angst is None else f"{pair.resolution_angst:g}",
        "fsc_at_nyquist": f"{judged.fsc_at_nyquist:.3f}",
        "outside": f"{judged.outside:.4f}",
        "reasons": "; ".join(reasons),
        "remarks": "; ".join(remarks),
    }


def _shown(judged: Judgement, row: dict[str, str]) -> dict[str, Any]:
    """What the page needs of a pair."""
    slices = [np.round(_small(part), 5).tolist() for part in judged.slices]
    shown = {key: row[key] for key in COLUMNS if key not in ("half1", "half2", "mask", "truth")}
    return shown | {"fsc": np.round(judged.fsc, 4).tolist(), "slices": slices}


def _small(image: np.ndarray) -> np.ndarray:
    """A picture of at most 96 px, standardised."""
    step = max(1, math.ceil(len(image) / 96))
    side = len(image) // step * step
    coarse = image[:side, :side].reshape(side // step, step, side // step, step).mean((1, 3))
    return (coarse - coarse.mean()) / max(float(coarse.std()), 1e-30)
