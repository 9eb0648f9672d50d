"""What an isolated tenant starts with: the task type that is put to the test, as it is now."""

from collections.abc import Callable
from typing import Any, Final

from agentops.prompts.models import Prompt
from agentops.runs.models import OutputRules, Playbook, TaskType
from agentops.worker.demo import CLINIC, SHOP, load_kinds
from tools.allowing import seed_rules
from tools.allowlist import rule_of
from tools.models import AllowlistEntry

_COPIED: Final = (
    *("slug", "name", "description", "planner", "planning", "instructions", "model_names", "model_parameters"),
    *("input_schema", "limits", "stop_when", "success_when", "decide_within_s", "execute_within_s", "priority"),
    *("critical", "allow_self_approval", "enabled", "output_policy"),
)


def copy_of(task_type: TaskType) -> Callable[[], None]:
    """Read a task type of the open tenant scope; return what writes a copy of it into another one. Five queries."""
    columns: dict[str, Any] = {name: getattr(task_type, name) for name in _COPIED}
    playbook, fallback = _playbook(task_type.playbook), _playbook(task_type.fallback)
    prompt = _prompt(task_type.prompt)
    rules = [rule_of(entry) for entry in AllowlistEntry.objects.filter(task_type=task_type)]
    output = OutputRules.objects.values_list("rules", flat=True).first()

    def write() -> None:
        if output is not None:
            OutputRules.objects.create(rules=output)
        made = {name: Playbook.objects.create(**one) for name, one in _unique(playbook, fallback).items()}
        copy = TaskType.objects.create(
            **columns,
            playbook=made.get(_name(playbook)),
            fallback=made.get(_name(fallback)),
            prompt=Prompt.objects.create(**prompt) if prompt else None,
        )
        seed_rules(copy.pk, rules)

    return write


def demonstration() -> None:
    """Write the task types of the demonstration, as the files of this program say."""
    load_kinds((*SHOP, *CLINIC))


DEMONSTRATED: Final = frozenset(kind.slug for kind in (*SHOP, *CLINIC))
"""Task types that `demonstration` writes."""


def _playbook(row: Playbook | None) -> dict[str, Any]:
    return {} if row is None else {"slug": row.slug, "version": row.version, "body": row.body}


def _prompt(row: Prompt | None) -> dict[str, Any]:
    if row is None:
        return {}
    return {name: getattr(row, name) for name in ("slug", "version", "planning", "template", "digest")}


def _name(playbook: dict[str, Any]) -> str:
    return f"{playbook['slug']}@{playbook['version']}" if playbook else ""


def _unique(*playbooks: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {_name(one): one for one in playbooks if one}
