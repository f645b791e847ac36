"""Texts made from the configuration models: `python -m blush.config.reference [defaults | schema | markdown | ...]`."""

import inspect
import json
import sys
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from blush.config.run import RunConfig
from blush.config.sections import Section
from blush.config.training import TrainingConfig

_REQUIRED_EXAMPLES = {
    "name": "my-particle",
    "particles": "particles.star",
    "reference": "reference.mrc",
    "particle_diameter_angst": 180.0,
}


def defaults_yaml(config: type[Section] = RunConfig) -> str:
    """Every setting with its default and its description, as a file to start from."""
    head = "# Generated from blush/config by `make reference`: every setting, with its default.\n"
    head += "# The first settings without a default hold examples; paths start at this file's folder.\n"
    return head + "\n".join(_yaml_lines(config, 0)) + "\n"


def training_defaults() -> str:
    """The same for a training; the one source it needs is the shipped models."""
    return defaults_yaml(TrainingConfig).replace("    models: null\n", "    models: training/models.npz\n")


def _yaml_lines(section: type[Section], depth: int) -> Iterator[str]:
    """Lines of one section."""
    for name, field in section.model_fields.items():
        indent = "  " * depth
        yield f"{indent}# {field.description}"
        inner = _section_of(field)
        if inner is not None and isinstance(field.default, Section):
            yield f"{indent}{name}:"
            yield from _yaml_lines(inner, depth + 1)
        else:
            yield f"{indent}{name}: {_yaml_value(name, field)}"


def _yaml_value(name: str, field: FieldInfo) -> str:
    """Default of a field as YAML, or an example where it has none."""
    value = _REQUIRED_EXAMPLES[name] if field.default is PydanticUndefined else field.default
    if isinstance(value, tuple):
        value = [item.model_dump() if isinstance(item, Section) else item for item in value]
    text = yaml.safe_dump(str(value) if isinstance(value, Path) else value, default_flow_style=True, width=1000)
    return text.removesuffix("\n").removesuffix("\n...")


def _section_of(field: FieldInfo) -> type[Section] | None:
    """The section that a field holds; None for a single value."""
    options = [field.annotation, *typing.get_args(field.annotation)]
    return next((item for item in options if isinstance(item, type) and issubclass(item, Section)), None)


def schema_json() -> str:
    """JSON schema, for editors and for the workflow."""
    return json.dumps(RunConfig.model_json_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


_RULES = (
    "Numbers are decimal and finite: what other readers of YAML take for another number (`010`, `1_2`, `1:30`) is\n"
    "refused, and so are anchors, tags and equal keys.\n"
)


def markdown() -> str:
    """The reference of every setting."""
    head = "# Configuration\n\nOne YAML file describes one refinement; it is checked as a whole before anything runs.\n"
    head += "Unknown keys are errors. Relative paths start at the folder of the file.\n"
    head += _RULES
    head += "`blush init` writes a file to start from, `blush init --all` one with every setting, as\n"
    head += "`config/config.yaml` has them. This page is generated from `blush/config` by"
    return head + " `make reference`.\n" + "\n".join(_markdown_sections(RunConfig, "Top level"))


def training_markdown() -> str:
    """The reference of every setting of a training."""
    head = "# Configuration of a training\n\nOne YAML file describes one training (`docs/training.md`).\n"
    head += "Unknown keys are errors. Relative paths start at the folder of the file.\n"
    head += _RULES
    head += "`config/train_default.yaml` is a file to start from. This page is generated from `blush/config` by"
    return head + " `make reference`.\n" + "\n".join(_markdown_sections(TrainingConfig, "Top level"))


def _markdown_sections(section: type[Section], title: str) -> Iterator[str]:
    """One table per section, the sections inside it after it."""
    yield f"\n## {title}\n\n{inspect.cleandoc(section.__doc__ or '')}\n"
    yield "| Setting | Type | Default | Meaning |\n|---|---|---|---|"
    inner: list[tuple[str, type[Section]]] = []
    for name, field in section.model_fields.items():
        part = _section_of(field)
        if part is not None:
            inner.append((name, part))
        yield f"| `{name}` | {_type_text(field)} | {_default_text(field, part)} | {field.description} |"
    for name, part in inner:
        yield from _markdown_sections(part, f"`{name}`")


def _default_text(field: FieldInfo, section: type[Section] | None) -> str:
    """Default as the table shows it."""
    if field.default is PydanticUndefined:
        return "required"
    if section is not None and isinstance(field.default, Section):
        return "see below"
    return f"`{_yaml_value('', field)}`"


def _type_text(field: FieldInfo) -> str:
    """Type and bounds of a field, in words."""
    text = _annotation_text(field.annotation)
    bounds = [_bound_text(item) for item in field.metadata]
    return ", ".join([text, *(bound for bound in bounds if bound)])


def _annotation_text(annotation: Any) -> str:
    """Type in words."""
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        bounds = [_bound_text(item) for part in arguments[1:] for item in getattr(part, "metadata", [part])]
        return ", ".join([_annotation_text(arguments[0]), *(bound for bound in bounds if bound)])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return f"list of {_annotation_text(arguments[0])}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_annotation_text(argument) for argument in arguments)
    names = {bool: "true or false", int: "integer", float: "number", str: "text", Path: "path", type(None): "null"}
    return names.get(annotation, "section")


def _bound_text(constraint: Any) -> str:
    """One bound of a number, as `> 0`."""
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    bounds = [f"{sign} {getattr(constraint, key)}" for key, sign in signs.items() if hasattr(constraint, key)]
    return ", ".join(bounds)


_WRITERS: dict[str, Callable[[], str]] = {
    "markdown": markdown,
    "defaults": defaults_yaml,
    "schema": schema_json,
    "training-markdown": training_markdown,
    "training-defaults": training_defaults,
}

if __name__ == "__main__":
    sys.stdout.write(_WRITERS[sys.argv[1] if len(sys.argv) > 1 else "markdown"]())
