"""What a policy and a scoped trust do to runs: from the gate to the grant, and again when the grant is used."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentops import clock
from agentops.audit.services import load as load_stream
from agentops.changes import outcomes
from agentops.engine.events import CallDenied, CallGranted, CallSucceeded, ProposalUndone
from agentops.engine.replay import Identical, replay
from agentops.runs.models import OutputRules, Run, TaskType
from agentops.runs.recording import load
from agentops.runs.timeline import tell
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Membership, Tenant
from agentops.wire.parse import JSON, JSONObject
from approvals.assessing import ladder
from approvals.decisions.release import Undone, undo
from approvals.models import BandRule, Grant, PolicyVersion, Proposal, RuleUse
from approvals.permits import policies, trust
from approvals.proposals.outcomes import Decided, Forbidden, Seconded
from tests.conftest import person
from tests.deciding import approve
from tests.shop import drive, only_proposal, open_shop, start, task_type
from tests.worker.test_driver import approved, events_of
from tools.allowing import seed_rules
from tools.allowlist import AllowlistState
from tools.backoffice.models import Refund
from tools.models import AllowlistEntry

REFUND: JSONObject = {"order_ref": "A-1002", "amount_minor": 100, "reason": "x"}
SMALL = """policy: 1
rules:
  - id: small-refunds
    when: call.tool == 'shop.issue_refund' && run.task_type == 'goodwill-refund'
    effect: allow
    classes: [financial]
    bounds: [{parameter: amount_minor, most: 500}]
    calls_per_run: 1
    expires: %s
