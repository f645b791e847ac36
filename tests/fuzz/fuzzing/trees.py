"""Changes of a JSON document as what it says: values of another kind, members lost, doubled, renamed or nested."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

from numpy.random import Generator

from fuzzing.mutate import change_word

_RAW = "<raw {}>"
_RAW_TEXTS = (
    "9" * 5000, "-1e999", "1e999", "NaN", "-Infinity", "[" * 100_000, "[" * 500 + "]" * 500, '{"a":' * 2000, "", "01",
    "'a'", "+1", '"\\ud800"', '"\t"', "1.", "\ufeff1", "tru", '{"a": 1, "a": 2}',
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 7, 0.5, -0.0, 1e308, -1e308, 1e-320, 2**31, 2**63, 2**64, 10**30, 10**400, 10**9,
    "", " ", "x", "nan", "inf", "-1", "1e999", "1_0", "٣", "\0", "\ud800", "a\nb", "x" * 300, "x" * 5000, "../../evil",
    "/dev/zero", "EMD-1", "EMD-" + "9" * 400, "C1", "C999", [], {}, [[]], [{}], [None], [0] * 3, [0.0] * 17,
    [[0.0]] * 2, {"a": 1}, {"valueOf_": "1"}, {"valueOf_": None}, {"": ""}, [1, "a", None], ["x"] * 600,
)  # fmt: skip


def change_tree(random: Generator, content: bytes, others: Sequence[bytes]) -> bytes:
    """One change of a document, none where it is nested beyond what can be copied; of a word where it is no JSON."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return change_word(random, content, others)
    try:
        return _changed(random, document)
    except (ValueError, RecursionError):
        return content


def _changed(random: Generator, document: Any) -> bytes:
    """One change of a document as text."""
    holder: list[Any] = [document]
    container, key = _somewhere(random, holder)
    raw = None
    action = int(random.integers(8))
    if action < 4:
        container[key] = copy.deepcopy(_VALUES[int(random.integers(len(_VALUES)))])
    elif action == 4:
        raw = int(random.integers(len(_RAW_TEXTS)))
        container[key] = _RAW.format(raw)
    elif action == 5 and container is not holder:
        del container[key]
    elif action == 6:
        container[key] = [container[key]] if random.random() < 0.5 else {"a": container[key]}
    elif isinstance(container, dict):
        container[str(_VALUES[int(random.integers(len(_VALUES)))])[:50]] = container[key]
    elif container is not holder:
        container.append(copy.deepcopy(container[key]))
    text = json.dumps(holder[0])
    if raw is not None:
        text = text.replace(json.dumps(_RAW.format(raw)), _RAW_TEXTS[raw])
    return text.encode("utf-8", "surrogatepass")


def _somewhere(random: Generator, holder: list[Any]) -> tuple[Any, Any]:
    """A container and the key of one of its members, found by a random walk down."""
    container: Any = holder
    key: Any = 0
    while isinstance(container[key], dict | list) and container[key] and random.random() < 0.85:
        container = container[key]
        if isinstance(container, dict):
            key = list(container)[int(random.integers(len(container)))]
        else:
            key = int(random.integers(len(container)))
    return container, key
