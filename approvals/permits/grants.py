"""Single-use permissions: made by a person's decision or by policy, consumed once, checked again when consumed.

No grant row, no dispatch. `consume` is what the executor is given; it runs in the transaction that records the intent,
so that a crash leaves either neither or both.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from agentops.halts.covering import Stop, first, hold_line, shared_line
from agentops.runs.models import Run
from agentops.runs.statements import Column, Condition
from agentops.tenancy.scope import current_tenant_id
from agentops.wire.parse import JSON, WireError, guard, parse_json
from approvals.gating.policy import Quota
from approvals.models import Grant, GrantSource, Proposal
from approvals.permits.rates import UsedUp, spend
from approvals.permits.trust import still_counts, trusted_by
from approvals.proposals.freezing import catch_up, work_of
from approvals.proposals.locking import lock_run
from tools.allowlist import AllowlistRule, AllowlistState, lookup
from tools.contracts import action_digest
from tools.executor import CallRequest, Permit, PermitRefused
from tools.registry import registry

GRANT_MISSING: Final = "grant_missing"
GRANT_USED: Final = "grant_used"
GRANT_EXPIRED: Final = "grant_expired"
DIGEST_MISMATCH: Final = "digest_mismatch"
CONTRACT_CHANGED: Final = "contract_changed"
CONSTRAINT_VIOLATED: Final = "constraint_violated"
NOT_ALLOWED: Final = "not_allowed"
HALTED: Final = "halted"
NOT_RELEASED: Final = "not_released"
RATE_USED_UP: Final = "policy_blocked"


class LineStopped(PermitRefused):
    """A stop of the line covers the call. The grant is as it was: the call waits, it does not fail."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(HALTED, f"Stopped: {stop.label}.")
        self.stop = stop


class NotReleased(PermitRefused):
    """The decision behind the grant can still be taken back. The grant is as it was: the call waits until `until`."""

    def __init__(self, until: datetime) -> None:
        super().__init__(NOT_RELEASED, "Its approval can still be taken back.")
        self.until = until


@dataclass(frozen=True, slots=True)
class PolicyGrant:
    """The permission that a recorded `call.granted` event stands for: its id, and for how long it may be repeated.

    `rule` and `version` name what lets it be now: the allowlist, a rule of the policy, or a scoped trust. `quotas` are
    what it uses up of the rates of such rules.
    """

    id: UUID
    within: timedelta
    rule: str = ""
    version: int = 0
    quotas: tuple[Quota, ...] = ()


def grant_for(proposal: Proposal, *, now: datetime) -> Grant:
    """Return a person's permission for what the proposal says now, until its `execute_by`.

    The row is to be written together with the decision: IntegrityError then when the call has a grant.
    """
    return Grant(
        run_id=proposal.run_id,
        call_id=proposal.call_id,
        proposal=proposal,
        source=GrantSource.PROPOSAL,
        tool=proposal.tool,
        contract_version=proposal.contract_version,
        contract_digest=proposal.contract_digest,
        digest=proposal.digest,
        created_at=now,
        expires_at=proposal.execute_by,
        not_before=proposal.release_at,
        policy_version=proposal.policy_version,
        policy_rule=proposal.policy_rule,
    )


