"""A person asks the agent about a call that waits: who answers, what an answer may change, and what a crash leaves."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
from django.conf import settings

from agentops.budgets.measures import Measure
from agentops.budgets.models import Reservation
from agentops.engine.events import ProposalAnswered, ProposalUnanswered, Usage
from agentops.engine.planner import (
    Answered,
    AnswerRequest,
    Planned,
    PlannerAnswer,
    PlannerFailed,
    PlanRequest,
)
from agentops.engine.state import Question
from agentops.runs.models import Run
from agentops.runs.recording import load, state_of
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSON, JSONObject
from agentops.worker import spending
from agentops.worker.driver import Driver
from approvals.decisions.asking import Outcome, ask
from approvals.models import BandRule, Decision, Proposal, Status
from approvals.proposals.outcomes import Asked, Decided, Invalid, Reconfirm, Seconded, Stale
from approvals.services import expire, reject
from approvals.stopping import halting
from approvals.stopping.intervention import cancel_run, pause_run, resume_run
from tests.budgets.lab import books, budget
from tests.conftest import person
from tests.deciding import approve, edit_and_approve
from tests.shop import Clock, open_shop, start, task_type
from tools.allowlist import AllowlistState
from tools.backoffice.models import Refund

WHY = "Why so much?"
USAGE = Usage(1, 300, 40, 900, 10)
EXCHANGE: JSONObject = {"request": {"messages": 2}, "response": {"text": "Because."}}
HALF: JSONObject = {"amount_minor": 50}
Reply = Callable[[AnswerRequest], Answered | PlannerFailed]


class Killed(BaseException):
    """Stands for SIGKILL."""


def says(text: str = "Because.", changes: JSONObject | None = None, refused: str = "") -> Reply:
    return lambda _: Answered(text, changes, refused, USAGE, EXCHANGE, "model:scripted")


@dataclass
class Model:
    """A planner that proposes one refund and answers questions from a list; it keeps what it was asked."""

    replies: list[Reply] = field(default_factory=list)
    asked: list[AnswerRequest] = field(default_factory=list)
    plans: int = 0
    name: str = "model:scripted"

    def plan(self, request: PlanRequest) -> PlannerAnswer:
        self.plans += 1
        if request.version > 1:
            other: JSONObject = {"id": "other", "tool": "shop.find_order", "arguments": {"order_ref": "A-1002"}}
            return Planned({"steps": [other]}, USAGE, EXCHANGE)
        arguments: JSONObject = {"order_ref": "A-1001", "amount_minor": 100, "currency": "EUR", "reason": "Late"}
        step: JSONObject = {"id": "pay", "tool": "shop.issue_refund", "arguments": arguments, "why": "The tent is torn"}
        steps: list[JSON] = [{"id": "look", "tool": "shop.find_order", "arguments": {"order_ref": "A-1001"}}, step]
        return Planned({"steps": steps}, USAGE, EXCHANGE)

    def answer(self, request: AnswerRequest) -> Answered | PlannerFailed:
        self.asked.append(request)
        return self.replies.pop(0)(request)


@dataclass
class Scene:
    """One run that waits for a person, its model, and who decides."""

    tenant: Tenant
    clock: Clock
    model: Model
    bob: Actor
    sam: Actor
    run: Run | None = None

    def begin(self, **more: object) -> Proposal:
        before = settings.AGENTOPS_MODEL, settings.AGENTOPS_MODEL_BASE_URL
        settings.AGENTOPS_MODEL, settings.AGENTOPS_MODEL_BASE_URL = "scripted", "http://127.0.0.1:9/v1"
        try:
            allow = {"shop.find_order": AllowlistState.AUTO, "shop.issue_refund": AllowlistState.GATED}
            task_type([], allow, planner="model", **more)
            self.run = start("job", {}, now=self.clock())
        finally:
            settings.AGENTOPS_MODEL, settings.AGENTOPS_MODEL_BASE_URL = before
        self.drive()
        return self.proposal

    def drive(self, owner: str = "w1") -> Run:
        assert self.run is not None
        driver = Driver(owner, now=self.clock)
        if self.run.task_type.slug == "job":
            driver = replace(driver, planners=lambda run, state: self.model)
        driver.drive(self.tenant, self.run.pk)
        self.run = Run.objects.get(pk=self.run.pk)
        return self.run

    @property
    def proposal(self) -> Proposal:
        return Proposal.objects.get(run=self.run)

    def ask(self, question: str = WHY, actor: Actor | None = None) -> Outcome:
        p = self.proposal
        return ask(
            proposal_id=p.pk,
            actor=actor or self.bob,
            version=p.version,
            digest=p.digest,
            question=question,
            now=self.clock(),
        )

    def approve(self, version: int, digest: str, actor: Actor | None = None) -> object:
        who = actor or self.bob
        return approve(
            proposal_id=self.proposal.pk, actor=who, version=version, digest=digest, now=self.clock(), note="It is so."
        )

    @property
    def questions(self) -> tuple[Question, ...]:
        assert self.run is not None
        return next(c.questions for c in state_of(self.run.pk).calls.values() if c.tool == "shop.issue_refund")

    @property
    def types(self) -> list[str]:
        assert self.run is not None
        return [s.event.type for s in load(self.run.pk)]


@pytest.fixture
def scene(scoped: Tenant) -> Scene:
    open_shop(scoped)
    bob = Actor.user(person("bo", scoped, "operator"), ("operator",))
    sam = Actor.user(person("sammy", scoped, "senior"), ("senior",))
    return Scene(scoped, Clock(), Model(), bob, sam)


# --- who answers ------------------------------------------------------------------------------------------------------


def test_what_a_playbook_planned_is_answered_from_its_plan_and_no_model_is_asked(scene: Scene) -> None:
    task: JSONObject = {"order_ref": "A-1002", "amount_minor": 100, "reason": "Late"}
    scene.run = start("goodwill-refund", task, now=scene.clock())
    scene.drive()
    before = scene.proposal
    assert scene.ask() == Asked(before.pk, 1)
    assert Run.objects.get(pk=before.run_id).state == "queued"
    assert scene.drive().state == "awaiting_approval"
    (question,) = scene.questions
    assert (question.outcome, question.by, question.text) == ("answered", "bo", WHY)
    assert question.answered_by.startswith("playbook:goodwill-refund@")
    assert "no model wrote it" in question.answer
    assert "amount_minor is from the submitted task (amount_minor)" in question.answer
    assert not scene.model.asked
    assert (scene.proposal.version, scene.proposal.digest) == (before.version, before.digest)
    assert scene.proposal.decide_by == before.decide_by
    assert isinstance(scene.approve(before.version, before.digest), Decided)
    assert scene.drive().state == "succeeded"


def test_the_model_that_planned_answers_with_what_it_knew_and_the_run_waits_on(scene: Scene) -> None:
    scene.model.replies = [says("The order was late."), says("As I said.")]
    scene.begin()
    scene.ask()
    assert scene.drive().state == "awaiting_approval"
    scene.ask("And why now?")
    scene.drive()
    first, second = scene.model.asked
    assert (first.question, first.step.why, first.arguments["amount_minor"]) == (WHY, "The tent is torn", 100)
    assert first.about.tools == ()
    assert second.said == ((WHY, "The order was late."),)
    assert [q.answer for q in scene.questions] == ["The order was late.", "As I said."]
    assert scene.run is not None
    assert state_of(scene.run.pk).usage.requests == 3
    assert scene.model.plans == 1
    assert scene.proposal.version == 1


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("Paid by 4111 1111 1111 1111.", "Paid by [redacted: card number]."),
        (f"The key is ghp_{'a1B2c3' * 6}.", "(Held back. The answer holds a secret (github token).)"),
        ("I have not refunded it yet.", "I have not refunded it yet."),
    ],
)
def test_a_person_sees_of_an_answer_what_the_output_policy_lets_out(scene: Scene, said: str, seen: str) -> None:
    scene.begin()
    scene.ask()
    scene.model.replies = [says(said)]
    scene.drive()
    assert [one.answer for one in scene.questions] == [seen]


def test_three_questions_are_answered_and_no_more(scene: Scene) -> None:
    scene.model.replies = [says(), lambda _: PlannerFailed("model_timeout", "Too late."), says(), says()]
    scene.begin()
    for _ in range(4):
        assert isinstance(scene.ask(), Asked)
        scene.drive()
    outcome = scene.ask()
    assert isinstance(outcome, Invalid)
    assert outcome.issues[0].code == "rounds"
    assert [q.outcome for q in scene.questions] == ["answered", "unanswered", "answered", "answered"]


def test_one_question_at_a_time(scene: Scene) -> None:
    scene.begin()
    scene.ask()
    outcome = scene.ask("Really?", scene.sam)
    assert isinstance(outcome, Invalid)
    assert outcome.issues[0].code == "open"
    assert scene.types.count("proposal.asked") == 1


# --- other arguments --------------------------------------------------------------------------------------------------


def test_other_arguments_are_a_new_version_for_which_earlier_approvals_do_not_count(scene: Scene) -> None:
    BandRule.objects.create(band="high", approvers=2)
    BandRule.objects.create(band="medium", approvers=2)
    BandRule.objects.create(band="low", approvers=2)
    from approvals.assessing import ladder

    ladder.forget()
    scene.model.replies = [says("Half is enough.", HALF)]
    first = scene.begin()
    assert isinstance(scene.approve(1, first.digest, scene.sam), Seconded)
    scene.ask()
    scene.drive()
    second = scene.proposal
    assert (second.version, second.argument_values["amount_minor"]) == (2, 50)
    assert second.original_values == second.argument_values
    assert second.digest != first.digest
    assert "changed_after_question" in {one["code"] for one in second.risk["reasons"]}
    assert second.provenance["/amount_minor"]["sources"][0]["ref"] == "model:scripted#question1"
    assert second.provenance["/order_ref"] == first.provenance["/order_ref"]
    (question,) = scene.questions
    assert list(question.changed) == [{"op": "replace", "path": "/amount_minor", "value": 50}]
    assert isinstance(scene.approve(1, first.digest), Stale)
    assert isinstance(scene.approve(2, second.digest), Seconded)
    assert isinstance(scene.approve(2, second.digest, scene.sam), Decided)
    scene.drive()
    assert Refund.objects.get().amount_minor == 50
    [call] = [one for one in state_of(second.run_id).calls.values() if one.tool == "shop.issue_refund"]
    assert call.digest == second.digest == Decision.objects.get(final=True).digest
    ladder.forget()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"amount_minor": "a lot"}, "They were refused: /amount_minor"),
        ({"nonsense": 1}, "They were refused"),
        ({"amount_minor": 100}, "the arguments that the call has already"),
    ],
)
def test_arguments_that_cannot_be_are_not_taken_and_the_answer_says_so(
    scene: Scene, changes: JSONObject, told: str
) -> None:
    scene.model.replies = [says("Take these.", changes)]
    before = scene.begin()
    scene.ask()
    scene.drive()
    (question,) = scene.questions
    assert (question.outcome, question.answer) == ("answered", "Take these.")
    assert told in question.refused
    assert (scene.proposal.version, scene.proposal.digest) == (1, before.digest)
    assert isinstance(scene.approve(1, before.digest), Decided)
    assert scene.drive().state == "succeeded"


def test_what_a_person_edited_while_the_model_thought_is_what_the_answer_changes(scene: Scene) -> None:
    BandRule.objects.bulk_create([BandRule(band=band, approvers=2) for band in ("low", "medium", "high")])
    from approvals.assessing import ladder

    ladder.forget()

    def edit_first(_: AnswerRequest) -> Answered:
        p = scene.proposal
        kept = edit_and_approve(
            proposal_id=p.pk,
            actor=scene.sam,
            version=1,
            digest=p.digest,
            arguments={**p.argument_values, "reason": "Torn"},
            note="It was torn, they say.",
            now=scene.clock(),
        )
        assert isinstance(kept, Reconfirm)
        return Answered("Half.", HALF, "", USAGE, EXCHANGE)

    scene.model.replies = [edit_first]
    scene.begin()
    scene.ask()
    scene.drive()
    assert scene.proposal.version == 3
    assert scene.proposal.argument_values["reason"] == "Torn"
    assert scene.proposal.argument_values["amount_minor"] == 50
    assert len(scene.model.asked) == 1
    kept = edit_and_approve(
        proposal_id=scene.proposal.pk,
        actor=scene.sam,
        version=3,
        digest=scene.proposal.digest,
        arguments={**scene.proposal.argument_values, "reason": "Torn, they say"},
        note="It was torn, they say.",
        now=scene.clock(),
    )
    assert isinstance(kept, Reconfirm)
    assert "changed_after_question" in {one["code"] for one in scene.proposal.risk["reasons"]}
    ladder.forget()


# --- what happens meanwhile -------------------------------------------------------------------------------------------


def decided(scene: Scene) -> None:
    p = scene.proposal
    assert isinstance(scene.approve(p.version, p.digest), Decided)


def rejected(scene: Scene) -> None:
    p = scene.proposal
    said: Mapping[str, object] = {"reason_code": "duplicate", "note": "Again."}
    assert isinstance(
        reject(proposal_id=p.pk, actor=scene.bob, version=1, digest=p.digest, now=scene.clock(), **said),  # type: ignore[arg-type]
        Decided,
    )


def expired(scene: Scene) -> None:
    p = scene.proposal
    scene.clock.now = p.decide_by
    assert expire(proposal_id=p.pk, now=scene.clock())


@pytest.mark.parametrize("meanwhile", [decided, rejected, expired])
def test_an_answer_that_comes_after_the_decision_is_kept_and_changes_nothing(
    scene: Scene, meanwhile: Callable[[Scene], None]
) -> None:
    def late(_: AnswerRequest) -> Answered:
        meanwhile(scene)
        return Answered("Half.", HALF, "", USAGE, EXCHANGE)

    scene.model.replies = [late]
    before = scene.begin()
    scene.ask()
    scene.drive()
    (question,) = scene.questions
    assert (question.outcome, question.answer) == ("answered", "Half.")
    assert question.refused == "It was decided before the answer came."
    assert scene.proposal.digest == before.digest
    assert scene.run is not None
    assert scene.run.state == "succeeded"
    assert state_of(scene.run.pk).usage.requests == (2 if meanwhile is decided else 3)


def test_a_decision_before_anybody_was_asked_drops_the_question(scene: Scene) -> None:
    before = scene.begin()
    scene.ask()
    decided(scene)
    assert scene.drive().state == "succeeded"
    assert [q.outcome for q in scene.questions] == ["dropped"]
    assert not scene.model.asked
    assert Refund.objects.get().amount_minor == before.argument_values["amount_minor"]


def test_a_run_that_is_cancelled_while_its_model_answers_ends_without_the_answer(scene: Scene) -> None:
    def late(_: AnswerRequest) -> Answered:
        assert scene.run is not None
        cancel_run(run_id=scene.run.pk, actor=scene.sam, reason="Enough of this", now=scene.clock())
        return Answered("Half.", HALF, "", USAGE, EXCHANGE)

    scene.model.replies = [late]
    scene.begin()
    scene.ask()
    assert scene.drive().state == "cancelled"
    assert "proposal.answered" not in scene.types
    assert scene.proposal.status == Status.WITHDRAWN


def test_a_paused_run_is_not_asked_and_answers_once_it_goes_on(scene: Scene) -> None:
    scene.model.replies = [says()]
    scene.begin()
    assert scene.run is not None
    pause_run(run_id=scene.run.pk, actor=scene.sam, reason="Let me look", now=scene.clock())
    assert isinstance(scene.ask(), Asked)
    scene.drive()
    assert not scene.model.asked
    resume_run(run_id=scene.run.pk, actor=scene.sam, reason="I have looked", now=scene.clock())
    assert scene.drive().state == "awaiting_approval"
    assert [q.outcome for q in scene.questions] == ["answered"]


def test_an_answer_that_comes_into_a_pause_is_kept(scene: Scene) -> None:
    def late(_: AnswerRequest) -> Answered:
        assert scene.run is not None
        pause_run(run_id=scene.run.pk, actor=scene.sam, reason="Let me look", now=scene.clock())
        return Answered("Half.", HALF, "", USAGE, EXCHANGE)

    scene.model.replies = [late]
    scene.begin()
    scene.ask()
    scene.drive()
    assert [q.outcome for q in scene.questions] == ["answered"]
    assert scene.proposal.version == 2
    assert scene.run is not None
    resume_run(run_id=scene.run.pk, actor=scene.sam, reason="I have looked", now=scene.clock())
    assert scene.drive().state == "awaiting_approval"


def test_a_stop_of_the_line_holds_the_question_back(scene: Scene) -> None:
    scene.model.replies = [says()]
    scene.begin()
    everything = halting.find_target("tenant:")
    assert everything is not None
    stopped = halting.stop(target=everything, reason="Something is wrong", actor=scene.sam, now=scene.clock())
    assert isinstance(stopped, halting.Stopped)
    scene.ask()
    scene.drive()
    assert not scene.model.asked
    halting.lift(halt_id=stopped.halt_id, reason="All is well", actor=scene.sam, now=scene.clock())
    halting.settle_lifted(scene.clock())
    assert scene.drive().state == "awaiting_approval"
    assert len(scene.model.asked) == 1


# --- what it may cost -------------------------------------------------------------------------------------------------


def test_a_run_that_may_not_ask_a_model_any_more_says_so_and_waits_on(scene: Scene) -> None:
    before = scene.begin(limits={"model_calls": 1})
    scene.ask()
    assert scene.drive().state == "awaiting_approval"
    (question,) = scene.questions
    assert (question.outcome, question.code) == ("unanswered", "limit_model_calls")
    assert not scene.model.asked
    assert isinstance(scene.approve(1, before.digest), Decided)
    assert scene.drive().state == "succeeded"


def test_a_question_that_might_use_more_tokens_than_are_left_is_not_asked(scene: Scene) -> None:
    scene.begin(limits={"tokens": 40_000})
    scene.ask("Why? " * 150)
    scene.model.replies = [says()]
    scene.drive()
    scene.ask("Why? " * 150)
    scene.model.replies = [lambda _: Answered("So.", None, "", Usage(1, 20_000, 10_000, 900, 10), EXCHANGE)]
    scene.drive()
    scene.ask()
    scene.drive()
    assert [(q.outcome, q.code) for q in scene.questions][-1] == ("unanswered", "limit_tokens")
    assert scene.run is not None
    assert scene.run.state == "awaiting_approval"


def test_a_budget_that_is_used_up_pays_for_no_answer_and_one_that_is_not_is_charged_once(scene: Scene) -> None:
    calls = budget(Measure.MODEL_CALLS, 2)
    scene.model.replies = [says(), says()]
    scene.begin()
    for _ in range(2):
        scene.ask()
        assert scene.drive().state == "awaiting_approval"
    assert [(q.outcome, q.code) for q in scene.questions] == [("answered", ""), ("unanswered", "budget_exceeded")]
    assert len(scene.model.asked) == 1
    assert books(calls) == (0, 2)


def test_what_a_dead_worker_may_have_spent_on_an_answer_counts_and_the_next_one_is_charged_by_itself(
    scene: Scene,
) -> None:
    calls = budget(Measure.MODEL_CALLS, 10, period="total")
    scene.model.replies = [killed, says()]
    scene.begin()
    scene.ask()
    with suppress(Killed):
        scene.drive()
    assert books(calls) == (1, 1)
    scene.clock.forward(minutes=10)
    spending.sweep(scene.clock())
    assert books(calls) == (0, 2)
    scene.drive("w2")
    assert books(calls) == (0, 3)


def test_time_in_which_the_agent_answers_is_none_of_the_runs_own(scene: Scene) -> None:
    def slow(_: AnswerRequest) -> Answered:
        scene.clock.forward(hours=20)
        return Answered("So.", None, "", USAGE, EXCHANGE)

    scene.model.replies = [slow]
    before = scene.begin()
    Proposal.objects.update(
        decide_by=before.decide_by.replace(year=2040), execute_by=before.execute_by.replace(year=2040)
    )
    scene.ask()
    assert scene.drive().state == "awaiting_approval"
    decided(scene)
    assert scene.drive().state == "succeeded"


# --- crashes ----------------------------------------------------------------------------------------------------------


def killed(_: AnswerRequest) -> Answered:
    raise Killed


def test_a_worker_that_dies_while_the_model_is_asked_loses_nothing(scene: Scene) -> None:
    scene.model.replies = [killed, says("Here.")]
    scene.begin()
    scene.ask()
    with suppress(Killed):
        scene.drive()
    assert scene.types[-1] == "run.claimed"
    scene.clock.forward(minutes=10)
    assert scene.drive("w2").state == "awaiting_approval"
    assert [q.answer for q in scene.questions] == ["Here."]
    claims = [i for i, name in enumerate(scene.types) if name == "run.claimed"]
    assert len(scene.model.asked) == len([i for i in claims if i > scene.types.index("proposal.asked")]) == 2
    assert not Reservation.objects.exists()


def test_a_question_that_ends_every_worker_does_not_end_the_run(scene: Scene) -> None:
    scene.model.replies = [killed] * 9
    before = scene.begin()
    scene.ask()
    for number in range(4):
        with suppress(Killed):
            scene.drive(f"w{number}")
        scene.clock.forward(minutes=10)
    (question,) = scene.questions
    assert (question.outcome, question.code) == ("unanswered", "interrupted")
    assert len(scene.model.asked) == 3
    assert isinstance(scene.approve(1, before.digest), Decided)
    assert scene.drive().state == "succeeded"


def test_every_question_is_closed_by_one_event(scene: Scene) -> None:
    scene.model.replies = [says(), lambda _: PlannerFailed("model_quota", "No more.", usage=USAGE)]
    scene.begin()
    for _ in range(2):
        scene.ask()
        scene.drive()
        scene.drive()
    assert scene.run is not None
    closed = [s.event for s in load(scene.run.pk) if isinstance(s.event, ProposalAnswered | ProposalUnanswered)]
    assert [(type(one).__name__, one.round) for one in closed] == [("ProposalAnswered", 1), ("ProposalUnanswered", 2)]
