"""One claim of one run, as a generator: it decides, and hands out what it needs done.

A session never touches the database of its own run, a tool or a model. It yields what it needs, and whoever drives it
sends back what came of that: `Commit` (the events so far, in one transaction with those of other runs), `Ask` (a plan),
`Enquire` (an answer to a person's question) and `Invoke` (a tool, under a permit). Events are buffered while nothing
but reads happened, and committed with their step. Before an effect that is not a read the buffer is committed with the
intent and the grant's consumption, and its outcome is committed right after it.
"""

from collections.abc import Generator
from typing import Any, Final, assert_never

from agentops.audit.services import StreamConflict
from agentops.engine.decide import (
    Confirm,
    Execute,
    Fail,
    FallBack,
    Finalize,
    MakePlan,
    Nothing,
    Reconcile,
    Record,
    Reply,
    Select,
    Wait,
    decide,
)
from agentops.engine.events import AnswerBlocked, RunFailed
from agentops.runs import lease as leases
from agentops.runs.points import reached
from agentops.worker import mishap
from agentops.worker.calls import read_back, request_of
from agentops.worker.claimed import waiting
from agentops.worker.executing import Executing
from agentops.worker.needs import Need, Steps
from agentops.worker.output import review_answer
from agentops.worker.planning import Planning
from agentops.worker.selecting import Selecting
from approvals.gating.judging import output_context
from tools.registry import registry

MAX_COMMANDS: Final = 20_000
"""A backstop far above what the limits of a run allow."""


class Session(Planning, Selecting, Executing):
    """One claim of one run, from taking it up to letting it go."""

    def steps(self) -> Steps:
        """Take the run as far as it goes without a person."""
        if self.over():
            yield from self.let_go()
            return
        if (yield from self.halted()):
            return
        self.claim()
        reached("folded")
        if self.run.attempts > leases.MAX_ATTEMPTS:
            message = mishap.dead_letter(
                attempts=self.run.attempts - 1, last_error=self.run.last_error, last_owner=self.run.last_owner
            )
            yield from self.end(RunFailed("dead_letter", message))
            return
        for _ in range(MAX_COMMANDS):
            try:
                if (yield from self.halted()) or not (yield from self.step()):
                    return
            except StreamConflict:
                # Somebody decided, cancelled or expired something meanwhile; what was buffered were only reads.
                self.reload()
                if self.over():
                    yield from self.let_go()
                    return
                self.claim()
        yield from self.end(RunFailed("internal", "The run did not come to a stop."))

    # --- commands ---------------------------------------------------------------------------------------------------

    def step(self) -> Generator[Need, Any, bool]:
        """Perform the next command; False when the run has let this worker go."""
        command = decide(self.state)
        match command:
            case MakePlan():
                yield from self.make_plan(command)
            case Record(events=events):
                self.note(*events)
            case Select(candidates=candidates):
                return (yield from self.select(candidates))
            case Execute(call_id=call_id):
                return (yield from self.execute(self.state.calls[call_id]))
            case Reconcile(call_id=call_id):
                yield from self.reconcile(self.state.calls[call_id])
            case Confirm(call_id=call_id):
                call = self.state.calls[call_id]
                self.note(read_back(call, request_of(self.run, call, self.driver.now()), self.driver.tools))
            case Reply():
                yield from self.reply(command)
            case FallBack(events=events):
                yield from self.fall_back(events)
            case Wait(state=state, until=until):
                self.note(waiting(state, until))
                yield from self.let_go()
                return False
            case Finalize(answer=answer, untrusted=untrusted):
                context = output_context(self.state, self.output_policy, registry.get)
                reviewed = review_answer(answer, context, untrusted=untrusted)
                if isinstance(reviewed, AnswerBlocked):
                    self.note(reviewed)
                    return True
                yield from self.end(reviewed)
                return False
            case Fail(code=code, message=message):
                yield from self.end(RunFailed(code, message))
                return False
            case Nothing():
                yield from self.let_go()
                return False
            case _:
                assert_never(command)
        return True
