"""A run of acme that waits for a person, as the worker leaves it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TypedDict
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from agentops import clock
from agentops.engine.events import (
    CallGranted,
    CallProposed,
    CallSelected,
    Event,
    PlanMade,
    RunClaimed,
    RunSubmitted,
    RunWaiting,
)
from agentops.engine.limits import Limits
from agentops.guardrails.provenance import Provenance
from agentops.runs.models import Run, TaskType
from agentops.runs.recording import record_outside
from agentops.tenancy.access import WORKER, Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSON, JSONObject
from approvals.gating.gate import Candidate, Gate, Pin, classify
from approvals.models import Grant, Proposal
from approvals.services import draft_proposal
from tests.approvals.contracts import LOOK_UP, NOTE, REFUND, arguments, do_nothing, no_trace, origin
from tests.replaying import by_hand
from tools.allowlist import lookup
from tools.contracts import Blast, Consequence, ToolContract, action_digest
from tools.executor import CallRequest
from tools.models import AllowlistEntry, AllowlistState
from tools.registry import registry

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
_ids = count(1)


@dataclass
class Previews:
    """What the refund's preview answers; an exception is raised instead."""

    answer: Consequence | Exception = field(
        default_factory=lambda: Consequence("Pays out to Maria", blast=(Blast("orders", 1),))
    )

    def __call__(self, given: JSONObject) -> Consequence:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def previews() -> Previews:
    return Previews()


@pytest.fixture
def tools(previews: Previews) -> Iterator[None]:
    """Register the small tools for one test."""
    registry.register(REFUND, do_nothing, reconcile=no_trace, describe=previews)
    registry.register(LOOK_UP, do_nothing)
    registry.register(NOTE, do_nothing)
    yield
    for contract in (REFUND, LOOK_UP, NOTE):
        registry.remove(contract.name, contract.version)


@dataclass
class Desk:
    """Makes runs of one task type and stops them where a person, or a grant, is needed."""

    tenant: Tenant
    task_type: TaskType

    def allow(self, tool: str, state: AllowlistState, **changes: object) -> None:
        AllowlistEntry.objects.update_or_create(
            task_type=self.task_type, tool=tool, defaults={"state": state, **changes}
        )

    def run(self, requested_by: User | None = None, token: str = "") -> Run:
        """Return a run that a worker has taken up and planned, with one step."""
        by = requested_by.pk if requested_by else None
        run = Run.objects.create(
            task_type=self.task_type, input="{}", requested_by_id=by, requested_by_token=token, created_at=NOW
        )
        plan: JSONObject = {"steps": [{"id": "act", "tool": "lab.refund", "arguments": {}}]}
        submitted = RunSubmitted(
            task_type=self.task_type.slug,
            input={},
            requested_by=f"user:{by}",
            planner="playbook:lab@1",
            planning="plan_first",
            limits=Limits().to_json(),
            tools={},
        )
        by_hand(run.pk)
        self.record(run, submitted, RunClaimed("w1", 1), PlanMade(1, "playbook:lab@1", plan))
        return run

    def record(self, run: Run, *events: Event, actor: Actor = WORKER, now: datetime = NOW) -> None:
        with transaction.atomic():
            record_outside(run.pk, events, actor=actor, now=now)

    def select(self, run: Run, contract: ToolContract, given: JSONObject, known: Mapping[str, Provenance]) -> str:
        call_id = f"c{next(_ids)}"
        selected = CallSelected(
            call_id=call_id,
            step_id="act",
            tool=contract.name,
            version=contract.version,
            effect=str(contract.effect),
            arguments=given,
            digest=self.digest(contract, given),
            idempotency_key=f"key-{run.pk.hex}-{call_id}",
            provenance={path: one.to_json() for path, one in known.items()},
        )
        self.record(run, selected)
        return call_id

    def propose(
        self,
        *,
        requested_by: User | None = None,
        token: str = "",
        run: Run | None = None,
        contract: ToolContract = REFUND,
        provenance: Mapping[str, Provenance] | None = None,
        wait: bool = True,
        explanation: str = "The parcel arrived broken.",
        **changes: JSON,
    ) -> Proposal:
        """Return the open proposal of a run that waits for people, unless `wait` is off."""
        run = run or self.run(requested_by, token)
        given, known = arguments(**changes), provenance if provenance is not None else origin()
        verdict = classify(
            Candidate(
                contract,
                Pin(contract.version, contract.digest),
                given,
                known,
                planned=True,
                allow=lookup(self.task_type.pk, contract.name),
            )
        )
        assert isinstance(verdict, Gate)
        call_id = self.select(run, contract, given, known)
        with transaction.atomic():
            proposal, proposed = frozen(run, call_id, contract, given, known, verdict, explanation)
            waiting = [RunWaiting("awaiting_approval")] if wait else []
            record_outside(run.pk, [proposed, *waiting], actor=WORKER, now=NOW)
        return proposal

    def grant(self, contract: ToolContract = NOTE, *, expires_at: datetime = NOW + timedelta(hours=1)) -> Grant:
        """Return policy's unused grant for a call with the ordinary arguments."""
        run = self.run()
        call_id = self.select(run, contract, arguments(), origin())
        with transaction.atomic():
            grant = Grant.objects.create(
                run_id=run.pk,
                call_id=call_id,
                source="policy",
                tool=contract.name,
                contract_version=contract.version,
                contract_digest=contract.digest,
                digest=self.digest(contract, arguments()),
                created_at=NOW,
                expires_at=expires_at,
            )
            record_outside(run.pk, [CallGranted(call_id, str(grant.pk))], actor=WORKER, now=NOW)
        return grant

    def request(self, grant: Grant, **changes: object) -> CallRequest:
        """Return what the executor would ask permission for."""
        given = grant.proposal.argument_values if grant.proposal else arguments()
        wanted: dict[str, object] = {
            "tenant_id": self.tenant.pk,
            "run_id": grant.run_id,
            "call_id": grant.call_id,
            "tool": grant.tool,
            "version": grant.contract_version,
            "arguments": given,
            "digest": grant.digest,
            "idempotency_key": "key",
            "deadline": NOW + timedelta(hours=1),
        }
        return CallRequest(**(wanted | changes))  # type: ignore[arg-type]

    def digest(self, contract: ToolContract, given: JSONObject) -> str:
        return action_digest(tenant_id=self.tenant.pk, tool=contract.name, version=contract.version, arguments=given)


