"""What a worker has just read of a tenant's rules, shared by the runs it drives at the same moment.

Allowlist and tool health are read once for all runs of a round instead of once for every call, and never believed for
longer than `FRESH_S`. Whatever is not safe to repeat is checked again in the transaction that records its intent.
"""

import time
from collections.abc import Callable
from typing import Final

from agentops.engine.planner import Planner
from agentops.guardrails.output.policy import OutputPolicy
from agentops.runs.models import TaskType
from agentops.runs.output_policy import effective, tenant_rules
from agentops.wire.parse import JSONObject
from tools.allowlist import AllowlistRule, AllowlistState, all_rules
from tools.health import ailing

FRESH_S: Final = 0.25


class Snapshot:
    """The rules of the open tenant scope, read when they are first needed and again when they are no longer fresh."""

    def __init__(self, ticks: Callable[[], float] = time.monotonic) -> None:
        self._ticks = ticks
        self._read_at = -FRESH_S
        self._rules: dict[tuple[int, str], AllowlistRule] = {}
        self._ailing: frozenset[str] = frozenset()
        self._output_rules: JSONObject | None = None
        self._policies: dict[int, OutputPolicy] = {}
        self._playbooks: dict[str, Planner] = {}
        self._kinds: dict[int, TaskType] = {}

    def rule(self, task_type_id: int, tool: str) -> AllowlistRule:
        """Return the rule of a task type for a tool, `denied` when there is none."""
        self._refresh()
        return self._rules.get((task_type_id, tool)) or AllowlistRule(tool, AllowlistState.DENIED)

    def planner(self, name: str, look_up: Callable[[], Planner]) -> Planner:
        """Return a planner; a version of a playbook never changes, so it is looked up once and shared."""
        if not name.startswith("playbook:"):
            return look_up()
        if name not in self._playbooks:
            self._playbooks[name] = look_up()
        return self._playbooks[name]

    def output_policy(self, task_type: TaskType) -> OutputPolicy:
        """Return the output policy of a task type, with the tenant's rules in it."""
        self._refresh()
        if task_type.pk not in self._policies:
            if self._output_rules is None:
                self._output_rules = tenant_rules()
            self._policies[task_type.pk] = effective(task_type, self._output_rules)
        return self._policies[task_type.pk]

    def kinds(self) -> dict[int, TaskType]:
        """Return the task types that were looked up lately; whoever looks up more adds them."""
        self._refresh()
        return self._kinds

    def is_well(self, tool: str) -> bool:
        """Say that a tool has no failures on record, no pause and no promised turns."""
        self._refresh()
        return tool not in self._ailing

    def expire(self) -> None:
        """Read everything again before it is used next."""
        self._read_at = -FRESH_S

    def _refresh(self) -> None:
        now = self._ticks()
        if now - self._read_at < FRESH_S:
            return
        self._rules = all_rules()
        self._ailing = ailing()
        self._output_rules, self._policies = None, {}
        self._kinds = {}
        self._read_at = now
