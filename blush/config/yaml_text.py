"""The one reader of YAML: settings as they are meant, or a line that says why they could mean something else.

YAML 1.1 reads 010 as 8, 1_2 as 12 and 1:30 as 90, keeps the last of two equal keys, and lets a few lines stand for
millions. None of it is of use in a configuration; all of it is refused, with its line.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.error import Mark
from yaml.events import AliasEvent, ScalarEvent
from yaml.nodes import MappingNode, Node, ScalarNode

from blush.config.input_file import unreadable
from blush.errors import BlushError, Problem

LARGEST_YAML_BYTES = 1 << 18
_TITLE = "cannot read the configuration"
_DEEPEST = 20
_LONGEST_SHOWN = 60
_DECIMAL = re.compile(
    r"[-+]?(?:(?:0|[1-9][0-9]{0,17})|(?:[0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18})(?:[eE][-+][0-9]{1,3})?)"
)
_UNDERSCORED = re.compile(r"(?=.*_)[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?")
_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_AS_TEXT = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge", "tag:yaml.org,2002:value")
_TEXT = "tag:yaml.org,2002:str"


class _Refused(yaml.YAMLError):
    """A line that is YAML, and no setting."""

    def __init__(self, message: str, remedy: str, mark: Mark, value: str) -> None:
        super().__init__(message)
        shown = value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}... ({len(value)} characters)"
        self.problem = Problem(message, remedy, where=f"line {mark.line + 1}", value=ascii(shown)[1:-1])


class _Loader(yaml.SafeLoader):
    """Mappings with text as keys, lists, text, truth values, null, and decimal numbers."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # as the class above has it
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _AS_TEXT]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """One node, unless it has an anchor, a tag, or too many above it."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _Refused("is an anchor or alias", "write the value itself", event.start_mark, str(event.anchor))
        if getattr(event, "tag", None) is not None:
            raise _Refused("has a tag", "write the value alone", event.start_mark, str(event.tag))
        if self.depth == _DEEPEST:
            raise _Refused("is nested too deeply", "no setting is", event.start_mark, f"{_DEEPEST} levels")
        if isinstance(event, ScalarEvent):
            self._check(event)
        self.depth += 1
        node: Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _check(self, event: Any) -> None:
        """Refuse text that no file could hold, and numbers that others would read as another one."""
        if _NO_TEXT.search(event.value):
            raise _Refused("has a character that is no text", "remove it", event.start_mark, event.value)
        kind = self.resolve(ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]
        is_number = event.implicit[0] and kind in _NUMBERS
        is_odd = is_number and not _DECIMAL.fullmatch(event.value)
        if is_odd or (event.implicit[0] and _UNDERSCORED.fullmatch(event.value)):
            remedy = "write a decimal number of at most 18 digits, or put it in quotes where it is text"
            raise _Refused("is no plain number", remedy, event.start_mark, event.value)

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, each of whose keys is text and there once."""
        seen: set[str] = set()
        for key, _ in node.value:
            mark: Any = key.start_mark
            if not isinstance(key, ScalarNode) or key.tag != _TEXT:
                shown = key.value if isinstance(key, ScalarNode) else "a list or mapping"
                raise _Refused("is no name of a setting", "write NAME: VALUE", mark, shown)
            if key.value in seen:
                raise _Refused("is there twice", "keep one of them", mark, key.value)
            seen.add(key.value)
        content: dict[Any, Any] = super().construct_mapping(node, deep)
        return content


def read_yaml(path: Path, remedy: str = "correct the path") -> dict[str, Any]:
    """Mapping at the top of a YAML file.

    Parameters
    ----------
    remedy
        What to do where nothing is there.

    Raises
    ------
    BlushError
        Where it cannot be read, is no such mapping, or holds what could mean something else, with the line.
    """
    if (problem := unreadable(path, remedy)) is not None:
        raise BlushError(_TITLE, [problem])
    with path.open("rb") as stream:
        raw = stream.read(LARGEST_YAML_BYTES + 1)
    if len(raw) > LARGEST_YAML_BYTES:
        raise _unreadable(path, f"has more than {LARGEST_YAML_BYTES} bytes", "give a configuration; this is none")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        remedy = "save it as UTF-8, or correct that byte"
        raise _unreadable(path, f"is not UTF-8: byte 0x{raw[error.start]:02x} in line {line}", remedy) from None
    content = parse_yaml(text, str(path))
    if not isinstance(content, dict):
        raise _unreadable(path, "is not a mapping of settings", "`blush init` writes one")
    return content


def parse_yaml(text: str, source: str) -> Any:
    """Content of one YAML document.

    Parameters
    ----------
    source
        Where it is from, for the error.

    Raises
    ------
    BlushError
        Where it is none, or holds what could mean something else.
    """
    try:
        return yaml.load(text, _Loader)  # a safe loader, and stricter
    except _Refused as error:
        found = error.problem
        problem = Problem(found.message, found.remedy, source, found.where, found.value)
    except (yaml.YAMLError, ConstructorError) as error:
        problem = Problem(f"is not YAML: {' '.join(str(error).split())[:300]}", "correct its syntax", source)
    raise BlushError(_TITLE, [problem])


def _unreadable(path: Path, message: str, remedy: str) -> BlushError:
    return BlushError(_TITLE, [Problem(message, remedy, str(path))])