def consume(
    request: CallRequest,
    *,
    now: datetime,
    policy: PolicyGrant | None = None,
    again: bool = False,
    run: Run | None = None,
) -> Permit:
    """Consume the grant of a call, once, and return the permit for it.

    Must run in the transaction that records the intent. Checks again what may have changed since the grant was given:
    stops of the line, the digest of the arguments, the contract, the allowlist (the stricter of then and now), the
    trust that lets it be, how often its rule may (counted here), the deadline. What policy granted gets its row here,
    used up as it is made, so that nothing uses it a second time. `again`: the same action is repeated, because it is
    safe to repeat. Raises PermitRefused with one of the codes of this module (LineStopped for `halted`); nothing is
    written then. Keeps the line open until the transaction ends: whoever stops it afterwards comes after this call.
    `run` is the run's row when the caller has it and the run's lock; both are taken here otherwise.
    """
    if run is None:
        lock_run(request.run_id)
        run = Run.objects.filter(pk=request.run_id).first()
    if run is None or request.tenant_id != current_tenant_id():
        raise PermitRefused(GRANT_MISSING, "Nobody gave permission for this call.")
    stops = hold_line()
    if (stop := first(stops, work_of(run, request.tool))) is not None:
        raise LineStopped(stop)
    catch_up(run, stops)
    grant = Grant.objects.filter(run_id=request.run_id, call_id=request.call_id).first()
    new = grant is None and policy is not None
    if policy is not None and grant is None:
        grant = _of_policy(request, policy, now)
    if grant is None:
        raise PermitRefused(GRANT_MISSING, "Nobody gave permission for this call.")
    _check(grant, request, now, again=again, task_type_id=run.task_type_id)
    if policy is not None and (named := trusted_by(policy.rule)) and not still_counts(named, now):
        raise PermitRefused(NOT_ALLOWED, "Nobody trusts calls like this one any more.")
    if policy is not None and policy.quotas:
        try:
            spend(policy.quotas, run_id=request.run_id, call_id=request.call_id, now=now)
        except UsedUp:
            raise PermitRefused(RATE_USED_UP, "A person has to agree now: its rule has let too many run.") from None
    if new:
        grant.consumed_at = now
        grant.save(force_insert=True)
        return Permit(grant.pk, grant.digest)
    usable = Grant.objects.filter(pk=grant.pk, digest=request.digest, expires_at__gt=now)
    if not again:
        usable = usable.filter(consumed_at__isnull=True)
    if not usable.update(consumed_at=now):
        raise PermitRefused(GRANT_USED, "The permission for this call was used in the meantime.")
    return Permit(grant.pk, grant.digest)


def usual(grant_id: str, request: CallRequest, rule: AllowlistRule, *, run: Run, now: datetime) -> Condition | None:
    """Return what `consume` checks and writes for a person's grant that has not been used, as one SQL condition.

    It holds only where nothing at all is unusual: no stop is open or still owes time, the allowlist is exactly what
    `rule` says and lets it run, grant, contract and digest are as frozen and the time has not passed. In any other case
    `consume` has to judge. None if the arguments or the contract themselves are not what was permitted.
    """
    contract = registry.get(request.tool, request.version)
    states = (AllowlistState.AUTO, AllowlistState.GATED)
    if contract is None or request.digest != _digest(request) or request.tenant_id != current_tenant_id():
        return None
    if rule.state not in states or not rule.admits(contract.version) or rule.violated(_values(request)) is not None:
        return None
    frozen = (contract.name, contract.version, contract.digest, request.digest)
    row = (
        request.run_id,
        request.call_id,
        grant_id,
        *frozen,
        run.task_type_id,
        rule.min_version,
        rule.max_version,
        rule.constraints_text(),
        now,
    )
    return Condition(_USED, [row], shared_line(), _USABLE, _USE)


_USED: Final = (
    *(Column("run_id", "uuid"), Column("call_id", "text"), Column("grant_id", "uuid")),
    *(Column("tool", "text"), Column("version", "text"), Column("contract", "text"), Column("digest", "text")),
    *(Column("task_type_id", "bigint"), Column("min_version", "text"), Column("max_version", "text")),
    *(Column("argument_constraints", "text"), Column("at", "timestamptz")),
)
_USABLE: Final = """
select v.run_id from {rows}
join approvals_grant g on g.id = v.grant_id and g.run_id = v.run_id and g.call_id = v.call_id and g.tool = v.tool
    and g.contract_version = v.version and g.contract_digest = v.contract and g.digest = v.digest
    and g.source = 'proposal' and g.consumed_at is null and g.expires_at > v.at
    and (g.not_before is null or g.not_before <= v.at)
join tools_allowlistentry a on a.tenant_id = g.tenant_id and a.task_type_id = v.task_type_id and a.tool = v.tool
    and a.state in ('auto', 'gated') and a.min_version = v.min_version and a.max_version = v.max_version
    and a.argument_constraints = v.argument_constraints
where not exists (select 1 from halts_halt h where h.tenant_id = g.tenant_id and h.settled_at is null)
"""
_USE: Final = """
update approvals_grant g set consumed_at = v.at from {rows} join kept k on k.id = v.run_id where g.id = v.grant_id
"""


