"""The output policy that is in force for a task type: the tenant's rules and its own, read from their rows."""

import logging
from typing import Final

from agentops.guardrails.output.found import Kind
from agentops.guardrails.output.policy import Action, BadPolicy, OutputPolicy, policy_of, problems_of
from agentops.runs.issues import TaskIssue
from agentops.runs.models import OutputRules, TaskType
from agentops.wire.parse import JSON, JSONObject, WireError, guard

logger = logging.getLogger(__name__)

NOTHING: Final = OutputPolicy(dict.fromkeys(Kind, Action.BLOCK))
"""What holds while stored rules cannot be read: whatever is found is held back."""


def tenant_rules() -> JSONObject:
    """Return the written rules of the open tenant, empty when it has none. One query."""
    row = OutputRules.objects.values_list("rules", flat=True).first()
    return row if isinstance(row, dict) else {} if row is None else {"": row}


def effective(task_type: TaskType, rules: JSONObject | None = None) -> OutputPolicy:
    """Return the policy of a task type; rules that cannot be read let nothing out that is found.

    `rules` are those of the tenant if the caller has them; otherwise one query.
    """
    try:
        return policy_of(tenant_rules() if rules is None else rules, task_type.output_policy)
    except BadPolicy:
        logger.exception("the output policy of task type %s cannot be read", task_type.pk)
        return NOTHING


def output_issues(raw: JSON) -> list[TaskIssue]:
    """Say what is wrong with a written output policy, in the words of a task type."""
    try:
        guard(raw)
    except WireError as error:
        return [TaskIssue("output_policy", str(error.code), error.message)]
    return [
        TaskIssue("output_policy", "invalid_output_policy", f"{path or '/'}: {message}")
        for path, message in problems_of(raw)
    ]
