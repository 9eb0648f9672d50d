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

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agentops.wire.parse import JSON, clean_text
from agentops.wire.places import MAX_BYTES, BadFile, NodeReader, Problem, compose, dump

from .allowing import MAX_CELLS, Wish, rule_problems
from .allowlist import AllowlistRule, AllowlistState, Constraint

__all__ = ["MAX_BYTES", "BadFile", "Problem", "read", "write"]

VERSION: Final = 1
_NUMBERS: Final = ("max_calls", "rate_per_minute")
_RULE: Final = frozenset({"state", "versions", "note", "constraints", *_NUMBERS})


def write(rules: Mapping[str, Iterable[AllowlistRule]]) -> str:
    """Return the file that says these rules, by the slug of the task type."""
    body = {
        "allowlist": VERSION,
        "task_types": {slug: {rule.tool: _written(rule) for rule in listed} for slug, listed in rules.items()},
    }
    return dump(body)


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
    root = compose(text)
    reader = _Reader(task_types, tools)
    wishes = list(reader.file(root))
    if reader.problems:
        raise BadFile(sorted(reader.problems, key=lambda one: (one.line, one.column)))
    return wishes


@dataclass
class _Reader(NodeReader):
    task_types: Mapping[str, int]
    tools: Collection[str]

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