def _of_policy(request: CallRequest, policy: PolicyGrant, now: datetime) -> Grant:
    contract = registry.get(request.tool, request.version)
    return Grant(
        id=policy.id,
        run_id=request.run_id,
        call_id=request.call_id,
        source=GrantSource.POLICY,
        tool=request.tool,
        contract_version=request.version,
        contract_digest=contract.digest if contract is not None else "",
        digest=request.digest,
        created_at=now,
        expires_at=now + policy.within,
        policy_version=policy.version,
        policy_rule=policy.rule,
    )


def rearm(*, run_id: UUID, call_id: str) -> bool:
    """Make a used grant usable again, because the effect it stood for is known not to have happened.

    For a call that was reconciled as `did_not_happen`, and for the next attempt of a call that failed without an
    effect; the caller's event in the same transaction says which. Deadlines stay. Returns whether there was one.
    """
    return bool(
        Grant.objects.filter(run_id=run_id, call_id=call_id, consumed_at__isnull=False).update(consumed_at=None)
    )


def revoke_unused(*, run_id: UUID, now: datetime) -> int:
    """End the permissions of a run that nothing has used yet; return how many there were."""
    unused = Grant.objects.filter(run_id=run_id, consumed_at__isnull=True, expires_at__gt=now)
    return unused.update(expires_at=now)


def _check(grant: Grant, request: CallRequest, now: datetime, *, again: bool, task_type_id: int) -> None:
    if grant.consumed_at is not None and not again:
        raise PermitRefused(GRANT_USED, "The permission for this call has been used.")
    if not grant.digest == request.digest == _digest(request):
        raise PermitRefused(DIGEST_MISMATCH, "The permission is for a different action.")
    contract = registry.get(request.tool, request.version)
    frozen = (grant.tool, grant.contract_version, grant.contract_digest)
    if contract is None or frozen != (contract.name, contract.version, contract.digest):
        raise PermitRefused(CONTRACT_CHANGED, f"The contract of {grant.tool} has changed since permission was given.")
    rule = lookup(task_type_id, request.tool)
    unattended = grant.source == GrantSource.POLICY and not trusted_by(grant.policy_rule)
    allowed = {AllowlistState.AUTO} if unattended else {AllowlistState.AUTO, AllowlistState.GATED}
    if rule.state not in allowed:
        raise PermitRefused(NOT_ALLOWED, f"The allowlist no longer lets {grant.tool} run this way.")
    if not rule.admits(contract.version):
        raise PermitRefused(CONTRACT_CHANGED, f"Version {contract.version} is outside the allowed range now.")
    if (broken := rule.violated(_values(request))) is not None:
        raise PermitRefused(CONSTRAINT_VIOLATED, f"Its arguments violate the constraint {broken.name} now.")
    if grant.not_before is not None and grant.not_before > now:
        raise NotReleased(grant.not_before)
    if grant.expires_at <= now:
        raise PermitRefused(GRANT_EXPIRED, "The time to execute this has passed.")


def _digest(request: CallRequest) -> str:
    """The digest of the arguments as they are about to execute; empty if they cannot be read."""
    try:
        return action_digest(
            tenant_id=request.tenant_id, tool=request.tool, version=request.version, arguments=_read(request)
        )
    except WireError:
        return ""


def _values(request: CallRequest) -> JSON:
    """The arguments as they are about to execute; None, which satisfies nothing, if they cannot be read."""
    try:
        return _read(request)
    except WireError:
        return None


def _read(request: CallRequest) -> JSON:
    raw = request.arguments
    return parse_json(raw) if isinstance(raw, str | bytes) else guard(raw)