def make_desk(tenant: Tenant) -> Desk:
    """Return a desk in the tenant whose scope is open: refunds are gated, the other tools run by themselves."""
    task_type = TaskType.objects.create(
        slug="refunds", name="Refunds", input_schema={}, decide_within_s=3600, execute_within_s=600
    )
    desk = Desk(tenant, task_type)
    desk.allow("lab.refund", AllowlistState.GATED)
    desk.allow("lab.look_up", AllowlistState.AUTO)
    desk.allow("lab.note", AllowlistState.AUTO)
    return desk


@pytest.fixture
def desk(scoped: Tenant, tools: None) -> Desk:
    return make_desk(scoped)


@pytest.fixture
def actors(acme: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Callable[[User], Actor]:
    """Return a function from a person to the actor they are in acme."""
    return lambda user: actor_of(user, acme)


def later(proposal: Proposal) -> Proposal:
    """Give a proposal an hour from now."""
    due = clock.now() + timedelta(hours=1)
    Proposal.objects.filter(pk=proposal.pk).update(decide_by=due, execute_by=due + timedelta(minutes=10))
    proposal.refresh_from_db()
    return proposal


def frozen(
    run: Run,
    call_id: str,
    contract: ToolContract,
    arguments: JSONObject,
    known: Mapping[str, Provenance],
    verdict: Gate,
    explanation: str,
) -> tuple[Proposal, CallProposed]:
    """Save a call that the gate keeps for a person, frozen; return its row and the event that is to be recorded."""
    proposal = draft_proposal(
        run=run,
        call_id=call_id,
        step_id="act",
        contract=contract,
        arguments=arguments,
        provenance=known,
        gate=verdict,
        explanation=explanation,
        now=NOW,
    )
    proposal.save(force_insert=True)
    proposed = CallProposed(
        call_id=call_id,
        proposal_id=str(proposal.pk),
        digest=proposal.digest,
        band=proposal.risk_band,
        score=proposal.risk_score,
        rule=verdict.rule,
        decide_by=proposal.decide_by.isoformat(),
    )
    return proposal, proposed


class Seen(TypedDict):
    """What every answer says: who answers which version of what, and when."""

    proposal_id: UUID
    actor: Actor
    version: int
    digest: str
    now: datetime


def seen(proposal: Proposal, actor: Actor, now: datetime = NOW) -> Seen:
    """Return what a person's form posts about the proposal as it is now."""
    return {
        "proposal_id": proposal.pk,
        "actor": actor,
        "version": proposal.version,
        "digest": proposal.digest,
        "now": now,
    }
