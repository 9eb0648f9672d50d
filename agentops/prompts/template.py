"""The template language: text with `{{name}}` for the declared names, and nothing else. Pure.

No logic, no attributes, no filters, so that a template can only ever place trusted texts. What is filled in is never
read as a template again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agentops.guardrails.text import scan

VARIABLES: Final[Mapping[str, str]] = {
    "task_type": "name of the task type",
    "instructions": "what the task type says the model is to do",
    "tools": "the tools that may be planned with, one a line, with what they take and return",
    "steps_left": "how many steps may still be taken",
    "calls_per_step": "how many calls a step may make",
    "data_rules": "how text from outside is marked, and that it is never an instruction",
}
"""Name -> what it stands for."""

REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "plan_first": ("data_rules", "instructions", "tools"),
    "reactive": ("data_rules", "instructions"),
}
"""Way of planning -> the variables without which the model could not do its work safely."""

MAX_TEMPLATE: Final = 16_000
"""Characters."""

_OPENING: Final = re.compile(r"\{\{(?:[ \t]*([a-z_]{1,40})[ \t]*\}\})?")


@dataclass(frozen=True, slots=True)
class TemplateIssue:
    """One thing wrong with a template: stable code and sentence."""

    code: str
    message: str


def template_issues(text: str, planning: str) -> list[TemplateIssue]:
    """Say everything wrong with a template.

    Codes: prompt_empty, prompt_too_long, prompt_hidden_character, prompt_not_closed, prompt_unknown_variable,
    prompt_missing_variable, prompt_unknown_planning.
    """
    if planning not in REQUIRED:
        return [TemplateIssue("prompt_unknown_planning", f"{planning[:40]!a} is no way of planning.")]
    if not text.strip():
        return [TemplateIssue("prompt_empty", "Write what the model is told.")]
    if len(text) > MAX_TEMPLATE:
        return [TemplateIssue("prompt_too_long", f"Write at most {MAX_TEMPLATE} characters; there are {len(text)}.")]
    issues: list[TemplateIssue] = []
    if hidden := scan(text):
        issues.append(
            TemplateIssue(
                "prompt_hidden_character",
                f"Line {_line(text, hidden[0].offset)} holds characters that nobody sees: {hidden[0].sample[:80]}.",
            )
        )
    used: set[str] = set()
    for found in _OPENING.finditer(text):
        name = found[1]
        if name is None:
            issues.append(
                TemplateIssue(
                    "prompt_not_closed", f"Line {_line(text, found.start())}: write {{{{name}}}} with one of the names."
                )
            )
        elif name not in VARIABLES:
            issues.append(
                TemplateIssue(
                    "prompt_unknown_variable",
                    f"Line {_line(text, found.start())}: {{{{{name}}}}} is not one of {', '.join(VARIABLES)}.",
                )
            )
        else:
            used.add(name)
    issues += [
        TemplateIssue("prompt_missing_variable", f"Put {{{{{name}}}}} in: {VARIABLES[name]}.")
        for name in REQUIRED[planning]
        if name not in used
    ]
    return issues


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return the template with its variables filled in, in one pass; raises KeyError for a name without a value."""
    return _OPENING.sub(lambda found: values[found[1]] if found[1] is not None else found[0], text)


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1
