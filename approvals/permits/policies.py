"""The policy of a tenant: which version is in force, who proposes another one, and who else publishes it.

Versions never change. Of those that were published, the highest number whose moment has come is in force.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, Final
from uuid import UUID

from django.db.models import QuerySet

from agentops import clock
from agentops.changes import services as changes
from agentops.changes.models import TOOK_EFFECT
from agentops.changes.outcomes import Decided, Invalid, Outcome
from agentops.guardrails.provenance import Provenance
from agentops.runs.models import Run
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.prepared import Query
from agentops.tenancy.scope import current_tenant_id
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject, as_object, parse_json
from agentops.wire.places import BadFile
from approvals.assessing.risk import seen_by_rules
from approvals.assessing.weighing import assessed
from approvals.gating.policy import NONE, Effect, Policy, Rule, Surroundings, in_words
from approvals.gating.policy_file import VERSION, read, stored, to_json
from approvals.models import PolicyVersion
from approvals.permits.rates import spent
from approvals.values.consequence import preview
from tools.contracts import ToolContract

MAX_STORED: Final = 4_000_000


def in_force(now: datetime | None = None) -> Policy:
    """Return the policy of the open tenant at a moment. One query; compiled once for each version."""
    for version, body in _IN_FORCE(now or clock.now()):
        return compiled(current_tenant_id(), version, body)
    return NONE


def _in_force(now: Any) -> "QuerySet[PolicyVersion, tuple[int, Any]]":
    rows = PolicyVersion.objects.filter(status__in=TOOK_EFFECT, effective_at__lte=now)
    return rows.order_by("-version").values_list("version", "body")[:1]


_IN_FORCE: Final = Query(_in_force)


def compiled(tenant_id: int, version: int, body: Mapping[str, Any]) -> Policy:
    """Return a version, parsed; the newest few are kept."""
    return _compiled(tenant_id, version, canonical(dict(body)))


def published(version: int) -> Policy | None:
    """Return a version of the open tenant's policy that was published, None if there is none. One query."""
    for (body,) in _PUBLISHED(version):
        return compiled(current_tenant_id(), version, body)
    return None


_PUBLISHED: Final = Query(
    lambda version: PolicyVersion.objects.filter(status__in=TOOK_EFFECT, version=version).values_list("body")
)


def asking(policy: Policy, reasons: Sequence[object]) -> list[Rule]:
    """Return the rules that gave one of these reasons why a person is asked. Pure."""
    return [rule for rule in policy.rules if rule.effect is Effect.GATE and (rule.because or in_words(rule)) in reasons]


def place_of(tenant_id: int) -> tuple[str, str]:
    """Return slug and environment of the open tenant. One query."""
    return Tenant.objects.values_list("slug", "environment").get(pk=tenant_id)


def surroundings(run: Run, place: tuple[str, str], now: datetime) -> Surroundings:
    """Return where a call of a run happens, as rules see it; what they ask of the database they ask only if they do."""
    asked_by = "token" if run.requested_by_token else "user" if run.requested_by_id is not None else ""
    around = (run.task_type.slug, run.origin, asked_by, *place)
    return Surroundings(now, *around, spent=spent(run.pk, now), risk=partial(_risk, run.task_type_id, now))


def _risk(
    task_type_id: int, now: datetime, contract: ToolContract, arguments: JSON, provenance: Mapping[str, Provenance]
) -> JSONObject:
    """Return the risk that a card of the call would show. Asks the tool for a preview and our records for signals."""
    values = as_object(arguments)
    found = preview(contract, values).consequence
    return seen_by_rules(assessed(contract, values, provenance, found, task_type_id=task_type_id, now=now))


@lru_cache(maxsize=256)
def _compiled(tenant_id: int, version: int, body: str) -> Policy:
    raw = parse_json(body, max_bytes=MAX_STORED)
    return stored(raw, version) if isinstance(raw, dict) else Policy(version, (), readable=False)


def propose(
    *, text: str, effective_at: datetime | None, note: str, actor: Actor, now: datetime | None = None
) -> Outcome:
    """Propose the rules of a file; nothing changes until another admin has published them.

    Problems are by field: `text` has one line for each problem, with its line and column.
    """
    if (refused := changes.may_not(actor)) is not None:
        return refused
    moment = now or clock.now()
    try:
        rules = read(text, now=moment)
    except BadFile as error:
        return Invalid({"text": "\n".join(map(str, error.problems))})
    body: JSONObject = {"policy": VERSION, "rules": [to_json(rule) for rule in rules]}
    if body == {"policy": VERSION, "rules": [to_json(rule) for rule in in_force(moment).rules]}:
        return Invalid({"text": "That is what is in force already."})
    return changes.propose(KIND, body=body, note=note, actor=actor, now=moment, effective_at=effective_at or moment)


def decide(*, version_id: UUID, verdict: str, note: str, actor: Actor, now: datetime | None = None) -> Decided:
    """Publish a proposed version (`approve`), turn it down (`refuse`), or take the own one back (`withdraw`)."""
    return changes.decide(KIND, change_id=version_id, verdict=verdict, note=note, actor=actor, now=now)


def _publish(row: PolicyVersion, actor: Actor, now: datetime) -> JSONObject:
    # It never counts before it was published.
    at = max(now, row.effective_at)
    PolicyVersion.objects.filter(pk=row.pk).update(effective_at=at)
    return {"effective_at": at.isoformat(), "proposed_by": row.proposed_by.get_username()}


KIND: Final = changes.Kind(PolicyVersion, "policy.", "policy", _publish)
