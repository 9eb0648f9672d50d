"""What a worker has just read of a tenant's rules, shared by the runs it drives at the same moment.

Allowlist, policy, scoped trusts and tool health are read once for all runs of a round instead of once for every call,
and never believed for longer than `FRESH_S`. Whatever is not safe to repeat is checked again in the transaction that
records its intent: its allowlist and its grant there, the policy right before it.
"""

import time
from collections.abc import Callable
from typing import Final

from agentops import clock
from agentops.engine.planner import Planner
from agentops.guardrails.output.policy import OutputPolicy
from agentops.guardrails.score import Settings
from agentops.runs.models import TaskType
from agentops.runs.output_policy import effective, tenant_rules
from agentops.screening.selectors import settings_in_force
from agentops.tenancy.scope import current_tenant_id
from agentops.wire.parse import JSONObject
from approvals.assessing.weighing import Known
from approvals.gating.policy import NONE, Policy
from approvals.permits import policies, trust
from approvals.permits.trust import Trust
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
        self._policy = NONE
        self._trusts: tuple[Trust, ...] = ()
        self._place = ("", "")
        self._screening: Settings | None = None
        self._known = Known()

    def rule(self, task_type_id: int, tool: str) -> AllowlistRule:
        """Return the rule of a task type for a tool, `denied` when there is none."""
        self._refresh()
        return self._rules.get((task_type_id, tool)) or AllowlistRule(tool, AllowlistState.DENIED)

    def policy(self) -> Policy:
        """Return the policy in force."""
        self._refresh()
        return self._policy

    def place(self) -> tuple[str, str]:
        """Return slug and environment of the tenant, for rules; empty while there are no rules."""
        self._refresh()
        return self._place

    def trusts(self) -> tuple[Trust, ...]:
        """Return the scoped trusts in force."""
        self._refresh()
        return self._trusts

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

    def screening(self) -> Settings:
        """Return what the tenant looks for in texts from outside, and from which score on it flags them.

        Read only when there is a text to look at.
        """
        self._refresh()
        if self._screening is None:
            self._screening = settings_in_force()
        return self._screening

    def known(self) -> Known:
        """Return what the tenant weighs and has decided, as of lately."""
        self._refresh()
        return self._known

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
        self._policy = policies.in_force()
        self._place = policies.place_of(current_tenant_id()) if self._policy.rules else ("", "")
        self._trusts = trust.in_force(clock.now())
        self._screening = None
        self._known = Known()
        self._read_at = now