"""
NONE_OF_IT = "policy: 1\nrules: [{id: freeze, when: contract.writes, effect: deny, because: Stocktaking.}]\n"
TWO = "policy: 1\nrules: [{id: two, when: contract.writes, effect: gate, quorum: 2, role: senior, decide_within: 5m}]\n"


@pytest.fixture
def shop(scoped: Tenant) -> Tenant:
    open_shop(scoped)
    return scoped


@pytest.fixture
def reviewer(bob: User, shop: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(bob, shop)


@pytest.fixture
def publish(shop: Tenant, alice: User, actor_of: Callable[[User, Tenant], Actor]) -> Callable[[str], None]:
    ada, adam = actor_of(alice, shop), actor_of(person("adam", shop, "admin"), shop)

    def publish(text: str) -> None:
        outcome = policies.propose(text=text, effective_at=None, note="As the board decided.", actor=ada)
        assert isinstance(outcome, outcomes.Proposed), outcome
        settled = policies.decide(version_id=outcome.change_id, verdict="approve", note="", actor=adam)
        assert isinstance(settled, outcomes.Settled), settled

    return publish


def small() -> str:
    return SMALL % clock.now().replace(microsecond=0, year=clock.now().year + 1).isoformat()


def grants() -> list[tuple[str, str, int]]:
    return list(Grant.objects.order_by("created_at").values_list("source", "policy_rule", "policy_version"))


def test_a_small_refund_runs_by_itself_under_a_published_bounded_rule(
    shop: Tenant, publish: Callable[[str], None]
) -> None:
    AllowlistEntry.objects.filter(tool="shop.issue_refund").update(state="auto")
    publish(small())
    run = drive(start("goodwill-refund", REFUND).id)
    assert run.state == "succeeded", run.failure_message
    assert ("policy", "policy.1.small-refunds", 1) in grants()
    granted = [one for one in events_of(run, CallGranted) if isinstance(one, CallGranted)]
    assert "policy.1.small-refunds" in {one.rule for one in granted}
    assert drive(start("goodwill-refund", REFUND | {"amount_minor": 501}).id).state == "awaiting_approval"
    waiting = only_proposal()
    assert (waiting.policy_rule, waiting.policy_version) == ("sensitive.financial", 1)


def test_a_later_call_that_has_to_ask_does_not_stop_the_one_that_is_within_the_bound(
    shop: Tenant, publish: Callable[[str], None]
) -> None:
    publish(small().replace("goodwill-refund", "job"))
    calls: list[JSON] = [
        {"tool": "shop.issue_refund", "arguments": REFUND | {"amount_minor": amount, "currency": "EUR"}}
        for amount in (100, 200)
    ]
    task_type([{"id": "a", "calls": calls}], {"shop.issue_refund": AllowlistState.AUTO})
    run = drive(start("job", {}).id)
    assert events_of(run, CallDenied) == []
    assert only_proposal().argument_values["amount_minor"] == 200
    assert [one.amount_minor for one in Refund.objects.all()] == [100]


def rated(bounds: str) -> str:
    return small().replace("[{parameter: amount_minor, most: 500}]", bounds).replace("    calls_per_run: 1\n", "")


def test_a_rate_lets_so_many_run_by_themselves_and_a_person_is_asked_about_the_next(
    shop: Tenant, publish: Callable[[str], None], reviewer: Actor
) -> None:
    AllowlistEntry.objects.filter(tool="shop.issue_refund").update(state="auto")
    publish(rated("[{calls: 2, within: 1h}]"))
    states = [drive(start("goodwill-refund", REFUND | {"amount_minor": 100 + n}).id).state for n in range(3)]
    assert states == ["succeeded", "succeeded", "awaiting_approval"]
    assert only_proposal().policy_rule == "sensitive.financial"
    # What a person approves is not counted, and not stopped.
    asked = only_proposal()
    approved(asked, reviewer)
    assert drive(asked.run_id).state == "succeeded"
    assert [len(row.uses) for row in RuleUse.objects.all()] == [2]
    assert Refund.objects.count() == 3


def test_a_rate_counts_for_each_value_of_an_argument(shop: Tenant, publish: Callable[[str], None]) -> None:
    AllowlistEntry.objects.filter(tool="shop.issue_refund").update(state="auto")
    publish(rated("[{parameter: order_ref, calls: 1, within: 1d}]"))
    orders = [drive(start("goodwill-refund", REFUND | {"order_ref": ref}).id).state for ref in ("A-1002", "A-1003")]
    assert orders == ["succeeded", "succeeded"]
    assert drive(start("goodwill-refund", REFUND | {"amount_minor": 101}).id).state == "awaiting_approval"


def test_of_several_calls_of_one_step_those_beyond_the_rate_go_to_a_person(
    shop: Tenant, publish: Callable[[str], None]
) -> None:
    publish(rated("[{calls: 2, within: 1h, per: tenant}]").replace("goodwill-refund", "job"))
    calls: list[JSON] = [
        {"tool": "shop.issue_refund", "arguments": REFUND | {"amount_minor": amount, "currency": "EUR"}}
        for amount in (100, 200, 300)
    ]
    task_type([{"id": "a", "calls": calls}], {"shop.issue_refund": AllowlistState.AUTO})
    run = drive(start("job", {}).id)
    assert events_of(run, CallDenied) == []
    assert only_proposal().argument_values["amount_minor"] == 300
    assert sorted(one.amount_minor for one in Refund.objects.all()) == [100, 200]


def test_a_rule_that_speaks_of_the_risk_asks_a_person(shop: Tenant, publish: Callable[[str], None]) -> None:
    AllowlistEntry.objects.filter(tool="shop.issue_refund").update(state="auto")
    risky = "  - {id: risky, when: \"risk.score >= 1 && 'irreversible' in risk.reasons\", effect: gate, quorum: 2}\n"
    publish(small() + risky.replace("'irreversible' in risk.reasons", "size(risk.reasons) > 0"))
    drive(start("goodwill-refund", REFUND).id)
    asked = only_proposal()
    assert asked.risk_score >= 1
    assert asked.quorum == 2
    assert any("the risk that its card shows" in reason for reason in asked.reasons)


def test_a_rule_that_denies_stops_new_calls_and_what_was_approved_before(
    shop: Tenant, publish: Callable[[str], None], reviewer: Actor
) -> None:
    waiting = drive(start("goodwill-refund", REFUND).id)
    approved(only_proposal(), reviewer)
    publish(NONE_OF_IT)
    stopped = drive(waiting.id)
    assert [one.code for one in events_of(stopped, CallDenied) if isinstance(one, CallDenied)] == ["policy_blocked"]
    new = drive(start("goodwill-refund", REFUND).id)
    denied = [one for one in events_of(new, CallDenied) if isinstance(one, CallDenied)]
    assert [(one.code, one.rule) for one in denied] == [("policy_blocked", "policy.1.freeze")]
    assert "Stocktaking" in denied[0].message
    assert not Refund.objects.exists()


@pytest.mark.parametrize("rules", [{"actions": {"iban": "block"}}, {"actions": "unreadable"}])
def test_what_the_output_policy_blocks_by_now_is_not_sent_although_a_person_approved_it(
    shop: Tenant, reviewer: Actor, rules: JSONObject
) -> None:
    letter: JSONObject = {"to": "wilma@example.com", "subject": "Account", "body": "To GB82 WEST 1234 5698 7654 32."}
    step: JSONObject = {"id": "send", "tool": "mail.send", "arguments": letter, "on_failure": "continue"}
    task_type([step], {"mail.send": AllowlistState.GATED})
    run = drive(start("job", {}).id)
    approved(only_proposal(), reviewer)
    OutputRules.objects.create(rules=rules)
    stopped = drive(run.id)
    assert [one.code for one in events_of(stopped, CallDenied) if isinstance(one, CallDenied)] == ["output_policy"]


def test_once_a_guardrail_broke_nothing_that_policy_granted_before_starts(
    shop: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[JSON] = [{"tool": "mail.read", "arguments": {"message_id": name}} for name in ("M-0001", "M-0002")]
    task_type([{"id": "a", "calls": calls, "on_failure": "continue"}], {"mail.read": AllowlistState.AUTO})
    broken = "agentops.worker.executing.screen_output"
    monkeypatch.setattr(broken, lambda output, trust, settings: [{"path": "/text", "failed": "ValueError"}])
    run = drive(start("job", {}).id)
    assert len(events_of(run, CallGranted)) == 2
    assert len(events_of(run, CallSucceeded)) == 1
    [denied] = [one for one in events_of(run, CallDenied) if isinstance(one, CallDenied)]
    assert "guardrail broke" in denied.message


def test_a_rule_that_asks_says_how_many_of_whom_and_until_when_and_its_card_leads_to_it(
    shop: Tenant, publish: Callable[[str], None], bob: User, signed_in: Callable[[User], Client]
) -> None:
    publish(TWO)
    drive(start("goodwill-refund", REFUND).id)
    asked = only_proposal()
    assert (asked.quorum, asked.needs_role, asked.policy_version) == (2, "senior", 1)
    assert (asked.decide_by - asked.created_at).total_seconds() == 300
    assert any("2 people, seniors" in str(reason) for reason in asked.reasons)
    page = signed_in(bob).get(f"/t/acme/proposals/{asked.pk}")
    assert page.context["card"]["why"]["rules"] == [{"id": "two", "words": ""}]
    assert 'href="/t/acme/policy?version=1#rule-two"' in page.content.decode()
    publish(TWO.replace("id: two", "id: deux").replace("5m}", "5m, because: Two see more.}"))
    # The card goes on naming the version that it was judged by.
    assert signed_in(bob).get(f"/t/acme/proposals/{asked.pk}").context["card"]["why"]["policy"] == 1
    version = signed_in(bob).get("/t/acme/policy?version=1").content.decode()
    assert 'id="rule-two"' in version
    assert "Version 1, as it was published" in version
    for unknown in ("3", "0", "x", "-1"):
        assert signed_in(bob).get(f"/t/acme/policy?version={unknown}").status_code == 404
    drive(start("goodwill-refund", REFUND | {"amount_minor": 3}).id)
    later = Proposal.objects.get(policy_version=2)
    card = signed_in(bob).get(f"/t/acme/proposals/{later.pk}").context["card"]
    assert card["why"]["rules"] == [
        {"id": "deux", "words": "When contract.writes: 2 people, seniors, have to agree within 5 minutes."}
    ]
    assert "Two see more." in card["why"]["text"]


def test_an_approved_call_waits_again_when_the_policy_asks_for_more_people_by_then(
    shop: Tenant, reviewer: Actor, sam: User, actor_of: Callable[[User, Tenant], Actor], publish: Callable[[str], None]
) -> None:
    run = drive(start("goodwill-refund", REFUND).id)
    approved(only_proposal(), reviewer)
    publish(TWO)
    run = drive(run.id)
    assert run.state == "awaiting_approval"
    asked = only_proposal()
    assert (asked.status, asked.quorum, asked.needs_role, asked.decided_by) == ("pending", 2, "senior", None)
    assert (asked.decide_by - clock.now()).total_seconds() <= 300
    assert any("2 people, seniors" in str(reason) for reason in asked.reasons)
    assert not Grant.objects.exists()
    assert not Refund.objects.exists()
    [undone] = [one for one in events_of(run, ProposalUndone) if isinstance(one, ProposalUndone)]
    assert undone.by == "policy:1"
    words = [entry.text for group in tell(load_stream(f"run:{run.id}"), str).groups for entry in group.events]
    assert any("the policy asks for more people now" in text for text in words)

    def say(actor: Actor) -> object:
        now = only_proposal()
        return approve(proposal_id=now.pk, actor=actor, version=now.version, digest=now.digest)

    assert say(reviewer) == Forbidden("needs_role")
    assert isinstance(say(actor_of(sam, shop)), Seconded)
    assert drive(run.id).state == "awaiting_approval"
    assert isinstance(say(actor_of(person("selma", shop, "senior"), shop)), Decided)
    run = drive(run.id)
    assert run.state == "succeeded"
    assert Refund.objects.count() == 1
    assert isinstance(replay(load(run.id)), Identical)


def test_what_enough_people_of_the_role_have_approved_is_not_asked_about_again(
    shop: Tenant, sam: User, actor_of: Callable[[User, Tenant], Actor], publish: Callable[[str], None]
) -> None:
    run = drive(start("goodwill-refund", REFUND).id)
    approved(only_proposal(), actor_of(sam, shop))
    publish(TWO.replace("quorum: 2, ", ""))
    assert drive(run.id).state == "succeeded", "a senior has approved it, and nothing else is asked for"


@pytest.mark.parametrize("rules", [TWO.replace("quorum: 2, ", ""), TWO.replace("role: senior, ", "")])
def test_a_role_and_a_number_of_people_that_are_asked_for_later_both_count(
    shop: Tenant, reviewer: Actor, publish: Callable[[str], None], rules: str
) -> None:
    run = drive(start("goodwill-refund", REFUND).id)
    approved(only_proposal(), reviewer)
    publish(rules)
    assert drive(run.id).state == "awaiting_approval"
    assert only_proposal().status == "pending"
    assert not Refund.objects.exists()


def test_of_those_who_approved_before_only_people_of_the_role_that_is_asked_for_count_on(
    shop: Tenant, reviewer: Actor, sam: User, actor_of: Callable[[User, Tenant], Actor], publish: Callable[[str], None]
) -> None:
    def say(actor: Actor) -> object:
        now = only_proposal()
        return approve(proposal_id=now.pk, actor=actor, version=now.version, digest=now.digest)

    publish(TWO.replace("role: senior, ", ""))
    run = drive(start("goodwill-refund", REFUND).id)
    assert isinstance(say(reviewer), Seconded)
    assert isinstance(say(actor_of(person("olga", shop, "operator"), shop)), Decided)
    publish(TWO)
    assert drive(run.id).state == "awaiting_approval"
    assert isinstance(say(actor_of(sam, shop)), Seconded), "nobody of the role has approved it before"
    assert not Refund.objects.exists()
    assert isinstance(say(actor_of(person("selma", shop, "senior"), shop)), Decided)
    assert drive(run.id).state == "succeeded"
    assert isinstance(replay(load(run.id)), Identical)


def test_a_vote_from_before_the_policy_asked_for_a_role_does_not_count_without_it(
    shop: Tenant, reviewer: Actor, sam: User, actor_of: Callable[[User, Tenant], Actor], publish: Callable[[str], None]
) -> None:
    def say(actor: Actor) -> object:
        now = only_proposal()
        return approve(proposal_id=now.pk, actor=actor, version=now.version, digest=now.digest)

    publish(TWO.replace("role: senior, ", ""))
    run = drive(start("goodwill-refund", REFUND).id)
    assert isinstance(say(reviewer), Seconded)
    publish(TWO)
    assert isinstance(say(actor_of(sam, shop)), Seconded)
    assert isinstance(say(actor_of(person("selma", shop, "senior"), shop)), Decided)
    assert drive(run.id).state == "succeeded"


def test_a_policy_that_cannot_be_read_denies_everything(shop: Tenant, publish: Callable[[str], None]) -> None:
    publish(TWO)
    PolicyVersion.objects.update(body={"policy": 1, "rules": [{"id": "x", "when": "((", "effect": "gate"}]})
    run = drive(start("goodwill-refund", REFUND).id)
    assert run.state == "failed"
    assert {one.code for one in events_of(run, CallDenied) if isinstance(one, CallDenied)} == {"policy_blocked"}


# --- scoped trust ---------------------------------------------------------------------------------------------------


@pytest.fixture
def reading(shop: Tenant) -> TaskType:
    step: JSONObject = {"id": "a", "tool": "mail.read", "arguments": {"message_id": "M-0001"}}
    return task_type([step], {"mail.read": AllowlistState.GATED})


@pytest.fixture
def sam_acts(sam: User, shop: Tenant, actor_of: Callable[[User, Tenant], Actor]) -> Actor:
    return actor_of(sam, shop)


def approved_once(actor: Actor) -> Run:
    run = drive(start("job", {}).id)
    approved(only_proposal(), actor)
    return drive(run.id)


def test_what_a_senior_trusts_runs_until_it_is_revoked_and_says_so_in_every_grant(
    reading: TaskType, sam_acts: Actor
) -> None:
    first = approved_once(sam_acts)
    proposal = first.proposals.get()
    given = trust.give(proposal_id=proposal.pk, scope="4", actor=sam_acts)
    assert isinstance(given, trust.Given), given
    assert isinstance(trust.give(proposal_id=proposal.pk, scope="4", actor=sam_acts), trust.Refused)
    second = drive(start("job", {}).id)
    assert second.state == "succeeded", second.failure_message
    rules = [one.rule for one in events_of(second, CallGranted) if isinstance(one, CallGranted)]
    assert rules == [f"trust.{given.trust_id}"]
    assert isinstance(trust.revoke(trust_id=given.trust_id, actor=sam_acts), trust.Revoked)
    assert drive(start("job", {}).id).state == "awaiting_approval"


def test_trust_ends_with_the_approval_that_it_was_given_after(reading: TaskType, sam_acts: Actor) -> None:
    BandRule.objects.create(band="low", release_s=60)
    ladder.forget()
    drive(start("job", {}).id)
    proposal = only_proposal()
    approved(proposal, sam_acts)
    assert isinstance(trust.give(proposal_id=proposal.pk, scope="4", actor=sam_acts), trust.Given)
    assert isinstance(undo(proposal_id=proposal.pk, actor=sam_acts), Undone)
    later = drive(start("job", {}).id)
    assert later.state == "awaiting_approval", "nobody stands by the approval any more"
    approved(proposal, sam_acts)
    assert drive(start("job", {}).id).state == "awaiting_approval", "another approval is another matter"


@pytest.mark.parametrize("how", ["another role", "switched off"])
def test_trust_ends_with_the_rights_of_whoever_gave_it(reading: TaskType, sam: User, sam_acts: Actor, how: str) -> None:
    proposal = approved_once(sam_acts).proposals.get()
    assert isinstance(trust.give(proposal_id=proposal.pk, scope="4", actor=sam_acts), trust.Given)
    if how == "switched off":
        User.objects.filter(pk=sam.pk).update(is_active=False)
    else:
        Membership.objects.filter(user=sam).update(role="operator")
    assert drive(start("job", {}).id).state == "awaiting_approval"


def test_trust_within_a_run_is_for_that_run_and_other_targets_are_not_covered(
    reading: TaskType, sam_acts: Actor
) -> None:
    proposal = approved_once(sam_acts).proposals.get()
    assert isinstance(trust.give(proposal_id=proposal.pk, scope="run", actor=sam_acts), trust.Given)
    assert drive(start("job", {}).id).state == "awaiting_approval"


def test_what_is_sensitive_or_not_the_own_approval_cannot_be_trusted(
    shop: Tenant, reviewer: Actor, sam_acts: Actor, bob: User, actor_of: Callable[[User, Tenant], Actor]
) -> None:
    drive(start("goodwill-refund", REFUND).id)
    asked = only_proposal()
    assert trust.give(proposal_id=asked.pk, scope="4", actor=sam_acts) == trust.Refused(
        "not_yours", "You can trust only what you have approved yourself."
    )
    approved(asked, sam_acts)
    refused = trust.give(proposal_id=asked.pk, scope="4", actor=sam_acts)
    assert isinstance(refused, trust.Refused)
    assert refused.code == "sensitive"
    by_bob = trust.give(proposal_id=asked.pk, scope="4", actor=actor_of(bob, shop))
    assert isinstance(by_bob, trust.Refused)
    assert by_bob.code == "role"


def test_a_rule_of_the_policy_asks_whatever_is_trusted(
    reading: TaskType, sam_acts: Actor, publish: Callable[[str], None]
) -> None:
    proposal = approved_once(sam_acts).proposals.get()
    assert isinstance(trust.give(proposal_id=proposal.pk, scope="4", actor=sam_acts), trust.Given)
    publish("policy: 1\nrules: [{id: all, when: 'true', effect: gate}]\n")
    assert drive(start("job", {}).id).state == "awaiting_approval"
    seed_rules(TaskType.objects.get(slug="access-request").pk, {"mail.read": AllowlistState.AUTO})
