"""What tests of replay and regression have: a shop with runs in it."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from agentops.runs.models import Run
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSONObject
from approvals.models import Proposal
from approvals.services import expire, reject
from tests.deciding import approve, edit_and_approve
from tests.shop import Clock, drive, open_shop, start

GOODWILL: JSONObject = {"order_ref": "A-1002", "amount_minor": 100, "reason": "Late"}


@dataclass
class Shop:
    """A shop whose runs somebody decides."""

    tenant: Tenant
    bob: Actor
    second: Actor | None = None
    """Who agrees where two people have to."""
    clock: Clock = field(default_factory=Clock)

    def run(self, slug: str = "goodwill-refund", task: JSONObject | None = None, *verdicts: str) -> Run:
        """Drive a run to its end; each thing put before a person gets the next verdict, by default approve."""
        run = start(slug, task or GOODWILL, now=self.clock())
        left = list(verdicts)
        for _ in range(12):
            run = drive(run.id, self.clock)
            waiting = Proposal.objects.filter(run=run, status="pending").first()
            if waiting is None:
                break
            verdict = left.pop(0) if left else "approve"
            if verdict == "wait":
                break
            self.decide(waiting, verdict)
        return run

    def decide(self, p: Proposal, verdict: str) -> None:
        now = self.clock()
        shown: dict[str, Any] = {
            "proposal_id": p.id,
            "actor": self.bob,
            "version": p.version,
            "digest": p.digest,
            "now": now,
        }
        match verdict:
            case "approve":
                approve(**shown)
                if self.second is not None and Proposal.objects.get(pk=p.id).status == "pending":
                    approve(**{**shown, "actor": self.second, "now": self.clock()})
            case "reject":
                reject(**shown, reason_code="wrong_target", note="Not this order")
            case "edit":
                edit_and_approve(**shown, arguments={**p.argument_values, "reason": "Edited by a person"})
            case _:
                self.clock.now = p.decide_by + timedelta(seconds=1)
                expire(proposal_id=p.id, now=self.clock())


@pytest.fixture
def shop(scoped: Tenant, bob: object, actor_of: object) -> Shop:
    open_shop(scoped)
    return Shop(scoped, actor_of(bob, scoped))  # type: ignore[operator]
