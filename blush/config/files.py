"""Files of settings: from YAML to a checked model, with every mistake at once."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from blush.config.input_file import read_text
from blush.errors import BlushError, Problem

_KEYWORDS = ("auto", "sphere", "shipped")
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
        With every mistake.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = [_problem(detail) for detail in error.errors(include_url=False)]
        raise BlushError(f"{source} has {len(problems)} mistake(s):", problems) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping at the top of a YAML file.

    Raises
    ------
    BlushError
        Where it cannot be read, or is none.
    """
    try:
        content = yaml.safe_load(read_text(path, "cannot read the configuration"))
    except yaml.YAMLError as error:
        problem = Problem(f"is not YAML: {' '.join(str(error).split())}", "correct its syntax", file=str(path))
        raise BlushError("cannot read the configuration", [problem]) from None
    if not isinstance(content, dict):
        problem = Problem("is not a mapping of settings", "start from config/default.yaml", file=str(path))
        raise BlushError("cannot read the configuration", [problem])
    return content


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
    """Settings with relative paths made absolute; the default output counts as one."""
    result = merged(content, {} if "output" in content else {"output": output})
    for keys in path_keys:
        section: Any = result
        for key in keys[:-1]:
            section = section.get(key) if isinstance(section, dict) else None
        value = section.get(keys[-1]) if isinstance(section, dict) else None
        if isinstance(value, str | Path) and str(value) not in _KEYWORDS:
            full = folder / value
            update: dict[str, Any] = {keys[-1]: full.resolve() if ".." in full.parts else full}
            for key in reversed(keys[:-1]):
                update = {key: update}
            result = merged(result, update)
    return result


def _problem(detail: Any) -> Problem:
    """One mistake in pydantic's words, with its place."""
    place = ".".join(str(part) for part in detail["loc"])
    shows_value = detail["type"] not in ("missing", "extra_forbidden") and not isinstance(detail["input"], dict)
    message = detail["msg"].removeprefix("Value error, ")
    return Problem(message, where=place or None, value=repr(detail["input"]) if shows_value else None)
