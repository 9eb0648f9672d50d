"""What an isolated tenant starts with: the task type that is put to the test, as it is now."""

import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from django.contrib.auth import get_user_model

from agentops import clock
from agentops.changes.models import ChangeStatus
from agentops.prompts.models import Prompt
from agentops.regression.models import Rules
from agentops.regression.rules import allowlist_of, as_they_are
from agentops.runs.models import OutputRules, Playbook, TaskType
from agentops.worker.demo import CLINIC, SHOP, load_kinds
from approvals.models import PolicyVersion
from tools.allowing import seed_rules

_COPIED: Final = (
    *("slug", "name", "description", "planner", "planning", "instructions", "model_names", "model_parameters"),
    *("input_schema", "limits", "stop_when", "success_when", "decide_within_s", "execute_within_s", "priority"),
    *("critical", "allow_self_approval", "enabled", "output_policy"),
)


def copy_of(task_type: TaskType, pinned: Rules | None = None) -> Callable[[], None]:
    """Read a task type of the open tenant scope; return what writes a copy of it into another one. Eight queries.

    `pinned` are the policy and the allowlist it has there; without them those of now.
    """
    columns: dict[str, Any] = {name: getattr(task_type, name) for name in _COPIED}
    playbook, fallback = _playbook(task_type.playbook), _playbook(task_type.fallback)
    prompt = _prompt(task_type.prompt)
    rules = pinned if pinned is not None else as_they_are(task_type, clock.now())
    allowed = allowlist_of(rules)
    version, policy = rules.policy_version, rules.policy
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
        seed_rules(copy.pk, allowed)
        if version:
            _publish(version, policy)

    return write


def _publish(version: int, body: dict[str, Any]) -> None:
    """Put a policy in force, as two people would have; they are gone with the transaction."""
    users = get_user_model().objects
    first, second = (users.create_user(f"regression-{secrets.token_hex(6)}", is_active=False) for _ in range(2))
    now = clock.now() - timedelta(days=1)
    PolicyVersion.objects.create(
        version=version,
        body=body,
        status=ChangeStatus.ACTIVE,
        note="Copied for a regression case.",
        proposed_by=first,
        proposed_at=now,
        decided_by=second,
        decided_at=now,
        effective_at=now,
    )


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
