"""A claimed run as it is on record, and what has happened since but is not committed yet."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from agentops.audit.services import StreamConflict
from agentops.engine.events import (
    CallUnknown,
    Event,
    ProposalWithdrawn,
    RunClaimed,
    RunFailed,
    RunSucceeded,
    RunWaiting,
    Stamped,
)
from agentops.engine.folding import apply, fold
from agentops.engine.state import State
from agentops.engine.transitions import CallState, RunState
from agentops.guardrails.output.policy import OutputPolicy
from agentops.guardrails.screening import screen_input
from agentops.halts.covering import Stop
from agentops.runs import lease as leases
from agentops.runs.commit import RUN_COLUMNS, Head, Shortcut, Write
from agentops.runs.endings import concerned, events_of_end
from agentops.runs.models import Run
from agentops.runs.points import reached
from agentops.runs.recording import Lease, load_many, projection
from agentops.tenancy.access import WORKER, Actor
from agentops.wire.parse import JSON, JSONObject
from agentops.worker.means import Means
from agentops.worker.needs import Commit, Need, Steps
from agentops.worker.snapshot import Snapshot
from agentops.worker.stopping import paused_by, stop_for
from approvals.gating.judging import TenantRules
from approvals.permits import policies, trust
from approvals.services import withdraw_proposals
from tools.contracts import ToolContract

MAX_CONFLICTS: Final = 100
"""How often an outcome is offered again while others append to the same run; far more than people can."""


@dataclass
class Claimed:
    """The recording side of a session: events are applied at once, buffered, and committed together."""

    driver: Means
    snapshot: Snapshot
    run: Run
    lease: Lease
    head: Head
    recorded: State
    state: State = field(init=False)
    buffer: list[Stamped] = field(init=False, default_factory=list)
    announced: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.state = self.recorded

    @property
    def actor(self) -> Actor:
        return replace(WORKER, id=self.driver.owner)

    @property
    def output_policy(self) -> OutputPolicy:
        return self.snapshot.output_policy(self.run.task_type)

    def pin(self, tool: str) -> JSONObject | None:
        return self.state.submitted.tools.get(tool) if self.state.submitted else None

    def over(self) -> bool:
        """Whether there is nothing to drive."""
        return self.recorded.submitted is None or not self.recorded.state.claimable or self.recorded.paused

    def halted(self, tool: str = "") -> Generator[Need, Any, bool]:
        """Whether a stop covers the run, or a call of `tool`; the run is paused by it then and lets its worker go."""
        stop = stop_for(self.run, tool)
        if stop is not None and not self.state.paused:
            yield from self.stopped(stop)
        return stop is not None

    def stopped(self, stop: Stop) -> Steps:
        """Record that the run is paused by a stop, and let it go."""
        self.note(paused_by(stop))
        try:
            yield from self.flush(release=True)
        except StreamConflict:
            # Somebody did something to the run meanwhile. It is stopped all the same: the next worker records that.
            self.reload()
            yield from self.let_go()

    # --- recording --------------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the run again, because somebody else has written to it."""
        stream_id, last, events = load_many([self.run.id])[self.run.id]
        self.recorded = self.state = fold(events)
        self.head = Head(stream_id, self.recorded.seq, last)
        # Paused and resumed meanwhile: it needs to be taken up again.
        self.announced = self.announced and self.recorded.state is not RunState.QUEUED
        self.run.refresh_from_db(fields=list(RUN_COLUMNS))
        self.buffer.clear()

    def claim(self) -> None:
        """Say who works on the run, once: after a conflict the claim may be on record already."""
        if not self.announced:
            screened: list[JSONObject] = []
            if self.recorded.started_at is None and self.recorded.submitted is not None:
                screened = screen_input(self.recorded.submitted.input, self.snapshot.screening)
            self.note(RunClaimed(self.driver.owner, self.run.attempts, screened))

    def note(self, *events: Event) -> None:
        """Buffer events; they are applied at once and committed with the next `flush`."""
        for event in events:
            stamped = Stamped(self.state.seq + 1, self.driver.now(), event)
            self.state = apply(self.state, stamped)
            self.buffer.append(stamped)

    def flush(
        self,
        *,
        release: bool = False,
        busy: timedelta = timedelta(0),
        inside: Callable[[], None] | None = None,
        beside: Callable[[], Sequence[Event]] | None = None,
        shortcut: Shortcut | None = None,
    ) -> Steps:
        """Commit the buffer and the run's projection, together with what `inside` and `beside` do (`commit.Write`).

        `busy` is how long the worker may be inside a handler next; the lease outlasts that.
        """
        if release:
            reached("before_release")
        columns = self.columns(release=release, busy=busy)
        recorded = (self.lease, self.head, tuple(self.buffer), self.state, self.actor, columns)
        write = Write(*recorded, inside=inside, beside=beside, shortcut=shortcut)
        self.head = yield Commit(write)
        for name, value in columns.items():
            setattr(self.run, name, value)
        if columns["lease_until"] is not None:
            self.lease = replace(self.lease, until=columns["lease_until"])
        self.recorded = self.state
        self.announced = True
        self.buffer = []
        if release:
            reached("after_release")

    def columns(self, *, release: bool, busy: timedelta) -> dict[str, Any]:
        """Return the row of the run as it will be."""
        now = self.driver.now()
        columns = {name: getattr(self.run, name) for name in RUN_COLUMNS}
        columns |= projection(self.recorded, self.state, self.buffer)
        if any(not isinstance(s.event, RunClaimed) for s in self.buffer):
            columns["attempts"] = 0
        if release:
            return columns | {"lease_owner": "", "lease_until": None}
        # A lease that still holds long enough is left alone: every renewal is a row written anew.
        needed = now + max(leases.LEASE / 2, busy + leases.MARGIN)
        if self.lease.until < needed:
            columns["lease_until"] = now + max(leases.LEASE, busy + leases.MARGIN)
        else:
            columns["lease_until"] = self.lease.until
        return columns

    def let_go(self) -> Steps:
        """Give the lease back."""
        yield from self.flush(release=True)

    def end(self, event: RunSucceeded | RunFailed) -> Steps:
        """End the run; proposals that are still open close with it. The sweeper asks about effects under way."""
        proposed = False
        for call in self.state.calls.values():
            if call.state is CallState.PROPOSED:
                proposed = True
                self.note(ProposalWithdrawn(call.proposal_id, call.call_id, "The run ended."))
            elif call.state is CallState.EXECUTING:
                self.note(CallUnknown(call.call_id, "The run ended while this was under way."))
        self.note(event)

        before, after = self.recorded, self.state

        def close() -> list[Event]:
            if proposed:
                withdraw_proposals(self.run.id, reason="The run ended.", now=self.driver.now())
            return events_of_end(self.run.id, before, after)

        more = proposed or concerned(after)
        yield from self.flush(release=True, beside=close if more else None)

    # --- the tenant's rules -----------------------------------------------------------------------------------------

    def rules_for(self, contract: ToolContract | None, arguments: JSON) -> TenantRules:
        """Return the part of a candidate that policy and scoped trusts have to say, as the snapshot knows them."""
        policy, now = self.snapshot.policy(), self.driver.now()
        return {
            "policy": policy,
            "surroundings": policies.surroundings(self.run, self.snapshot.place(), now) if policy.rules else None,
            "trust": trust.covering(
                self.snapshot.trusts(),
                task_type_id=self.run.task_type_id,
                run_id=self.run.id,
                contract=contract,
                arguments=arguments,
                now=now,
            ),
        }


def rfc3339(moment: datetime) -> str:
    """Return a moment as events carry it."""
    return moment.isoformat(timespec="microseconds")


def waiting(state: RunState, until: datetime | None) -> RunWaiting:
    """Return the event of a run that waits in a state, perhaps until a moment."""
    match state:
        case RunState.WAITING_RETRY:
            return RunWaiting("waiting_retry", rfc3339(until) if until else "")
        case RunState.AWAITING_RECONCILIATION:
            return RunWaiting("awaiting_reconciliation")
        case _:
            return RunWaiting("awaiting_approval")
