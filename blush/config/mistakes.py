"""Mistakes in settings, in plain words: what was found, what it has to be, and what was probably meant."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from blush.errors import Problem

_LONGEST_SHOWN = 200
_LONGEST_NAME = 60
"""Nobody means a name by a longer text."""
_ALIKE, _VERY_ALIKE = 0.6, 0.8
"""Ratio of matching letters from which a name is taken for a slip of one of its section, and of any other."""
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "path": "a path",
    "list": "a list",
    "tuple": "a list",
    "model": "a section, with its settings indented below it",
    "dict": "a section, with its settings indented below it",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than {}"),
    "greater_than_equal": ("ge", "at least {}"),
    "less_than": ("lt", "less than {}"),
    "less_than_equal": ("le", "at most {}"),
}


def mistakes(details: Sequence[Mapping[str, Any]], model: type[BaseModel], most: int) -> tuple[list[Problem], int]:
    """One problem per setting, from pydantic's list of errors, which has one per type that a setting might have.

    Parameters
    ----------
    model
        The settings that were checked, for the names that there are.
    most
        So many are put into words.

    Returns
    -------
    The first problems, and how many there are.
    """
    by_place: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for detail in details:
        by_place.setdefault(_place(detail["loc"], model), []).append(detail)
    first = islice(by_place.items(), most)
    return [_problem(place, found, model) for place, found in first], len(by_place)


def _place(loc: Sequence[str | int], model: type[BaseModel]) -> tuple[str, ...]:
    """Names of sections and setting; what pydantic adds for the kinds of one setting is left out."""
    names: list[str] = []
    inside, is_chosen = [model], False
    for part in map(str, loc):
        field = next((one.model_fields[part] for one in inside if part in one.model_fields), None)
        if part.isdecimal() or field is not None:
            names.append(part)
            inside, is_chosen = (inside if field is None else _models(field.annotation)), False
        elif not inside:
            break
        elif len(inside) > 1 and not is_chosen:
            is_chosen = True  # which of several sections it is
        else:
            names.append(part)
            inside = []
    return tuple(names)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Every section that a value may be, or that a list of them may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for item in typing.get_args(annotation) for model in _models(item)]


def _problem(place: tuple[str, ...], details: Sequence[Mapping[str, Any]], model: type[BaseModel]) -> Problem:
    where = ".".join(place)[:_LONGEST_SHOWN] or None
    kind = details[0]["type"]
    field = _field(place, model)
    if kind == "extra_forbidden":
        return Problem("is no setting", _meant(place, model), where=where)
    if kind == "missing":
        return Problem("is missing", f"add it: {field.description}" if field else "add it", where=where)
    value = str(details[0]["input"]) if isinstance(details[0]["input"], Path) else details[0]["input"]
    shown = "" if isinstance(value, Mapping) else ascii(value)
    if len(shown) > _LONGEST_SHOWN:
        shown = f"{shown[:_LONGEST_SHOWN]}... ({len(shown)} characters)"
    if kind == "string_pattern_mismatch":
        return Problem("is not of the right form", (field and field.description) or "", where=where, value=shown)
    if kind == "union_tag_invalid":
        context = details[0]["ctx"]
        tags = context["expected_tags"]
        message = f"{context['discriminator']} has to be one of {tags}"
        remedy = _nearest(str(context["tag"]), [tag.strip("'") for tag in tags.split(", ")])
        return Problem(message, remedy, where=where, value=ascii(context["tag"]))
    if kind in ("value_error", "assertion_error"):
        return Problem(details[0]["msg"].removeprefix("Value error, "), where=where, value=shown or None)
    wanted = list(dict.fromkeys(_wanted(detail) for detail in details))
    remedy = _nearest(str(value), _words(details))
    return Problem(f"has to be {' or '.join(wanted)}", remedy, where=where, value=shown or None)


def _wanted(detail: Mapping[str, Any]) -> str:
    """What a value has to be."""
    kind, context = str(detail["type"]), detail.get("ctx", {})
    if kind in _BOUNDS:
        key, text = _BOUNDS[kind]
        return text.format(f"{context[key]:g}")
    if kind == "literal_error":
        return str(context["expected"])
    return _KINDS.get(kind.split("_")[0], str(detail["msg"]))


def _words(details: Sequence[Mapping[str, Any]]) -> list[str]:
    """Words that are allowed as a value."""
    texts = [str(detail["ctx"]["expected"]) for detail in details if detail["type"] == "literal_error"]
    return [word.strip("'") for text in texts for word in text.replace(" or ", ", ").split(", ")]


def _meant(place: tuple[str, ...], model: type[BaseModel]) -> str:
    """What was meant by a name that is none: another one of its section, or one of another section."""
    *sections, name = place
    inside: type[BaseModel] | None = model
    for section in (name for name in sections if not name.isdecimal()):
        field = inside.model_fields.get(section) if inside is not None else None
        inside = _section(field) if field is not None else None
    siblings = list(inside.model_fields) if inside is not None else []
    everywhere = [".".join(path) for path in _paths(model)]
    elsewhere = [path for path in everywhere if path.rpartition(".")[2] == name or path == name]
    if elsewhere:
        outer, _, inner = elsewhere[0].rpartition(".")
        return f"did you mean {inner} below {outer}:?" if outer else f"did you mean {inner} at the top, without indent?"
    if near := _nearest(name, siblings):
        return near
    names = [path.rpartition(".")[2] for path in everywhere]
    return _nearest(name, names, _VERY_ALIKE) or "remove it; the page about configuration lists every setting"


def _nearest(name: str, known: Sequence[str], alike: float = _ALIKE) -> str:
    """The question whether the most similar name was meant; empty where none is similar."""
    found = get_close_matches(name.lower(), known, n=1, cutoff=alike) if len(name) < _LONGEST_NAME else []
    return f"did you mean {found[0]}?" if found else ""


def _paths(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Names of every setting with those of its sections."""
    for name, field in model.model_fields.items():
        yield (name,)
        if (inner := _section(field)) is not None:
            yield from ((name, *path) for path in _paths(inner))


def _field(place: Sequence[str], model: type[BaseModel]) -> FieldInfo | None:
    """The setting at a place; None where there is none."""
    inside: type[BaseModel] | None = model
    field: FieldInfo | None = None
    for name in (part for part in place if not part.isdecimal()):
        field = inside.model_fields.get(name) if inside is not None else None
        inside = _section(field) if field is not None else None
    return field


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """The section that a setting is; None for a value."""
    options = [field.annotation, *typing.get_args(field.annotation)]
    return next((item for item in options if isinstance(item, type) and issubclass(item, BaseModel)), None)
