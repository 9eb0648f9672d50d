"""What an admin types about one cell of the allowlist, read into a rule; what cannot be read is named by field."""

from dataclasses import dataclass
from typing import Final

from django.http import QueryDict

from agentops.runs.allowlist_matrix import state_of
from tools.allowlist import AllowlistRule, AllowlistState, Constraint

MAX_TYPED: Final = 50_000
TEXTS: Final = ("min_version", "max_version", "rule_note")
NUMBERS: Final = ("max_calls", "rate_per_minute")


@dataclass(frozen=True, slots=True)
class Typed:
    """One cell as it stands in the form: texts by field."""

    state: str = "denied"
    min_version: str = ""
    max_version: str = ""
    max_calls: str = ""
    rate_per_minute: str = ""
    constraints: str = ""
    rule_note: str = ""
    note: str = ""


def shown(rule: AllowlistRule) -> Typed:
    """Return the form that says a rule."""
    return Typed(
        rule.state.value,
        rule.min_version,
        rule.max_version,
        "" if rule.max_calls is None else str(rule.max_calls),
        "" if rule.rate_per_minute is None else str(rule.rate_per_minute),
        "\n".join(f"{one.name}: {one.expression}" for one in rule.constraints),
        rule.note,
    )


def posted(form: QueryDict) -> Typed:
    """Return what was sent, as it was typed."""
    names = ("state", *TEXTS, *NUMBERS, "constraints", "note")
    return Typed(**{name: str(form.get(name, ""))[:MAX_TYPED].replace("\r\n", "\n") for name in names})


def rule_from(typed: Typed, tool: str) -> tuple[AllowlistRule, dict[str, str]]:
    """Return the rule that was typed, and what cannot be read, by field."""
    problems: dict[str, str] = {}
    state = state_of(typed.state)
    if state is None:
        problems["state"] = "Choose a state."
    numbers: dict[str, int | None] = {}
    for name in NUMBERS:
        text = str(getattr(typed, name)).strip()
        numbers[name] = int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None
        if text and numbers[name] is None:
            problems[name] = "Type a whole number, or nothing."
    constraints: list[Constraint] = []
    for at, line in enumerate(typed.constraints.split("\n"), start=1):
        if not line.strip():
            continue
        name, colon, expression = line.partition(":")
        if not colon:
            problems["constraints"] = f"Line {at}: write a name, a colon, and what the arguments have to satisfy."
            break
        constraints.append(Constraint(name.strip(), expression.strip()))
    rule = AllowlistRule(
        tool,
        state or AllowlistState.DENIED,
        typed.min_version.strip(),
        typed.max_version.strip(),
        note=typed.rule_note.strip(),
        constraints=tuple(constraints),
        max_calls=numbers["max_calls"],
        rate_per_minute=numbers["rate_per_minute"],
    )
    return rule, problems
