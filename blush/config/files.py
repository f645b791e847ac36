"""Files of settings: from YAML to a checked model, with every mistake at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from blush.config.mistakes import mistakes
from blush.config.yaml_text import parse_yaml, read_yaml
from blush.errors import BlushError, Problem

__all__ = ["NOT_WRITTEN", "checked", "merged", "parsed_changes", "read_yaml", "resolved"]
_KEYWORDS = ("auto", "sphere", "shipped")
_LONGEST_SHOWN, _MOST_LISTED = 200, 50
NOT_WRITTEN = "correct the path, or write one: `blush init`"
"""What to do about a configuration that is not there."""
Model = TypeVar("Model", bound=BaseModel)


def checked(model: type[Model], content: dict[str, Any], source: Path | str) -> Model:
    """Settings as a model.

    Parameters
    ----------
    source
        Where they are from, for the error: a file, or words.

    Raises
    ------
    BlushError
        With every mistake, up to 50.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        found, number = mistakes(error.errors(include_url=False), model, _MOST_LISTED)
        problems: list[Problem | str] = [*found]
        problems += [f"and {number - _MOST_LISTED} more"] if number > _MOST_LISTED else []
        raise BlushError(f"{source} has {number} mistake(s):", problems) from None


def parsed_changes(changes: Sequence[str], example: str) -> dict[str, Any]:
    """Settings of a command line, each `SECTION.NAME=VALUE`, nested.

    Parameters
    ----------
    example
        One that is right, for the error.

    Raises
    ------
    BlushError
        Where one is not written so, its value is none, or it contradicts another.
    """
    result: dict[str, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        names = key.split(".")
        if not (equals and all(names)):
            problem = Problem("is not NAME=VALUE", f"write it as {example}", value=change[:_LONGEST_SHOWN])
            raise BlushError("a setting cannot be used", [problem])
        value = parse_yaml(text, change[:_LONGEST_SHOWN])
        for name in reversed(names):
            value = {name: value}
        result = merged(result, value)
    return result


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Settings with the changes applied, section by section."""
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def resolved(
    content: dict[str, Any],
    folder: Path,
    path_keys: tuple[tuple[str, ...], ...],
    output: str,
) -> dict[str, Any]:
    """Settings with relative paths made absolute; the default output counts as one.

    Parameters
    ----------
    path_keys
        Names of sections and setting of each path; `*` is every item of a list.
    """
    result = merged(content, {} if "output" in content else {"output": output})
    for keys in path_keys:
        result = _with_path(result, keys, folder)
    return result


def _with_path(content: Any, keys: tuple[str, ...], folder: Path) -> Any:
    """Settings with the path of one name made absolute; as they are where nothing has it, which a check tells."""
    if not keys:
        found = _placed(content, folder)
        return content if found is None else found
    key, *rest = keys
    if key == "*":
        return [_with_path(one, tuple(rest), folder) for one in content] if isinstance(content, list) else content
    if not isinstance(content, dict) or key not in content:
        return content
    return content | {key: _with_path(content[key], tuple(rest), folder)}


def _placed(value: Any, folder: Path) -> Any:
    """A path, or a list of paths, with relative ones in a folder; None for anything else."""
    if isinstance(value, list) and all(isinstance(one, str | Path) for one in value):
        return [_absolute(folder / one) for one in value]
    if isinstance(value, str | Path) and str(value) not in _KEYWORDS:
        return _absolute(folder / value)
    return None


def _absolute(path: Path) -> Path:
    """A path without `..`; as it is where its folders lead in a circle, which whoever opens it says."""
    if ".." not in path.parts:
        return path
    try:
        return path.resolve()
    except RuntimeError:
        return path
