"""YAML that people write, read node by node, so that every problem has a line and a column.

Aliases, anchors, tags, several documents and keys that occur twice are refused: a file says what it says.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from agentops.wire.parse import clean_text, pointer_token

MAX_BYTES: Final = 2_000_000
MAX_PROBLEMS: Final = 50
MAX_DEPTH: Final = 16
_UNREADABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong at a place of the file; lines and columns count from 1."""

    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.message}"


class BadFile(ValueError):
    """A file that cannot be taken; nothing of it was."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)[:MAX_PROBLEMS]
        super().__init__("; ".join(map(str, self.problems)))


def dump(body: object) -> str:
    """Return plain values as YAML, in their order."""
    text: str = yaml.dump(body, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=120)
    return text


def compose(text: str) -> Any:
    """Return the root node of a document, None for an empty one. Raises BadFile."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise BadFile([Problem(1, 1, f"A file may have {MAX_BYTES:,} bytes.")])
    if bad := _UNREADABLE.search(text):
        line = text.count("\n", 0, bad.start()) + 1
        column = bad.start() - text.rfind("\n", 0, bad.start())
        raise BadFile([Problem(line, column, f"Character U+{ord(bad[0]):04X} is not allowed.")])
    try:
        _refuse_aliases(text)
        return yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise BadFile([Problem(line, column, clean_text(str(error.problem or error.context or error)[:300]))]) from None
    except yaml.YAMLError as error:
        raise BadFile([Problem(1, 1, clean_text(str(error).splitlines()[0][:300]))]) from None
    except RecursionError:
        raise BadFile([Problem(1, 1, "It is nested too deeply.")]) from None


def _refuse_aliases(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise BadFile([_problem(event.start_mark, "It is nested too deeply.")])
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise BadFile([_problem(event.start_mark, "Write it out: anchors and aliases are refused.")])
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None):
            raise BadFile([_problem(event.start_mark, "Tags are refused.")])


def _problem(mark: Any, message: str) -> Problem:
    return Problem(mark.line + 1, mark.column + 1, message) if mark is not None else Problem(1, 1, message)


def pointers(root: Any) -> dict[int, str]:
    """Return the JSON pointer of every node of a document, by its `id`; a name has that of its value."""
    found: dict[int, str] = {}
    level = [("", root)]
    while level:
        path, node = level.pop()
        found[id(node)] = path
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                where = f"{path}/{pointer_token(str(key.value))}"
                found[id(key)] = where
                level.append((where, value))
        elif isinstance(node, yaml.SequenceNode):
            level += [(f"{path}/{index}", one) for index, one in enumerate(node.value)]
    return found


@dataclass
class NodeReader:
    """Reads nodes into values and collects what is wrong, each with its place."""

    problems: list[Problem] = field(default_factory=list, kw_only=True)

    def wrong(self, node: Any, message: str) -> None:
        self.problems.append(_problem(node.start_mark if node is not None else None, message))

    def members(self, node: Any, what: str) -> Iterator[tuple[str, Any, Any]]:
        """Yield name, key node and value node of a mapping."""
        if not isinstance(node, yaml.MappingNode):
            self.wrong(node, f"{what} must be a mapping of names to values.")
            return
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.wrong(key, "A name must be plain text.")
            elif key.value in seen:
                self.wrong(key, f"{clean_text(key.value[:100])} occurs twice.")
            else:
                seen.add(key.value)
                yield str(key.value), key, value

    def text(self, node: Any, what: str) -> str:
        if isinstance(node, yaml.ScalarNode):
            return str(node.value)
        self.wrong(node, f"{what} must be text.")
        return ""

    def number(self, node: Any, what: str) -> int | None:
        text = node.value if isinstance(node, yaml.ScalarNode) and not node.style else ""
        if text.isascii() and text.isdecimal() and len(text) <= 9:
            return int(text)
        self.wrong(node, f"{what} must be a whole number.")
        return None
