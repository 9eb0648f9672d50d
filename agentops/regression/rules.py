"""The rules that a case is decided by, kept with it, so that it is decided tomorrow as it was today."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import Max

from agentops.changes.models import TOOK_EFFECT
from agentops.regression.models import Rules
from agentops.runs.models import TaskType
from agentops.wire.canonical import digest
from agentops.wire.parse import JSONObject, as_object
from approvals.models import PolicyVersion
from tools.allowlist import AllowlistRule, rule_of
from tools.models import AllowlistChange, AllowlistEntry


def of_now(task_type: TaskType, now: datetime) -> Rules:
    """Return the rules of a task type as they are, written down once. Four queries; must run inside `atomic`."""
    found = as_they_are(task_type, now)
    kept, _ = Rules.objects.get_or_create(
        digest=found.digest,
        policy_version=found.policy_version,
        allowlist_version=found.allowlist_version,
        defaults={
            "task_type": found.task_type,
            "policy": found.policy,
            "allowlist": found.allowlist,
            "made_at": found.made_at,
        },
    )
    return kept


def as_they_are(task_type: TaskType, now: datetime) -> Rules:
    """Return the rules of a task type, not kept. Three queries."""
    policy = (
        PolicyVersion.objects.filter(status__in=TOOK_EFFECT, effective_at__lte=now)
        .order_by("-version")
        .values_list("version", "body")
        .first()
    )
    newest = AllowlistChange.objects.filter(status__in=TOOK_EFFECT).aggregate(newest=Max("version"))["newest"]
    entries = AllowlistEntry.objects.filter(task_type=task_type).order_by("tool")
    body: JSONObject = {
        "task_type": task_type.slug,
        "policy": policy[1] if policy is not None else {},
        "allowlist": {entry.tool: rule_of(entry).to_json() for entry in entries},
    }
    return Rules(
        **body,
        digest=digest(body),
        policy_version=policy[0] if policy is not None else 0,
        allowlist_version=newest or 0,
        made_at=now,
    )


def allowlist_of(rules: Rules) -> list[AllowlistRule]:
    """Return the allowlist as it was."""
    found: Mapping[str, Any] = rules.allowlist
    return [AllowlistRule.from_json(tool, as_object(raw)) for tool, raw in sorted(found.items())]


def told(rules: Rules | None) -> JSONObject:
    """Return which rules these are, as events carry it."""
    if rules is None:
        return {"rules": "of the day"}
    return {
        "policy_version": rules.policy_version,
        "allowlist_version": rules.allowlist_version,
        "rules_digest": rules.digest,
    }


def differences(before: Rules, after: Rules) -> list[str]:
    """Say in sentences what differs between two sets of rules of a task type."""
    found: list[str] = []
    if before.policy != after.policy:
        found.append(f"Policy: version {before.policy_version} here, version {after.policy_version} now in force.")
    was, now = before.allowlist, after.allowlist
    found += [
        f"Allowlist: {tool} {_state(was.get(tool))} here, {_state(now.get(tool))} now."
        for tool in sorted({*was, *now})
        if was.get(tool) != now.get(tool)
    ]
    return found


def _state(raw: Any) -> str:
    if not isinstance(raw, dict):
        return "denied"
    more = len(raw) > 1
    words = {"auto": "by itself", "gated": "with a person", "denied": "denied"}
    return f"{words.get(str(raw.get('state')), str(raw.get('state')))}{', with conditions' if more else ''}"
