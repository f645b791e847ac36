"""What the certificates of a run say (`blush.regularise.certificate`), from the files of its iterations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FAILS, NOTHING = "fails", "nothing measured"


@dataclass(frozen=True)
class Certificate:
    """One iteration.

    Attributes
    ----------
    verdict
        "holds", "fails" or "nothing measured"; of several classes the worst.
    words
        What it says, in sentences.
    """

    verdict: str
    words: tuple[str, ...]


def certificates(diagnostics: Mapping[int, Mapping[str, Any]]) -> dict[int, Certificate]:
    """Those of the iterations that have one.

    Parameters
    ----------
    diagnostics
        What `itNNN/maps.json` holds, by iteration.
    """
    found = {}
    for n, record in diagnostics.items():
        made = record.get("regularisers", [record["regulariser"]] if "regulariser" in record else [])
        known = [one["certificate"] for one in made if "certificate" in one]
        if known:
            verdicts = [one["verdict"] for one in known]
            verdict = next((worst for worst in (FAILS, NOTHING) if worst in verdicts), "holds")
            words = [text for one in known if one["verdict"] == verdict for text in one["words"]]
            found[n] = Certificate(verdict, tuple(dict.fromkeys(words)))
    return found


def doubted(found: Mapping[int, Certificate]) -> str | None:
    """What is wrong, in a sentence: iterations whose certificate fails, or a last one that measured nothing."""
    wrong = [n for n, one in found.items() if one.verdict == FAILS]
    if wrong:
        listed = ", ".join(map(str, wrong))
        return f"certificate fails in iteration {listed}: {'; '.join(found[wrong[-1]].words)}"
    last = found[max(found)] if found else None
    return f"certificate: {'; '.join(last.words)}" if last is not None and last.verdict == NOTHING else None
