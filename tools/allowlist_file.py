"""The allowlist as a YAML file: written out, and read back as wishes, every problem with its line and column.

    allowlist: 1
    task_types:
      support-email:
        mail.read: {state: auto}
        shop.issue_refund:
          state: gated
          versions: {from: 1.0.0, to: 1.9.9}
          max_calls: 2
          constraints: {small: args.amount_minor <= 5000}

Cells that a file does not name stay as they are; `state: denied` denies.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from agentops.wire.parse import JSON, clean_text

from .allowing import MAX_CELLS, Wish, rule_problems
from .allowlist import AllowlistRule, AllowlistState, Constraint

VERSION: Final = 1
MAX_BYTES: Final = 2_000_000
MAX_PROBLEMS: Final = 50
_UNREADABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_NUMBERS: Final = ("max_calls", "rate_per_minute")
_RULE: Final = frozenset({"state", "versions", "note", "constraints", *_NUMBERS})


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


def write(rules: Mapping[str, Iterable[AllowlistRule]]) -> str:
    """Return the file that says these rules, by the slug of the task type."""
    body = {
        "allowlist": VERSION,
        "task_types": {slug: {rule.tool: _written(rule) for rule in listed} for slug, listed in rules.items()},
    }
    text: str = yaml.dump(body, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=120)
    return text


def _written(rule: AllowlistRule) -> dict[str, JSON]:
    found: dict[str, JSON] = {"state": rule.state.value}
    versions: dict[str, JSON] = {}
    if rule.min_version:
        versions["from"] = rule.min_version
    if rule.max_version:
        versions["to"] = rule.max_version
    if versions:
        found["versions"] = versions
    for name in _NUMBERS:
        if (number := getattr(rule, name)) is not None:
            found[name] = number
    if rule.constraints:
        found["constraints"] = {one.name: one.expression for one in rule.constraints}
    if rule.note:
        found["note"] = rule.note
    return found


def read(text: str, *, task_types: Mapping[str, int], tools: Collection[str]) -> list[Wish]:
    """Return the wishes that a file states. Raises BadFile with everything that is wrong, each with its place.

    `task_types` are ids by slug, `tools` the names that are known. Aliases, tags and keys that occur twice are refused.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise BadFile([Problem(1, 1, f"A file may have {MAX_BYTES:,} bytes.")])
    if bad := _UNREADABLE.search(text):
        line = text.count("\n", 0, bad.start()) + 1
        column = bad.start() - text.rfind("\n", 0, bad.start())
        raise BadFile([Problem(line, column, f"Character U+{ord(bad[0]):04X} is not allowed.")])
    try:
        _refuse_aliases(text)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise BadFile([Problem(line, column, clean_text(str(error.problem or error.context or error)[:300]))]) from None
    except yaml.YAMLError as error:
        raise BadFile([Problem(1, 1, clean_text(str(error).splitlines()[0][:300]))]) from None
    except RecursionError:
        raise BadFile([Problem(1, 1, "It is nested too deeply.")]) from None
    reader = _Reader(task_types, tools)
    wishes = list(reader.file(root))
    if reader.problems:
        raise BadFile(sorted(reader.problems, key=lambda one: (one.line, one.column)))
    return wishes


def _refuse_aliases(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        mark = event.start_mark
        if depth > 16:
            raise BadFile([Problem(mark.line + 1, mark.column + 1, "It is nested too deeply.")])
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise BadFile([Problem(mark.line + 1, mark.column + 1, "Write it out: anchors and aliases are refused.")])
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None):
            raise BadFile([Problem(mark.line + 1, mark.column + 1, "Tags are refused.")])


@dataclass
class _Reader:
    task_types: Mapping[str, int]
    tools: Collection[str]
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, node: Any, message: str) -> None:
        mark = node.start_mark if node is not None else None
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        self.problems.append(Problem(line, column, message))

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

    def file(self, root: Any) -> Iterator[Wish]:
        found = {name: (key, value) for name, key, value in self.members(root, "The file")}
        for name, (key, _) in found.items():
            if name not in {"allowlist", "task_types"}:
                self.wrong(key, f"{clean_text(name[:100])} is not known here; use allowlist and task_types.")
        version = found.get("allowlist")
        if version is None or getattr(version[1], "value", None) != str(VERSION):
            self.wrong(version[1] if version else root, f"Say `allowlist: {VERSION}` first, the version of the format.")
        if "task_types" not in found:
            self.wrong(root, "task_types is missing.")
            return
        count = 0
        for slug, key, value in self.members(found["task_types"][1], "task_types"):
            if slug not in self.task_types:
                self.wrong(key, f"There is no task type {clean_text(slug[:100])}.")
                continue
            for tool, tool_key, body in self.members(value, slug):
                count += 1
                if count > MAX_CELLS:
                    self.wrong(tool_key, f"A file may have {MAX_CELLS:,} rules.")
                    return
                rule = self.rule(tool, tool_key, body)
                if rule is not None:
                    yield Wish(self.task_types[slug], rule)

    def rule(self, tool: str, tool_key: Any, body: Any) -> AllowlistRule | None:
        before = len(self.problems)
        places: dict[str, Any] = {"tool": tool_key}
        values: dict[str, Any] = {}
        for name, key, value in self.members(body, clean_text(tool[:100])):
            places["rule_note" if name == "note" else name] = value
            if name == "state":
                values[name] = self.state(value)
            elif name == "note":
                values[name] = self.text(value, name)
            elif name in _NUMBERS:
                values[name] = self.number(value, name)
            elif name == "versions":
                values |= self.versions(value, places)
            elif name == "constraints":
                values[name] = tuple(
                    Constraint(one, self.text(expression, one)) for one, _, expression in self.members(value, name)
                )
            else:
                self.wrong(key, f"{clean_text(name[:100])} is not known here; use {', '.join(sorted(_RULE))}.")
        if "state" not in values:
            self.wrong(tool_key, "Say its state: denied, gated or auto.")
        if len(self.problems) > before:
            return None
        rule = AllowlistRule(tool, **values)
        for name, message in rule_problems(rule, known=tool in self.tools).items():
            self.wrong(places.get(name, tool_key), message)
        return rule

    def state(self, node: Any) -> AllowlistState:
        text = self.text(node, "state")
        if text in AllowlistState.values:
            return AllowlistState(text)
        self.wrong(node, "state must be denied, gated or auto.")
        return AllowlistState.DENIED

    def versions(self, node: Any, places: dict[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, key, value in self.members(node, "versions"):
            if name not in {"from", "to"}:
                self.wrong(key, "versions has from and to.")
                continue
            column = "min_version" if name == "from" else "max_version"
            found[column] = self.text(value, name)
            places[column] = value
        return found
