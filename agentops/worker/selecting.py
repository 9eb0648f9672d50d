"""Tool Selector: calls of a plan before the gate, and the proposals that come of it."""

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import Any

from agentops.engine.decide import Candidate, Wait, decide
from agentops.engine.events import CallAdopted, CallDenied, CallGranted, CallProposed, CallSelected, Event, StepVerified
from agentops.engine.state import State
from agentops.runs.commit import Shortcut
from agentops.runs.statements import table_of
from agentops.wire.ids import uuid7
from agentops.worker import spending
from agentops.worker.calls import idempotency_key
from agentops.worker.claimed import Claimed, rfc3339, waiting
from agentops.worker.needs import Need
from approvals.assessing.attention import review_seconds
from approvals.gating import gate
from approvals.gating.judging import judged
from approvals.models import Proposal
from approvals.services import draft_proposal
from tools.contracts import Effect, ErrorCode, ToolContract
from tools.registry import registry

Judged = tuple[CallSelected, ToolContract | None, gate.GateVerdict]


class Selecting(Claimed):
    """The part of a session that selects calls and proposes those that need a person."""

    def select(self, candidates: Sequence[Candidate]) -> Generator[Need, Any, bool]:
        """Put calls before the gate: what policy allows or denies is noted, what needs a person becomes a proposal.

        Return False when the run now waits for people and has let this worker go.
        """
        judged: dict[str, Judged] = {}
        chosen: dict[str, int] = {}
        for candidate in candidates:
            if candidate.adopts:
                continue
            one = self.judge(candidate, chosen.get(candidate.tool, 0))
            if candidate.barred:
                one = (*one[:2], gate.Deny(str(ErrorCode.PERMISSION_DENIED), candidate.barred, "reviewer.no_retry"))
            chosen[candidate.tool] = chosen.get(candidate.tool, 0) + (not isinstance(one[2], gate.Deny))
            judged[candidate.call_id] = one
        if self.must_settle([(contract, verdict) for _, contract, verdict in judged.values()]):
            yield from self.flush()
        state, buffer = self.state, list(self.buffer)
        unreviewed: dict[str, _Unreviewed] = {}
        while True:
            drafts = self.put(candidates, judged, unreviewed)
            if not drafts:
                return True
            command = decide(self.state)
            waits = isinstance(command, Wait)
            if isinstance(command, Wait):
                self.note(waiting(command.state, command.until))
            try:
                yield from self.flush(
                    inside=partial(self.book_reviews, drafts),
                    beside=partial(_save, [draft for draft, _ in drafts]),
                    shortcut=self.unbooked(drafts),
                    release=waits,
                )
            except _Unreviewed as refusal:
                # People's attention is limited as well: put the calls again, without asking about this one.
                unreviewed[refusal.call_id] = refusal
                self.state, self.buffer = state, list(buffer)
                continue
            return not waits

    def put(
        self,
        candidates: Sequence[Candidate],
        judged: "Mapping[str, Judged]",
        unreviewed: "Mapping[str, _Unreviewed]",
    ) -> list[tuple[Proposal, State]]:
        """Note what the gate said of each call; return the proposals to be saved with that, and the states before."""
        drafts: list[tuple[Proposal, State]] = []
        for candidate in candidates:
            if candidate.adopts:
                self.note(CallAdopted(candidate.adopts, candidate.step_id))
                continue
            selected, contract, verdict = judged[candidate.call_id]
            self.note(selected)
            refusal = unreviewed.get(selected.call_id)
            match verdict:
                case gate.Deny(code=code, message=message, rule=rule):
                    self.note(CallDenied(selected.call_id, code, message, rule))
                case gate.Auto(rule=rule) if contract is not None:
                    self.note(CallGranted(selected.call_id, str(uuid7()), rule))
                case gate.Gate() if refusal is not None:
                    code = str(ErrorCode.BUDGET_EXCEEDED)
                    self.note(CallDenied(selected.call_id, code, refusal.message, refusal.rule))
                case gate.Gate() if contract is not None:
                    draft, event = self.propose(selected, contract, verdict, candidate)
                    drafts.append((draft, self.state))
                    self.note(event)
                case _:
                    message = "The gate gave no usable verdict."
                    self.note(CallDenied(selected.call_id, "internal", message, "fail_closed"))
        return drafts

    def must_settle(self, judged: Sequence[tuple[ToolContract | None, gate.GateVerdict]]) -> bool:
        """Whether the step before has to be committed now, because nothing else commits it before a tool is called.

        A proposal is committed together with the step before it, and so is the intent of a write.
        """
        if not any(isinstance(stamped.event, StepVerified) for stamped in self.buffer):
            return False
        gated = any(isinstance(verdict, gate.Gate) for _, verdict in judged)
        reads = any(isinstance(v, gate.Auto) and c is not None and c.effect is Effect.READ for c, v in judged)
        return reads and not gated

    def judge(self, candidate: Candidate, beside: int) -> Judged:
        """Ask the gate; `beside` counts the calls of the same tool that the same step makes before this one."""
        selected, contract, verdict = judged(
            self.state,
            candidate,
            find=registry.get,
            allow=self.snapshot.rule(self.run.task_type_id, candidate.tool),
            policy=self.output_policy,
            idempotency_key=idempotency_key(self.run, candidate.call_id),
            tenant_id=self.run.tenant_id,
            beside=beside,
            bars=registry.barred,
            rules=self.rules_for,
        )
        if isinstance(verdict, gate.Gate) and contract is not None:
            # Nobody is asked about what could not be paid for anyway; what can be is asked again when it executes.
            unpaid = spending.refuses_call(run=self.run, contract=contract, now=self.driver.now())
            if unpaid is not None:
                verdict = gate.Deny(str(ErrorCode.BUDGET_EXCEEDED), unpaid.message, f"budget.{unpaid.budget_id}")
        return selected, contract, verdict

    def propose(
        self, selected: CallSelected, contract: ToolContract, verdict: gate.Gate, candidate: Candidate
    ) -> tuple[Proposal, CallProposed]:
        """Freeze a call for a person: the row to be saved, and the event that says so."""
        proposal = draft_proposal(
            run=self.run,
            call_id=selected.call_id,
            step_id=selected.step_id,
            contract=contract,
            arguments=selected.arguments,
            provenance=candidate.provenance,
            gate=verdict,
            explanation=candidate.why,
            now=self.driver.now(),
            known=self.snapshot.known(),
        )
        event = CallProposed(
            call_id=selected.call_id,
            proposal_id=str(proposal.id),
            digest=proposal.digest,
            band=proposal.risk_band,
            score=proposal.risk_score,
            rule=verdict.rule,
            decide_by=rfc3339(proposal.decide_by),
            reviewer_s=review_seconds(proposal.risk_band),
        )
        return proposal, event

    def book_reviews(self, drafts: Sequence[tuple[Proposal, State]]) -> None:
        """Set people's attention aside for proposals that are about to be saved. Raises _Unreviewed."""
        for draft, state in drafts:
            refused = spending.before_review(
                run=self.run,
                state=state,
                call_id=draft.call_id,
                band=draft.risk_band,
                now=self.driver.now(),
                actor=self.actor,
            )
            if refused is not None:
                raise _Unreviewed(draft.call_id, *refused)

    def unbooked(self, drafts: Sequence[tuple[Proposal, State]]) -> Shortcut | None:
        """Return the rows of proposals for which nobody's attention is counted; None where it is."""
        if any(spending.counts_review(run=self.run, state=state, band=draft.risk_band) for draft, state in drafts):
            return None
        return Shortcut(table_of([draft for draft, _ in drafts]))


class _Unreviewed(Exception):
    """Nobody is asked about a call, because the attention it would take is used up."""

    def __init__(self, call_id: str, message: str, rule: str) -> None:
        super().__init__(message)
        self.call_id = call_id
        self.message = message
        self.rule = rule


def _save(drafts: Sequence[Proposal]) -> list[Event]:
    Proposal.objects.bulk_create(drafts)
    return []
